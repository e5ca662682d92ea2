"""True features: how strongly a picture drives each source of the brain.

Flow: scenes, pictures -> `features` -> `brain.Brain.record`.

Three levels: early (brightness, colour opponency and oriented edges of the pixels), mid (what the caption tells, but
for the kind), semantic (kind, and tags of the kind). Each is whitened over 1,500 reference scenes that no experiment
shows; the whitening is shipped as ``features.safetensors``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from sightwave import files
from sightwave.phantom import concepts as P
from sightwave.phantom.concepts import Scene
from sightwave.phantom.pictures import paint_many

REFERENCE = Path(__file__).with_name("features.safetensors")
LEVELS = {"early": 24, "mid": 34, "semantic": 32}
"""Features per level; without the smaller components, a linear map from features to CLIP would lose a third."""
N_FEATURES = sum(LEVELS.values())
TAGS = {
    "aeroplane": "vehicle flies big metal", "bicycle": "vehicle wheels metal road", "bird": "alive animal flies small",
    "boat": "vehicle water big", "bottle": "object indoor small glass", "bus": "vehicle wheels big road motor",
    "car": "vehicle wheels road motor metal", "cat": "alive animal furry pet indoor", "chair": "furniture indoor seat",
    "cow": "alive animal farm big legs", "diningtable": "furniture indoor big wood",
    "dog": "alive animal furry pet legs", "flower": "alive plant small", "horse": "alive animal farm big legs ride",
    "motorbike": "vehicle wheels road motor ride", "person": "alive human", "sheep": "alive animal farm furry",
    "sofa": "furniture indoor seat big", "train": "vehicle big metal rail", "tvmonitor": "object indoor screen",
    # what the parts of a nameless concept say about it
    "eyes": "alive animal", "flames": "motor metal", "horns": "animal farm furry", "leaves": "alive plant",
    "legs": "legs human", "wheels": "vehicle wheels road", "windows": "big indoor glass", "wings": "flies small",
}  # fmt: skip
_TAGS = sorted({tag for tags in TAGS.values() for tag in tags.split()})
_SEMANTIC = [*_TAGS, *P.CATEGORIES, "made-up", *P.OUTLINES, "armed"]


def features(scenes: Sequence[Scene], rgb: np.ndarray) -> np.ndarray:
    """Return the response strengths of pictures.

    Parameters
    ----------
    scenes : sequence of Scene, length n
    rgb : ndarray, shape (n, 64, 64, 3), uint8
        Their pictures.

    Returns
    -------
    ndarray, shape (n, N_FEATURES), float32
        Early, mid and semantic columns; zero mean, unit variance and uncorrelated within a level over the reference.
    """
    raw, fit = _raw(scenes, rgb), _load()
    return np.concatenate([(raw[k] - fit[f"{k}.mean"]) @ fit[f"{k}.project"] for k in LEVELS], 1).astype(np.float32)


def build_reference(path: Path = REFERENCE, *, n_scenes: int = 1500) -> None:
    """Compute mean and whitening projection of each level over reference scenes and save them, in about 5 s.

    Half of the scenes show categories, half nameless concepts; their numbers are far above those of any experiment.
    """
    odd = [i % 2 == 1 for i in range(n_scenes)]
    names = [P.CATEGORIES[i // 2 % 20] if odd[i] else f"shape{90000 + i}" for i in range(n_scenes)]
    scenes = [P.imagine(name, 50000 + i) for i, name in enumerate(names)]
    arrays = {}
    for level, raw in _raw(scenes, paint_many(scenes)).items():
        mean = raw.mean(0)
        _, s, vt = np.linalg.svd(raw - mean, full_matrices=False)
        k = LEVELS[level]
        arrays[f"{level}.mean"] = mean.astype(np.float32)
        arrays[f"{level}.project"] = (vt[:k].T / s[:k] * np.sqrt(n_scenes - 1)).astype(np.float32)
    files.save_tensors(path, arrays, {"made_by": "sightwave.phantom.features.build_reference"})


@lru_cache
def _load() -> dict[str, np.ndarray]:
    if not REFERENCE.exists():
        build_reference()
    return files.load_tensors(REFERENCE)[0]


def _raw(scenes: Sequence[Scene], rgb: np.ndarray) -> dict[str, np.ndarray]:
    early = [_early(rgb[i : i + 128]) for i in range(0, len(rgb), 128)]  # in parts that stay in the processor's cache
    return {"early": np.concatenate(early), "mid": np.stack([_mid(s) for s in scenes]),
            "semantic": np.stack([_semantic(s) for s in scenes])}  # fmt: skip


def _early(rgb: np.ndarray) -> np.ndarray:
    """Brightness on 8 x 8 places, two colour oppositions and four edge orientations on 4 x 4, shape (n, 160)."""
    x = rgb.astype(np.float32) / 255
    gray = x.mean(3)
    dy, dx = np.gradient(gray, axis=(1, 2))
    power = np.hypot(dx, dy) + 1e-9
    # power times the squared cosine of the angle between the gradient and a
    edges = [(dx * np.cos(a) + dy * np.sin(a)) ** 2 / power for a in np.arange(4, dtype=np.float32) * np.pi / 4]
    opponent = (x[..., 0] - x[..., 1], x[..., 2] - x[..., :2].mean(3))
    return np.concatenate([_pool(gray, 8), *(_pool(o, 4) for o in opponent), *(6 * _pool(e, 4) for e in edges)], 1)


def _pool(m: np.ndarray, grid: int) -> np.ndarray:
    n, side = m.shape[0], m.shape[1] // grid
    return m.reshape(n, grid, side, grid, side).mean((2, 4)).reshape(n, -1)


def _mid(s: Scene) -> np.ndarray:
    """Colour (11), colour of the arms (11), texture (4), background (9), number, place (2), size, facing."""
    row = np.zeros(40, np.float32)
    colours = list(P.COLOURS)
    row[colours.index(s.colour)] = 1
    row[11 + colours.index(s.second)] = 0.5 if s.outline and s.arms != "no" else 0
    row[22 + P.TEXTURES.index(s.texture)] = 1
    row[26 + list(P.BACKGROUNDS).index(s.background)] = 1
    row[35:] = s.count - 1, 4 * s.x - 2, 4 * s.y - 2, 5 * s.scale - 1, s.flip / 2
    return row


def _semantic(s: Scene) -> np.ndarray:
    row = np.zeros(len(_SEMANTIC), np.float32)
    if s.outline:
        for part in s.parts:
            row[[_SEMANTIC.index(tag) for tag in TAGS[part].split()]] = 0.7
        row[[_SEMANTIC.index("made-up"), _SEMANTIC.index(s.outline)]] = 0.7, 1
        row[-1] = P.ARMS.index(s.arms) / 3
    else:
        row[[_SEMANTIC.index(tag) for tag in TAGS[s.concept].split()]] = 0.7
        row[_SEMANTIC.index(s.concept)] = 1
    return row
