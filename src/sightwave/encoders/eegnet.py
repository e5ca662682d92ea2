"""EEGNet: a compact convolutional network with one depthwise spatial filter bank per temporal filter.

Shape suffixes: B batch, C channels, T times, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sightwave.encoders.base import Encoder
from sightwave.encoders.project import check_shape
from sightwave.errors import ShapeError

POOLS = (4, 8)


class EEGNet(Encoder):
    """Temporal, depthwise spatial and separable convolution; the classifier is the aligner's head.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of a trial, at least 32 times; the runner supplies both.
    f1, d, f2 : int
        Temporal filters, spatial filters for each of them, and pointwise filters.
    kernel : int
        Temporal kernel in samples: half the sampling rate, so that it sees 2 Hz and above.
    separable_kernel : int
        Kernel of the separable convolution in samples of the pooled signal.
    dropout : float
        0.5 within subjects, 0.25 across them, says the paper.
    max_norm : float
        Largest L2 norm of a spatial filter.

    Raises
    ------
    ShapeError
        If a trial is shorter than both pools together.

    Notes
    -----
    The norm of the spatial filters is limited in the forward pass: a filter that is too long acts as its shortened
    self, where the authors shorten the weights after each step. Batch normalisation has PyTorch's momentum and
    epsilon (0.1, 1e-5), not those of Keras (0.01, 1e-3 in PyTorch's terms), so that short trainings evaluate well.
    The max-norm of the paper's classifier is left out with the classifier.

    References
    ----------
    Lawhern et al. 2018, https://doi.org/10.1088/1741-2552/aace8c.

    >>> EEGNet(63, 250).width
    112
    """

    def __init__(
        self, n_channels: int, n_times: int, *, f1: int = 8, d: int = 2, f2: int = 16, kernel: int = 64,
        separable_kernel: int = 16, dropout: float = 0.5, max_norm: float = 1.0,
    ):  # fmt: skip
        super().__init__()
        n_left = n_times // POOLS[0] // POOLS[1]
        if n_left < 1:
            raise ShapeError(f"EEGNet needs trials of at least {POOLS[0] * POOLS[1]} samples, got n_times = {n_times}.")
        self.shape, self.max_norm, self.width = (n_channels, n_times), max_norm, f2 * n_left
        self.temporal = nn.Sequential(_SamePad(kernel), nn.Conv2d(1, f1, (1, kernel), bias=False), nn.BatchNorm2d(f1))
        self.spatial = nn.Conv2d(f1, d * f1, (n_channels, 1), groups=f1, bias=False)
        self.pool = nn.Sequential(
            nn.BatchNorm2d(d * f1), nn.ELU(), nn.AvgPool2d((1, POOLS[0])), nn.Dropout(dropout),
        )  # fmt: skip
        self.separable = nn.Sequential(
            _SamePad(separable_kernel),
            nn.Conv2d(d * f1, d * f1, (1, separable_kernel), groups=d * f1, bias=False),
            nn.Conv2d(d * f1, f2, 1, bias=False),
            nn.BatchNorm2d(f2), nn.ELU(), nn.AvgPool2d((1, POOLS[1])), nn.Dropout(dropout),
        )  # fmt: skip

    def forward(self, eeg_BCT: Tensor, subject_B: Tensor) -> Tensor:
        """Return features, shape (B, D)."""
        check_shape(self, eeg_BCT, self.shape)
        h = self.temporal(eeg_BCT[:, None])
        weight = torch.renorm(self.spatial.weight, 2, 0, self.max_norm)
        h = nn.functional.conv2d(h, weight, groups=self.spatial.groups)
        z_BD: Tensor = self.separable(self.pool(h)).flatten(1)
        return z_BD


class _SamePad(nn.ZeroPad2d):
    """Pad time so that a convolution keeps its length; an even kernel gets its odd sample on the right."""

    def __init__(self, kernel: int):
        super().__init__(((kernel - 1) // 2, kernel // 2, 0, 0))
