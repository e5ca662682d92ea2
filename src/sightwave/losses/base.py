"""Loss: decoded embeddings and a batch -> one number. Functions hold the math, classes the names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
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

    def prepare(self, towers: Mapping[str, nn.Module], stimulus: Tensor) -> None:
        """Look at the training stimuli when a stage begins; most losses need not.

        Parameters
        ----------
        towers : mapping of str to Module
            Space -> rows of stimuli (B,) to embeddings (B, D).
        stimulus : Tensor, shape (n_stimuli,)
            Rows of the training stimuli, each once.
        """

    def end_epoch(self, towers: Mapping[str, nn.Module]) -> None:
        """Act on the towers after an epoch of training; most losses need not.

        What is remembered from one epoch to the next belongs into buffers, so that a checkpoint holds it.

        Parameters
        ----------
        towers : mapping of str to Module
            As for `prepare`.
        """

    @abstractmethod
    def forward(self, z: dict[str, Tensor], batch: Batch) -> Tensor:
        """Return a scalar. ``z[space]`` is the EEG in ``space``, (B, D); ``z["features"]`` is the encoder's."""
