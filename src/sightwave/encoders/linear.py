"""Linear: the samples themselves; with a trained head, the linear classifier of raw EEG.

Shape suffixes: B batch, C channels, T times, D features.
"""

from __future__ import annotations

from torch import Tensor

from sightwave.encoders.base import Encoder
from sightwave.encoders.project import check_shape


class Linear(Encoder):
    """Flatten channels and times; nothing is learnt here, so a linear head makes the whole linear.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of a trial; the runner supplies both.

    Notes
    -----
    One of the five baselines of the MSS data set (linear, fully connected, convolutional, LSTM, transformer; Xue et
    al. 2025, https://openneuro.org/datasets/ds005589). Their code is not public, so the sizes of all five are ours.

    >>> Linear(122, 500).width
    61000
    """

    def __init__(self, n_channels: int, n_times: int):
        super().__init__()
        self.shape, self.width = (n_channels, n_times), n_channels * n_times

    def forward(self, eeg_BCT: Tensor, subject_B: Tensor) -> Tensor:
        """Return features, shape (B, D), the times of a channel side by side."""
        check_shape(self, eeg_BCT, self.shape)
        return eeg_BCT.flatten(1)
