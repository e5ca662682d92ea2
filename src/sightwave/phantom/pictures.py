"""Paint phantom scenes: pixels, and the true depth and edges that belong to them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from sightwave.phantom.backdrops import backdrop, decorate, disparity, true_depth, true_edges
from sightwave.phantom.concepts import COLOURS, Scene
from sightwave.phantom.drawings import DRAW
from sightwave.phantom.nameless import nameless
from sightwave.phantom.pen import Pen


def paint(scene: Scene, size: int = 64) -> np.ndarray:
    """Render a scene, anti-aliased by supersampling.

    Returns
    -------
    ndarray, shape (size, size, 3), uint8
    """
    return _render(scene, size, maps=False)[0]


def paint_maps(scene: Scene, size: int = 64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Render a scene with its true maps.

    Returns
    -------
    rgb : ndarray, shape (size, size, 3), uint8
    depth : ndarray, shape (size, size), float32
        Disparity-like, in [0, 1]; 1 is nearest.
    edges : ndarray, shape (size, size), float32
        Share of each pixel, in [0, 1], that is crossed by a border between two drawn parts.
    """
    rgb, pen = _render(scene, size, maps=True)
    return rgb, true_depth(pen, scene, size), true_edges(pen, pen.side // size)


def paint_many(scenes: Sequence[Scene], *, workers: int = 1) -> np.ndarray:
    """Pictures of many scenes, shape (n, 64, 64, 3), uint8; about 2 ms each on one core."""
    if workers > 1 and len(scenes) > 500:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            return np.stack(list(pool.map(paint, scenes, chunksize=64)))
    return np.stack([paint(s) for s in scenes])


def _render(scene: Scene, size: int, *, maps: bool) -> tuple[np.ndarray, Pen]:
    zoom = max(2, round(192 / size))
    side = size * zoom
    rng = np.random.default_rng([scene.seed, zlib.crc32(scene.concept.encode()), scene.exemplar + 1, 7])
    pen = Pen(backdrop(scene.background, side, rng), maps)
    decorate(pen, scene, rng)
    gap = 2.15 * scene.scale
    start = scene.x - gap * (scene.count - 1) / 2
    for i in range(scene.count):
        wobble = rng.normal(0, 0.02 if scene.count > 1 else 0, 2)
        y = scene.y + wobble[1]
        pen.place(start + i * gap, y, scene.scale * (1 + wobble[0]), scene.flip, scene.tilt)
        pen.near = disparity(scene.background, y + 0.85 * scene.scale, scene.scale)
        pen.begin(COLOURS[scene.colour], COLOURS[scene.second])
        if scene.outline:
            nameless(pen, scene)
        else:
            DRAW[scene.concept](pen, np.random.default_rng([scene.seed, scene.exemplar, i]))
        pen.clothe(scene.texture)
    grain = rng.integers(-5, 6, (size, size, 1))
    rgb = np.clip(np.asarray(pen.image.reduce(zoom), np.int16) + grain, 0, 255).astype(np.uint8)
    return rgb, pen
