"""ATM-S: attention over electrodes, then NICE's convolutions.

Shape suffixes: B batch, C channels, T times, S subjects, N tokens, H heads, K width of a head, D features.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightwave.encoders.base import Encoder
from sightwave.encoders.nice import TSConv
from sightwave.encoders.project import check_shape
from sightwave.errors import ShapeError


class ATMS(Encoder):
    """Let the electrodes, and a token of the subject, attend to each other, and hand what comes out to `TSConv`.

    Each electrode's course of T samples is one token of width T, through one linear map that all share. With a token of
    the subject in front they pass one block: attention of 4 heads, a layer of 256 with GELU, LayerNorm behind each and
    once more at the end. The rows of the electrodes, (C, T) as before, go through `TSConv` and its projector.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of a trial, at least 75 times; the runner supplies both.
    width : int
        Number of features D.
    n_subjects : int
        Tokens S of subjects. A stranger gets the mean of those that were seen in training.
    n_heads, hidden : int
        Of the block. A head is T // n_heads wide.
    dropout : float
        Of the tokens and the block; the convolutions and the projector drop half, as NICE's.
    legacy : bool
        As published, with what looks like two slips: the rows that go on are the subject's and all electrodes' but the
        last, and tokens are not told apart by a place, since a function that would add it is never called so. Without,
        the rows are the electrodes' own, and each token has a sinusoidal place.

    Raises
    ------
    ShapeError
        If a trial is too short for `TSConv`; in `forward`, if there are more subjects than tokens.

    Notes
    -----
    The published class holds 127,250 numbers more that nothing reads (a map for each of two subjects, a map of clock
    times, tokens for strangers and masks), and its logit scale, which here belongs to the loss: 3,202,413 in all. A
    log of the authors' prints 3,655,541, of a state of the code that we have not seen.

    References
    ----------
    Li et al. 2024 (ATM, NeurIPS), https://arxiv.org/abs/2403.07721, after Liu et al. 2024 (iTransformer),
    https://arxiv.org/abs/2310.06625.

    >>> sum(p.numel() for p in ATMS(63, 250).parameters())
    3075162
    """

    seen_S: Tensor
    place_NT: Tensor

    def __init__(
        self, n_channels: int, n_times: int, *, width: int = 1024, n_subjects: int = 10, n_heads: int = 4,
        hidden: int = 256, dropout: float = 0.25, legacy: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.conv = TSConv(n_channels, n_times, width=width)
        self.shape, self.width, self.n_heads = (n_channels, n_times), width, n_heads
        self.dropout, self.legacy = dropout, legacy
        inner = n_times // n_heads * n_heads
        self.value = nn.Linear(n_times, n_times)
        self.subject_ST = nn.Parameter(torch.randn(n_subjects, n_times))
        self.query_key_value = nn.Linear(n_times, 3 * inner)
        self.out = nn.Linear(inner, n_times)
        self.feed = nn.Sequential(
            nn.Linear(n_times, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, n_times), nn.Dropout(dropout)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(n_times) for _ in range(3))
        self.register_buffer("seen_S", torch.zeros(n_subjects, dtype=torch.bool))
        place_NT = torch.zeros(n_channels + 1, n_times) if legacy else _sinusoids(n_channels + 1, n_times)
        self.register_buffer("place_NT", place_NT, persistent=False)

    def forward(self, eeg_BCT: Tensor, subject_B: Tensor) -> Tensor:
        """Return features, shape (B, D)."""
        check_shape(self, eeg_BCT, self.shape)
        h_BNT = torch.cat([self._subject(subject_B)[:, None], self.value(eeg_BCT)], 1) + self.place_NT
        h_BNT = F.dropout(h_BNT, self.dropout, self.training)
        first, second, last = self.norms
        h_BNT = first(h_BNT + F.dropout(self._attend(h_BNT), self.dropout, self.training))
        h_BNT = last(second(h_BNT + self.feed(h_BNT)))
        z_BD: Tensor = self.conv(h_BNT[:, :-1] if self.legacy else h_BNT[:, 1:], subject_B)
        return z_BD

    def _attend(self, h_BNT: Tensor) -> Tensor:
        """Attention of all tokens to all, (B, N, T)."""
        q, k, v = self.query_key_value(h_BNT).unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        a_BHNK = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        t_BNT: Tensor = self.out(a_BHNK.transpose(1, 2).flatten(2))
        return t_BNT

    def _subject(self, subject_B: Tensor) -> Tensor:
        """Token of each trial's subject, (B, T)."""
        subject_B = subject_B.long()
        n_tokens = len(self.subject_ST)
        if len(subject_B) and int(subject_B.max()) >= n_tokens:
            raise ShapeError(
                f"ATMS has tokens for {n_tokens} subjects, got subject {int(subject_B.max())}, counted from 0. "
                "Give ATMS(n_subjects=...)."
            )
        if self.training:
            self.seen_S[subject_B[subject_B >= 0].unique()] = True
        seen = self.subject_ST[self.seen_S] if self.seen_S.any() else self.subject_ST
        token_BT = self.subject_ST[subject_B.clamp_min(0)]
        return torch.where((subject_B >= 0)[:, None], token_BT, seen.mean(0))


def _sinusoids(n_tokens: int, width: int) -> Tensor:
    """Places of tokens as sines and cosines from 1 to 1 / 10,000 radians a step, (n_tokens, width)."""
    rate_W = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angle_NW = torch.arange(n_tokens)[:, None] * rate_W
    return torch.stack([angle_NW.sin(), angle_NW.cos()], 2).flatten(1)[:, :width]
