"""Aligner: one encoder, one head per space. EEG -> {space: embedding}.

Shape suffixes: B batch, C channels, T times, D features, E embedding, N tokens, W width of a token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from sightwave.encoders.base import Encoder
from sightwave.errors import RecipeError

STRANGER = -1
"""Index of a subject without a head."""


class SubjectHeads(nn.Module):
    """One head per subject; a trial passes, and trains, only its own.

    The heads are separate modules, not one indexed tensor: those of an absent subject get no gradient at all, so
    AdamW's momentum and weight decay leave them alone too. A trial of a stranger gets the mean of what all heads say.

    Parameters
    ----------
    n_in, n_out : int
        D and E.
    n_subjects : int
        1 makes one head for everybody.
    head : callable
        ``head(n_in, n_out)`` makes one, from (B, D) to (B, E): ``nn.Linear``, or a class of this module.
    """

    def __init__(self, n_in: int, n_out: int, n_subjects: int, head: Callable[[int, int], nn.Module] = nn.Linear):
        super().__init__()
        self.n_out, self.n_subjects = n_out, n_subjects
        self.maps = nn.ModuleList(head(n_in, n_out) for _ in range(n_subjects))

    def forward(self, h_BD: Tensor, subject_B: Tensor) -> Tensor:
        """Return (B, E); subject indices from 0 to n_subjects - 1, or `STRANGER`."""
        if self.n_subjects == 1:
            z_BE: Tensor = self.maps[0](h_BD)
            return z_BE
        z_BE = h_BD.new_empty(len(h_BD), self.n_out)
        for s in subject_B.unique().tolist():
            mine_B = subject_B == s
            one = [self.maps[s]] if s != STRANGER else self.maps
            z_BE[mine_B] = torch.stack([head(h_BD[mine_B]) for head in one]).mean(0).to(z_BE.dtype)
        return z_BE


def straight(n_in: int, n_out: int) -> nn.Module:
    """Make a head that adds nothing where the encoder's features have the dimension of the space already.

    Most retrieval systems end with their encoder's projector: ``Recipe(encoder=partial(TSConv, width=768),
    head=straight)`` on a space of 768. Where the dimensions differ, with another CLIP say, it is ``nn.Linear``.

    Parameters
    ----------
    n_in, n_out : int
        D and E.

    >>> straight(4, 4)
    Identity()
    """
    return nn.Identity() if n_in == n_out else nn.Linear(n_in, n_out)


class MLPHead(nn.Sequential):
    """A head with hidden layers: linear maps with GELU and dropout between them.

    Parameters
    ----------
    n_in, n_out : int
        D and E.
    hidden : sequence of int
        Width of each hidden layer.
    dropout : float
        Behind each hidden layer.
    """

    def __init__(self, n_in: int, n_out: int, *, hidden: Sequence[int] = (128,), dropout: float = 0.5):
        widths = [n_in, *hidden]
        layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.GELU(), nn.Dropout(dropout))]
        super().__init__(*layers, nn.Linear(widths[-1], n_out))


class TransformerHead(nn.Module):
    """One transformer block over the tokens that the features are made of; their mean is mapped to the space.

    Parameters
    ----------
    n_in, n_out : int
        D and E.
    width : int
        Features per token W; D must be a multiple, as with ``ConvTransformer(pool="none")``.
    n_heads : int
        Of the attention.
    dropout : float
        Of the block.

    Raises
    ------
    RecipeError
        If the features cannot be cut into such tokens.
    """

    def __init__(self, n_in: int, n_out: int, *, width: int = 64, n_heads: int = 4, dropout: float = 0.1):
        super().__init__()
        self.n_tokens, self.width = _n_tokens(self, n_in, width), width
        self.block = nn.TransformerEncoderLayer(
            width, n_heads, 2 * width, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.out = nn.Linear(width, n_out)

    def forward(self, h_BD: Tensor) -> Tensor:
        """Return (B, E)."""
        h_BNW = self.block(h_BD.unflatten(1, (self.n_tokens, self.width)))
        z_BE: Tensor = self.out(h_BNW.mean(1))
        return z_BE


class LSTMHead(nn.Module):
    """An LSTM that reads the tokens that the features are made of, one by one; its last state is mapped to the space.

    Parameters
    ----------
    n_in, n_out : int
        D and E.
    width : int
        Features per token W; D must be a multiple, as with ``ConvTransformer(pool="none")``.
    hidden : int
        Size of the state.

    Raises
    ------
    RecipeError
        If the features cannot be cut into such tokens.
    """

    def __init__(self, n_in: int, n_out: int, *, width: int = 64, hidden: int = 64):
        super().__init__()
        self.n_tokens, self.width = _n_tokens(self, n_in, width), width
        self.lstm = nn.LSTM(width, hidden, batch_first=True)
        self.out = nn.Linear(hidden, n_out)

    def forward(self, h_BD: Tensor) -> Tensor:
        """Return (B, E)."""
        _, (last_1BH, _) = self.lstm(h_BD.unflatten(1, (self.n_tokens, self.width)))
        z_BE: Tensor = self.out(last_1BH[0])
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
    head : callable
        Makes one head, see `SubjectHeads`.
    """

    encoder: Encoder

    def __init__(
        self,
        encoder: Encoder,
        spaces: Mapping[str, int],
        n_subjects: int = 1,
        head: Callable[[int, int], nn.Module] = nn.Linear,
    ):
        super().__init__()
        self.encoder, self.spaces = encoder, list(spaces)
        self.heads = nn.ModuleList(SubjectHeads(encoder.width, d, n_subjects, head) for d in spaces.values())

    def forward(self, eeg_BCT: Tensor, subject_B: Tensor) -> dict[str, Tensor]:
        """Return ``{"features": (B, D), space: (B, E), ...}``."""
        return self.project(self.encoder(eeg_BCT, subject_B), subject_B)

    def project(self, h_BD: Tensor, subject_B: Tensor) -> dict[str, Tensor]:
        """Return the same, from the encoder's features."""
        return {"features": h_BD} | {s: head(h_BD, subject_B) for s, head in zip(self.spaces, self.heads, strict=True)}


def _n_tokens(head: nn.Module, n_in: int, width: int) -> int:
    if n_in % width:
        raise RecipeError(
            f"{type(head).__name__} cuts features into tokens of {width}, and the encoder gives {n_in}. "
            'Set width to what the encoder gives per token; ConvTransformer needs pool="none".'
        )
    return n_in // width
