"""EVNet's early visual system as a target: picture -> retina and LGN -> V1 -> one vector. Nothing is learnt."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from sightwave import files
from sightwave.cache import cached_rows
from sightwave.embeddings import Embeddings
from sightwave.errors import DataError, RecipeError
from sightwave.stimuli import Stimuli
from sightwave.targets.base import Target
from sightwave.targets.evnet_retina import MAGNO, PARVO, Retina
from sightwave.targets.evnet_v1 import HIGHEST_CPD, V1, sample
from sightwave.targets.views import View, check_view, content, name_of, see

DEGREES = 7.0
"""Side of a picture in degrees of visual angle, in EVNet as in THINGS-EEG2."""
_CELLS = {"standard": (*PARVO, MAGNO), "parvo": PARVO}
_SMALLEST = 128  # below, the highest frequencies have not two and a quarter pixels per period
_CODE = ("evnet", "evnet_retina", "evnet_v1")  # files of this folder that decide the vectors


@dataclass(frozen=True)
class EVNet(Target):
    """Responses of V1 to a picture, averaged over places.

    Parameters
    ----------
    n_simple, n_complex : int
        Cells, drawn from the distributions that were measured; the vector has one number per cell and place.
    cells : {"standard", "parvo"}
        LGN cells: three P and one M, or the three P that https://arxiv.org/abs/2605.23996 takes.
    grid : int
        The picture is cut into grid x grid fields, and each is averaged by itself; 1 keeps no places.
    standardise : bool
        Centre and scale each number by the training pictures. All responses are positive, so without it every picture
        points the same way, and cosines tell little.
    size : int
        Side in pixels to which a picture is brought; 224 is EVNet's, 32 pixels per degree.
    stride : int
        Pixels from one place of V1 to the next.
    seed : int
        Of the cells.
    view : View or None
        Applied to each picture first.
    device : str
        "cpu", "cuda", or "auto" for CUDA where there is any.
    batch_size : int
        Pictures at a time.

    Notes
    -----
    Pictures go in as they are, in [0, 1]. arXiv 2605.23996 feeds them standardised for CLIP,
    so that light adaptation divides by means near zero or below. It takes P cells only, a gain of 25 in V1, and sends
    the maps of V1 through convolutions with random weights into CLIP; ours are averaged over places and serve as they
    are. A picture that is not square is squeezed into one.

    On the phantom, ridge regression from 600 pictures tells 40 % of the variance of its early features with a grid of
    1 and 66 % with 2 (160 unseen pictures, the best of four penalties on these; 64 % from 256 random projections of the
    pixels, which tell 22 % of the mid level where this tells 40 %). Its pictures have 64 pixels, and a `size` of 128 is
    as good for them as 224, in a sixth of the time: 25 instead of 157 ms of one core per picture.

    References
    ----------
    Piper, Oliveira and Marques 2025, https://arxiv.org/abs/2506.03089; see `Retina` and `V1` for where we differ.
    """

    from_pictures: ClassVar[bool] = True

    n_simple: int = 256
    n_complex: int = 256
    cells: str = "standard"
    grid: int = 2
    standardise: bool = True
    size: int = 224
    stride: int = 4
    seed: int = 0
    view: View | None = None
    device: str = "cpu"
    batch_size: int = 16

    def __post_init__(self) -> None:
        if self.cells not in _CELLS:
            raise RecipeError(f"EVNet.cells must be one of {sorted(_CELLS)}, got {self.cells!r}.")
        for name, low in (("n_simple", 1), ("n_complex", 1), ("grid", 1), ("stride", 1), ("size", _SMALLEST)):
            if not getattr(self, name) >= low:
                why = f", or frequencies of {HIGHEST_CPD:g} per degree cannot be drawn" if name == "size" else ""
                raise RecipeError(f"EVNet.{name} must be at least {low}{why}, got {getattr(self, name)!r}.")
        if self.grid * self.stride > self.size:
            raise RecipeError(f"EVNet.grid of {self.grid} is finer than the {self.size // self.stride} places of V1.")
        check_view(self)

    @property
    def space(self) -> str:
        """E.g. ``"evnet/2048"``, ``"evnet/512/grid-1/FoveaBlur(...)"``; names what is not as usual."""
        parts = ["evnet", str((self.n_simple + self.n_complex) * self.grid**2)]
        usual = {"n_simple": 256, "n_complex": 256, "cells": "standard", "grid": 2, "standardise": True, "size": 224,
                 "stride": 4, "seed": 0}  # fmt: skip
        parts += [f"{name}-{getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value]
        return "/".join(parts if self.view is None else [*parts, name_of(self.view)])

    def model(self) -> nn.Module:
        """Build retina, LGN and V1: (B, 3, size, size) in [0, 1] -> (B, cells, places, places)."""
        rng = np.random.default_rng(self.seed)
        cells, density = _CELLS[self.cells], self.size / DEGREES
        simple, complex_ = (
            sample(k, n, len(cells), rng) for k, n in (("simple", self.n_simple), ("complex", self.n_complex))
        )
        return nn.Sequential(
            Retina(cells, pixels_per_degree=density),
            V1(simple, complex_, pixels_per_degree=density, stride=self.stride),
        )

    def embed(self, stimuli: Stimuli, train: Collection[str]) -> Embeddings:
        """Embed every picture, float32, shape (n_stimuli, (n_simple + n_complex) x grid x grid).

        Raises
        ------
        DataError
            If the stimuli have no pictures, or none of ``train`` is among them to standardise by.
        """
        is_train = np.isin(stimuli.ids, sorted(train))
        if self.standardise and not is_train.any():
            raise DataError(f"EVNet standardises by the training pictures, but none of the {len(train)} is there.")
        if stimuli.key:
            what = {
                "code": [files.sha256(Path(__file__).with_name(f"{name}.py")) for name in _CODE],
                "ids": stimuli.ids, "stimuli": stimuli.key, "view": content(self.view), "cells": self.cells,
                "sizes": [self.n_simple, self.n_complex, self.grid, self.size, self.stride, self.seed],
            }  # fmt: skip
            vectors = cached_rows(
                "evnet", what, len(stimuli), lambda start, stop: self._vectors(stimuli, stimuli.ids[start:stop])
            )
        else:
            vectors = self._vectors(stimuli, stimuli.ids)
        if self.standardise:
            sd = vectors[is_train].std(0)
            # a cell that is silent on nearly all training pictures must not shout on others
            sd = np.maximum(sd, max(0.01 * float(np.median(sd)), 1e-6))
            vectors = (vectors - vectors[is_train].mean(0)) / sd
        return Embeddings(vectors.astype(np.float32), stimuli.ids, self.space)

    @torch.no_grad()
    def _vectors(self, stimuli: Stimuli, ids: np.ndarray) -> np.ndarray:
        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        model = self.model().to(device)
        parts = []
        for start in range(0, len(ids), self.batch_size):
            images = [see(stimuli, i, self.view) for i in ids[start : start + self.batch_size]]
            maps = model(torch.stack([self._pixels(image) for image in images]).to(device))
            parts.append(F.adaptive_avg_pool2d(maps, self.grid).flatten(1).float().cpu().numpy())
        return np.concatenate(parts)

    def _pixels(self, image: np.ndarray) -> Tensor:
        """Bring one picture to its size, (3, size, size) in [0, 1]."""
        fitted = Image.fromarray(image).resize((self.size, self.size), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(fitted, np.float32).transpose(2, 0, 1) / 255)
