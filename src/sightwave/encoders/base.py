"""Encoder: EEG -> features. One file per encoder.

Shape suffixes in this room: B batch, C channels, T times, D features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """An encoder is built as ``Encoder(n_channels, n_times, **options)``; the runner supplies both numbers.

    Attributes
    ----------
    width : int
        Number of features D that `forward` returns.
    """

    width: int

    @abstractmethod
    def forward(self, eeg_BCT: Tensor, subject_B: Tensor) -> Tensor:
        """Return features, shape (B, D). ``subject_B`` holds subject indices, 0-based."""

    def solve(self, eeg_NCT: np.ndarray, label_N: np.ndarray) -> None:
        """Learn in closed form from the training part; most encoders learn nothing this way.

        Parameters
        ----------
        eeg_NCT : ndarray, shape (n_trials, n_channels, n_times)
        label_N : ndarray of int, shape (n_trials,)
            Class of each trial, 0-based.
        """
