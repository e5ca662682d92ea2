"""Write trials and stimuli as a folder: arrays with tables, or epochs in a tree like BIDS derivatives.

Both are read back by `datasets.own`, and both are written subject by subject, so that no more than one is in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sightwave import __version__, files
from sightwave.errors import DataError
from sightwave.reading.tables import need_parquet
from sightwave.stimuli import Stimuli
from sightwave.trials import COLUMNS, Trials

COLUMNS_KNOWN = (*COLUMNS, "trial", "onset", "recording", "repetition", "n_averaged", "part", "stimulus_known", "image")
MARKER, ABOUT = "PHANTOM.txt", "SOURCE.txt"
OURS = ("eeg.npy", "trials.csv", "trials.parquet", "info.json", "images", "captions.csv", MARKER, ABOUT)
TREE = ("dataset_description.json", "participants.tsv", "images", "captions.csv", MARKER, ABOUT)
FILE_BYTES = 1_000_000_000
"""FIF files end at 2 GB; larger runs are cut into chunks of so many bytes."""

Parts = Iterable[tuple[Trials, Stimuli]]


def write_npy(folder: Path, parts: Parts, *, about: str = "", phantom: bool = False, parquet: bool = False) -> Path:
    """Write ``eeg.npy``, ``trials.csv`` and ``info.json``, with pictures and captions where there are any.

    Parameters
    ----------
    folder : Path
        New, empty, or written before; it is replaced as a whole.
    parts : iterable of (Trials, Stimuli)
        With the same channels, times and unit; asked for one after the other.
    about : str
        Goes into ``SOURCE.txt``.
    phantom : bool
        The brain is simulated: ``PHANTOM.txt`` says so, and every table of a run on these data.
    parquet : bool
        Write ``trials.parquet`` instead of ``trials.csv``.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DataError
        If the folder holds anything else, or the parts do not fit together.
    ExtraMissing
        If parquet is wanted, and pyarrow is not installed.
    """
    if parquet:
        need_parquet("trials.parquet")
    _only(folder, OURS)
    with files.replacing_folder(folder) as part:
        heads, tables, shapes, shown = [], [], [], _Shown(part)
        with files.growing(part / "eeg.npy", at=0) as f:
            for trials, stimuli in parts:
                heads.append(_head(trials))
                shapes.append((trials.eeg.dtype, trials.eeg.shape))
                _same(heads[-1], heads[0], trials)
                if len(heads) == 1:
                    _header(f, shapes[0][0], shapes[0][1])
                for at in range(0, len(trials), 256):
                    f.write(np.ascontiguousarray(trials.eeg[at : at + 256], shapes[0][0]).data)
                tables.append(shown.add(trials.events, stimuli))
            if not heads:
                raise DataError(f"{folder}: there are no trials to write.")
            at = f.tell()
            f.seek(0)
            _header(f, shapes[0][0], (sum(shape[0] for _, shape in shapes), *shapes[0][1][1:]))
            f.seek(at)
        shown.write_captions()
        events = _joined(tables)
        known = set(COLUMNS_KNOWN)
        events = events.rename(
            columns={c: c if c in known or str(c).startswith("x_") else f"x_{c}" for c in events.columns}
        )
        if parquet:
            events.to_parquet(part / "trials.parquet", index=False)
        else:
            files.write_text(part / "trials.csv", events.to_csv(index=False))
        files.write_json(part / "info.json", heads[0])
        _about(part, about, phantom)
    return folder


def write_derivatives(
    folder: Path, parts: Parts, *, task: str, about: str = "", licence: str = "", phantom: bool = False
) -> Path:
    """Write one ``_epo.fif`` of MNE per run, in a tree like that of BIDS derivatives; metadata hold the events.

    Parameters
    ----------
    folder, parts, about, phantom
        As in `write_npy`.
    task : str
        Goes into the names of the files.
    licence : str
        Goes into ``dataset_description.json``.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DataError
        As `write_npy`, or if two subjects, sessions or runs have names that differ in signs alone.

    Notes
    -----
    BIDS has no form for epochs of EEG yet; names and side files follow its derivatives, the epochs are MNE's. FIF holds
    float32, which is what trials are.
    """
    _only(folder, TREE, r"sub-\w+")
    with files.replacing_folder(folder) as part:
        shown, first = _Shown(part), None
        names: dict[str, Any] = {}
        subjects: dict[str, None] = {}
        for trials, stimuli in parts:
            first = first or _head(trials)
            _same(_head(trials), first, trials)
            events = shown.add(trials.events, stimuli)
            key: Any
            for key, rows in events.groupby(["subject", "session", "run"], sort=False):
                stem = "_".join(f"{k}-{_label(v)}" for k, v in zip(("sub", "ses", "run"), key, strict=True))
                if names.setdefault(stem, key) != key:
                    raise DataError(f"{key} and {names[stem]} are both {stem} as names of files. Rename one.")
                subjects[_label(key[0])] = None
                _write_run(part, trials, events, rows.index.to_numpy(), key, task)
        if first is None:
            raise DataError(f"{folder}: there are no trials to write.")
        shown.write_captions()
        files.write_text(part / "participants.tsv", "participant_id\n" + "".join(f"sub-{s}\n" for s in subjects))
        files.write_json(part / "dataset_description.json", {
            "Name": folder.name, "BIDSVersion": "1.10.0", "DatasetType": "derivative", "License": licence,
            "GeneratedBy": [{"Name": "sightwave", "Version": __version__}],
        })  # fmt: skip
        _about(part, about, phantom)
    return folder


def _write_run(root: Path, trials: Trials, events: pd.DataFrame, rows: np.ndarray, key: Any, task: str) -> None:
    """Write the epochs of one run with their side file, in chunks where they are many."""
    sub, ses, run = map(_label, key)
    folder = root / f"sub-{sub}" / f"ses-{ses}" / "eeg"
    folder.mkdir(parents=True, exist_ok=True)
    per = max(1, FILE_BYTES // (4 * trials.eeg.shape[1] * trials.eeg.shape[2]))
    chunks = [rows[at : at + per] for at in range(0, len(rows), per)]
    for i, some in enumerate(chunks, 1):
        chunk = f"_chunk-{i:02d}" if len(chunks) > 1 else ""
        name = f"sub-{sub}_ses-{ses}_task-{_label(task)}_run-{run}{chunk}_desc-sightwave"
        mine = Trials(trials.eeg[some], events.loc[some], trials.ch_names, trials.sfreq, trials.tmin, trials.unit,
                      trials.history)  # fmt: skip
        mine.to_epochs().save(folder / f"{name}_epo.fif", verbose="error")
        files.write_json(folder / f"{name}_epo.json", {
            "SamplingFrequency": trials.sfreq, "EEGChannelCount": len(trials.ch_names), "Unit": trials.unit,
            "EpochStart": trials.tmin, "EpochCount": len(mine), "Steps": [a.step for a in trials.history],
        })  # fmt: skip


class _Shown:
    """Write the pictures of one part after the other, and collect the captions."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.paths: dict[str, str] = {}
        self.rows: list[tuple[str, str]] = []
        self.told: set[str] = set()

    def add(self, events: pd.DataFrame, stimuli: Stimuli) -> pd.DataFrame:
        """Return the events with the column `image` where there are pictures."""
        from PIL import Image

        shown = stimuli.at(events["stimulus"].unique())
        for s in shown.ids:
            if shown.read is not None and s not in self.paths:
                (self.folder / "images").mkdir(exist_ok=True)
                path = f"images/{_file_name(s, len(self.paths))}.png"
                Image.fromarray(shown.image(s)).save(self.folder / path)
                self.paths[s] = path
            if "captions" in shown.table and s not in self.told:
                self.rows += [(s, c) for c in shown.captions(s)]
                self.told.add(s)
        return events.assign(image=events["stimulus"].map(self.paths)) if shown.read is not None else events

    def write_captions(self) -> None:
        if self.rows:
            table = pd.DataFrame(self.rows, columns=["stimulus", "caption"])
            files.write_text(self.folder / "captions.csv", table.to_csv(index=False))


def _head(trials: Trials) -> dict[str, Any]:
    """Return what ``info.json`` says, and all parts must agree in."""
    history = [{"step": a.step} | ({} if a.fitted_on is None else {"fitted_on": list(map(str, a.fitted_on))})
               for a in trials.history]  # fmt: skip
    head = {"sfreq": trials.sfreq, "tmin": trials.tmin, "unit": trials.unit, "ch_names": list(trials.ch_names)}
    return head | ({"history": history} if history else {})


def _same(head: Mapping[str, Any], first: dict[str, Any], trials: Trials) -> None:
    who = trials.events["subject"].iloc[0] if len(trials) else "?"
    differs = [k for k in ("sfreq", "tmin", "unit", "ch_names") if head[k] != first[k]]
    if differs:
        raise DataError(f"Subject {who} differs from those before in {', '.join(differs)}. Convert them one by one.")
    for mine, ours in zip(head.get("history", []), first.get("history", []), strict=False):
        if mine is not ours and "fitted_on" in ours:  # a step that learnt from each subject's own trials
            ours["fitted_on"] = list(dict.fromkeys([*ours["fitted_on"], *mine.get("fitted_on", [])]))


def _header(f: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Write the header of an ``.npy``, which numpy pads so that the first number may grow in place."""
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(f, described)


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)


def _about(folder: Path, about: str, phantom: bool) -> None:
    if about:
        files.write_text(folder / ABOUT, about.rstrip() + "\n")
    if phantom:
        files.write_text(folder / MARKER, "Simulated: no person was recorded. Converted from data that said so.\n")


def _only(folder: Path, ours: tuple[str, ...], also: str = "$^") -> None:
    """Refuse to replace a folder that holds something else."""
    there = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    others = [name for name in there if name not in ours and not re.fullmatch(also, name)]
    if others or folder.is_file():
        held = f"holds {', '.join(others[:3])}, which would be lost" if others else "is a file"
        raise DataError(f"{folder} {held}. Give a new folder.")


def _label(text: object) -> str:
    """Return letters and digits alone, as labels in names of BIDS are."""
    return re.sub(r"[^A-Za-z0-9]", "", str(text)) or "none"


def _file_name(stimulus: str, i: int) -> str:
    """Return the stimulus itself where it is a harmless file name."""
    return stimulus if re.fullmatch(r"\w[\w.-]{0,99}", stimulus, re.ASCII) else f"{i:06d}!"
