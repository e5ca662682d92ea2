"""Own data, without subclassing: from arrays, from ``mne.Epochs``, or from a folder; and out again.

A folder holds::

    eeg.npy       (n_trials, n_channels, n_times)      or NAME-epo.fif instead of the first three
    trials.csv    one row per trial: label, and any of `COLUMNS_KNOWN`; other columns are named x_...
    info.json     {"sfreq": 250, "tmin": -0.1, "unit": "V", "ch_names": ["Oz", ...]}
    images/       optional: the column `image` names the file, else <stimulus>.jpg, .jpeg or .png
    captions.csv  optional: stimulus,caption; several rows per stimulus are several captions
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
from sightwave.reading.checks import TO_VOLTS, check_arrays, check_trials, complete_events
from sightwave.reading.epochs import to_epochs, trials_of
from sightwave.reading.gather import CAPTION, captions_of, gather, images_in, images_of
from sightwave.reading.tables import numbers, read_text_table, refuse_empty, require
from sightwave.recordings import concatenate
from sightwave.stimuli import Stimuli
from sightwave.trials import COLUMNS, UNITS, Applied, Trials

if TYPE_CHECKING:
    import mne

__all__ = ["Own", "from_arrays", "from_epochs", "to_epochs", "write_own"]

COLUMNS_KNOWN = (*COLUMNS, "trial", "onset", "recording", "repetition", "n_averaged", "part", "stimulus_known", "image")
PARTS = ("train", "val", "test")
INFO = {"sfreq": "a number of Hz", "tmin": "seconds", "unit": "V, mV, uV, nV or z", "ch_names": "a list of names"}
OURS = ("eeg.npy", "trials.csv", "info.json", "images", "captions.csv")


@dataclass(frozen=True)
class Own(Dataset):
    """A folder of your own; see the module for its layout, and `write_own` to make one."""

    citation = "your own data"
    licence = "yours"

    def subjects(self, root: Path | None) -> tuple[str, ...]:
        """Values of the column `subject`, in order."""
        folder = _folder(root)
        table = folder / "trials.csv"
        events = _read_events(table) if table.exists() else _read_fifs(folder).events
        return tuple(sorted(events["subject"].unique()))

    def load(self, root: Path | None, subjects: tuple[str, ...]) -> tuple[Trials, Stimuli]:
        """Read the trials of ``subjects``; ``eeg.npy`` in float32 volts stays on disk.

        Raises
        ------
        MissingFile, ShapeError, DataError, UnitError
            Naming file and field, what was expected, and what to do.
        """
        folder = _folder(root)
        from_fif = bool(_fifs(folder))
        trials = _read_fifs(folder) if from_fif else _read_npy(folder)
        known = sorted(trials.events["subject"].unique())
        for s in subjects:
            if s not in known:
                raise one_of("subject", s, known)
        keep = trials.events["subject"].isin(subjects).to_numpy()
        trials = trials if keep.all() else trials[keep]
        check_trials(trials, str(folder / ("*-epo.fif" if from_fif else "eeg.npy")))
        events = trials.events
        stimuli = gather(events, str(folder), images_of(folder, events), captions_of(folder, events))
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
    trials = trials_of(epochs, label=label, source=source)
    check_trials(trials, source)
    return trials, _given_stimuli(trials, source, images, captions)


def write_own(folder: Path, trials: Trials, stimuli: Stimuli) -> None:
    """Write trials and stimuli as a folder that `Own` reads, whole or not at all.

    Columns of the events that are not known get the prefix ``x_``.

    Raises
    ------
    DataError
        If ``folder`` holds anything else: it is replaced as a whole.
    """
    others = sorted(p.name for p in folder.iterdir() if p.name not in OURS) if folder.is_dir() else []
    if others:
        raise DataError(f"{folder} holds {', '.join(others[:3])}, which would be lost. Give a new folder.")
    known = set(COLUMNS_KNOWN) - {"image"}
    events = trials.events.rename(
        columns={c: c if c in known or str(c).startswith("x_") else f"x_{c}" for c in trials.events}
    )
    shown = stimuli.at(events["stimulus"].unique())
    history = [{"step": a.step} | ({} if a.fitted_on is None else {"fitted_on": list(map(str, a.fitted_on))})
               for a in trials.history]  # fmt: skip
    info = {"sfreq": trials.sfreq, "tmin": trials.tmin, "unit": trials.unit, "ch_names": list(trials.ch_names)}
    with files.replacing_folder(folder) as part:
        if shown.read is not None:
            from PIL import Image

            (part / "images").mkdir()
            paths = {s: f"images/{_file_name(s, i)}.png" for i, s in enumerate(shown.ids)}
            for s, path in paths.items():
                Image.fromarray(shown.image(s)).save(part / path)
            events = events.assign(image=events["stimulus"].map(paths))
        if "captions" in shown.table:
            rows = [(s, c) for s in shown.ids for c in shown.captions(s)]
            files.write_text(
                part / "captions.csv", pd.DataFrame(rows, columns=["stimulus", "caption"]).to_csv(index=False)
            )
        np.save(part / "eeg.npy", trials.eeg)
        files.write_text(part / "trials.csv", events.to_csv(index=False))
        files.write_json(part / "info.json", info | ({"history": history} if history else {}))


def _file_name(stimulus: str, i: int) -> str:
    """Return the stimulus itself where it is a harmless file name."""
    return stimulus if re.fullmatch(r"\w[\w.-]{0,99}", stimulus, re.ASCII) else f"{i:06d}!"


def _folder(root: Path | None) -> Path:
    if root is None:
        raise MissingFile("Own needs its folder: --data DIR, holding eeg.npy, trials.csv and info.json.")
    files.must_exist(root, "folder")
    arrays = (root / "eeg.npy").exists() or (root / "trials.csv").exists()
    fifs = _fifs(root)
    if arrays and fifs:
        raise DataError(f"{root} holds eeg.npy or trials.csv and {fifs[0].name}: two recordings. Keep one of them.")
    if not arrays and not fifs:
        there = ", ".join(sorted(p.name for p in root.iterdir())[:8]) or "nothing"
        raise MissingFile(
            f"{root} holds {there}; expected eeg.npy, trials.csv and info.json, or a NAME-epo.fif of MNE."
        )
    return root


# ---- eeg.npy + trials.csv + info.json


def _read_npy(folder: Path) -> Trials:
    path, table = folder / "eeg.npy", folder / "trials.csv"
    info, events, eeg = _read_info(folder / "info.json"), _read_events(table), files.load_array(path)
    check_arrays(eeg, len(events), info["ch_names"], str(path), str(table))
    volts, unit = _volts(eeg, info["unit"], f"{folder / 'info.json'}: unit")
    history = tuple(
        Applied(h["step"], np.array(h["fitted_on"]) if "fitted_on" in h else None) for h in info.get("history", [])
    )
    return Trials(volts, events, tuple(info["ch_names"]), info["sfreq"], info["tmin"], unit, history)


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
    return isinstance(x, (int, float)) and not isinstance(x, bool) and bool(np.isfinite(x))


def _is_applied(x: object) -> bool:
    return isinstance(x, dict) and isinstance(x.get("step"), str) and isinstance(x.get("fitted_on", []), list)


def _read_events(path: Path) -> pd.DataFrame:
    table = read_text_table(path)
    for c in table:
        if c not in COLUMNS_KNOWN and not re.fullmatch(rf"x_.+|{CAPTION}", str(c)):
            near = difflib.get_close_matches(str(c), COLUMNS_KNOWN, n=1)
            raise DataError(
                f"{path}: line 1: unknown column {c!r}.{f' Did you mean {near[0]!r}?' if near else ''} Known: "
                f"{', '.join(COLUMNS_KNOWN)}, caption, caption_2, ...; name columns of your own x_{c}."
            )
    require(table, ("label",), path)
    for c in (*COLUMNS, "trial"):
        if c in table:
            refuse_empty(table, c, path)
    if "part" in table and not table["part"].isin(PARTS).all():
        row = int(np.flatnonzero(~table["part"].isin(PARTS))[0])
        raise DataError(
            f"{path}: line {row + 2}, column 'part': expected train, val or test, got {table['part'][row]!r}."
        )
    for c in ("onset", "repetition", "n_averaged"):
        if c in table:
            values = numbers(table, c, path)
            table[c] = values if c == "onset" else values.astype(np.int64)
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
    return sorted(p for p in folder.iterdir() if re.search(r"[-_]epo\.fif(\.gz)?$", p.name))


def _read_fifs(folder: Path) -> Trials:
    """Join the epochs files; ``sub-``, ``ses-`` and ``run-`` in a name say whose they are, unless the metadata do."""
    import mne

    parts = []
    for path in _fifs(folder):
        try:
            epochs = mne.read_epochs(path, preload=True, verbose="error")
        except (OSError, ValueError, RuntimeError, KeyError, IndexError, AttributeError, TypeError, struct.error) as e:
            raise DataError(f"{path}: MNE cannot read these epochs ({e}). Write them again with epochs.save.") from e
        parts.append(trials_of(epochs, source=str(path), file=path.name))
    return concatenate(parts)


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
