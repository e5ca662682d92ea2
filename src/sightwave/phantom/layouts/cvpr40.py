"""EEGCVPR40: one ``.pth`` of all trials, and a split by picture that does not undo the block design.

All pictures of a class are shown in one block, so class is time, and any slow drift tells the class without a brain.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from sightwave import files
from sightwave.errors import RecipeError
from sightwave.phantom.brain import Brain
from sightwave.phantom.concepts import CATEGORIES, imagine, nameless
from sightwave.phantom.features import features
from sightwave.phantom.head import CVPR128
from sightwave.phantom.layouts.common import check_counts, mark, save_pictures
from sightwave.phantom.pictures import paint_many

_PARTS = ("train", "val", "test")
_LENGTHS = (490, 540)
_ODD_LENGTHS = (430, 640)  # readers keep 450 to 600
_ODD_SHARE = 0.01


def write_cvpr40(
    out: Path, *, subjects: tuple[int, ...] = (1, 2), n_classes: int = 40, per_class: int = 50, n_lost: int = 4,
    signal: float = 0.3, wander_uv: float = 12.0, workers: int = 1, seed: int = 0,
) -> None:  # fmt: skip
    """Write a phantom in the layout of EEGCVPR40: ``eeg_5_95_std.pth`` and ``block_splits_by_image_all.pth``.

    Trials lie in the order of presentation, subject after subject, with one order of classes for all; the list of
    pictures has another order. Trials differ in length, and about one in a hundred is shorter or longer than readers
    keep. The pictures, which the original does not distribute, are in ``images``.

    Parameters
    ----------
    out : Path
    subjects : tuple of int
    n_classes : int
        20 named categories, then nameless ones.
    per_class : int
        Pictures of each.
    n_lost : int
        Pictures missing from the list, and the most trials that a subject lacks besides.
    signal : float
        Strength of all that depends on the picture.
    wander_uv : float
        Confound: slow drift along the session.
    workers : int
        Processes that paint.
    seed : int
        Of brains, noise, orders and splits; the pictures stay.

    Raises
    ------
    RecipeError
        If there are not enough pictures to lose.

    Notes
    -----
    Each channel has mean 0 and variance 1 over a subject's session, which ``std`` in the name stands for; the band of
    5 to 95 Hz is not filtered, since it would take away the drift that is planted here. All trials are held in
    memory, 3 GB at full size with six subjects.
    """
    check_counts("cvpr40", n_classes=n_classes, per_class=per_class)
    if not 0 <= n_lost < n_classes * per_class // 2:
        raise RecipeError(
            f"write_cvpr40: n_lost must be less than half of {n_classes} x {per_class} pictures, got {n_lost}."
        )
    mark(out, "EEGCVPR40", seed)
    rng = np.random.default_rng([seed, 13])
    label, z, names, wnids = _pictures(out, n_classes, per_class, n_lost, workers, rng)
    # presentation: class by class
    place = rng.permutation(n_classes)
    order = rng.permutation(len(label))
    order = order[np.argsort(place[label[order]], kind="stable")]
    dataset = [t for s in subjects for t in _trials(s, order, label, z, n_lost, signal, wander_uv, seed)]
    content = {"dataset": dataset, "labels": wnids, "images": names}
    files.save_torch(out / "eeg_5_95_std.pth", content)
    files.save_torch(out / "block_splits_by_image_all.pth", {"splits": [_split(dataset, label, rng)]})


def _pictures(
    out: Path, n_classes: int, per_class: int, n_lost: int, workers: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """Paint and write the pictures; return label, features and name of each, and the ids of the classes."""
    named = CATEGORIES[:n_classes]
    concepts = [*named, *nameless(n_classes - len(named), start=3000)]
    wnids = [f"n{90_000_000 + k:08d}" for k in range(n_classes)]
    kept = np.sort(rng.permutation(n_classes * per_class)[n_lost:])
    label = kept // per_class
    scenes = [imagine(concepts[k], int(i)) for k, i in zip(label, kept % per_class, strict=True)]
    rgb = paint_many(scenes, workers=workers)
    names = [f"{wnids[k]}_{s.exemplar}" for k, s in zip(label, scenes, strict=True)]
    save_pictures(out / "images", rgb, [f"{wnids[k]}/{n}.JPEG" for k, n in zip(label, names, strict=True)])
    return label, features(scenes, rgb), names, wnids


def _trials(
    subject: int, order: np.ndarray, label: np.ndarray, z: np.ndarray, n_lost: int, signal: float, wander_uv: float,
    seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    rng = np.random.default_rng([seed, subject, 14])
    brain = Brain(subject, CVPR128, 1000.0, _ODD_LENGTHS[1], signal, shared_seed=seed)
    x = brain.record(z[order], seed=seed, clock=np.arange(len(order)), wander_uv=wander_uv)
    x -= x.mean((0, 2), keepdims=True)
    x /= x.std((0, 2), keepdims=True)
    lost = set(rng.permutation(len(order))[: rng.integers(0, n_lost + 1)].tolist())
    length = rng.integers(*_LENGTHS, len(order), endpoint=True)
    odd = rng.random(len(order)) < _ODD_SHARE
    length[odd] = rng.choice(_ODD_LENGTHS, odd.sum())
    return [
        # a copy, for a slice would be saved with the whole session behind it
        {"eeg": torch.from_numpy(x[i, :, : length[i]].copy()), "image": int(k), "label": int(label[k]),
         "subject": subject}
        for i, k in enumerate(order) if i not in lost
    ]  # fmt: skip


def _split(dataset: list[dict[str, Any]], label: np.ndarray, rng: np.random.Generator) -> dict[str, list[int]]:
    """Rows of the data set by part, 4 : 1 : 1 within each class; all trials of a picture are in one part."""
    part = np.empty(len(label), int)
    for k in np.unique(label):
        here = np.flatnonzero(label == k)
        part[rng.permutation(here)] = np.maximum(np.arange(len(here)) % 6 - 3, 0)
    rows: dict[str, list[int]] = {name: [] for name in _PARTS}
    for i, trial in enumerate(dataset):
        rows[_PARTS[part[trial["image"]]]].append(i)
    return rows
