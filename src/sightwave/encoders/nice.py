"""TSConv: NICE's convolution over time and then over channels, the most used encoder of the field, computed faster.

Shape suffixes: B batch, C channels, T times, P pooled times, K kernel, F filters, D features.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sightwave.encoders.base import Encoder
from sightwave.encoders.project import Proj, check_shape
from sightwave.errors import ShapeError

FILTERS, KERNEL, POOL, STRIDE = 40, 25, 51, 5


class TSConv(Encoder):
    """Temporal convolution, average pooling, spatial convolution; optionally a `Proj` behind them.

    The layers, their parameters and their order are those of NICE::

        Conv2d(1, 40, (1, 25)) - AvgPool2d((1, 51), (1, 5)) - BatchNorm2d - ELU
        - Conv2d(40, 40, (n_channels, 1)) - BatchNorm2d - ELU - Dropout - Conv2d(40, 40, 1) - flatten [- Proj]

    Parameters
    ----------
    n_channels, n_times : int
        Shape of a trial, at least 75 times; the runner supplies both.
    width : int or None
        Output of the projector; None leaves it out and returns the ``40 * n_pooled`` convolution features.
    dropout : float
        Of the convolutions, and of the projector.
    init_std : float or None
        Draw all convolution and linear weights from N(0, init_std), as NICE does with 0.02; None keeps PyTorch's own.

    Raises
    ------
    ShapeError
        If a trial is shorter than kernel and pool together.

    Notes
    -----
    A convolution followed by average pooling is one convolution with a longer kernel (25 + 51 - 1 = 75 samples) and
    stride 5, here one matrix product over unfolded windows; the spatial convolution is a second one, because the
    windows are laid out with the channels inside. The results equal the layers above to rounding, gradients and
    running statistics included, at about a fifth of their time (``benchmarks/nice_epoch.py``). Features come out as
    (time, filter), filter fastest.

    References
    ----------
    Song et al. 2024 (NICE), https://arxiv.org/abs/2308.13234.

    >>> sum(p.numel() for p in TSConv(63, 250).parameters()), TSConv(63, 250).width
    (103680, 1440)
    >>> sum(p.numel() for p in TSConv(63, 250, width=768).parameters())
    1802496
    """

    def __init__(
        self, n_channels: int, n_times: int, *, width: int | None = None, dropout: float = 0.5,
        init_std: float | None = None,
    ):  # fmt: skip
        super().__init__()
        if n_times < KERNEL + POOL - 1:
            raise ShapeError(
                f"TSConv needs trials of at least {KERNEL + POOL - 1} samples (kernel {KERNEL}, pool {POOL}), "
                f"got n_times = {n_times}. Cut longer epochs or resample less."
            )
        self.shape = (n_channels, n_times)
        self.n_pooled = (n_times - KERNEL - POOL + 1) // STRIDE + 1
        self.temporal = nn.Conv2d(1, FILTERS, (1, KERNEL))
        self.temporal_norm = nn.BatchNorm2d(FILTERS)
        self.spatial = nn.Conv2d(FILTERS, FILTERS, (n_channels, 1))
        self.spatial_norm = nn.BatchNorm2d(FILTERS)
        self.dropout = nn.Dropout(dropout)
        self.mix = nn.Conv2d(FILTERS, FILTERS, 1)
        n_features = self.n_pooled * FILTERS
        self.width = n_features if width is None else width
        self.proj = None if width is None else Proj(n_features, width, dropout)
        if init_std is not None:
            for module in self.modules():
                if isinstance(module, (nn.Conv2d, nn.Linear)):
                    nn.init.normal_(module.weight, 0.0, init_std)

    def forward(self, eeg_BCT: Tensor, subject_B: Tensor) -> Tensor:
        """Return features, shape (B, D)."""
        check_shape(self, eeg_BCT, self.shape)
        n_channels = self.shape[0]
        kernel_FK = self._pooled_kernel()
        u_BPCK = eeg_BCT.unfold(2, kernel_FK.shape[1], STRIDE).transpose(1, 2)
        h_BPCF = F.linear(u_BPCK.reshape(-1, kernel_FK.shape[1]), kernel_FK, self.temporal.bias)
        h_BPCF = _norm_elu(h_BPCF.view(-1, self.n_pooled, n_channels, FILTERS), self.temporal_norm)
        spatial_FCF = self.spatial.weight[..., 0].transpose(1, 2)
        h_NF = F.linear(h_BPCF.reshape(-1, n_channels * FILTERS), spatial_FCF.flatten(1), self.spatial.bias)
        h_BPF = _norm_elu(h_NF.view(-1, self.n_pooled, 1, FILTERS), self.spatial_norm).squeeze(2)
        h_BPF = F.linear(self.dropout(h_BPF), self.mix.weight[:, :, 0, 0], self.mix.bias)
        z_BD = h_BPF.flatten(1)
        return z_BD if self.proj is None else self.proj(z_BD)

    def _pooled_kernel(self) -> Tensor:
        """Convolve the temporal kernel with the pooling box, (F, K); the box is symmetric, so it needs no flip."""
        kernel_F1K = F.pad(self.temporal.weight[:, 0], (POOL - 1, POOL - 1))
        return F.conv1d(kernel_F1K, kernel_F1K.new_full((1, 1, POOL), 1 / POOL))[:, 0]


def _norm_elu(h: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Batch-normalise and activate; filters are the last axis, which PyTorch calls channels-last."""
    return F.elu(norm(h.permute(0, 3, 1, 2)), inplace=True).permute(0, 2, 3, 1)
