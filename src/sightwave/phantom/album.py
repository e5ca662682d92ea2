"""Pictures by stimulus id: scene, painting and features of ``"cat-0007"``, each made once.

Flow: ids of `datasets.phantom` -> `scene`, `picture` -> stimuli; `features_of` -> `brain.Brain.record`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from sightwave import files
from sightwave.cache import cached
from sightwave.describe import key
from sightwave.phantom.concepts import Scene, imagine
from sightwave.phantom.features import REFERENCE, features
from sightwave.phantom.pictures import paint

_DECIDES = ("concepts", "pen", "backdrops", "drawings", "nameless", "pictures", "features")  # files of this folder
_MANY = 500  # fewer pictures are painted anew sooner than they are worth a file


@lru_cache(maxsize=20_000)
def scene(stimulus: str) -> Scene:
    """Return what a picture shows."""
    concept, _, exemplar = stimulus.rpartition("-")
    return imagine(concept, int(exemplar))


@lru_cache(maxsize=20_000)  # 250 MB: whoever asks for the pictures of a large world asks more than once
def picture(stimulus: str) -> np.ndarray:
    """Return a picture, (64, 64, 3) uint8; copy it before you write to it."""
    return paint(scene(stimulus))


@lru_cache(maxsize=8)
def features_of(ids: tuple[str, ...]) -> np.ndarray:
    """Features of pictures, (n, N_FEATURES) float32; those of 500 and more are kept in the cache's folder."""

    def make() -> dict[str, np.ndarray]:
        return {"z": features([scene(i) for i in ids], np.stack([picture(i) for i in ids]))}

    return (make() if len(ids) < _MANY else cached("phantom-features", {"code": code(), "ids": ids}, make))["z"]


@lru_cache
def code() -> str:
    """Content key of all that decides pictures, captions and features."""
    return key({p.name: files.sha256(p) for p in (*(Path(__file__).with_name(f"{n}.py") for n in _DECIDES), REFERENCE)})
