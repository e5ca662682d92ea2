"""Transformer: attention over time, each short window of all channels a token.

Shape suffixes: B batch, C channels, T times, P windows, W width, D features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightwave.encoders.base import Encoder
from sightwave.encoders.project import check_shape
from sightwave.errors import ShapeError


class Transformer(Encoder):
    """Average the samples of each window, look at all windows, and set what was found side by side.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of a trial; the runner supplies both.
    n_windows : int
        Equal windows P.
    width : int
        Of a token W; D is windows times width.
    depth, n_heads : int
        Blocks, and heads of their attention.
    dropout : float
        Of the blocks.

    Raises
    ------
    ShapeError
        If there are more windows than samples.

    Notes
    -----
    One of the five baselines of the MSS data set; see `encoders.linear.Linear`. `ConvTransformer` has electrodes for
    tokens instead.

    >>> Transformer(122, 500).width
    1600
    """

    def __init__(
        self, n_channels: int, n_times: int, *, n_windows: int = 25, width: int = 64, depth: int = 2, n_heads: int = 4,
        dropout: float = 0.3,
    ):  # fmt: skip
        super().__init__()
        if n_windows > n_times:
            raise ShapeError(f"Transformer cannot cut {n_times} samples into {n_windows} windows. Ask for fewer.")
        self.shape, self.width, self.n_windows = (n_channels, n_times), n_windows * width, n_windows
        self.embed = nn.Linear(n_channels, width)
        self.place_PW = nn.Parameter(0.02 * torch.randn(n_windows, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, n_heads, 2 * width, dropout, "gelu", batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, eeg_BCT: Tensor, subject_B: Tensor) -> Tensor:
        """Return features, shape (B, D)."""
        check_shape(self, eeg_BCT, self.shape)
        h_BPW = self.embed(F.adaptive_avg_pool1d(eeg_BCT, self.n_windows).transpose(1, 2)) + self.place_PW
        for block in self.blocks:
            h_BPW = block(h_BPW)
        return self.norm(h_BPW).flatten(1)
