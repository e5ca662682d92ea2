"""MSS: 32 people, up to five sessions, 20 categories of photographs at 1 Hz and at 5 Hz (OpenNeuro ds005589).

Files that belong together, wherever they lie below the folder::

    sub-02_ses-01_task-lowSpeed_run-01_1000Hz.npy    (n_trials, 122, 500), float32
    sub-02_ses-01_task-lowSpeed_run-01_1000Hz.json   a list of labels, 0 to 19, in alphabetical order of the names
    sub-02_ses-01_task-lowSpeed_run-01_image.csv     optional: FilePath, the picture of each trial
    sub-02_ses-01_task-lowSpeed_run-01_events.tsv    optional: onsets in milliseconds
    captions.txt                                     optional: dataset, category, image name, caption, tab by tab
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pandas as pd

from sightwave import files
from sightwave.datasets.base import Dataset
from sightwave.describe import key
from sightwave.errors import DataError, MissingFile, RecipeError, one_of
from sightwave.ondisk import OnDisk, fits, identity
from sightwave.reading.checks import TO_VOLTS, check_arrays, check_trials
from sightwave.reading.download import Source, listed
from sightwave.reading.gather import SUFFIXES, gather
from sightwave.reading.tables import read_text_table, require
from sightwave.stimuli import Stimuli
from sightwave.trials import Trials

CATEGORIES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "flower", "horse", "motorbike", "person", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
TASKS = {"lowSpeed": 100, "rsvp": 20}
"""Task -> highest event number that is a picture; larger ones are targets and answers."""
WHOLE = {"lowSpeed": 100, "rsvp": 2000}
SFREQ = 1000.0
ANOMALOUS = ("sub-05_ses-05_task-rsvp_run-01", "sub-05_ses-05_task-rsvp_run-02", "sub-06_ses-01_task-rsvp_run-01",
             "sub-06_ses-01_task-rsvp_run-02", "sub-09_ses-02_task-rsvp_run-01", "sub-09_ses-02_task-rsvp_run-02",
             "sub-20_ses-03_task-rsvp_run-04")  # fmt: skip
NEVER_PUBLISHED = ("sub-03_ses-03_task-rsvp_run-02", "sub-26_ses-05_task-rsvp_run-03")
PLACES = ("derivatives/preprocessed_data/sub-*/ses-*/", "preprocessed_data/sub-*/ses-*/", "sub-*/ses-*/", "ses-*/", "")
NAME = re.compile(
    r"(sub-([^_]+)_ses-([^_]+)_task-([^_]+)_run-([^_]+))_(1000Hz\.npy|1000Hz\.json|image\.csv|events\.tsv)"
)
GET = "https://openneuro.org/datasets/ds005589"
PUBLISHED = "https://s3.amazonaws.com/openneuro.org/ds005589"  # the public bucket that its repository names


@dataclass(frozen=True)
class Mss(Dataset):
    """One trial per picture, 0 to 500 ms after its onset, at 1 kHz; 122 channels that the publication does not name.

    They are called "E1" to "E122". `stimulus` is the picture's file name without ``_resized`` and suffix where
    ``_image.csv`` tells it; other trials are stimuli of their own, and `stimulus_known` is False. `recording` names the
    run, `onset` is in seconds, NaN where no events are there. Sessions draw from the same 10,000 pictures, so hold out
    sessions, ``BySession(val=("04",), test=("05",))``, and heed what the audit says of shared pictures. In the task
    rsvp twenty pictures of one category follow each other and epochs overlap: never split it trial by trial.

    Parameters
    ----------
    task : {"lowSpeed", "rsvp"}
        A picture per second, or five.
    unit : {"V", "mV", "uV", "nV"}
        What the arrays are in; the publication does not say. Loading stops with the likely factor when it is wrong.

    References
    ----------
    Xue et al. 2025, https://openneuro.org/datasets/ds005589. Its README says 250 Hz; the files hold 1000 Hz.
    """

    task: str = "lowSpeed"
    unit: str = "V"

    citation = "Xue et al. 2025, MSS, OpenNeuro ds005589, https://openneuro.org/datasets/ds005589"
    licence = "CC0 (EEG and labels); the pictures are from ImageNet and PASCAL VOC and have their own terms"
    channels_known = False
    looks_for = "sub-02_ses-01_task-lowSpeed_run-01_1000Hz.npy or the like, there or in derivatives/"
    by_hand = "the pictures are not published with it: those of ImageNet and PASCAL VOC, into images/<category>/"

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise RecipeError(f"Mss.task must be one of {', '.join(TASKS)}, got {self.task!r}.")
        if self.unit not in TO_VOLTS:
            raise RecipeError(f"Mss.unit must be one of {', '.join(TO_VOLTS)}, got {self.unit!r}.")

    @classmethod
    def recognise(cls, root: Path) -> tuple[Mss, ...]:
        """Look for arrays of either task."""
        stem = "sub-*_task-{}_run-*_1000Hz.npy"
        return tuple(cls(t) for t in TASKS if any(next(root.glob(p + stem.format(t)), None) for p in PLACES))

    def sources(self) -> tuple[Source, ...]:
        """Return signals, labels, names of pictures and events of the task: 9.8 GB at low speed, 192 GB of RSVP."""
        published = listed(Path(__file__).with_name("mss.files.csv.gz"), PUBLISHED)
        return tuple(s for s in published if f"_task-{self.task}_" in s.path)

    def subjects(self, root: Path | None) -> tuple[str, ...]:
        """Numbers of the subjects with at least one usable run."""
        return tuple(dict.fromkeys(run.subject for run in self._runs(_folder(root))[0]))

    def load(self, root: Path | None, subjects: tuple[str, ...]) -> tuple[Trials, Stimuli]:
        """Read the runs of ``subjects`` into one array; a single run, or what is too large for memory, stays on disk.

        Raises
        ------
        MissingFile, DataError, ShapeError, UnitError
            Naming file and field: counts that differ, labels that are none, categories that contradict each other,
            pictures or captions that are missing, voltages that cannot be volts.
        """
        root = _folder(root)
        runs, _ = self._runs(root)
        known = tuple(dict.fromkeys(r.subject for r in runs))
        for s in subjects:
            if s not in known:
                raise one_of("subject", s, known)
        runs = [r for r in runs if r.subject in subjects]
        if not runs:
            raise DataError(f"{root}: no subject was asked for.")
        arrays, tables = [], []
        for run in runs:
            events = _events(run, TASKS[self.task])
            eeg = files.load_array(run.files["1000Hz.npy"])
            check_arrays(eeg, len(events), _names(eeg), str(run.files["1000Hz.npy"]), str(run.files["1000Hz.json"]))
            arrays.append(eeg)
            tables.append(events)
        trials = Trials(
            _join(arrays, runs, TO_VOLTS[self.unit]),
            pd.concat(tables, ignore_index=True),
            _names(arrays[0]),
            SFREQ,
        )
        n = list(map(len, tables))
        check_trials(trials, np.repeat(np.array([str(run.files["1000Hz.npy"]) for run in runs], object), n))
        shown = [str(run.files.get("image.csv", run.files["1000Hz.json"])) for run in runs]
        return trials, _stimuli(root, trials.events, np.repeat(np.array(shown, object), n))

    def left_out(self, root: Path | None) -> dict[str, str]:
        """Return runs that are left out or incomplete, and why: name of the run or file -> reason."""
        return self._runs(_folder(root))[1]

    def _runs(self, root: Path) -> tuple[list[_Run], dict[str, str]]:
        """All usable runs in order, and why others are not; no signal is read."""
        found: dict[str, _Run] = {}
        for path in sorted(root.rglob(f"sub-*_task-{self.task}_run-*")):
            if m := NAME.fullmatch(path.name):
                run = found.setdefault(m[1], _Run(m[1], m[2], m[3], m[5], {}))
                if m[6] in run.files:
                    raise DataError(f"{path.name} is there twice: {run.files[m[6]]} and {path}. Keep one of them.")
                run.files[m[6]] = path
        usable, reasons = [], {}
        for name, run in sorted(found.items()):
            reason = self._reason(run)
            if reason:
                reasons[name] = reason
            else:
                usable.append(run)
                if (note := _onset_note(run, TASKS[self.task])) is not None:
                    reasons[f"{name}_events.tsv"] = note
        if not usable:
            said = "; ".join(f"{k}: {v}" for k, v in list(reasons.items())[:3])
            raise MissingFile(
                f"No run of task {self.task} below {root}: expected files such as sub-02_ses-01_task-{self.task}_run-01"
                f"_1000Hz.npy with their .json. {f'Left out: {said}. ' if said else ''}`sightwave check {root}` tells "
                f"what it holds. Get them from {GET}."
            )
        for name in _gaps(found):
            known = "never published" if name in NEVER_PUBLISHED else "other sessions have this run"
            reasons[name] = f"not there ({known})"
        return usable, dict(sorted(reasons.items()))

    def _reason(self, run: _Run) -> str | None:
        """Why a run cannot be used; None when it can. A run that is known to be odd is used if it is whole."""
        npy, labels = run.files.get("1000Hz.npy"), run.files.get("1000Hz.json")
        if npy is None or labels is None:
            return f"{run.name}_1000Hz.{'npy' if npy is None else 'json'} is not there"
        if npy.is_symlink() and not npy.exists():
            return "not downloaded: a link without content (datalad get)"
        if npy.stat().st_size < 1000 and npy.read_bytes()[:7] == b"/annex/":
            return "not downloaded: a pointer without content (datalad get)"
        if run.name in ANOMALOUS:
            try:
                n = [len(files.load_array(npy)), len(files.read_json(labels))]
            except DataError as e:
                return f"known to be odd: {str(e).rpartition('/')[2]}"
            if n != [WHOLE[self.task]] * 2:
                return f"known to be odd: {n[0]} trials and {n[1]} labels, {WHOLE[self.task]} were shown"
        return None


@dataclass(frozen=True, eq=False)
class _Run:
    """One run and its files, by kind."""

    name: str
    subject: str
    session: str
    run: str
    files: dict[str, Path]


def _folder(root: Path | None) -> Path:
    if root is None:
        raise MissingFile(f"Mss is real data and needs its folder: --data DIR. Get it from {GET}.")
    return files.must_exist(root, "folder")


def _names(eeg: np.ndarray) -> tuple[str, ...]:
    return tuple(f"E{i}" for i in range(1, (eeg.shape[1] if eeg.ndim > 1 else 0) + 1))


def _gaps(found: dict[str, _Run]) -> list[str]:
    """Name the runs that half of the sessions have and others do not."""
    sessions = {(r.subject, r.session): r.name.partition("_run-")[0] for r in found.values()}
    numbers = pd.Series([r.run for r in found.values()]).value_counts()
    common = numbers.index[numbers >= len(sessions) / 2]
    return [n for stem in sessions.values() for k in common if (n := f"{stem}_run-{k}") not in found]


def _events(run: _Run, last_picture: int) -> pd.DataFrame:
    """Labels, pictures and onsets of one run."""
    path = run.files["1000Hz.json"]
    labels = files.read_json(path)
    whole = isinstance(labels, list) and labels and all(type(y) is int and 0 <= y < len(CATEGORIES) for y in labels)
    if not whole:
        raise DataError(f"{path}: expected a list of labels from 0 to {len(CATEGORIES) - 1}, got {str(labels)[:60]}.")
    n = len(labels)
    trial = [f"{run.name}_{i:04d}" for i in range(n)]
    label = [CATEGORIES[y] for y in labels]
    shown = _pictures(run, label) if "image.csv" in run.files else None
    onsets = _onsets(run, last_picture)
    return pd.DataFrame({
        "subject": run.subject, "session": run.session, "run": run.run, "recording": run.name, "trial": trial,
        "label": label, "stimulus": trial if shown is None else shown, "stimulus_known": shown is not None,
        "onset": onsets if onsets is not None and len(onsets) == n else np.nan,
    })  # fmt: skip


def _pictures(run: _Run, label: list[str]) -> list[str]:
    """Stimuli by the names in ``_image.csv``. Its paths are of another machine: keys, never opened."""
    path = run.files["image.csv"]
    table = read_text_table(path)
    require(table, ("FilePath",), path)
    if len(table) != len(label):
        raise DataError(
            f"{path} has {len(table)} rows, {run.files['1000Hz.json']} has {len(label)} labels. One row per trial, in "
            f"the same order; nothing is padded or cut."
        )
    shown = []
    for i, (cell, own) in enumerate(zip(table["FilePath"], label, strict=True)):
        parts = PureWindowsPath(cell).parts
        if not parts or not _stem(parts[-1]):
            raise DataError(
                f"{path}: line {i + 2}, column 'FilePath': expected a path of a picture, got {cell[:60]!r}."
            )
        if len(parts) > 1 and parts[-2] in CATEGORIES and parts[-2] != own:
            raise DataError(
                f"{path}: line {i + 2}, column 'FilePath': a picture of {parts[-2]!r}, but "
                f"{run.files['1000Hz.json']} says {own!r}. Do they belong to the same run?"
            )
        shown.append(_stem(parts[-1]))
    return shown


def _stem(name: str) -> str:
    """Return what csv, captions and picture files have in common: no folder, suffix or ``_resized``."""
    return re.sub(r"\.(jpe?g|png)$", "", PureWindowsPath(name.strip()).name, flags=re.IGNORECASE).removesuffix(
        "_resized"
    )


def _onsets(run: _Run, last_picture: int) -> np.ndarray | None:
    """Seconds of the pictures' onsets, from milliseconds; None without events."""
    path = run.files.get("events.tsv")
    if path is None:
        return None
    rows = [line.split("\t") for line in files.read_text(path).splitlines() if line.strip()]
    if not rows or not {"onset", "eventnumber"} <= set(rows[0]):
        raise DataError(f"{path}: line 1: expected the columns onset, duration and eventnumber.")
    at, number = rows[0].index("onset"), rows[0].index("eventnumber")
    onsets = []
    for i, row in enumerate(rows[1:], 2):
        try:
            if int(row[number]) <= last_picture:
                onsets.append(float(row[at]) / 1000)
        except (ValueError, IndexError) as e:
            raise DataError(f"{path}: line {i}: expected an onset in ms and an event number ({e}).") from e
    return np.array(onsets)


def _onset_note(run: _Run, last_picture: int) -> str | None:
    """Say why the onsets of a run are not used, though they are there."""
    onsets = _onsets(run, last_picture)
    if onsets is None:
        return None
    n = len(_labels_only(run))
    if len(onsets) != n:
        return f"{len(onsets)} pictures for {n} trials, so their onsets are unknown"
    return None


def _labels_only(run: _Run) -> list[Any]:
    labels = files.read_json(run.files["1000Hz.json"])
    return labels if isinstance(labels, list) else []


def _join(arrays: list[np.ndarray], runs: list[_Run], factor: float) -> np.ndarray:
    """Copy memory-mapped runs into one array in volts; what is too large for memory, or a single run, stays on disk."""
    shape = arrays[0].shape[1:]
    for eeg, run in zip(arrays, runs, strict=True):
        if eeg.shape[1:] != shape:
            raise DataError(
                f"{run.files['1000Hz.npy']}: {eeg.shape[1]} channels x {eeg.shape[2]} samples, "
                f"{runs[0].files['1000Hz.npy']} has {shape[0]} x {shape[1]}."
            )
    if len(arrays) == 1 and factor == 1 and arrays[0].dtype == np.float32:
        return arrays[0]
    what = [factor, *(identity(run.files["1000Hz.npy"]) for run in runs)]
    there = OnDisk.of(arrays, key(what)) if len({eeg.dtype for eeg in arrays}) == 1 else None
    if there is not None and not fits(there.as_eeg()):
        if factor == 1 and there.dtype == np.float32:
            return there.as_eeg()
        return OnDisk(there.shape, np.float32, lambda r: (factor * there[r]).astype(np.float32), there.key).as_eeg()
    joined = np.empty((sum(map(len, arrays)), *shape), np.float32)
    start = 0
    for eeg in arrays:
        np.multiply(eeg, factor, out=joined[start : start + len(eeg)], casting="unsafe")
        start += len(eeg)
    return joined


def _stimuli(root: Path, events: pd.DataFrame, source: np.ndarray) -> Stimuli:
    """Stimuli with pictures and captions, if every picture's name is known and there are such files."""
    if not events["stimulus_known"].all():
        return gather(events, source, None, None)
    label = events.drop_duplicates("stimulus").set_index("stimulus")["label"]
    there: dict[str, list[Path]] = {}
    for folder in (root / "images", root / "stimuli"):
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.suffix.lower() in SUFFIXES:
                there.setdefault(_stem(path.name), []).append(path)
    images: dict[str, Path] = {}
    for s in label.index:
        found = there.get(s, [])
        own = found if len(found) < 2 else [p for p in found if p.parent.name == label[s]]
        if len(own) > 1:
            raise DataError(f"{root}: the picture {s!r} is there twice: {own[0]} and {own[1]}. Keep one of them.")
        images |= {s: own[0]} if own else {}
    return gather(events, source, images if there else None, _captions(root), captions_from="captions.txt")


def _captions(root: Path) -> dict[str, tuple[str, ...]] | None:
    """Stimulus -> captions, several per picture in the order of the file; None without ``captions.txt``."""
    path = next((p for p in (root / "captions.txt", root / "stimuli" / "captions.txt") if p.exists()), None)
    if path is None:
        return None
    rows = [line.split("\t") for line in files.read_text(path).splitlines() if line.strip()]
    head = [c.strip().lower() for c in rows[0]] if rows else []
    name, text = (next((i for i, c in enumerate(head) if c.startswith(w)), None) for w in ("image", "caption"))
    if name is None or text is None:
        raise DataError(f"{path}: line 1: expected dataset, category, image name, caption, tab by tab; got {head}.")
    found: dict[str, list[str]] = {}
    for i, row in enumerate(rows[1:], 2):
        if len(row) != len(head) or not row[name].strip() or not row[text].strip():
            raise DataError(f"{path}: line {i}: expected {len(head)} cells, none of them empty; got {len(row)}.")
        captions = found.setdefault(_stem(row[name]), [])
        if row[text].strip() not in captions:
            captions.append(row[text].strip())
    return {s: tuple(c) for s, c in found.items()}
