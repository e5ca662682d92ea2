"""Retina and LGN of EVNet: light adaptation, centre and surround, contrast normalisation.

Flow: pictures -> `Retina` -> `evnet_v1`. Shape suffixes here: B batch, 3 colours, N cells, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightwave.errors import DataError, RecipeError

DARK = 0.02
"""Mean luminance, of 1, below which adaptation stops: darker pictures are not amplified further."""
_TINY = 1e-12  # under a root, so that its gradient stays finite where nothing is seen

_RED, _GREEN, _BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
_YELLOW, _WHITE = (0.5, 0.5, 0.0), (1 / 3, 1 / 3, 1 / 3)


@dataclass(frozen=True)
class Cell:
    """One kind of LGN cell.

    Parameters
    ----------
    centre, surround : tuple of float
        Weights of red, green and blue; each sums to 1.
    centre_deg, surround_deg, pool_deg : float
        Radii, where a Gaussian falls to 1/e, of centre, surround and contrast normalisation, in degrees of visual
        angle.
    surround_peak : float
        Height of the surround beside the centre's, negative.
    c50 : float
        Contrast of half saturation.
    exponent : float
        Of the normalisation.
    gain : float
        Of the response.
    """

    centre: tuple[float, float, float]
    surround: tuple[float, float, float]
    centre_deg: float
    surround_deg: float
    surround_peak: float
    pool_deg: float
    c50: float
    exponent: float
    gain: float

    def __post_init__(self) -> None:
        share = -self.surround_peak * (self.surround_deg / self.centre_deg) ** 2
        if not 0 <= share <= 0.99:
            raise RecipeError(
                f"The surround of a Cell must weigh 0 to 0.99 of its centre, got {share:.3g}: the two together are "
                f"scaled to 1, so they must not cancel. Change surround_peak ({self.surround_peak}) or surround_deg."
            )


def parvo(centre: tuple[float, float, float], surround: tuple[float, float, float]) -> Cell:
    """Return a P cell with the numbers of EVNet, whose centre and surround see colours of these weights."""
    return Cell(centre, surround, 1.4948 / 32, 7.1528 / 32, -0.011895, 13.4115 / 32, 1.0, 1.0, 5.2953)


PARVO = (parvo(_RED, _GREEN), parvo(_GREEN, _RED), parvo(_BLUE, _YELLOW))
"""The three P cells of EVNet: red against green, green against red, blue against yellow."""
MAGNO = Cell(_WHITE, _WHITE, 2.4204 / 32, 17.0919 / 32, -0.0037506, 28.872 / 32, 0.18502, 0.80687, 2.8495)
"""The M cell of EVNet: white against black."""


class Retina(nn.Module):
    """From pictures to the responses of LGN cells, one map per kind of cell. Nothing is learnt.

    Parameters
    ----------
    cells : sequence of Cell
    pixels_per_degree : float
        Of visual angle; 32 where 224 pixels are 7 degrees.

    References
    ----------
    Piper, Oliveira and Marques 2025, https://arxiv.org/abs/2506.03089; the numbers of the cells are theirs, tuned to
    responses of macaque LGN. Their neuronal noise is left out. Light adaptation divides by the mean luminance: theirs
    by that plus 1e-5, which amplifies a nearly black picture almost without bound, ours by no less than `DARK`.
    """

    def __init__(self, cells: Sequence[Cell] = (*PARVO, MAGNO), *, pixels_per_degree: float = 32.0) -> None:
        super().__init__()
        self.cells = tuple(cells)
        centre, surround, pool = [], [], []
        for cell in self.cells:
            size = _size(cell.surround_deg * pixels_per_degree)
            inner = _gaussian(cell.centre_deg * pixels_per_degree, size)
            outer = _gaussian(cell.surround_deg * pixels_per_degree, size)
            # on a grey that is the same everywhere, centre and surround together respond with that grey
            total = float(inner.sum() ** 2 + cell.surround_peak * outer.sum() ** 2)
            centre.append(inner / total**0.5)
            surround.append(outer * (-cell.surround_peak / total) ** 0.5)
            near = _gaussian(cell.pool_deg * pixels_per_degree, _size(cell.pool_deg * pixels_per_degree))
            pool.append(near / near.sum())
        for name, kernels in (("centre", centre), ("surround", surround), ("pool", pool)):
            for i, kernel in enumerate(kernels):
                self.register_buffer(f"{name}_{i}", kernel, persistent=False)

    def forward(self, rgb_B3HW: Tensor) -> Tensor:
        """Return the responses, (B, N, H, W), to pictures in [0, 1].

        Raises
        ------
        DataError
            If a value lies outside: pictures that were standardised for CLIP have means near zero, and adaptation
            divides by them.
        """
        low, high = (float(x) for x in rgb_B3HW.detach().aminmax())
        if not (low >= 0 and high <= 1):
            raise DataError(
                f"The retina takes pictures in [0, 1], got {low:.3g} to {high:.3g}. Divide by 255, and do not "
                f"standardise them for CLIP first."
            )
        x_B3HW = adapt(rgb_B3HW)
        return torch.stack([self._respond(x_B3HW, i) for i in range(len(self.cells))], 1)

    def difference(self, x_B3HW: Tensor, cell: int) -> Tensor:
        """Return centre minus surround of one kind of cell, (B, H, W), before contrast normalisation."""
        centre_3, surround_3 = (x_B3HW.new_tensor(c) for c in (self.cells[cell].centre, self.cells[cell].surround))
        inner_BHW = _blur(torch.einsum("bchw,c->bhw", x_B3HW, centre_3), self.get_buffer(f"centre_{cell}"))
        outer_BHW = _blur(torch.einsum("bchw,c->bhw", x_B3HW, surround_3), self.get_buffer(f"surround_{cell}"))
        return inner_BHW - outer_BHW

    def _respond(self, x_B3HW: Tensor, i: int) -> Tensor:
        cell = self.cells[i]
        contrast_BHW = self.difference(x_B3HW, i)
        return cell.gain * normalise(contrast_BHW, self.get_buffer(f"pool_{i}"), c50=cell.c50, exponent=cell.exponent)


def adapt(rgb_B3HW: Tensor) -> Tensor:
    """Express each picture as its deviation from its own mean luminance, in units of that mean (Weber contrast)."""
    mean_B111 = rgb_B3HW.mean((1, 2, 3), keepdim=True)
    return (rgb_B3HW - mean_B111) / mean_B111.clamp_min(DARK)


def normalise(x_BHW: Tensor, pool_K: Tensor, *, c50: float, exponent: float) -> Tensor:
    """Divide a response by the contrast around it: x / (local root mean square + c50) ** exponent.

    Parameters
    ----------
    x_BHW : Tensor, shape (B, H, W)
    pool_K : Tensor, shape (K,)
        Weights along one side of the square neighbourhood; they sum to 1.
    c50 : float
        With an exponent of 1, the contrast at which the response is half of the greatest.
    exponent : float
    """
    around_BHW = (_blur(x_BHW**2, pool_K) + _TINY).sqrt()
    return x_BHW / (around_BHW + c50) ** exponent


def _size(radius: float) -> int:
    """Side of a kernel that holds 75 % of a Gaussian that falls to 1/e at ``radius``."""
    return 2 * math.ceil(math.sqrt(-2 * math.log(1 - 0.75)) * radius / math.sqrt(2)) + 1


def _gaussian(radius: float, size: int) -> Tensor:
    """One axis of a Gaussian that is 1 in the middle and 1/e at ``radius``."""
    place = torch.arange(size, dtype=torch.float64) - size // 2
    return torch.exp(-((place / radius) ** 2)).float()


def _blur(x_BHW: Tensor, kernel_K: Tensor) -> Tensor:
    """Filter along both axes; the picture is mirrored beyond its border."""
    reach = len(kernel_K) // 2
    x = F.pad(x_BHW[:, None], (reach, reach, reach, reach), mode="reflect")
    return F.conv2d(F.conv2d(x, kernel_K.view(1, 1, -1, 1)), kernel_K.view(1, 1, 1, -1))[:, 0]
