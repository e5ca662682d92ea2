"""Any BIDS tree of EEG: EEGLAB, BrainVision, EDF, BDF or FIF, cut into trials by its events.

The tree is read as the standard says, and as trees really are: onsets may be in milliseconds, the folder ``eeg`` may be
missing, ``channels.tsv`` may belong to another file, and markers may lie in the recording alone. Whatever was mended or
left out is told by `Bids.left_out`. mne-bids is not needed; its reader gives up on the first three of these.
Recordings that lie side by side, without a tree, are read in the same way, each for a subject of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sightwave import files
from sightwave.datasets.base import Dataset
from sightwave.errors import DataError, MissingFile, RecipeError, one_of
from sightwave.reading import montage
from sightwave.reading.checks import check_trials
from sightwave.reading.gather import SUFFIXES, gather
from sightwave.reading.tables import numbers, read_text_table, require
from sightwave.reading.tree import Header, Run, read_header, read_samples, runs_in, tasks_in
from sightwave.recordings import Recording, concatenate
from sightwave.stimuli import Stimuli
from sightwave.trials import Trials

EMPTY = ("", "n/a", "nan", "NaN")
SLACK_S = 1.0  # EDF pads to whole records, and some onsets are rounded
ONSETS = ("onset", "label", "stimulus", "stimulus_known", "pictured")


@dataclass(frozen=True)
class Bids(Dataset):
    """Trials of one task of a BIDS tree.

    Parameters
    ----------
    task : str
        Which task; "" takes the only one.
    label : str
        Column of ``events.tsv`` that holds the category; "" takes `trial_type`, else `value`.
    stimulus : str
        Column that tells which picture was shown; "" takes `stim_file` where it is filled in. Without one, every trial
        is a stimulus of its own and `stimulus_known` is False. Pictures named by `stim_file` are read from ``stimuli``.
    events : tuple of str
        Keep only events of these names, which stand in `trial_type`, else in `value`, else in the column of the
        label. Empty keeps all, responses and all.
    tmin, tmax : float
        Seconds around the onset.
    l_freq, h_freq : float or None
        Band-pass of the continuous recording in Hz. Epochs are too short for slow filters, so those belong here.
    channels : tuple of str
        Keep these, in this order; empty keeps all EEG channels. Names are those of `reading.montage.recognise`.
    bads : {"drop", "keep"}
        What becomes of channels that ``channels.tsv`` calls bad: those bad in any recording that is loaded are dropped
        from all, so that all have the same channels.
    onset_unit : {"auto", "s", "ms", "samples"}
        BIDS says seconds. "auto" compares with the duration of the recording, and reads milliseconds as such.

    References
    ----------
    Pernet et al. 2019, EEG-BIDS, https://doi.org/10.1038/s41597-019-0104-8.
    """

    task: str = ""
    label: str = ""
    stimulus: str = ""
    events: tuple[str, ...] = ()
    tmin: float = -0.1
    tmax: float = 0.8
    l_freq: float | None = None
    h_freq: float | None = None
    channels: tuple[str, ...] = ()
    bads: str = "drop"
    onset_unit: str = "auto"

    citation = "see dataset_description.json of the tree; EEG-BIDS: https://doi.org/10.1038/s41597-019-0104-8"
    licence = "see dataset_description.json of the tree"
    looks_for = "sub-*/[ses-*/][eeg/]sub-*_task-*_eeg.set, .vhdr, .edf, .bdf or .fif; or such files side by side"
    generic = True

    def __post_init__(self) -> None:
        for field, known in (("bads", ("drop", "keep")), ("onset_unit", ("auto", "s", "ms", "samples"))):
            if getattr(self, field) not in known:
                raise RecipeError(f"Bids.{field} must be one of {', '.join(known)}; got {getattr(self, field)!r}.")

    @classmethod
    def recognise(cls, root: Path) -> tuple[Bids, ...]:
        """Look for recordings, task by task; those at rest come last."""
        return tuple(cls(task) for task in sorted(tasks_in(root), key=lambda task: ("rest" in task.lower(), task)))

    def subjects(self, root: Path | None) -> tuple[str, ...]:
        """Labels of the subjects that have a recording of the task, without ``sub-``."""
        return tuple(dict.fromkeys(run.subject for run in self._runs(root)[0]))

    def load(self, root: Path | None, subjects: tuple[str, ...]) -> tuple[Trials, Stimuli]:
        """Read and cut the recordings of ``subjects``; `left_out` says what is not used, and why.

        Raises
        ------
        MissingFile, DataError, UnitError
            Naming file and field.
        """
        runs = self._runs(root)[0]
        known = {run.subject for run in runs}
        for s in subjects:
            if s not in known:
                raise one_of("subject", s, known)
        opened = [self._open(run) for run in runs if run.subject in subjects]
        bad = {name for o in opened for name in o.bad} if self.bads == "drop" else set()
        parts = []
        for o in opened:
            if o.inside(self.tmin, self.tmax).any():
                trials = self._cut(o, bad)
                check_trials(trials, str(o.run.path))
                parts.append(trials)
        if not parts:
            why = "; ".join(f"{o.run.name}: {len(o.onsets)} trials, {', '.join(o.notes)}" for o in opened)
            if not any(len(o.onsets) for o in opened):
                why += ". Put a table beside it, NAME_events.tsv with the columns onset (seconds) and trial_type"
            raise DataError(f"{root}: no usable trial of subject(s) {', '.join(subjects)}. {why}.")
        trials = concatenate(parts)
        stimuli = _stimuli(runs[0].root, trials.events)
        return replace(trials, events=trials.events.drop(columns="pictured")), stimuli

    def left_out(self, root: Path | None) -> dict[str, str]:
        """Return what is left out or was mended, by path within the tree; only headers and tables are read for it."""
        runs, told = self._runs(root)
        for run in runs:
            try:
                o = self._open(run)
            except DataError as e:
                told[run.name] = f"not read: {str(e).removeprefix(f'{run.path}: ')}"
                continue
            notes, outside = list(o.notes), int((~o.inside(self.tmin, self.tmax)).sum())
            if outside:
                notes.append(f"{outside} of {len(o.onsets)} trials leave the recording")
            if o.bad:
                what = "left out of all that is loaded with it" if self.bads == "drop" else "kept"
                notes.append(f"channel(s) {', '.join(o.bad)} are bad in channels.tsv: {what}")
            if notes:
                told[run.name] = "; ".join(notes)
        return dict(sorted(told.items()))

    def positions(self, root: Path | None, subject: str) -> dict[str, np.ndarray]:
        """Return where the electrodes of a subject's first recording sit: channel -> metres, shape (3,).

        Measured ones of ``electrodes.tsv``, in the axes that ``coordsystem.json`` names, else those of MNE for the
        cap. Channels of which nothing is known are absent.
        """
        runs = self._runs(root)[0]
        run = next((r for r in runs if r.subject == subject), None)
        if run is None:
            raise one_of("subject", subject, [r.subject for r in runs])
        o = self._open(run)
        path, system = run.sidecar("electrodes", ".tsv"), run.sidecar("coordsystem", ".json")
        if path is None:
            places = dict(zip(o.names, montage.positions(o.written), strict=True))
            return {name: place for name, place in places.items() if np.isfinite(place).all()}
        content = files.read_json(system) if system else {}
        unit = content.get("EEGCoordinateUnits", "m") if isinstance(content, dict) else "m"
        measured = montage.read_electrodes(path, str(unit))
        measured |= dict(zip(montage.recognise(list(measured)).names, measured.values(), strict=True))
        both = zip(o.written, o.names, strict=True)
        return {name: measured[key] for w, name in both if (key := w if w in measured else name) in measured}

    def _runs(self, root: Path | None) -> tuple[list[Run], dict[str, str]]:
        """Return the recordings of the task, and why the others are left out."""
        if root is None:
            raise MissingFile("Bids needs the folder of a BIDS tree: --data DIR, holding sub-*/.")
        runs = runs_in(root)
        tasks = sorted({run.task for run in runs})
        if self.task and tasks == [""]:
            raise DataError(
                f"{root}: the names of the recordings tell no task, so leave it out instead of {self.task!r}."
            )
        if self.task and self.task not in tasks:
            raise one_of("task", self.task, tasks)
        if not self.task and len(tasks) > 1:
            raise DataError(f"{root}: there are the tasks {', '.join(tasks)}. Say which: Bids(task='{tasks[0]}').")
        task = self.task or tasks[0]
        others = {run.name: f"task {run.task}" for run in runs if run.task != task}
        return [run for run in runs if run.task == task], others

    def _open(self, run: Run) -> _Opened:
        """Read a recording's header and what its tables say of it."""
        notes: list[str] = []
        head = read_header(run)
        rows, bad = _channels(run, head, notes)
        written = tuple(head.names[i] for i in rows)
        names = montage.recognise(written).names
        bad_names = [name for w, name in zip(written, names, strict=True) if w in bad]
        return _Opened(run, head, rows, written, names, bad_names, self._onsets(run, head, notes), notes)

    def _cut(self, o: _Opened, bad: set[str]) -> Trials:
        usable = [name for name in o.names if name not in bad]
        for name in self.channels:
            if name not in usable:
                raise one_of("channel", name, usable)
        names = self.channels or tuple(usable)
        if not names:
            raise DataError(f"{o.run.path}: no EEG channel is left. Set their types in channels.tsv.")
        eeg = read_samples(o.run, [o.rows[o.names.index(n)] for n in names])
        who = (o.run.name, o.run.subject, o.run.session, o.run.run)
        recording = Recording(eeg, o.onsets, names, o.head.sfreq, *who)
        if self.l_freq is not None or self.h_freq is not None:
            recording = recording.filter(self.l_freq, self.h_freq)
        return recording.epoch(self.tmin, self.tmax)

    # ---- events

    def _onsets(self, run: Run, head: Header, notes: list[str]) -> pd.DataFrame:
        """Return the events that become trials, with columns `ONSETS`."""
        path = run.sidecar("events", ".tsv")
        if path is None:
            path, table = run.path, pd.DataFrame(head.markers, columns=["onset", "trial_type"])
            notes.append(f"no events.tsv, so its own {len(table)} markers are used")
        elif not files.read_text(path).strip().partition("\n")[2]:
            table = pd.DataFrame()
            notes.append(f"{path.name} holds no event")
        else:
            table = self._in_seconds(path, head, notes)
        if not len(table):
            return pd.DataFrame({c: [] for c in ONSETS})
        label = self._column(table, "label", ("trial_type", "value"), path)
        shown = self._column(table, "stimulus", ("stim_file",), path)
        named = next((c for c in ("trial_type", "value") if _filled(table, c)), label)
        if self.events:
            other = ~table[named].isin(self.events)
            if other.any():
                there = ", ".join(sorted(set(table[named][other]))[:8])
                notes.append(f"{other.sum()} of {len(table)} events are not asked for: {there}")
            table = table[~other]
        for column in dict.fromkeys(c for c in (label, shown) if c):
            table = _without(table, column, notes)
        own = pd.Series([f"{run.name}#{i:04d}" for i in table.index], table.index, dtype=str)
        picture = table[shown].str.removeprefix("bids::").str.removeprefix("stimuli/") if shown else own
        known = [table["onset"], table[label].str.strip(), picture, bool(shown), shown == "stim_file"]
        return pd.DataFrame(dict(zip(ONSETS, known, strict=True)), table.index).reset_index(drop=True)

    def _in_seconds(self, path: Path, head: Header, notes: list[str]) -> pd.DataFrame:
        """Read a table of events, with onsets as numbers in seconds."""
        table = read_text_table(path, sep="\t")
        require(table, ("onset",), path)
        empty = table["onset"].isin(EMPTY)
        onset = numbers(table.assign(onset=table["onset"].mask(empty, "0")), "onset", path)
        table = _without(table.assign(seconds=onset), "onset", notes)
        factor = self._unit(table["seconds"].to_numpy(), head, path, notes)
        return table.assign(onset=table["seconds"] * factor)

    def _unit(self, onset: np.ndarray, head: Header, path: Path, notes: list[str]) -> float:
        """Return how many seconds one unit of the onsets is."""
        factor = {"s": 1.0, "ms": 1e-3, "samples": 1 / head.sfreq}
        end = head.duration + SLACK_S
        if self.onset_unit != "auto":
            return factor[self.onset_unit]
        if not len(onset) or (onset > end).mean() < 0.5:  # a few beyond the end: the recording was cut short
            return 1.0
        last = float(onset.max())
        fits = [unit for unit, f in factor.items() if last * f <= end]
        about = f"the last onset is {last:g}, and the recording lasts {head.duration:.1f} s"
        if not fits:
            raise DataError(
                f"{path}: column 'onset': {about} at {head.sfreq:g} Hz; neither seconds, milliseconds nor samples fit. "
                f"Do the two belong together?"
            )
        if fits == ["ms"] or ("ms" in fits and head.sfreq == 1000):
            notes.append(f"ONSETS ARE MILLISECONDS in {path.name}, not seconds as BIDS says: {about}")
            return 1e-3
        raise DataError(
            f"{path}: column 'onset': {about} at {head.sfreq:g} Hz; they may be {' or '.join(fits)}. "
            f"Say which: Bids(onset_unit='{fits[0]}')."
        )

    def _column(self, table: pd.DataFrame, field: str, usual: tuple[str, ...], path: Path) -> str:
        """Return the column for a field, "" if there is no usual one and none is needed."""
        given: str = getattr(self, field)
        found = given if given in table else ""
        if not given:
            found = next((c for c in usual if _filled(table, c)), "")
        if not found and (given or field == "label"):
            raise DataError(
                f"{path}: no column {given or ' or '.join(usual)} for the {field} is filled in; it has "
                f"{', '.join(str(c) for c in table if c != 'seconds')}. Say which: Bids({field}=...)."
            )
        return found


@dataclass(frozen=True, eq=False)
class _Opened:
    """A recording, its EEG channels by row, as written and as mapped, and its events."""

    run: Run
    head: Header
    rows: list[int]
    written: tuple[str, ...]
    names: tuple[str, ...]
    bad: list[str]
    onsets: pd.DataFrame
    notes: list[str]

    def inside(self, tmin: float, tmax: float) -> np.ndarray:
        """Return which trials lie within the recording, boolean, shape (n_onsets,)."""
        nothing = np.empty((0, self.head.n_samples))
        return Recording(nothing, self.onsets, (), self.head.sfreq, self.run.name).inside(tmin, tmax)


def _filled(table: pd.DataFrame, column: str) -> bool:
    return column in table and not table[column].isin(EMPTY).all()


def _without(table: pd.DataFrame, column: str, notes: list[str]) -> pd.DataFrame:
    """Leave out the rows in which a cell is n/a, and say so."""
    empty = table[column].isin(EMPTY)
    if empty.any():
        notes.append(f"{empty.sum()} of {len(table)} events have no {column}")
    return table[~empty]


def _channels(run: Run, head: Header, notes: list[str]) -> tuple[list[int], set[str]]:
    """Rows of the EEG channels, and names of bad ones: by ``channels.tsv``, else by MNE's kind and the name."""
    path = run.sidecar("channels", ".tsv")
    kind: dict[str, str] = {}
    bad: set[str] = set()
    if path is not None:
        table = read_text_table(path, sep="\t")
        require(table, ("name",), path)
        names = table["name"].str.strip()
        known = len(set(head.names) & set(names))
        if known < len(head.names) / 2:
            notes.append(f"{path.name} is not used: of its {len(names)} channels the recording has {known}")
        else:
            blank = pd.Series("", table.index)
            kind = dict(zip(names, table.get("type", blank).str.strip().str.lower(), strict=True))
            bad = set(names[table.get("status", blank).str.strip().str.lower() == "bad"])
    rows, other = list[int](), list[str]()
    for i, (name, kind_mne) in enumerate(zip(head.names, head.kinds, strict=True)):
        said = kind.get(name, "")
        if said == "eeg" if said not in EMPTY else kind_mne == "eeg" and montage.is_eeg(name):
            rows.append(i)
        else:
            other.append(name)
    if other:
        notes.append(f"{len(other)} channel(s) are no EEG: {', '.join(other[:8])}")
    return rows, bad


def _stimuli(root: Path, events: pd.DataFrame) -> Stimuli:
    """Labels, and the pictures that `stim_file` names, where the tree has them."""
    images = None
    if events["pictured"].any():
        paths = {s: files.confine(root, f"stimuli/{s}") for s in events["stimulus"].unique()}
        images = {s: p for s, p in paths.items() if p.suffix.lower() in SUFFIXES and p.is_file()} or None
    return gather(events, str(root), images, None)
