"""A BIDS tree of EEG, or recordings side by side: what it holds, which tables belong to each, and their samples.

Recordings are opened by MNE in a process of its own; what a header points to must lie in the tree as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightwave import files
from sightwave.errors import DataError, MissingFile
from sightwave.reading.worker import in_worker

EXTENSIONS = (".set", ".vhdr", ".edf", ".bdf", ".fif", ".fif.gz")
# what recorders write down of themselves, and EEGLAB and MNE of what was cut: nothing was shown then
BOOKKEEPING = re.compile(r"New Segment\b|boundary\b|BAD\b|BAD_|EDGE\b", re.IGNORECASE)
PLACES = ("sub-*/ses-*/eeg", "sub-*/eeg", "sub-*/ses-*", "sub-*")
_ENDING = re.compile(r"_eeg\.(set|vhdr|edf|bdf|fif|fif\.gz)$", re.IGNORECASE)
# without a tree; of FIF, which holds anything, those that are recordings by their names
_LOOSE = re.compile(r"([-_]eeg)?\.(set|vhdr|edf|bdf)$|[-_](eeg|raw)\.fif(\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Run:
    """A recording in a tree.

    Parameters
    ----------
    path, root : Path
        The file, and the folder of the tree.
    entities : mapping of str to str
        What its name says: ``{"sub": "01", "task": "faces"}``; where that is nothing, the name stands for the subject.
    """

    path: Path
    root: Path
    entities: Mapping[str, str]

    @property
    def name(self) -> str:
        """Path within the tree."""
        return self.path.relative_to(self.root).as_posix()

    @property
    def subject(self) -> str:
        """Label of the subject, without ``sub-``."""
        return self.entities["sub"]

    @property
    def session(self) -> str:
        """Label of the session, "01" where there is only one."""
        return self.entities.get("ses", "01")

    @property
    def run(self) -> str:
        """Labels of acquisition and run, "01" without any."""
        return "_".join(self.entities[k] for k in ("acq", "run") if k in self.entities) or "01"

    @property
    def task(self) -> str:
        """Label of the task."""
        return self.entities.get("task", "")

    def sidecar(self, suffix: str, extension: str) -> Path | None:
        """Return the nearest file that applies to this recording: by the inheritance principle, one higher up does too.

        Parameters
        ----------
        suffix, extension : str
            ``"events"``, ``".tsv"``.
        """
        folder = self.path.parent
        while True:
            fits: dict[Path, int] = {}
            for path in sorted(folder.glob(f"*{suffix}{extension}")):
                given = _entities(path)
                given.pop("space", None)
                own = path.name.removesuffix(f"{suffix}{extension}")
                if "sub" not in _entities(self.path):  # no entities tell whose a table is
                    given = {} if own in ("", f"{self.subject}_") else {"sub": ""}
                if (not own or own.endswith("_")) and given.items() <= self.entities.items():
                    fits[path] = len(given)
            if fits:
                nearest = max(fits, key=lambda p: fits[p])
                _present(nearest, self.root)
                return nearest
            if folder == self.root:
                return None
            folder = folder.parent


@dataclass(frozen=True, eq=False)
class Header:
    """What a recording says of itself.

    Parameters
    ----------
    names, kinds : tuple of str
        Each channel's name as written, and what MNE takes it for: "eeg", "eog", "stim", ...
    sfreq : float
        Hz.
    n_samples : int
    markers : list of (float, str)
        Seconds after the first sample, and what happened; without `BOOKKEEPING`.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    sfreq: float
    n_samples: int
    markers: list[tuple[float, str]]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.n_samples / self.sfreq


def runs_in(root: Path) -> list[Run]:
    """List the EEG recordings of a tree by name; the folder ``eeg`` may be missing.

    Where there is no tree, recordings that lie in the folder itself are taken, each for a subject of its own.

    Raises
    ------
    MissingFile
        If there is none.
    DataError
        If one is only a link to content that is not here, leads out of the tree, or occurs in two formats.
    """
    files.must_exist(root, "folder")
    runs: dict[str, Run] = {}
    for path in _found(root):
        _present(path, root)
        name = _LOOSE.sub("", path.name)
        run = Run(path, root, {"sub": name} | _entities(path))
        other = runs.setdefault(path.with_name(name).as_posix(), run)
        if other is not run:
            raise DataError(f"{path} and {other.path.name} are one recording in two formats. Keep one of them.")
    if not runs:
        raise MissingFile(
            f"No EEG recording below {root}: expected sub-*/[ses-*/][eeg/]sub-*_task-*_eeg, or recordings side by "
            f"side, with one of the endings {', '.join(EXTENSIONS)}."
        )
    return list(runs.values())


def tasks_in(root: Path) -> set[str]:
    """Name the tasks of a tree by its files alone; a folder that is no tree has none."""
    return {_entities(path).get("task", "") for path in _found(root)}


def read_header(run: Run) -> Header:
    """Read what a recording says of itself, without its samples."""
    names, kinds, sfreq, n_samples, markers = in_worker(_header, run.path, run.root)
    return Header(tuple(names), tuple(kinds), sfreq, n_samples, markers)


def read_samples(run: Run, rows: list[int]) -> np.ndarray:
    """Read the channels ``rows`` of a recording in volts, shape (n_rows, n_samples), float64."""
    samples: np.ndarray = in_worker(_samples, run.path, run.root, rows)
    return samples


def _found(root: Path) -> list[Path]:
    """Files that are recordings by their names; of one in parts the first, for MNE finds the others by itself."""
    found = sorted(p for place in PLACES for p in root.glob(f"{place}/sub-*") if _ENDING.search(p.name))
    found = [p for p in found if "sub" in _entities(p)]
    found = found or sorted(p for p in root.glob("*") if _LOOSE.search(p.name))
    return [p for p in found if _entities(p).get("split", "").lstrip("0") in ("", "1")]


def _entities(path: Path) -> dict[str, str]:
    return dict(re.findall(r"(?:^|_)([a-zA-Z]+)-([a-zA-Z0-9+]+)", path.name))


def _present(path: Path, root: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise DataError(f"{path}: a link to content that is not here. Was it downloaded? (datalad get)")
    files.confine(root, path.relative_to(root).as_posix())


# ---- in another process


def _raw(path: Path, root: Path) -> Any:
    import mne

    try:
        raw = mne.io.read_raw(path, preload=False, verbose="error")
    except TypeError as e:
        if "number of trials" not in str(e):
            raise
        raise DataError(
            f"{path}: holds epochs, not a recording. Read it with mne.read_epochs_eeglab and sightwave.from_epochs."
        ) from e
    for part in raw.filenames:
        if part is not None:
            files.confine(root, str(Path(part).absolute()))
    return raw


def _header(path: Path, root: Path) -> tuple[Any, ...]:
    import mne

    raw = _raw(path, root)
    markers = []
    if len(raw.annotations):
        at, codes = mne.events_from_annotations(raw, verbose="error")
        text = {code: name for name, code in codes.items()}
        named = [(float((s - raw.first_samp) / raw.info["sfreq"]), str(text[c])) for s, _, c in at.tolist()]
        markers = [(onset, name) for onset, name in named if not BOOKKEEPING.match(name)]
    names, kinds = list(raw.ch_names), list(raw.get_channel_types())
    return names, kinds, float(raw.info["sfreq"]), int(raw.n_times), markers


def _samples(path: Path, root: Path, rows: list[int]) -> np.ndarray:
    return _raw(path, root).get_data(picks=rows, verbose="error")
