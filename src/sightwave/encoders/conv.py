"""Conv: plain convolutions over time, all channels at once.

Shape suffixes: B batch, C channels, T times, D features.
"""

from __future__ import annotations

from torch import Tensor, nn

from sightwave.encoders.base import Encoder
from sightwave.encoders.project import check_shape


class Conv(Encoder):
    """Mix the channels, then convolve and pool over time.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of a trial, at least as many times as `n_windows`; the runner supplies both.
    filters : int
        Of every layer.
    kernel : int
        Length of the convolutions in samples.
    n_windows : int
        Windows over whose samples the last layer is averaged; D is filters times windows.
    dropout : float
        Before the last layer.

    Notes
    -----
    One of the five baselines of the MSS data set; see `encoders.linear.Linear`.

    >>> Conv(122, 500).width
    320
    """

    def __init__(
        self, n_channels: int, n_times: int, *, filters: int = 32, kernel: int = 15, n_windows: int = 10,
        dropout: float = 0.5,
    ):  # fmt: skip
        super().__init__()
        self.shape, self.width = (n_channels, n_times), filters * n_windows
        self.layers = nn.Sequential(
            nn.Conv1d(n_channels, filters, 1, bias=False),
            nn.Conv1d(filters, filters, kernel, padding="same", bias=False), nn.BatchNorm1d(filters), nn.ELU(),
            nn.Dropout(dropout),
            nn.Conv1d(filters, filters, kernel, padding="same", bias=False), nn.BatchNorm1d(filters), nn.ELU(),
            nn.AdaptiveAvgPool1d(n_windows), nn.Flatten(),
        )  # fmt: skip

    def forward(self, eeg_BCT: Tensor, subject_B: Tensor) -> Tensor:
        """Return features, shape (B, D)."""
        check_shape(self, eeg_BCT, self.shape)
        z_BD: Tensor = self.layers(eeg_BCT)
        return z_BD
