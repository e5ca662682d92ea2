"""LSTM: read the trial step by step, all channels at once.

Shape suffixes: B batch, C channels, T times, P steps, D features.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sightwave.encoders.base import Encoder
from sightwave.encoders.project import check_shape
from sightwave.errors import ShapeError


class LSTM(Encoder):
    """Average the samples of each step, read the steps in order, and give the last state.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of a trial; the runner supplies both.
    hidden : int
        Size of the state, D.
    depth : int
        Layers.
    n_steps : int
        Equal windows P that the trial is read in, because hundreds of single samples are slow.

    Raises
    ------
    ShapeError
        If there are more steps than samples.

    Notes
    -----
    One of the five baselines of the MSS data set; see `encoders.linear.Linear`.

    >>> LSTM(122, 500).width
    128
    """

    def __init__(self, n_channels: int, n_times: int, *, hidden: int = 128, depth: int = 1, n_steps: int = 25):
        super().__init__()
        if n_steps > n_times:
            raise ShapeError(f"LSTM cannot read {n_times} samples in {n_steps} steps. Ask for fewer steps.")
        self.shape, self.width, self.n_steps = (n_channels, n_times), hidden, n_steps
        self.lstm = nn.LSTM(n_channels, hidden, depth, batch_first=True)

    def forward(self, eeg_BCT: Tensor, subject_B: Tensor) -> Tensor:
        """Return features, shape (B, D)."""
        check_shape(self, eeg_BCT, self.shape)
        _, (last, _) = self.lstm(F.adaptive_avg_pool1d(eeg_BCT, self.n_steps).transpose(1, 2))
        z_BD: Tensor = last[-1]
        return z_BD
