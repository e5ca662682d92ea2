"""What views do to pixels: blur, the eye's acuity, Canny's edges. Numbers of pixels are those of 224."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

_PUBLISHED_AT = 224


def zoom(image: np.ndarray) -> float:
    """Return how large a picture, (height, width, 3), is beside the size at which views are published."""
    return min(image.shape[:2]) / _PUBLISHED_AT


def gaussian_blur(image: np.ndarray, kernel: int) -> np.ndarray:
    """Blur a picture, (height, width, 3), into float32: each axis as one product of matrices, faster than a filter."""
    x, scale = image.astype(np.float32), zoom(image)
    if kernel == 1:
        return x
    for _ in range(2):
        rows = _blur_matrix(len(x), kernel, scale)
        x = (rows @ x.reshape(len(x), -1)).reshape(x.shape).swapaxes(0, 1)
    return x


@lru_cache(maxsize=64)
def _blur_matrix(n: int, kernel: int, scale: float) -> np.ndarray:
    """Blur along one axis as a matrix, (n, n); beyond its ends the axis is mirrored about its last place."""
    reach = int(np.ceil((kernel - 1) / 2 * scale))
    sd = (0.3 * ((kernel - 1) / 2 - 1) + 0.8) * scale
    step = np.arange(-reach, reach + 1)
    weight = np.exp(-(step**2) / (2 * sd**2))
    column = np.abs(np.arange(n)[:, None] + step) % max(2 * (n - 1), 1)
    column = np.where(column >= n, 2 * (n - 1) - column, column)
    matrix = np.zeros((n, n))
    np.add.at(matrix, (np.arange(n)[:, None], column), weight / weight.sum())
    return matrix.astype(np.float32)


@lru_cache(maxsize=16)
def acuity(height: int, width: int, decay: float, legacy: bool) -> np.ndarray:
    """Return the weight of the sharp picture, (height, width, 1) float32: 1 in the centre, exp(-decay) in the corners.

    Parameters
    ----------
    height, width : int
    decay : float
    legacy : bool
        Halved, and with the centre at (height // 2, width // 2).
    """
    cy, cx = (height // 2, width // 2) if legacy else ((height - 1) / 2, (width - 1) / 2)
    y, x = np.ogrid[:height, :width]
    corner = np.hypot(height - cy - 1, width - cx - 1)
    distance = np.minimum(np.hypot(y - cy, x - cx) / max(corner, 1e-9), 1)
    return ((0.5 if legacy else 1.0) * np.exp(-decay * distance))[..., None].astype(np.float32)


def canny(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return where the edges of a picture are, (height, width) bool.

    Parameters
    ----------
    image : ndarray, shape (height, width, 3), uint8
    low, high : float
        Of the gradient: what may belong to an edge, and what an edge must reach somewhere.
    """
    colours = [image[..., c].astype(np.float32) for c in range(3)]
    parts = np.stack([np.stack([ndimage.sobel(x, axis, mode="nearest") for x in colours], 2) for axis in (0, 1)])
    strongest = np.abs(parts).sum(0).argmax(2)[None, ..., None]
    gy, gx = np.take_along_axis(parts, strongest, 3)[..., 0]
    size = np.abs(gy) + np.abs(gx)
    # Along the gradient, rounded to a neighbour, a ridge is higher than before and not lower than behind.
    flat, steep = np.abs(gy) <= np.tan(np.pi / 8) * np.abs(gx), np.abs(gx) <= np.tan(np.pi / 8) * np.abs(gy)
    dy, dx = np.where(flat, 0, 1), np.where(steep, 0, np.where(flat, 1, np.where(gy * gx < 0, -1, 1)))
    y, x_ = np.indices(size.shape)
    padded = np.pad(size, 1)
    ridge = (size > padded[y + 1 - dy, x_ + 1 - dx]) & (size >= padded[y + 1 + dy, x_ + 1 + dx])
    pieces, _ = ndimage.label(ridge & (size > low), np.ones((3, 3)))
    strong = np.unique(pieces[ridge & (size > high)])
    return np.isin(pieces, strong[strong > 0])
