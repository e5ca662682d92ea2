"""Primary visual cortex of EVNet: simple and complex cells that are Gabors, with the properties that were measured.

Flow: maps of `evnet_retina` -> `V1` -> one map per cell. Shape suffixes: B batch, N LGN cells, H height, W width,
K side of a kernel, S simple cells, C complex cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor, nn
from torch.nn import functional as F

_TINY = 1e-12  # under a root, so that its gradient stays finite where nothing is seen

# De Valois, Yund and Hepler 1982: cells per preferred orientation, in bins about 0, 45, 90 and 135 degrees
_ORIENTATIONS = np.array([66, 49, 77, 54])
# De Valois, Albrecht and Thorell 1982: cells per preferred spatial frequency, bins in cycles per degree
_FREQUENCY_EDGES = np.array([0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0])
_FREQUENCIES = {"simple": np.array([4, 4, 8, 25, 33, 26, 28, 12]), "complex": np.array([0, 0, 9, 9, 7, 10, 23, 12])}
# Ringach 2002: cells per width (rows) and length (columns) of the receptive field, in periods of its own frequency
_SHAPE_EDGES = np.logspace(-1, 0.2, 6)
_SHAPES = np.array([[2, 0, 1, 0, 0], [8, 9, 4, 1, 0], [1, 2, 19, 17, 3], [0, 0, 1, 7, 4], [0, 0, 0, 0, 0]])
_FREQUENCY_WITH_WIDTH = 0.75
HIGHEST_CPD = float(_FREQUENCY_EDGES[-1])
"""Highest preferred frequency, in cycles per degree; what De Valois et al. found above is left out, as in EVNet."""


@dataclass(frozen=True)
class Gabors:
    """Receptive fields, one value per cell in each array.

    Parameters
    ----------
    frequency : ndarray, shape (n_cells,)
        Preferred spatial frequency in cycles per degree.
    orientation : ndarray, shape (n_cells,)
        Direction along which the field oscillates, in radians from the horizontal.
    phase : ndarray, shape (n_cells,)
        In radians.
    width, length : ndarray, shape (n_cells,)
        Standard deviations along and across that direction, in degrees.
    cell : ndarray of int, shape (n_cells,)
        The kind of LGN cell that each listens to.
    """

    frequency: np.ndarray
    orientation: np.ndarray
    phase: np.ndarray
    width: np.ndarray
    length: np.ndarray
    cell: np.ndarray

    def draw(self, pixels_per_degree: float, *, shift: float = 0.0) -> np.ndarray:
        """Draw the fields, shape (n_cells, K, K), float32; K is 31 at 32 pixels per degree.

        Parameters
        ----------
        pixels_per_degree : float
        shift : float
            Added to every phase, in radians; a quarter of a turn gives the other of a quadrature pair.
        """
        reach = round(15 * pixels_per_degree / 32)
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] / pixels_per_degree
        cos, sin = (f(self.orientation)[:, None, None] for f in (np.cos, np.sin))
        along, across = x * cos + y * sin, y * cos - x * sin
        envelope = np.exp(-0.5 * ((along / _column(self.width)) ** 2 + (across / _column(self.length)) ** 2))
        envelope /= envelope.sum((1, 2), keepdims=True)
        wave = np.cos(2 * math.pi * _column(self.frequency) * along + _column(self.phase) + shift)
        return (envelope * wave).astype(np.float32)


def sample(kind: str, n: int, n_kinds: int, rng: np.random.Generator) -> Gabors:
    """Draw cells from the distributions that were measured in macaque V1.

    Parameters
    ----------
    kind : {"simple", "complex"}
        They differ in their frequencies.
    n : int
        Cells.
    n_kinds : int
        Kinds of LGN cells; each is as likely.
    rng : Generator

    References
    ----------
    Orientations and frequencies: De Valois et al. 1982, https://doi.org/10.1016/0042-6989(82)90112-2 and 90113-4.
    Shapes: Ringach 2002, https://doi.org/10.1152/jn.2002.88.1.455. That frequency and width in periods correlate by
    0.75 is EVNet's, https://arxiv.org/abs/2506.03089.
    """
    a, b = rng.standard_normal((2, n))
    b = _FREQUENCY_WITH_WIDTH * a + math.sqrt(1 - _FREQUENCY_WITH_WIDTH**2) * b
    frequency = np.exp(_quantile(ndtr(a), _FREQUENCIES[kind], np.log(_FREQUENCY_EDGES)))
    edges = np.log(_SHAPE_EDGES)
    width = _quantile(ndtr(b), _SHAPES.sum(1), edges)
    row = np.clip(np.searchsorted(edges, width, side="right") - 1, 0, np.flatnonzero(_SHAPES.sum(1))[-1])
    u, length = rng.random(n), np.empty(n)
    for k in np.unique(row):
        length[row == k] = _quantile(u[row == k], _SHAPES[k], edges)
    turn = _quantile(rng.random(n), _ORIENTATIONS, np.deg2rad([-22.5, 22.5, 67.5, 112.5, 157.5]))
    return Gabors(
        frequency, turn, rng.uniform(0, 2 * math.pi, n), np.exp(width) / frequency, np.exp(length) / frequency,
        rng.integers(n_kinds, size=n),
    )  # fmt: skip


class V1(nn.Module):
    """Simple cells, which are rectified, and complex cells, which measure energy and do not care for the phase.

    Parameters
    ----------
    simple, complex_ : Gabors
    pixels_per_degree : float
    stride : int
        Pixels from one place to the next.
    gain : float
        Of every response; 5.3 in EVNet.

    References
    ----------
    The energy model is Adelson and Bergen's, 1985, https://doi.org/10.1364/JOSAA.2.000284. EVNet's VOneBlock scales
    envelopes by their integral over the whole plane, ours sum to 1 where they are drawn, so that wide fields that the
    kernel cuts are not weaker for it. Without its neuronal noise.
    """

    def __init__(
        self, simple: Gabors, complex_: Gabors, *, pixels_per_degree: float = 32.0, stride: int = 4, gain: float = 5.3
    ) -> None:
        super().__init__()
        self.stride, self.gain, self.n_simple = stride, gain, len(simple.cell)
        cell = np.concatenate([simple.cell, complex_.cell, complex_.cell])
        fields = np.concatenate([
            simple.draw(pixels_per_degree), complex_.draw(pixels_per_degree),
            complex_.draw(pixels_per_degree, shift=-math.pi / 2),
        ])  # fmt: skip
        self.kinds = sorted(set(cell.tolist()))
        # all that listen to one kind of LGN cell are one convolution
        order = np.concatenate([np.flatnonzero(cell == k) for k in self.kinds])
        self.register_buffer("back", torch.from_numpy(np.argsort(order)), persistent=False)
        for k in self.kinds:
            self.register_buffer(f"fields_{k}", torch.from_numpy(fields[cell == k][:, None]), persistent=False)

    def forward(self, lgn_BNHW: Tensor) -> Tensor:
        """Return the responses, (B, S + C, H / stride, W / stride), none negative; beyond the border there is grey."""
        parts = []
        for k in self.kinds:
            fields = self.get_buffer(f"fields_{k}")
            parts.append(F.conv2d(lgn_BNHW[:, k : k + 1], fields, stride=self.stride, padding=fields.shape[-1] // 2))
        q = torch.cat(parts, 1)[:, self.get_buffer("back")]
        n_complex = (q.shape[1] - self.n_simple) // 2
        simple, even, odd = q.split([self.n_simple, n_complex, n_complex], 1)
        energy = ((even**2 + odd**2) / 2 + _TINY).sqrt()
        return self.gain * torch.cat([simple.relu(), energy], 1)


def _column(x: np.ndarray) -> np.ndarray:
    return x[:, None, None]


def _quantile(u: np.ndarray, counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Turn numbers that are uniform in [0, 1] into values of a histogram, uniform within each bin."""
    some = counts > 0
    share = np.cumsum(counts[some]) / counts.sum()
    which = np.minimum(np.searchsorted(share, u), some.sum() - 1)
    low, high = np.concatenate([[0], share])[which], share[which]
    inside = (u - low) / (high - low)
    bins = np.flatnonzero(some)[which]
    return edges[bins] + inside * (edges[bins + 1] - edges[bins])
