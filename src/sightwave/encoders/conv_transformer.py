"""ConvTransformer: each electrode's time course becomes one token, and a transformer looks at all electrodes.

The encoder is shared by all subjects; what differs between them is left to their heads (``Recipe.subject_heads``).

Shape suffixes: B batch, C channels, T times, S electrodes of all trials (B times C), F filters, P windows, W width of
a token, D features.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sightwave.encoders.base import Encoder
from sightwave.encoders.pooled_conv import PooledConv
from sightwave.encoders.project import check_shape
from sightwave.errors import RecipeError, ShapeError, one_of

POOLS = ("mean", "none")


class ConvTransformer(Encoder):
    """A front end for single electrodes, then a transformer over electrodes.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of a trial; the runner supplies both.
    front : callable
        ``front(n_times, width)`` makes the module that turns the electrodes of all trials, (S, T), into tokens,
        (S, W): `TemporalConv`, `DeepConv`, `ConvGRU`, or one of yours.
    width : int
        Features per electrode W, a multiple of `n_heads`.
    depth, n_heads : int
        Blocks of the transformer, and heads of its attention; depth 0 leaves it out.
    hidden : int
        Of the feed-forward part of a block.
    dropout : float
        Of the transformer, but not of its attention weights.
    pool : {"mean", "none"}
        "mean": the mean over electrodes, D = W. "none": the electrodes side by side, D = C * W, which the heads
        `TransformerHead` and `LSTMHead` need, and which lets a linear head weigh electrodes.

    Raises
    ------
    RecipeError, UnknownName
        If the width cannot be shared by the attention's heads, or the pool is unknown.

    Notes
    -----
    The teaching project that proposes this system, a course at CMU, gives 122 electrodes of 500 samples each, a mean
    over time, a projection to 64 features and a head per subject; sizes that it leaves open are ours. Each electrode
    has a learnt place, because attention alone does not know which token is which.

    >>> ConvTransformer(122, 500).width, ConvTransformer(122, 500, pool="mean").width
    (7808, 64)
    """

    def __init__(
        self, n_channels: int, n_times: int, *, front: Callable[[int, int], nn.Module] | None = None, width: int = 64,
        depth: int = 2, n_heads: int = 4, hidden: int = 128, dropout: float = 0.1, pool: str = "none",
    ):  # fmt: skip
        super().__init__()
        if pool not in POOLS:
            raise one_of("pool of ConvTransformer", pool, POOLS)
        if width % n_heads:
            raise RecipeError(f"ConvTransformer.width must be a multiple of n_heads = {n_heads}, got {width}.")
        self.shape, self.pool = (n_channels, n_times), pool
        self.width = width if pool == "mean" else n_channels * width
        self.front = (front or TemporalConv)(n_times, width)
        self.place_CW = nn.Parameter(0.02 * torch.randn(n_channels, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, n_heads, hidden, dropout, "gelu", batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        for block in self.blocks:
            # dropping attention weights, too, would keep torch from its fused kernel: twice the time on a CPU
            block.self_attn.dropout = 0.0  # type: ignore[union-attr]
        self.norm = nn.LayerNorm(width)

    def forward(self, eeg_BCT: Tensor, subject_B: Tensor) -> Tensor:
        """Return features, shape (B, D)."""
        check_shape(self, eeg_BCT, self.shape)
        h_BCW = self.front(eeg_BCT.flatten(0, 1)).unflatten(0, (-1, self.shape[0])) + self.place_CW
        for block in self.blocks:
            h_BCW = block(h_BCW)
        h_BCW = self.norm(h_BCW)
        return h_BCW.mean(1) if self.pool == "mean" else h_BCW.flatten(1)


class TemporalConv(nn.Module):
    """One convolution over time, the same for every electrode; means over time; a linear map.

    Parameters
    ----------
    n_times, width : int
        T and W.
    filters, kernel, stride : int
        F, and the convolution's length and step in samples.
    n_windows : int
        Equal windows P that are averaged one by one. 1 is the mean over the whole trial, which forgets when
        something happened: little is left of an evoked response.

    Raises
    ------
    ShapeError
        If the trial is shorter than the kernel, or than so many windows.
    """

    def __init__(
        self, n_times: int, width: int, *, filters: int = 32, kernel: int = 25, stride: int = 2, n_windows: int = 10
    ):
        super().__init__()
        self.pooled = PooledConv(n_times, filters, kernel, stride, n_windows)
        self.project = nn.Linear(filters * n_windows, width)

    def forward(self, eeg_ST: Tensor) -> Tensor:
        """Return tokens, shape (S, W)."""
        z_SW: Tensor = self.project(self.pooled(eeg_ST).flatten(1))
        return z_SW


class DeepConv(nn.Module):
    """Convolutions with max pooling in between: the temporal half of Deep ConvNet, the same for every electrode.

    Parameters
    ----------
    n_times, width : int
        T, at least 3 to the power of the number of convolutions, and W.
    filters : tuple of int
        Of each convolution.
    kernel : int
        Length of each convolution in samples of what it sees.

    Raises
    ------
    ShapeError
        If the trial is too short.

    References
    ----------
    Schirrmeister et al. 2017, https://doi.org/10.1002/hbm.23730. There the first block also mixes electrodes, which is
    the transformer's work here.
    """

    def __init__(self, n_times: int, width: int, *, filters: tuple[int, ...] = (16, 32, 64), kernel: int = 9):
        super().__init__()
        if n_times < 3 ** len(filters):
            raise ShapeError(f"DeepConv needs trials of at least {3 ** len(filters)} samples, got {n_times}.")
        layers: list[nn.Module] = []
        for a, b in zip((1, *filters[:-1]), filters, strict=True):
            layers += [nn.Conv1d(a, b, kernel, padding="same", bias=False), nn.BatchNorm1d(b), nn.ELU()]
            layers += [nn.MaxPool1d(3)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.project = nn.Linear(filters[-1] * (n_times // 3 ** len(filters)), width)

    def forward(self, eeg_ST: Tensor) -> Tensor:
        """Return tokens, shape (S, W)."""
        z_SW: Tensor = self.project(self.layers(eeg_ST[:, None]))
        return z_SW


class ConvGRU(nn.Module):
    """Hybrid: one convolution and means over windows, then a GRU that reads the windows in order.

    Parameters
    ----------
    n_times, width : int
        T and W, the size of the GRU's state.
    filters, kernel, stride, n_windows : int
        As for `TemporalConv`.

    Raises
    ------
    ShapeError
        If the trial is shorter than the kernel, or than so many windows.
    """

    def __init__(
        self, n_times: int, width: int, *, filters: int = 32, kernel: int = 25, stride: int = 2, n_windows: int = 10
    ):
        super().__init__()
        self.pooled = PooledConv(n_times, filters, kernel, stride, n_windows)
        self.gru = nn.GRU(filters, width, batch_first=True)

    def forward(self, eeg_ST: Tensor) -> Tensor:
        """Return tokens, shape (S, W)."""
        _, last_1SW = self.gru(self.pooled(eeg_ST))
        z_SW: Tensor = last_1SW[0]
        return z_SW
