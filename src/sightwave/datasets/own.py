"""Own data, without subclassing: from arrays, from ``mne.Epochs``, or from a folder; and out again.

A folder holds::

    eeg.npy       (n_trials, n_channels, n_times)      or NAME-epo.fif instead of the first three
    trials.csv    one row per trial: label, and any of `COLUMNS_KNOWN`; other columns are named x_...
    info.json     {"sfreq": 250, "tmin": -0.1, "unit": "V", "ch_names": ["Oz", ...]}
    images/       optional: the column `image` names the file, else <stimulus>.jpg, .jpeg or .png
    captions.csv  optional: stimulus,caption; several rows per stimulus are several captions

``eeg.h5`` or ``eeg.mat`` may stand for ``eeg.npy``, and ``trials.parquet`` for ``trials.csv``.
"""

from __future__ import annotations

import difflib
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sightwave import files
from sightwave.datasets.base import Dataset
from sightwave.errors import DataError, MissingFile, one_of
from sightwave.reading.arrays import SUFFIXES, load_volume
from sightwave.reading.checks import TO_VOLTS, check_arrays, check_trials
from sightwave.reading.export import COLUMNS_KNOWN, write_npy
from sightwave.reading.gather import CAPTION, captions_of, gather, images_in, images_of
from sightwave.reading.tables import line_of, names_of, numbers, read_text_table, refuse_empty, require
from sightwave.reading.worker import in_worker
from sightwave.recordings import concatenate
from sightwave.stimuli import Stimuli
from sightwave.trials import COLUMNS, UNITS, Applied, Trials, complete_events

if TYPE_CHECKING:
    import mne

__all__ = ["Own", "from_arrays", "from_epochs", "write_own"]

PARTS = ("train", "val", "test")
ARRAYS = tuple(f"eeg{suffix}" for suffix in SUFFIXES)
TABLES = ("trials.csv", "trials.parquet")
INFO = {"sfreq": "a number of Hz", "tmin": "seconds", "unit": "V, mV, uV, nV or z", "ch_names": "a list of names"}


@dataclass(frozen=True)
class Own(Dataset):
    """A folder of your own; see the module for its layout, and `write_own` to make one."""

    citation = "your own data"
    licence = "yours"
    looks_for = "eeg.npy (.h5, .mat) with trials.csv (.parquet) and info.json, or NAME-epo.fif"

    @classmethod
    def recognise(cls, root: Path) -> tuple[Own, ...]:
        """Look for one of the files that `load` cannot do without."""
        return (cls(),) * bool(_there(root, (*ARRAYS, *TABLES)) or _fifs(root))

    def subjects(self, root: Path | None) -> tuple[str, ...]:
        """Values of the column `subject`, in order."""
        folder = _folder(root)
        events = _read_fifs(folder)[0].events if _fifs(folder) else _read_events(_only(folder, TABLES))
        return tuple(sorted(events["subject"].unique()))

    def load(self, root: Path | None, subjects: tuple[str, ...]) -> tuple[Trials, Stimuli]:
        """Read the trials of ``subjects``; ``eeg.npy`` in float32 volts stays on disk.

        Raises
        ------
        MissingFile, ShapeError, DataError, UnitError
            Naming file and field, what was expected, and what to do.
        """
        folder = _folder(root)
        trials, source, table = _read_fifs(folder) if _fifs(folder) else _read_npy(folder)
        known = sorted(trials.events["subject"].unique())
        for s in subjects:
            if s not in known:
                raise one_of("subject", s, known)
        keep = trials.events["subject"].isin(subjects).to_numpy()
        trials = trials if keep.all() else trials[keep]
        check_trials(trials, source[keep])
        events, captions = trials.events, captions_of(folder, trials.events)
        stimuli = gather(events, table[keep], images_of(folder, events), captions, captions_from="captions.csv")
        # pictures and captions belong to the stimuli, so the table of trials lets them go
        extra = [c for c in events if c == "image" or re.fullmatch(CAPTION, str(c))]
        return replace(trials, events=events.drop(columns=extra)), stimuli


def from_arrays(
    eeg: np.ndarray,
    events: pd.DataFrame,
    ch_names: Sequence[str],
    sfreq: float,
    tmin: float = 0.0,
    *,
    unit: str = "V",
    images: Path | Mapping[str, np.ndarray] | None = None,
    captions: Mapping[str, str | Sequence[str]] | None = None,
) -> tuple[Trials, Stimuli]:
    """Make trials and stimuli of arrays.

    Parameters
    ----------
    eeg : ndarray, shape (n_trials, n_channels, n_times)
    events : DataFrame, n_trials rows
        Column `label`; `stimulus` when it is known which picture was shown; `subject`, `session` and `run`, else "01".
    ch_names : sequence of str
    sfreq, tmin : float
        Hz, and seconds of the first sample relative to onset.
    unit : {"V", "mV", "uV", "nV", "z"}
        What ``eeg`` is in; it is converted to volts.
    images : path, mapping or None
        Folder with ``<stimulus>.jpg`` (.jpeg, .png), or stimulus -> picture (height, width, 3) uint8.
    captions : mapping or None
        Stimulus -> caption or captions.

    Raises
    ------
    ShapeError, DataError, UnitError
        As `Own.load`.
    """
    check_arrays(eeg, len(events), ch_names, "eeg", "events")
    volts, unit = _volts(eeg, unit, "unit")
    trials = Trials(volts, complete_events(events, "events"), tuple(ch_names), float(sfreq), float(tmin), unit)
    check_trials(trials, "eeg")
    return trials, _given_stimuli(trials, "events", images, captions)


def from_epochs(
    epochs: mne.BaseEpochs,
    *,
    images: Path | Mapping[str, np.ndarray] | None = None,
    captions: Mapping[str, str | Sequence[str]] | None = None,
    label: str = "label",
    source: str = "epochs",
) -> tuple[Trials, Stimuli]:
    """Make trials and stimuli of ``mne.Epochs``: its good EEG channels, in volts.

    Parameters
    ----------
    epochs : mne.BaseEpochs
        Its metadata may hold `subject`, `session`, `run`, `stimulus` and more, as in `from_arrays`.
    images, captions
        As in `from_arrays`.
    label : str
        Column of the metadata that holds the category; without it, the names of ``event_id`` are the categories.
    source : str
        What error messages call these epochs.

    Raises
    ------
    DataError, UnitError
        As `Own.load`.
    """
    trials = Trials.from_epochs(epochs, label=label, source=source)
    check_trials(trials, source)
    return trials, _given_stimuli(trials, source, images, captions)


def write_own(folder: Path, trials: Trials, stimuli: Stimuli, *, phantom: bool = False) -> None:
    """Write trials and stimuli as a folder that `Own` reads, whole or not at all.

    Columns of the events that are not known get the prefix ``x_``.

    Parameters
    ----------
    phantom : bool
        The brain is simulated: ``PHANTOM.txt`` says so, and every table of a run on the folder.

    Raises
    ------
    DataError
        If ``folder`` holds anything else: it is replaced as a whole.
    """
    write_npy(folder, [(trials, stimuli)], phantom=phantom)


def _folder(root: Path | None) -> Path:
    if root is None:
        raise MissingFile("Own needs its folder: --data DIR, holding eeg.npy, trials.csv and info.json.")
    files.must_exist(root, "folder")
    arrays, fifs = _there(root, (*ARRAYS, *TABLES)), _fifs(root)
    if arrays and fifs:
        raise DataError(f"{root} holds {arrays[0].name} and {fifs[0].name}: two recordings. Keep one of them.")
    if not arrays and not fifs:
        there = ", ".join(sorted(p.name for p in root.iterdir())[:8]) or "nothing"
        raise MissingFile(
            f"{root} holds {there}; expected eeg.npy, trials.csv and info.json, or a NAME-epo.fif of MNE."
        )
    return root


def _there(folder: Path, names: tuple[str, ...]) -> list[Path]:
    return [folder / name for name in names if (folder / name).exists()]


def _only(folder: Path, names: tuple[str, ...]) -> Path:
    """Return the one of these files that is there, or the first, which is then missed by whoever reads it."""
    there = _there(folder, names)
    if len(there) > 1:
        raise DataError(f"{folder} holds {' and '.join(p.name for p in there)}, which say the same. Keep one of them.")
    return there[0] if there else folder / names[0]


# ---- eeg.npy + trials.csv + info.json


def _read_npy(folder: Path) -> tuple[Trials, np.ndarray, np.ndarray]:
    """Trials, and for each the files that its EEG and its row came from."""
    path, table = _only(folder, ARRAYS), _only(folder, TABLES)
    info, events, eeg = _read_info(folder / "info.json"), _read_events(table), load_volume(path)
    check_arrays(eeg, len(events), info["ch_names"], str(path), str(table))
    volts, unit = _volts(eeg, info["unit"], f"{folder / 'info.json'}: unit")
    history = tuple(
        Applied(h["step"], np.array(h["fitted_on"]) if "fitted_on" in h else None) for h in info.get("history", [])
    )
    trials = Trials(volts, events, tuple(info["ch_names"]), info["sfreq"], info["tmin"], unit, history)
    return trials, np.full(len(trials), str(path), object), np.full(len(trials), str(table), object)


def _read_info(path: Path) -> dict[str, Any]:
    info = files.read_json(path)
    if not isinstance(info, dict):
        raise DataError(f"{path}: expected an object with {', '.join(INFO)}, got a {type(info).__name__}.")
    for field in info:
        if field not in (*INFO, "history"):
            raise DataError(f"{path}: {one_of('field', field, INFO)}")
    info.setdefault("tmin", 0.0)
    names, steps = info.get("ch_names"), info.get("history", [])
    sound = {
        "sfreq": _is_number(info.get("sfreq")) and info["sfreq"] > 0,
        "tmin": _is_number(info["tmin"]),
        "unit": info.get("unit") in (*TO_VOLTS, "z"),
        "ch_names": isinstance(names, list) and bool(names) and all(isinstance(n, str) and n for n in names),
        "history": isinstance(steps, list) and all(_is_applied(h) for h in steps),
    }
    for field, ok in sound.items():
        if not ok:
            got = f"got {str(info[field])[:60]!r}" if field in info else "it is missing"
            raise DataError(f"{path}: field {field!r} must be {INFO.get(field, 'as write_own writes it')}; {got}.")
    return info | {"sfreq": float(info["sfreq"]), "tmin": float(info["tmin"])}


def _is_number(x: object) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool) and abs(x) < 1e300  # NaN is not, nor 10**400


def _is_applied(x: object) -> bool:
    return isinstance(x, dict) and isinstance(x.get("step"), str) and isinstance(x.get("fitted_on", []), list)


def _read_events(path: Path) -> pd.DataFrame:
    table = read_text_table(path)
    for c in table:
        if c not in COLUMNS_KNOWN and not re.fullmatch(rf"x_.+|{CAPTION}", str(c)):
            near = difflib.get_close_matches(str(c), COLUMNS_KNOWN, n=1)
            raise DataError(
                f"{path}: {names_of(path)}unknown column {c!r}.{f' Did you mean {near[0]!r}?' if near else ''} Known: "
                f"{', '.join(COLUMNS_KNOWN)}, caption, caption_2, ...; name columns of your own x_{c}."
            )
    require(table, ("label",), path)
    for c in (*COLUMNS, "trial"):
        if c in table:
            refuse_empty(table, c, path)
    if "trial" in table and table["trial"].duplicated().any():
        row = int(np.flatnonzero(table["trial"].duplicated())[0])
        raise DataError(f"{path}: {line_of(path, row)}, column 'trial': {table['trial'][row]!r} occurs more than once.")
    if "part" in table and not table["part"].isin(PARTS).all():
        row = int(np.flatnonzero(~table["part"].isin(PARTS))[0])
        raise DataError(
            f"{path}: {line_of(path, row)}, column 'part': expected train, val or test, got {table['part'][row]!r}."
        )
    for c in ("repetition", "n_averaged"):
        if c in table:
            table[c] = numbers(table, c, path).astype(np.int64)
    if "onset" in table:
        unknown = (table["onset"].str.strip() == "").to_numpy()
        onset = numbers(table.assign(onset=table["onset"].where(~unknown, "0")), "onset", path)
        table["onset"] = np.where(unknown, np.nan, onset)
    if "stimulus_known" in table:
        table["stimulus_known"] = table["stimulus_known"].str.lower().isin(("true", "1"))
    return complete_events(table, str(path))


def _volts(eeg: np.ndarray, unit: str, field: str) -> tuple[np.ndarray, str]:
    """EEG in a unit that `Trials` knows; float32 and float16 volts pass as they are, so a memory map stays one."""
    if unit not in (*TO_VOLTS, "z"):
        raise DataError(f"{field} must be one of {', '.join(TO_VOLTS)} or z, got {unit!r}.")
    if unit in UNITS and eeg.dtype in (np.float32, np.float16):
        return eeg, unit
    return (eeg * np.float64(TO_VOLTS.get(unit, 1.0))).astype(np.float32), unit if unit == "z" else "V"


# ---- NAME-epo.fif


def _fifs(folder: Path) -> list[Path]:
    """Epochs in the folder itself, or in a tree of subjects."""
    there = [*folder.glob("*"), *folder.glob("sub-*/eeg/*"), *folder.glob("sub-*/ses-*/eeg/*")]
    return sorted(p for p in there if re.search(r"[-_]epo\.fif(\.gz)?$", p.name))


def _read_fifs(folder: Path) -> tuple[Trials, np.ndarray, np.ndarray]:
    """Join the epochs files; ``sub-``, ``ses-`` and ``run-`` in a name say whose they are, unless the metadata do."""
    paths = _fifs(folder)
    parts = [Trials(*in_worker(_read_fif, path)) for path in paths]
    source = np.repeat(np.array(list(map(str, paths)), object), list(map(len, parts)))
    return concatenate(parts), source, source


def _read_fif(path: Path) -> tuple[np.ndarray, pd.DataFrame, tuple[str, ...], float, float]:
    """Read one file, in a worker: damaged ones can keep MNE busy for ever."""
    import mne

    try:
        epochs = mne.read_epochs(path, preload=True, verbose="error")
    except (OSError, ValueError, RuntimeError, KeyError, IndexError, AttributeError, TypeError, struct.error) as e:
        raise DataError(f"{path}: MNE cannot read these epochs ({e}). Write them again with epochs.save.") from e
    trials = Trials.from_epochs(epochs, source=str(path), file=path.name)
    return trials.eeg, trials.events, trials.ch_names, trials.sfreq, trials.tmin


def _given_stimuli(
    trials: Trials,
    source: str,
    images: Path | Mapping[str, np.ndarray] | None,
    captions: Mapping[str, str | Sequence[str]] | None,
) -> Stimuli:
    """Stimuli from what a caller passes in Python."""
    shown = set(trials.events["stimulus"])
    found: Mapping[str, Path] | Mapping[str, np.ndarray] | None
    found = {s: p for s, p in images_in(images).items() if s in shown} if isinstance(images, Path) else images
    texts = None
    if captions is not None:
        texts = {s: (c,) if isinstance(c, str) else tuple(c) for s, c in captions.items()}
    return gather(trials.events, source, found, texts)
