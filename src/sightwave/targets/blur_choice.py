"""A target that is one of several embeddings of each picture, and another one as training goes on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from sightwave.describe import key
from sightwave.embeddings import Embeddings
from sightwave.errors import RecipeError
from sightwave.stimuli import Stimuli
from sightwave.targets.base import Target
from sightwave.targets.clip import ClipImage
from sightwave.targets.views import FoveaBlur


def foveated(
    model: str | Path = "phantom", kernels: tuple[int, ...] = (45, 51, 57), *, legacy: bool = False
) -> tuple[ClipImage, ...]:
    """Make one CLIP target per kernel of foveal blur, the sharpest first; see `FoveaBlur` for the options.

    Parameters
    ----------
    model : str or Path
        As for `ClipImage`.
    kernels : tuple of int
        UBP's are 51 and 6 fewer or more. Its code changes its own settings as it goes, so that its three are 45, 45
        and 51 in truth: give those for its published number.
    legacy : bool
        As for `FoveaBlur`.
    """
    return tuple(ClipImage(model, view=FoveaBlur(kernel=k, legacy=legacy)) for k in kernels)


@dataclass(frozen=True)
class BlurChoice(Target):
    """One of several levels of blur for each picture, chosen in training by a loss: `losses.blur_prior.BlurPrior`.

    All pictures start at the middle level, and those that are not trained on, as those of the test part, stay there.

    Parameters
    ----------
    levels : tuple of Target
        An odd number, the sharpest first, all of one dimension.

    Raises
    ------
    RecipeError
        If their number is even.

    References
    ----------
    Wu et al. 2025 (UBP, CVPR), https://arxiv.org/abs/2503.04207.
    """

    levels: tuple[Target, ...] = field(default_factory=foveated)

    def __post_init__(self) -> None:
        if len(self.levels) % 2 == 0:
            raise RecipeError(
                f"BlurChoice needs an odd number of levels, so that one is the middle; got {len(self.levels)}."
            )

    @property
    def from_pictures(self) -> bool:  # type: ignore[override]
        """Whether a level is made of the pictures."""
        return any(level.from_pictures for level in self.levels)

    @property
    def space(self) -> str:
        """E.g. ``"blur-choice/3-77a0de/clip-image/tiny_clip/FoveaBlur(...)"``: how many, a key, and the middle one."""
        return f"blur-choice/{len(self.levels)}-{key(self)[:6]}/{self._middle().space}"

    def check(self) -> None:
        """Raise where a level can never be made."""
        for level in self.levels:
            level.check()

    def embed(self, stimuli: Stimuli, train: Collection[str]) -> Embeddings:
        """Return the middle level, float32, shape (n_stimuli, dim)."""
        middle = self._middle().embed(stimuli, train)
        return Embeddings(middle.vectors, stimuli.ids, self.space)

    def tower(self, stimuli: Stimuli, train: Collection[str]) -> nn.Module:
        """Map rows of ``stimuli.ids``, (B,), to the level that is chosen for each, (B, D)."""
        vectors = [level.embed(stimuli, train).vectors for level in self.levels]
        return ChoiceTower(torch.stack([torch.from_numpy(v) for v in vectors], 1))

    def _middle(self) -> Target:
        return self.levels[len(self.levels) // 2]


class ChoiceTower(nn.Module):
    """A table with several levels per stimulus, and the level of each.

    Parameters
    ----------
    table_NLD : Tensor, shape (n_stimuli, n_levels, D)

    Attributes
    ----------
    level_N : Tensor, shape (n_stimuli,), int64
        0 is the middle level, -1 the next sharper one, 1 the next more blurred one. A checkpoint holds it.
    """

    table_NLD: Tensor
    level_N: Tensor

    def __init__(self, table_NLD: Tensor):
        super().__init__()
        self.register_buffer("table_NLD", table_NLD, persistent=False)
        self.register_buffer("level_N", torch.zeros(len(table_NLD), dtype=torch.long))

    def forward(self, stimulus_B: Tensor) -> Tensor:
        """Return (B, D)."""
        return self.table_NLD[stimulus_B, self.table_NLD.shape[1] // 2 + self.level_N[stimulus_B]]
