"""PositiveSpatial: a few maps of positive electrode weights, and one small network that reads each one's time course.

Shape suffixes: B batch, C channels, T times, F maps, W width, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sightwave.encoders.base import Encoder
from sightwave.encoders.project import check_shape


class PositiveSpatial(Encoder):
    """Sum the electrodes by positive weights, then read every sum's time course by the same two layers.

    ::

        Conv2d(1, 25, (n_channels, 1), bias=False), weights >= 0 - BatchNorm2d
        - Linear(n_times, 200) - ELU - Dropout(0.25) - Linear(200, 200) - ELU - Dropout(0.65) - flatten

    Parameters
    ----------
    n_channels, n_times : int
        Shape of a trial; the runner supplies both.
    n_maps : int
        Spatial filters F.
    hidden : int
        Width W of the layers over time; D is maps times width.
    dropout : tuple of float
        Behind the first and the second layer.
    positive : bool
        Keep the weights of the electrodes positive: before each forward pass of training they are replaced by their
        absolute values. False leaves them alone.

    Notes
    -----
    The published network ends with a linear map from the 5,000 features to the 1,024 dimensions of its space; here that
    is the head of the space. Together 5,213,049 numbers.

    References
    ----------
    Liu et al. (AAAI 2026), https://doi.org/10.1609/aaai.v40i21.38813; sizes from its code,
    https://github.com/makeitperfect/VisualEEGDecoding.

    >>> encoder = PositiveSpatial(63, 250)
    >>> encoder.width, sum(p.numel() for p in encoder.parameters()) + 5000 * 1024 + 1024
    (5000, 5213049)
    """

    def __init__(
        self, n_channels: int, n_times: int, *, n_maps: int = 25, hidden: int = 200,
        dropout: tuple[float, float] = (0.25, 0.65), positive: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.shape, self.width, self.positive = (n_channels, n_times), n_maps * hidden, positive
        # drawn as PyTorch draws the convolution that it is
        self.map_FC = nn.Parameter(nn.Conv2d(1, n_maps, (n_channels, 1), bias=False).weight.detach().flatten(1))
        self.norm = nn.BatchNorm1d(n_maps)
        self.read = nn.Sequential(
            nn.Linear(n_times, hidden), nn.ELU(), nn.Dropout(dropout[0]),
            nn.Linear(hidden, hidden), nn.ELU(), nn.Dropout(dropout[1]),
        )  # fmt: skip
        if positive:
            with torch.no_grad():
                self.map_FC.abs_()

    def forward(self, eeg_BCT: Tensor, subject_B: Tensor) -> Tensor:
        """Return features, shape (B, D)."""
        check_shape(self, eeg_BCT, self.shape)
        if self.positive and self.training:
            with torch.no_grad():
                self.map_FC.abs_()
        # after the last step of training a weight may lie below zero
        map_FC = self.map_FC.abs() if self.positive else self.map_FC
        # matmul would copy the trials to make one product of all
        map_BFC = map_FC.expand(len(eeg_BCT), *map_FC.shape)
        return self.read(self.norm(map_BFC.bmm(eeg_BCT))).flatten(1)
