"""CLIP's vision tower, trained together with the EEG.

Shape suffixes: U pictures that differ, L tokens, W width, C colours, P pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sightwave.errors import RecipeError, one_of
from sightwave.targets.clip_tower import EVERYWHERE, LAST, Tower

TUNINGS = ("frozen", "image-projection", *LAST, *EVERYWHERE)


class ImageTower(Tower):
    """Rows of stimuli to the embeddings of their pictures.

    Parameters
    ----------
    model : CLIPVisionModelWithProjection
        Taken over and changed: parts that are no longer needed are dropped.
    pixels_UCPP : Tensor of uint8, shape (U, 3, P, P)
        The pictures at the tower's size.
    row_N : Tensor of int, shape (n_stimuli,)
        Which picture each stimulus has.
    mean, std : sequence of float
        Of each colour, by which pixels in [0, 1] are normalised.
    tune : str
        One of `TUNINGS` but "frozen": as for `TextTower`, with the projection of images.
    layer : int or None
        Hidden state to read out, see `ClipImage`; then there is no projection, and only blocks up to it are free.
    pool : {"cls", "mean"}
        With `layer`.
    rank, batch_size : int
        See `Tower`.

    Raises
    ------
    RecipeError
        If a projection shall learn that `layer` leaves out.

    Notes
    -----
    16,740 pictures of 224 pixels are 2.5 GB, which go to the GPU with the tower.
    """

    pixels_UCPP: Tensor
    mean_C11: Tensor
    std_C11: Tensor
    entrance = ("embeddings", "first_norm", "pixels_UCPP")

    def __init__(
        self, model: Any, pixels_UCPP: Tensor, row_N: Tensor, *, mean: Sequence[float], std: Sequence[float],
        tune: str, layer: int | None = None, pool: str = "cls", rank: int = 8, batch_size: int = 64,
    ):  # fmt: skip
        super().__init__(row_N, device=pixels_UCPP.device, batch_size=batch_size)
        if tune not in TUNINGS[1:]:
            raise one_of("tuning of a vision tower", tune, TUNINGS[1:])
        if layer is not None and "projection" in tune:
            raise RecipeError(f"tune={tune!r} frees the projection, which layer={layer} leaves out.")
        vision, self.pool = model.vision_model, pool
        self.register_buffer("pixels_UCPP", pixels_UCPP, persistent=False)
        for name, values in (("mean_C11", mean), ("std_C11", std)):
            self.register_buffer(name, pixels_UCPP.new_tensor(values, dtype=torch.float32)[:, None, None], False)
        self.embeddings, self.first_norm = vision.embeddings, vision.pre_layrnorm
        whole = layer is None
        self.norm = vision.post_layernorm if whole else nn.Identity()
        self.projection = model.visual_projection if whole else nn.Identity()
        self.blocks = nn.ModuleList(vision.encoder.layers[:layer])
        self.free(tune, rank, vision.config.hidden_size)

    def enter(self, u: Tensor) -> Tensor:
        """Cut pictures into patches, (U, L, W)."""
        pixels = (self.pixels_UCPP[u].float() / 255 - self.mean_C11) / self.std_C11
        h_ULW: Tensor = self.first_norm(self.embeddings(pixels))
        return h_ULW

    def through(self, block: nn.Module, h_ULW: Tensor) -> Tensor:
        """Run one block; every patch sees every other."""
        out_ULW: Tensor = block(h_ULW, None)
        return out_ULW

    def read(self, h_ULW: Tensor, u: Tensor) -> Tensor:
        """Take the class token, or the mean over the patches, (U, W)."""
        return h_ULW[:, 0] if self.pool == "cls" else h_ULW[:, 1:].mean(1)
