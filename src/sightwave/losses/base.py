"""Loss: decoded embeddings and a batch -> one number. Functions hold the math, classes the names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """B trials, as the loop hands them to the encoder and to every loss.

    Parameters
    ----------
    eeg : Tensor, shape (B, C, T)
    subject : Tensor, shape (B,)
        Index of the subject, 0-based.
    stimulus : Tensor, shape (B,)
        Row of the stimulus in `Stimuli.ids`.
    targets : dict of str to Tensor, shape (B, D)
        Space -> true embeddings.
    """

    eeg: Tensor
    subject: Tensor
    stimulus: Tensor
    targets: dict[str, Tensor]


class Loss(nn.Module, ABC):
    """One term of the objective, built anew for each run.

    Attributes
    ----------
    heads : tuple of str
        Spaces that the EEG must be projected into for this loss.
    weight : float
        Its factor in the sum.
    """

    heads: tuple[str, ...] = ()
    weight: float = 1.0

    @abstractmethod
    def forward(self, z: dict[str, Tensor], batch: Batch) -> Tensor:
        """Return a scalar. ``z[space]`` is the EEG in ``space``, (B, D); ``z["features"]`` is the encoder's."""
