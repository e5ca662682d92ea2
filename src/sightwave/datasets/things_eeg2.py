"""THINGS-EEG2: ten people, 16,540 pictures of 1,654 concepts to train on and 200 of other concepts to test on.

Four layouts circulate, and all are read. What they are called here, and what tells them apart::

    official     sub-01/preprocessed_eeg_training.npy (and _test)   a dict saved with numpy; 17 channels, 100 Hz
    nice         the same names                                     a plain pickle of that dict; 63 channels, 250 Hz
    ubp          sub-01/train.pt and test.pt                        a torch file of arrays and names per trial
    neurobridge  sub-01/train.npy and test.npy, info.json           plain arrays, (concept, picture, repetition, ...)
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pandas as pd

from sightwave import files
from sightwave.datasets.base import Dataset
from sightwave.describe import key
from sightwave.errors import DataError, MissingFile, RecipeError, ShapeError, one_of
from sightwave.ondisk import identity
from sightwave.reading.checks import check_arrays, check_unit
from sightwave.reading.download import Source, listed
from sightwave.reading.fields import flat, per_trial
from sightwave.reading.gather import SUFFIXES, gather
from sightwave.reading.prepared import check_once, joined, noted, prepared
from sightwave.reading.unpickle import load_pickle
from sightwave.stimuli import Stimuli
from sightwave.trials import Applied, Trials, vouched

VARIANTS = ("official", "nice", "ubp", "neurobridge")
PARTS = ("train", "test")
DICTS = {"train": "preprocessed_eeg_training.npy", "test": "preprocessed_eeg_test.npy"}
WHITENED = dict.fromkeys(("nice", "ubp"), "Whitened as published: covariance of the training part") | {
    "official": "Whitened as published: covariance of the training and the test part",
    "neurobridge": "Whitened or standardised as published: statistics of the training part",
    "train": "Whitened by prepare_things_eeg2: covariance of the training part",
    "train+test": "Whitened by prepare_things_eeg2: covariance of the training and the test part",
}
VOLTS = 1e-3  # smaller numbers than this are volts: EEG has at most 5e-4, whitened data about 1
HUB = "https://huggingface.co/datasets/Haitao999/things-eeg/resolve/main"
GET = "https://osf.io/anp5v (official), https://huggingface.co/datasets/Haitao999/things-eeg (ubp)"


@dataclass(frozen=True)
class ThingsEeg2(Dataset):
    """One trial per picture and repetition; `part` is "train" or "test" as published.

    `stimulus` is ``<concept folder>/<file>``, `label` the concept without its number. `run` is the part, since training
    and test pictures were recorded apart; `session` is known in the layout ubp and "unknown" in the others. The order
    of presentation was not kept, so `onset` is NaN. The unit is "z", since all four layouts are whitened, unless the
    numbers are as small as volts. The layout official is whitened with the test part too, and so are files that
    `prepare_things_eeg2` was told to: the audit finds that ("fitted"), and a recipe must name it to run.

    Parameters
    ----------
    variant : str
        Layout; "auto" looks which files are there, and asks when there are two.
    average : bool
        Average the repetitions of each picture while reading, in the training and the test part, which needs a quarter
        of the memory or less; the column `n_averaged` says of how many.

    References
    ----------
    Gifford et al. 2022, https://doi.org/10.1016/j.neuroimage.2022.119754. Files named ``times`` may hold 300 values
    for 250 samples: the last ones count.
    """

    variant: str = "auto"
    average: bool = False

    citation = "Gifford, Dwivedi, Roig & Cichy 2022, https://doi.org/10.1016/j.neuroimage.2022.119754"
    licence = "CC BY (EEG); the THINGS pictures have their own terms"
    looks_for = "sub-01/preprocessed_eeg_training.npy, train.pt or train.npy (raw files: `prepare` them first)"
    by_hand = "pictures from https://osf.io/y63gw into Image_set/; other variants from https://osf.io/anp5v"

    def __post_init__(self) -> None:
        if self.variant not in ("auto", *VARIANTS):
            raise RecipeError(f"ThingsEeg2.variant must be auto or one of {VARIANTS}, got {self.variant!r}.")

    @classmethod
    def recognise(cls, root: Path) -> tuple[ThingsEeg2, ...]:
        """Look for the files of each variant."""
        return tuple(cls(variant) for variant in dict.fromkeys(v for v, _ in _copies(root)))

    def sources(self) -> tuple[Source, ...]:
        """Return the files of the variant ubp, the only ones with lasting addresses; nobody published their sums."""
        table = Path(__file__).with_name("things_eeg2.files.csv")
        return listed(table, HUB) if self.variant in ("auto", "ubp") else ()

    def subjects(self, root: Path | None) -> tuple[str, ...]:
        """Numbers of the ``sub-*`` folders that hold both parts."""
        return tuple(self._found(_folder(root))[1])

    def load(self, root: Path | None, subjects: tuple[str, ...]) -> tuple[Trials, Stimuli]:
        """Open one subject after the other, float16 where the files are, else float32.

        What is larger than `ondisk.IN_MEMORY` stays on disk, in its own files or, unpickled or averaged, in the cache.

        Raises
        ------
        MissingFile, DataError, ShapeError
            Naming file and field: counts of pictures that differ, axes in another order, names that are no data.
        """
        root = _folder(root)
        variant, there = self._found(root)
        for s in subjects:
            if s not in there:
                raise one_of("subject", s, list(there))
        listed, list_from = ({}, "") if variant == "ubp" else _pictures(root)
        parts, tables, shown = list[tuple[np.ndarray, str]](), [], dict[tuple[str, str], pd.DataFrame]()
        head: tuple[tuple[str, ...], float, float] | None = None
        white: dict[str, None] = {}
        for s in subjects:
            for part, path in there[s].items():
                one = _open(path, variant, self.average)
                head = head or one.head
                if one.head != head:
                    raise DataError(f"{path}: channels or times differ from those of the files before it.")
                names = one.stimuli or "\0".join(listed.get(part, ()))
                if (part, names) not in shown:
                    shown[part, names] = _shown(names, part)
                tables.append(self._events(one, s, shown[part, names], list_from))
                white[WHITENED.get(one.whitened_on, WHITENED[variant])] = None
                parts.append((one.eeg, one.key))
        if head is None:
            raise DataError(f"{root}: no subject was asked for.")
        made_of = [[name for _, name in parts], subjects, list(listed.values())]
        events = pd.concat(tables, ignore_index=True)
        events = vouched(events, made_of) if len(set(subjects)) == len(subjects) else events
        trials = Trials(joined(parts), events, *head, "z")
        source = np.array([str(path) for s in subjects for path in there[s].values()], object)
        source = source.repeat(list(map(len, tables)))
        sd = check_once(trials, source)
        if sd < VOLTS:
            check_unit(sd, str(source[0]))
        # the test part was seen: the audit finds it by the trials, and the mark stays with every score
        seen = {w: trials.events["trial"].to_numpy() if "test part" in w else None for w in white if sd >= VOLTS}
        done = (*(Applied(w, ids) for w, ids in seen.items()), *([Applied("Average")] if self.average else []))
        trials = replace(trials, unit="V" if sd < VOLTS else "z", history=done)
        return trials, _stimuli(root, pd.concat(shown.values(), ignore_index=True))

    def left_out(self, root: Path | None) -> dict[str, str]:
        """Return subjects that lack one of the two parts: folder -> reason."""
        root = _folder(root)
        variant, there = self._found(root)
        out = {}
        for sub in sorted({sub for s in there.values() for sub in s["train"].parent.parent.glob("sub-*")}):
            lost = [n for n in _names(variant).values() if not (sub / n).exists()]
            if lost:
                out[sub.relative_to(root).as_posix()] = f"{', '.join(lost)} not there"
        return out

    def _found(self, root: Path) -> tuple[str, dict[str, dict[str, Path]]]:
        """Tell the layout, and the files by subject and part."""
        found = _copies(root)
        fits = {k: v for k, v in found.items() if self.variant in ("auto", k[0])}
        if len(fits) > 1:
            shown = "; ".join(f"{variant} in {place}" for variant, place in fits)
            raise DataError(f"{root} holds several copies: {shown}. Say which, --set variant=NAME, or move one away.")
        if not fits:
            wanted = " or ".join(dict.fromkeys(n["train"] for n in map(_names, VARIANTS)))
            kind = "" if self.variant == "auto" else f" of variant {self.variant!r}"
            others = f" There is {', '.join(v for v, _ in found)} in it." if found else ""
            raise MissingFile(
                f"No THINGS-EEG2{kind} below {root}: expected sub-01/{wanted}, each with "
                f"its test part.{others} `sightwave check {root}` tells what it holds. Get it from {GET}."
            )
        (variant, _), there = next(iter(fits.items()))
        return variant, dict(sorted(there.items()))

    def _events(self, one: _One, subject: str, shown: pd.DataFrame, list_from: str) -> pd.DataFrame:
        """Make one row per picture and repetition, or per picture: column by column, since there are a million rows."""
        (n, reps), part = one.shape, str(shown["part"].iloc[0])
        if len(shown) != n:
            raise DataError(
                f"{list_from} names {len(shown)} {part} pictures, {one.path} holds {n} conditions. They belong "
                f"to different copies of the data; nothing is padded or cut."
            )
        each, said = 1 if self.average else reps, np.array("unknown", object)
        if one.sessions is not None:
            at, kinds = pd.factorize(one.sessions.ravel())
            said = kinds.astype(str).astype(object)[at]
            if self.average:
                said = np.array(["+".join(sorted(set(row))) for row in said.reshape(n, reps)], object)
        ids = np.array([f"sub-{subject}_{part}_{i:05d}" for i in range(n)], object)
        table: dict[str, Any] = {
            "stimulus": shown["stimulus"].to_numpy(object).repeat(each), "subject": subject, "run": part, "part": part,
            "onset": np.nan, "label": shown["label"].to_numpy(object).repeat(each), "session": said,
        }  # fmt: skip
        if self.average:
            table |= {"n_averaged": reps, "trial": ids}
        else:
            nth = np.array([f"_{r + 1:02d}" for r in range(reps)], object)
            table |= {"repetition": np.tile(np.arange(1, reps + 1), n), "trial": ids.repeat(reps) + np.tile(nth, n)}
        with pd.option_context("mode.string_storage", "python"):  # as `trials.TEXT`
            return pd.DataFrame(table)


def _shown(names: str, part: str) -> pd.DataFrame:
    """Stimulus, label and part of each condition of a file."""
    stimuli = names.split("\0")
    concepts = [s.partition("/")[0] for s in stimuli]
    label = {c: re.sub(r"^\d+_", "", c) for c in set(concepts)}
    return pd.DataFrame({"stimulus": stimuli, "label": [label[c] for c in concepts], "part": part})


@dataclass(frozen=True, eq=False)
class _One:
    """What one file holds; eeg is (n_trials, n_channels, n_times), shape the number of conditions and repetitions.

    Stimuli are joined by zeros, and absent where `_pictures` knows them.
    """

    path: Path
    key: str
    shape: tuple[int, ...]
    eeg: np.ndarray
    ch_names: tuple[str, ...]
    sfreq: float
    tmin: float
    stimuli: str = ""
    sessions: np.ndarray | None = None
    whitened_on: str = ""

    @property
    def head(self) -> tuple[tuple[str, ...], float, float]:
        """What all files must agree in."""
        return self.ch_names, self.sfreq, self.tmin


def _folder(root: Path | None) -> Path:
    if root is None:
        raise MissingFile(f"ThingsEeg2 is real data and needs its folder: --data DIR. Get it from {GET}.")
    return files.must_exist(root, "folder")


def _copies(root: Path) -> dict[tuple[str, Path], dict[str, dict[str, Path]]]:
    """List the copies by variant and place: subject -> part -> file."""
    found: dict[tuple[str, Path], dict[str, dict[str, Path]]] = {}
    subs = [*root.glob("sub-*"), *root.glob("*/sub-*"), *root.glob("*/*/sub-*")]
    for sub in sorted({*subs, *([root] if root.name.startswith("sub-") else [])}):
        for kind in ("official", "ubp", "neurobridge"):
            paths = {part: sub / name for part, name in _names(kind).items()}
            if all(p.exists() for p in paths.values()):
                plain = kind == "official" and not _starts_with_numpy(paths["train"])
                place = ("nice" if plain else kind, sub.parent)
                found.setdefault(place, {})[sub.name.removeprefix("sub-")] = paths
    return found


def _names(variant: str) -> dict[str, str]:
    suffix = {"ubp": "pt", "neurobridge": "npy"}.get(variant)
    return {part: f"{part}.{suffix}" for part in PARTS} if suffix else DICTS


def _starts_with_numpy(path: Path) -> bool:
    with path.open("rb") as f:
        return f.read(6) == b"\x93NUMPY"


def _open(path: Path, variant: str, average: bool) -> _One:
    """Open one part of one subject, read now or before."""
    beside = [identity(p) for p in (path.parent / "info.json", path.parent.parent / "info.json") if p.exists()]
    eeg, known, name = prepared(path, ["things_eeg2.2", variant, beside], lambda: _read(path, variant), average=average)
    sessions = np.array(known["sessions"].split(), int) if known["sessions"] else None
    return _One(
        path, name, tuple(known["shape"]), eeg, tuple(known["ch_names"]), known["sfreq"], known["tmin"],
        known["stimuli"], sessions, known["whitened_on"],
    )  # fmt: skip


def _read(path: Path, variant: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Read one part of one subject, and check its axes against its names."""
    field = "preprocessed_eeg_data" if variant in ("official", "nice") else "eeg"
    eeg: Any  # until it is known to be an array
    if variant == "neurobridge":
        eeg = files.load_array(path)
        at = next((p for p in (path.parent / "info.json", path.parent.parent / "info.json") if p.exists()), None)
        info_path = at or files.must_exist(path.parent / "info.json")
        info = files.read_json(info_path)
        if eeg.ndim == 5:  # concepts and their pictures, in condition order
            eeg = eeg.reshape(-1, *eeg.shape[2:])
    else:
        info, info_path = load_pickle(path), path
        eeg = info.get(field) if isinstance(info, dict) else None
    if not isinstance(info, dict) or "ch_names" not in info or not isinstance(eeg, np.ndarray):
        got = ", ".join(k for k in info if isinstance(k, str))[:200] if isinstance(info, dict) else type(info).__name__
        raise DataError(f"{info_path}: expected {field!r}, 'ch_names' and 'times'; got {got}.")
    if eeg.ndim != 4:
        raise ShapeError(
            f"{path}: {field!r} must be (n_conditions, n_repetitions, n_channels, n_times); got {eeg.shape}."
        )
    ch_names = tuple(c for c in flat(info["ch_names"], (str,), f"{info_path}: 'ch_names'") if c != "stim")
    check_arrays(eeg[:, 0], len(eeg), ch_names, f"{path}: {field!r}", str(path))
    sfreq, tmin = _sampling(info, eeg.shape[3], info_path)
    n, reps = eeg.shape[:2]
    stimuli, sessions = list[str](), np.empty(0, int)
    if variant == "ubp":
        img = per_trial(info, "img", n, reps, path)
        if (img != img[:, :1]).any():
            row = int(np.flatnonzero((img != img[:, :1]).any(1))[0])
            raise DataError(f"{path}: 'img': the repetitions of condition {row} name different pictures.")
        stimuli = ["/".join(PureWindowsPath(str(p)).parts[-2:]) for p in img[:, 0]]  # keys, never opened
        if "session" in info:
            sessions = per_trial(info, "session", n, reps, path).astype(int)  # floats in some copies
    on = info.get("whitened_on")
    return eeg, {
        "ch_names": list(ch_names), "sfreq": sfreq, "tmin": tmin, "whitened_on": on if isinstance(on, str) else "",
        "stimuli": "\0".join(stimuli), "sessions": " ".join(map(str, sessions.ravel())),  # text is read the quickest
    }  # fmt: skip


def _sampling(info: Mapping[str, Any], n_times: int, path: Path) -> tuple[float, float]:
    """Rate and first time; the last values count where `times` is longer than the data, as NICE saved it."""
    if "times" not in info and n_times == 250:
        return 250.0, 0.0  # NeuroBridge keeps the first second at 250 Hz and no times
    times = np.array(flat(info.get("times", []), (int, float, np.number), f"{path}: 'times'"), np.float64)
    if len(times) < max(2, n_times):
        raise DataError(f"{path}: 'times' has {len(times)} values, the data have {n_times} samples.")
    times = times[-n_times:]
    step = np.diff(times)
    if not (np.isfinite(times).all() and step.min() > 0 and np.ptp(step) < 0.1 * step.mean()):
        raise DataError(f"{path}: 'times' does not rise in even steps; expected seconds.")
    # times are rounded in some copies, so a whole number of Hz is meant
    return float(round((n_times - 1) / (times[-1] - times[0]), 1)), float(times[0])


def _pictures(root: Path) -> tuple[dict[str, list[str]], str]:
    """Stimuli of both parts in condition order, and where that comes from: the published list, or the folders."""
    places = [root, *root.glob("*"), *root.glob("*/*")]
    path = next((p / "image_metadata.npy" for p in places if (p / "image_metadata.npy").is_file()), None)
    if path is None:
        found = {part: sorted(_images(root, part) or {}) for part in PARTS}
        if all(found.values()):
            return found, "The folders of pictures"
        raise MissingFile(
            f"No image_metadata.npy below {root}, which names the pictures in the order of the data, nor the folders "
            f"training_images and test_images. Give the folder that holds both the EEG and Image_set."
        )
    meta, found = noted(path, lambda: load_pickle(path)), {}
    for part in PARTS:
        fields = (f"{part}_img_concepts", f"{part}_img_files")
        if not isinstance(meta, dict) or not set(fields) <= set(meta):
            raise DataError(f"{path}: expected {' and '.join(map(repr, fields))}.")
        concepts, names = (flat(meta[f], (str,), f"{path}: {f!r}") for f in fields)
        if len(concepts) != len(names):
            raise DataError(f"{path}: {len(concepts)} {fields[0]!r} but {len(names)} {fields[1]!r}.")
        found[part] = [f"{c}/{n}" for c, n in zip(concepts, names, strict=True)]
    return found, str(path)


def _images(root: Path, part: str) -> dict[str, os.DirEntry[str]] | None:
    """Stimulus -> picture; None where there is no such folder. Names from files are looked up here, never joined."""
    name = "training_images" if part == "train" else "test_images"
    places = (root / name, *root.glob(f"*/{name}"), *root.glob(f"*/*/{name}"))
    folder = next((p for p in places if p.is_dir()), None)
    if folder is None:
        return None
    concepts = [c for c in os.scandir(folder) if c.is_dir()]  # pathlib takes three times as long for 16,540 pictures
    return {f"{c.name}/{p.name}": p for c in concepts for p in os.scandir(c) if p.name.lower().endswith(SUFFIXES)}


def _stimuli(root: Path, events: pd.DataFrame) -> Stimuli:
    """Labels of all stimuli, and the pictures of those parts whose folder is there, read when they are asked for."""
    table = gather(events, str(root), None, None).table
    at: dict[str, os.DirEntry[str]] = {}
    for part, rows in events.groupby("part"):
        there = _images(root, str(part))
        lost = [s for s in rows["stimulus"].unique().tolist() if s not in there] if there is not None else []
        if lost:
            raise DataError(
                f"{root}: {len(lost)} {part} pictures are not there, e.g. {', '.join(lost[:3])}. They are named in "
                f"image_metadata.npy, or in the data ('img'); complete the folder, or move it away to read no pictures."
            )
        at |= there or {}
    if not at:
        return Stimuli(table)

    def read(stimulus: str) -> np.ndarray:
        if stimulus not in at:
            raise MissingFile(f"{root} holds no picture {stimulus!r}: its folder of pictures is not there.")
        return files.read_image(Path(at[stimulus]))

    # sizes and times stand in for the content: hashing 16,740 photographs would take longer than training
    stats = {s: at[s].stat() for s in table.index.tolist() if s in at}
    return Stimuli(table, read, key({s: [x.st_size, x.st_mtime_ns] for s, x in stats.items()}))
