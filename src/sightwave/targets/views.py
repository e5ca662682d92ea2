"""Views: picture -> picture, looked at before any image target. ``ClipImage(view=FoveaBlur())``.

A view is a frozen dataclass with ``__call__``. It takes and gives (height, width, 3) uint8 of one size, leaves its
input alone, and draws nothing at random: noise is decided by the picture. Lengths in pixels are those of a picture of
224 pixels, the size at which the field publishes its views; they grow with the picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from sightwave import files
from sightwave.errors import DataError, RecipeError, ShapeError
from sightwave.stimuli import Stimuli
from sightwave.targets.view_filters import acuity, canny, gaussian_blur, zoom

View = Callable[[np.ndarray], np.ndarray]
"""Picture -> picture, both (height, width, 3) uint8: a frozen dataclass with ``__call__``, so that it has a name."""

BLUR_LEVELS = (1, 3, 9, 15, 21, 27, 33, 39, 45, 51, 57, 63)
"""Kernels of the twelve levels of Liu et al. (AAAI 2026), https://doi.org/10.1609/aaai.v40i21.38813."""
BLUR_LEVELS_8 = (1, 3, 15, 21, 33, 45, 57, 63)
"""Kernels of the eight levels of https://arxiv.org/abs/2605.23996."""


@dataclass(frozen=True)
class GaussianBlur:
    """Blur the whole picture.

    Parameters
    ----------
    kernel : int
        Width of the kernel in pixels of a 224-pixel picture, odd; 1 leaves the picture as it is. The standard deviation
        is 0.3 ((kernel - 1) / 2 - 1) + 0.8, OpenCV's rule, so 51 is 8 pixels.

    References
    ----------
    Levels of Liu et al. and of arXiv 2605.23996: `BLUR_LEVELS`, `BLUR_LEVELS_8`. NeuroBridge (https://arxiv.org/abs/2511.06836)
    takes 15. For kernels up to 7, OpenCV rounds the weights to a table of its own; here they are Gaussian.
    """

    kernel: int = 15

    def __post_init__(self) -> None:
        _check_kernel(self)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Blur a picture, (height, width, 3) uint8; beyond the border it is mirrored."""
        return _rounded(gaussian_blur(_checked(image), self.kernel))


@dataclass(frozen=True)
class FoveaBlur:
    """Blur the periphery: sharp where the eye looks, the more blurred the farther from there.

    Each pixel is m x picture + (1 - m) x blurred picture, where m = exp(-decay x d) and d is the distance from the
    centre, 1 in the corners.

    Parameters
    ----------
    kernel : int
        Of the blur, as for `GaussianBlur`. Uncertainty-aware blur takes 6 more or fewer.
    decay : float
        How fast acuity falls. CognitionCapturerPro as arXiv 2605.23996 ran it takes 2, with kernel 31.
    legacy : bool
        As the authors' code has it: m is halved, so that even the centre is half blurred, and distances are counted
        from pixel (height // 2, width // 2).

    References
    ----------
    Uncertainty-aware Blur Prior (CVPR 2025), equation 5. The kernel of 51, the decay of 3 and what `legacy` does are
    from its code, https://github.com/HaitaoWuTJU/Uncertainty-aware-Blur-Prior.
    """

    kernel: int = 51
    decay: float = 3.0
    legacy: bool = False

    def __post_init__(self) -> None:
        _check_kernel(self)
        if not self.decay >= 0:
            raise RecipeError(f"FoveaBlur.decay must not be negative, got {self.decay!r}.")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Blur a picture, (height, width, 3) uint8, towards its border."""
        sharp = acuity(*_checked(image).shape[:2], self.decay, self.legacy)
        return _rounded(sharp * image + (1 - sharp) * gaussian_blur(image, self.kernel))


@dataclass(frozen=True)
class LowResolution:
    """Shrink the picture and enlarge it again, smoothly.

    Parameters
    ----------
    factor : float
        Share of the pixels per side that are kept, above 0 and at most 1. NeuroBridge takes 0.1.
    """

    factor: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.factor <= 1:
            raise RecipeError(f"LowResolution.factor must be above 0 and at most 1, got {self.factor!r}.")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Coarsen a picture, (height, width, 3) uint8."""
        height, width = (max(1, round(n * self.factor)) for n in _checked(image).shape[:2])
        return _through(image, width, height, Image.Resampling.BICUBIC)


@dataclass(frozen=True)
class Mosaic:
    """Paint each block in its mean colour.

    Parameters
    ----------
    block : float
        Side of a block in pixels of a 224-pixel picture, so that a picture has as many blocks whatever its size.
        NeuroBridge takes 5.
    """

    block: float = 5.0

    def __post_init__(self) -> None:
        if not self.block >= 1:
            raise RecipeError(f"Mosaic.block must be at least 1, got {self.block!r}.")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Paint the blocks of a picture, (height, width, 3) uint8."""
        side = self.block * zoom(_checked(image))
        height, width = (min(n, max(1, round(n / side))) for n in image.shape[:2])
        return _through(image, width, height, Image.Resampling.NEAREST)


@dataclass(frozen=True)
class Noise:
    """Add white Gaussian noise, decided by the picture itself: the same picture always gets the same noise.

    Parameters
    ----------
    sd : float
        Standard deviation in grey levels of 255. NeuroBridge takes 25.
    seed : int
        Another seed, other noise.
    """

    sd: float = 25.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.sd >= 0:
            raise RecipeError(f"Noise.sd must not be negative, got {self.sd!r}.")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Add noise to a picture, (height, width, 3) uint8."""
        content = hashlib.sha256(np.ascontiguousarray(_checked(image)).tobytes()).digest()
        rng = np.random.default_rng([self.seed, int.from_bytes(content[:16], "big")])
        return _rounded(image + self.sd * rng.standard_normal(image.shape, np.float32))


@dataclass(frozen=True)
class GreyBackground:
    """Put the picture on a grey screen with a fixation dot, as the participant saw it.

    Parameters
    ----------
    share : float
        Of each side of the screen that the picture takes.
    colour : tuple of int
        Of the screen; red, green, blue.
    dot : float
        Radius of the dot as a share of the picture's shorter side; 0 for none. 1/28 is 0.25 of 7 degrees.
    dot_colour : tuple of int
        Of the dot.

    References
    ----------
    arXiv 2605.23996 puts 640 pixels on 1280 of RGB (158, 162, 166). It pastes a dot that it does not describe;
    size and colour of ours are a choice.
    """

    share: float = 0.5
    colour: tuple[int, int, int] = (158, 162, 166)
    dot: float = 1 / 28
    dot_colour: tuple[int, int, int] = (255, 0, 0)

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or not 0 <= self.dot < 0.5:
            raise RecipeError(
                f"GreyBackground must have 0 < share <= 1 and 0 <= dot < 0.5, got {self.share!r} and {self.dot!r}."
            )

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Shrink a picture, (height, width, 3) uint8, onto a screen of its own size."""
        height, width = _checked(image).shape[:2]
        small = [max(1, round(n * self.share)) for n in (height, width)]
        top, left = (height - small[0]) // 2, (width - small[1]) // 2
        screen = np.broadcast_to(np.array(self.colour, np.float32), image.shape).copy()
        shrunk = Image.fromarray(image).resize((small[1], small[0]), Image.Resampling.LANCZOS)
        screen[top : top + small[0], left : left + small[1]] = np.asarray(shrunk)
        radius = self.dot * min(small)
        if radius > 0:
            y, x = np.ogrid[:height, :width]
            distance = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
            inside = np.clip(radius + 0.5 - distance, 0, 1)[..., None]  # a soft rim of one pixel
            screen += inside * (np.array(self.dot_colour, np.float32) - screen)
        return _rounded(screen)


@dataclass(frozen=True)
class Depth:
    """How near each place is, white is near: the true depth that the stimuli offer, as the phantom's do.

    Parameters
    ----------
    legacy : bool
        The "depth" of arXiv 2605.23996: the picture itself in grey, its contrast stretched. No depth, and it works
        on any picture.

    Notes
    -----
    Depth does not lie in the pixels, so in a row of views it comes first. CognitionCapturer colours its maps; ours are
    grey.
    """

    legacy: bool = False

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Stretch the grey levels of a picture, (height, width, 3) uint8, with `legacy`; else a `RecipeError`."""
        if not self.legacy:
            raise RecipeError(
                "Depth cannot be told from a picture alone. In a row of views it must come first, and the stimuli must "
                "offer it; Depth(legacy=True) is the grey copy of the picture that has been taken for it."
            )
        grey = ImageOps.autocontrast(ImageOps.grayscale(Image.fromarray(_checked(image))))
        return _in_three(np.asarray(grey))

    def of(self, stimuli: Stimuli, stimulus: str) -> np.ndarray:
        """Return the depth of one stimulus, (height, width, 3) uint8; a `DataError` says how to give one."""
        if self.legacy:
            return self(stimuli.image(stimulus))
        near = np.asarray(stimuli.nearness(stimulus), np.float32)
        if near.ndim != 2 or not (near.min() >= 0 and near.max() <= 1):
            raise DataError(
                f"Depth of stimulus {str(stimulus)!r} must be (height, width) between 0 (far) and 1 (near), got shape "
                f"{near.shape}, {near.min():.3g} to {near.max():.3g}. Scale it, and invert it where 0 is near."
            )
        return _in_three(_rounded(255 * near))


@dataclass(frozen=True)
class Edges:
    """White edges on black, by Canny's detector.

    Parameters
    ----------
    low, high : float
        An edge is a ridge of the gradient (Sobel, sum of the absolute parts, strongest colour) above `low` that is
        connected to a place above `high`. arXiv 2605.23996 takes 100 and 200.

    References
    ----------
    Canny 1986, https://doi.org/10.1109/TPAMI.1986.4767851; without smoothing first, as OpenCV has it. Put a
    `GaussianBlur` before it for the textbook's.
    """

    low: float = 100.0
    high: float = 200.0

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise RecipeError(f"Edges must have 0 <= low <= high, got {self.low!r} and {self.high!r}.")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Find the edges of a picture, (height, width, 3) uint8."""
        return _in_three(255 * canny(_checked(image), self.low, self.high).astype(np.uint8))


@dataclass(frozen=True)
class Compose:
    """Several views, one after another.

    Parameters
    ----------
    views : tuple of View
        The first is applied first.
    """

    views: tuple[View, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.views, tuple) or not self.views or not all(callable(v) for v in self.views):
            raise RecipeError(f"Compose needs a tuple of views, got {self.views!r}.")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Apply the views to a picture, (height, width, 3) uint8."""
        for view in self.views:
            image = view(image)
        return image

    def of(self, stimuli: Stimuli, stimulus: str) -> np.ndarray:
        """Return one stimulus, (height, width, 3) uint8; the first view may look at more than its pixels."""
        image = see(stimuli, stimulus, self.views[0])
        for view in self.views[1:]:
            image = view(image)
        return image


def see(stimuli: Stimuli, stimulus: str, view: View | None) -> np.ndarray:
    """Return one picture, (height, width, 3) uint8, as a view shows it, or as it is where ``view`` is None.

    A view with a method ``of(stimuli, stimulus)`` is asked that way: it needs more than the pixels, as `Depth` does.
    """
    if view is None:
        return stimuli.image(stimulus)
    of = getattr(view, "of", None)
    return of(stimuli, stimulus) if of else view(stimuli.image(stimulus))


def name_of(view: Any) -> str:
    """Return the name of a view in the name of a space.

    >>> name_of(Compose((GaussianBlur(3), Edges())))
    'GaussianBlur(kernel=3)+Edges(low=100.0, high=200.0)'
    """
    if isinstance(view, Compose):
        return "+".join(name_of(v) for v in view.views)
    return f"{type(view).__name__}({', '.join(f'{f.name}={getattr(view, f.name)}' for f in fields(view))})"


def check_view(target: Any) -> None:
    """Raise a `RecipeError` if the field ``view`` of a target is no view."""
    view = target.view
    if view is not None and (isinstance(view, type) or not is_dataclass(view) or not callable(view)):
        raise RecipeError(
            f"{type(target).__name__}.view must be a frozen dataclass with __call__, got {view!r}. Several views are "
            f"one: Compose((first, second))."
        )


def content(view: View | None) -> Any:
    """Return what decides a view's pictures, for a cache's key: its fields, and the files that its code lies in."""
    parts = view.views if isinstance(view, Compose) else (view,)
    codes = (getattr(type(v).__call__, "__code__", None) for v in parts if v is not None)
    paths = {Path(c.co_filename) for c in codes if c is not None}
    return {"view": view, "code": sorted(files.sha256(p) for p in paths if p.is_file())}


def _check_kernel(view: GaussianBlur | FoveaBlur) -> None:
    if not isinstance(view.kernel, int) or view.kernel < 1 or view.kernel % 2 == 0:
        raise RecipeError(f"{type(view).__name__}.kernel must be 1, 3, 5, ..., got {view.kernel!r}.")


def _checked(image: np.ndarray) -> np.ndarray:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(f"A view takes pictures of (height, width, 3) uint8, got {image.shape} {image.dtype}.")
    return image


def _rounded(x: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


def _in_three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def _through(image: np.ndarray, width: int, height: int, enlarge: Image.Resampling) -> np.ndarray:
    """Shrink a picture to so many pixels, each the mean of what it covers, and enlarge it again."""
    small = Image.fromarray(image).resize((width, height), Image.Resampling.BOX)
    return np.array(small.resize((image.shape[1], image.shape[0]), enlarge))
