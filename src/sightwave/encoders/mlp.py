"""MLP: fully connected layers on all samples.

Shape suffixes: B batch, C channels, T times, D features.
"""

from __future__ import annotations

from torch import Tensor, nn

from sightwave.encoders.base import Encoder
from sightwave.encoders.project import check_shape


class MLP(Encoder):
    """Flatten, then linear maps with GELU and dropout.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of a trial; the runner supplies both.
    hidden : tuple of int
        Width of each layer; the last is D.
    dropout : float
        Behind each layer.

    Notes
    -----
    One of the five baselines of the MSS data set; see `encoders.linear.Linear`.

    >>> MLP(122, 500).width
    128
    """

    def __init__(self, n_channels: int, n_times: int, *, hidden: tuple[int, ...] = (128, 128), dropout: float = 0.5):
        super().__init__()
        self.shape, self.width = (n_channels, n_times), hidden[-1]
        layers: list[nn.Module] = []
        for a, b in zip((n_channels * n_times, *hidden[:-1]), hidden, strict=True):
            layers += [nn.Linear(a, b), nn.GELU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)

    def forward(self, eeg_BCT: Tensor, subject_B: Tensor) -> Tensor:
        """Return features, shape (B, D)."""
        check_shape(self, eeg_BCT, self.shape)
        z_BD: Tensor = self.layers(eeg_BCT.flatten(1))
        return z_BD
