"""EEGCVPR40, also called EEG-ImageNet: six people, 40 classes of ImageNet, all pictures of a class in one block.

Files that belong together::

    eeg_5_95_std.pth, eeg_14_70_std.pth, ...   {"dataset": [{"eeg" (128, L), "image", "label", "subject"}, ...],
                                                "labels": WordNet ids, "images": names}
    block_splits_by_image_all.pth              {"splits": [{"train", "val", "test"}, ...]}, rows of the data set
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sightwave import files
from sightwave.datasets.base import Dataset
from sightwave.errors import DataError, MissingFile, RecipeError, ShapeError, one_of
from sightwave.phantom.head import CVPR128
from sightwave.reading.checks import check_trials, check_unit
from sightwave.reading.gather import SUFFIXES, gather
from sightwave.reading.unpickle import load_pickle
from sightwave.stimuli import Stimuli
from sightwave.trials import Trials

PARTS = ("train", "val", "test")
SHORTEST, LONGEST = 450, 600
SFREQ = 1000.0
VOLTS = 1e-3  # smaller numbers are volts
BLOCK_PAUSE_S, PICTURE_S = 10.0, 0.5
GET = "https://github.com/perceivelab/eeg_visual_classification"


@dataclass(frozen=True)
class Cvpr40(Dataset):
    """WARNING: block design. All pictures of a class were shown in one block, so the class is the time of recording.

    EEG drifts, and whoever knows the block knows the class: accuracies above 90 % on this data set fall to about
    chance when the order is randomised or slow drift is filtered out (Li et al. 2020,
    https://doi.org/10.1109/TPAMI.2020.2973153). No split of it mends that, least of all the published one, which puts
    every block on both sides. The audit fails, ``leaks=("block-design",)`` lets it run all the same, and then every
    table carries the mark. Use it to test detectors of leaks, or to compare with published numbers; do not take its
    scores for decoding of pictures.

    `part` is that of the published split. No clock was published: `onset` is the schedule of the design (half a second
    per picture, a pause of 10 s between classes), in the order of the file, and not a measured time. Channels
    were not named either; they are called by the 128 names of a cap of that size.

    Parameters
    ----------
    file : str
        Which of the files; "auto" takes the only one that is there.
    splits : {"all", "single"}
        Which of the published lists; items in none of its parts are left out.
    fold : int
        Which split of the list.
    crop : (int, int)
        Samples that are kept, of the 450 to 600 that a usable trial has.

    References
    ----------
    Spampinato et al. 2017, https://arxiv.org/abs/1609.00344.
    """

    file: str = "auto"
    splits: str = "all"
    fold: int = 0
    crop: tuple[int, int] = (20, 460)

    citation = (
        "Spampinato et al. 2017, https://arxiv.org/abs/1609.00344; "
        "block design, see Li et al. 2020, https://doi.org/10.1109/TPAMI.2020.2973153"
    )
    channels_known = False
    looks_for = "eeg_5_95_std.pth or the like, with block_splits_by_image_all.pth"
    by_hand = f"both kinds of file from {GET}, into the folder itself; the pictures from ImageNet, into images/"
    licence = "not stated; the pictures are from ImageNet and have its terms"

    def __post_init__(self) -> None:
        if self.splits not in ("all", "single"):
            raise RecipeError(f"Cvpr40.splits must be all or single, got {self.splits!r}.")
        if not 0 <= self.crop[0] < self.crop[1] <= LONGEST:
            raise RecipeError(f"Cvpr40.crop must be two samples from 0 to {LONGEST}, the first first; got {self.crop}.")

    @classmethod
    def recognise(cls, root: Path) -> tuple[Cvpr40, ...]:
        """Look for the files of the EEG; several of them are several data sets."""
        there = sorted(p.name for p in root.glob("eeg_*.pth"))
        return (cls(),) if len(there) == 1 else tuple(cls(file=name) for name in there)

    def subjects(self, root: Path | None) -> tuple[str, ...]:
        """Numbers of the subjects in the file."""
        return tuple(sorted({str(item["subject"]) for item in self._items(_folder(root))[0]}))

    def load(self, root: Path | None, subjects: tuple[str, ...]) -> tuple[Trials, Stimuli]:
        """Read and crop the trials of ``subjects``; only these are read, the rest of the file stays on disk.

        Raises
        ------
        MissingFile, DataError, ShapeError
            Naming file and field.
        """
        root = _folder(root)
        items, labels, images, path = self._items(root)
        known = sorted({str(item["subject"]) for item in items})
        for s in subjects:
            if s not in known:
                raise one_of("subject", s, known)
        part = self._parts(root, len(items))
        keep = [
            i
            for i, item in enumerate(items)
            if str(item["subject"]) in subjects and part[i] and not self._unfit(item["eeg"])
        ]
        if not keep:
            raise DataError(f"{path}: no usable trial of subject(s) {', '.join(subjects)}.")
        start, stop = self.crop
        eeg = np.empty((len(keep), items[keep[0]]["eeg"].shape[0], stop - start), np.float32)
        for k, i in enumerate(keep):
            if items[i]["eeg"].shape[0] != eeg.shape[1]:
                raise ShapeError(
                    f"{path}: dataset[{i}]['eeg'] has {items[i]['eeg'].shape[0]} channels, not {eeg.shape[1]}."
                )
            eeg[k] = items[i]["eeg"][:, start:stop]
        events = pd.DataFrame({
            "subject": [str(items[i]["subject"]) for i in keep], "session": "1", "run": "1",
            "stimulus": [images[items[i]["image"]] for i in keep], "label": [labels[items[i]["label"]] for i in keep],
            "part": [part[i] for i in keep], "trial": [f"{path.stem}_{i:05d}" for i in keep],
        })  # fmt: skip
        events["onset"] = _schedule(events)
        names = CVPR128 if eeg.shape[1] == len(CVPR128) else tuple(f"E{i}" for i in range(1, eeg.shape[1] + 1))
        trials = Trials(eeg, events, names, SFREQ, start / SFREQ, "z")
        check_trials(trials, str(path))
        # standardised, or in a unit that nobody has written down; volts only where the numbers are as small as volts
        sd = float(np.median(np.asarray(eeg[:: max(1, len(eeg) // 100)], np.float64).std(2)))
        if sd < VOLTS:
            check_unit(sd, str(path))
            trials = replace(trials, unit="V")
        return trials, _stimuli(root, events, str(path))

    def left_out(self, root: Path | None) -> dict[str, str]:
        """Return how many trials are left out, and why: file -> reason."""
        root = _folder(root)
        items, _, _, path = self._items(root)
        part = self._parts(root, len(items))
        unfit = sum(self._unfit(item["eeg"]) for item in items)
        unlisted = sum(not p and not self._unfit(item["eeg"]) for p, item in zip(part, items, strict=True))
        shortest = max(SHORTEST, self.crop[1])
        why = [f"{unfit} of {len(items)} trials are shorter than {shortest} or longer than {LONGEST} samples"] * bool(
            unfit
        )
        why += [f"{unlisted} are in no part of split {self.fold}"] * bool(unlisted)
        return {path.name: "; ".join(why)} if why else {}

    def _unfit(self, eeg: np.ndarray) -> bool:
        return not max(SHORTEST, self.crop[1]) <= eeg.shape[1] <= LONGEST

    def _items(self, root: Path) -> tuple[list[dict[str, Any]], list[str], list[str], Path]:
        """Items of the file, names of classes and pictures, each item checked, and the file."""
        path = self._path(root)
        stat = path.stat()
        return *_checked(path, stat.st_size, stat.st_mtime_ns), path

    def _path(self, root: Path) -> Path:
        there = sorted(root.glob("eeg_*.pth"))
        if self.file != "auto":
            found = next((p for p in there if p.name == self.file), None)
            if found is None:
                raise one_of("file", self.file, [p.name for p in there])
            return found
        if len(there) > 1:
            raise DataError(f"{root} holds {', '.join(p.name for p in there)}. Say which: Cvpr40(file=...).")
        if not there:
            raise MissingFile(f"No EEGCVPR40 in {root}: expected eeg_5_95_std.pth or the like. Get it from {GET}.")
        return there[0]

    def _parts(self, root: Path, n: int) -> list[str]:
        """Tell the published part of each item, "" for none."""
        path = root / f"block_splits_by_image_{self.splits}.pth"
        if not path.exists():
            raise MissingFile(
                f"No {path.name} in {root}: the published split belongs beside the EEG. Get it from {GET}."
            )
        content = load_pickle(path)
        splits = content.get("splits") if isinstance(content, dict) else None
        if not isinstance(splits, list) or not all(isinstance(s, dict) and set(PARTS) <= set(s) for s in splits):
            raise DataError(f"{path}: expected 'splits', a list of train, val and test.")
        if not 0 <= self.fold < len(splits):
            raise DataError(f"{path}: 'splits' holds {len(splits)}, so fold {self.fold} is not there. Count from 0.")
        part = [""] * n
        for name in PARTS:
            rows = splits[self.fold][name]
            if not isinstance(rows, (list, np.ndarray)):
                raise DataError(f"{path}: {name!r} must be a list of rows.")
            for i in map(_whole, rows):
                if not 0 <= i < n:
                    raise DataError(f"{path}: {name!r} names row {i}, the data set has {n}. Do they belong together?")
                if part[i]:
                    raise DataError(f"{path}: row {i} is in {part[i]!r} and in {name!r}.")
                part[i] = name
        return part


@lru_cache(maxsize=1)
def _checked(path: Path, size: int, mtime_ns: int) -> tuple[list[dict[str, Any]], list[str], list[str]]:
    """Items, names of classes and of pictures. A run asks three times, the file is read once: its EEG is mapped."""
    content = load_pickle(path)
    if not (
        isinstance(content, dict) and all(isinstance(content.get(k), list) for k in ("dataset", "labels", "images"))
    ):
        raise DataError(f"{path}: expected lists 'dataset', 'labels' and 'images'.")
    items, labels, images = content["dataset"], content["labels"], content["images"]
    if not all(isinstance(name, str) for name in (*labels, *images)):
        raise DataError(f"{path}: 'labels' and 'images' must be lists of text.")
    for i, item in enumerate(items):
        where = f"{path}: dataset[{i}]"
        if not isinstance(item, dict) or not {"eeg", "image", "label", "subject"} <= set(item):
            raise DataError(f"{where}: expected eeg, image, label and subject.")
        eeg = item["eeg"]
        if not isinstance(eeg, np.ndarray) or eeg.ndim != 2 or eeg.dtype.kind not in "fiu":
            raise ShapeError(f"{where}['eeg'] must be numbers, (n_channels, n_times).")
        for field, names in (("image", images), ("label", labels)):
            item[field] = number = _whole(item[field])
            if not 0 <= number < len(names):
                raise DataError(f"{where}[{field!r}] must be from 0 to {len(names) - 1}, got {number}.")
        item["subject"] = _whole(item["subject"])
        if item["subject"] < 0:
            raise DataError(f"{where}['subject'] must be a whole number.")
    return items, labels, images


def _folder(root: Path | None) -> Path:
    if root is None:
        raise MissingFile(f"Cvpr40 is real data and needs its folder: --data DIR. Get it from {GET}.")
    return files.must_exist(root, "folder")


def _whole(x: Any) -> int:
    """Return a whole number that may come as a tensor; anything else becomes -1, which no field allows."""
    x = x.item() if isinstance(x, (np.ndarray, np.generic)) and x.size == 1 else x
    return x if type(x) is int else -1


def _schedule(events: pd.DataFrame) -> np.ndarray:
    """Onsets of the published design, class after class as each first appears in the file; seconds, shape (n,)."""
    onset = np.empty(len(events))
    for _, mine in events.groupby("subject"):
        block = pd.factorize(mine["label"])[0]
        order = np.argsort(block, kind="stable")
        onset[mine.index[order]] = PICTURE_S * np.arange(len(mine)) + BLOCK_PAUSE_S * block[order]
    return onset


def _stimuli(root: Path, events: pd.DataFrame, source: str) -> Stimuli:
    """Labels, and pictures where a folder ``images`` holds them: names from the file are looked up, never joined."""
    folder = root / "images"
    shown = set(events["stimulus"])
    paths = sorted(folder.rglob("*")) if folder.is_dir() else []
    images = {p.stem: p for p in paths if p.suffix.lower() in SUFFIXES and p.stem in shown}
    return gather(events, source, images if folder.is_dir() else None, None)
