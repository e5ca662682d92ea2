"""Aligner: one encoder, one head per space. EEG -> {space: embedding}.

Shape suffixes: B batch, C channels, T times, D features, E embedding.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from sightwave.encoders.base import Encoder


class SubjectLinear(nn.Module):
    """One linear map per subject; a trial passes, and trains, only its own.

    The maps are separate parameters, not one indexed tensor: those of an absent subject get no gradient at all, so
    AdamW's momentum and weight decay leave them alone too.

    Parameters
    ----------
    n_in, n_out : int
        D and E.
    n_subjects : int
        1 makes one map for everybody.
    """

    def __init__(self, n_in: int, n_out: int, n_subjects: int):
        super().__init__()
        self.n_out, self.n_subjects = n_out, n_subjects
        self.maps = nn.ModuleList(nn.Linear(n_in, n_out) for _ in range(n_subjects))

    def forward(self, h_BD: Tensor, subject_B: Tensor) -> Tensor:
        """Return (B, E); subject indices from 0 to n_subjects - 1."""
        if self.n_subjects == 1:
            z_BE: Tensor = self.maps[0](h_BD)
            return z_BE
        z_BE = h_BD.new_empty(len(h_BD), self.n_out)
        for s in subject_B.unique().tolist():
            z_BE[subject_B == s] = self.maps[s](h_BD[subject_B == s])
        return z_BE


class Aligner(nn.Module):
    """Project an encoder's features into every space that some loss or task asks for.

    Parameters
    ----------
    encoder : Encoder
    spaces : mapping of str to int
        Space name -> dimension.
    n_subjects : int
        Heads per space: 1 for all, or one per subject.
    """

    encoder: Encoder

    def __init__(self, encoder: Encoder, spaces: Mapping[str, int], n_subjects: int = 1):
        super().__init__()
        self.encoder, self.spaces = encoder, list(spaces)
        self.heads = nn.ModuleList(SubjectLinear(encoder.width, d, n_subjects) for d in spaces.values())

    def forward(self, eeg_BCT: Tensor, subject_B: Tensor) -> dict[str, Tensor]:
        """Return ``{"features": (B, D), space: (B, E), ...}``."""
        h_BD = self.encoder(eeg_BCT, subject_B)
        return {"features": h_BD} | {s: head(h_BD, subject_B) for s, head in zip(self.spaces, self.heads, strict=True)}
