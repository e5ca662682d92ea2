"""Trials: epoched EEG, one row of `events` per trial. The currency before the encoder."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
import pandas as pd

from sightwave.cache import cached
from sightwave.describe import key
from sightwave.errors import DataError, ShapeError
from sightwave.ondisk import OnDisk, in_files, means

if TYPE_CHECKING:
    import mne

COLUMNS = ("subject", "session", "run", "stimulus", "label")
PLURAL = {c: "stimuli" if c == "stimulus" else f"{c}s" for c in COLUMNS}
UNITS = ("V", "z")
# the same with pyarrow and without, and quick to go through one by one
TEXT: Any = pd.StringDtype("python", na_value=np.nan) if int(pd.__version__.split(".")[0]) >= 3 else str
_MARK = "sightwave trials"
# tables made by `Trials` itself: a million ids need no second look for twins when only the EEG is replaced
_sound: WeakValueDictionary[int, pd.DataFrame] = WeakValueDictionary()
_keys: dict[int, str] = {}


@dataclass(frozen=True, eq=False)
class Applied:
    """One preprocessing step that `Trials` went through.

    Parameters
    ----------
    step : str
        Its name.
    fitted_on : ndarray of str, shape (n_trials,), or None
        The ``trial`` ids that it learnt from; None when it learns nothing. The audit holds this against the split.
    """

    step: str
    fitted_on: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Trials:
    """Epoched EEG and what was on screen during each epoch.

    Parameters
    ----------
    eeg : ndarray, shape (n_trials, n_channels, n_times), float32 or float16
        Voltages in `unit`, time axis last, in the order of `events`. A memory map too large for memory becomes
        `OnDisk`, which hands out trials as an array does and is read only where trials are needed.
    events : DataFrame, n_trials rows
        Columns `COLUMNS`, all text: `subject`, `session`, `run`, `stimulus` (id of the picture), `label` (category).
        Known extras: `trial` (unique id, made when absent), `stimulus_known` (False where no log tells the picture),
        `onset` (s, within the run's recording), `recording` (name of the file it was cut from), `repetition`,
        `n_averaged`, `part` ("train", "val" or "test" as published).
    ch_names : tuple of str, length n_channels
        10-05 names, as MNE spells them ("Oz", not "OZ").
    sfreq : float
        Sampling frequency in Hz.
    tmin : float
        Time of the first sample in seconds; stimulus onset is 0.
    unit : {"V", "z"}
        Volts, or unitless after standardisation or whitening.
    history : tuple of Applied
        Steps already applied, oldest first.

    Raises
    ------
    ShapeError
        If `eeg`, `events` and `ch_names` disagree.
    DataError
        If `events` lacks a column, or `trial` is not unique.
    """

    eeg: np.ndarray
    events: pd.DataFrame
    ch_names: tuple[str, ...]
    sfreq: float
    tmin: float = 0.0
    unit: str = "V"
    history: tuple[Applied, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "eeg", in_files(self.eeg))
        expected = (len(self.events), len(self.ch_names))
        if self.eeg.ndim != 3 or self.eeg.shape[:2] != expected:
            raise ShapeError(
                f"Trials.eeg must be (n_trials, n_channels, n_times) = ({expected[0]}, {expected[1]}, n_times), "
                f"got {self.eeg.shape}. Is the time axis last?"
            )
        missing = [c for c in COLUMNS if c not in self.events]
        if missing:
            raise DataError(
                f"Trials.events lacks the column(s) {', '.join(missing)}; it has {', '.join(map(str, self.events))}."
            )
        if self.unit not in UNITS:
            raise DataError(
                f"Trials.unit must be one of {UNITS}, got {self.unit!r}. Convert microvolts to volts first."
            )
        if _sound.get(id(self.events)) is self.events:
            return
        events = self.events.reset_index(drop=True).astype(dict.fromkeys(COLUMNS, TEXT))
        if "trial" not in events:
            events["trial"] = [f"{i:06d}" for i in range(len(events))]
        elif events["trial"].duplicated().any():
            twice = events["trial"][events["trial"].duplicated()].iloc[0]
            raise DataError(f"Trials.events: trial {twice!r} occurs more than once; trial ids must be unique.")
        _sound[id(events)] = events
        _keys.pop(id(events), None)  # of another table, which lay in the same place
        object.__setattr__(self, "events", events)

    def __len__(self) -> int:
        return len(self.eeg)

    def __getitem__(self, keep: np.ndarray | slice) -> Trials:
        """Keep trials by boolean mask, integer index or slice; what lies on disk stays there."""
        events = self.events.iloc[keep].reset_index(drop=True)
        if not isinstance(self.eeg, OnDisk):
            return replace(self, eeg=self.eeg[keep], events=events)
        index = np.arange(len(self))[keep]
        if (np.diff(index) > 0).all():  # no trial twice
            _sound[id(events)], _keys[id(events)] = events, key([self._events_key, index])
        return replace(self, eeg=self.eeg.rows(index).as_eeg(), events=events)

    def loaded(self) -> Trials:
        """Read the trials into memory, if they are not there."""
        return replace(self, eeg=np.asarray(self.eeg)) if isinstance(self.eeg, OnDisk) else self

    @property
    def times(self) -> np.ndarray:
        """Time of each sample in seconds, shape (n_times,)."""
        return self.tmin + np.arange(self.eeg.shape[2]) / self.sfreq

    @property
    def repetitions(self) -> str:
        """How many repetitions each trial is the average of: ``"1"``, ``"16"``, or a range such as ``"3-4"``."""
        if "n_averaged" not in self.events or not len(self):
            return "1"
        low, high = int(self.events["n_averaged"].min()), int(self.events["n_averaged"].max())
        return str(high) if low == high else f"{low}-{high}"

    def where(self, **equals: Hashable) -> Trials:
        """Keep the trials whose columns equal the given values: ``trials.where(subject="01")``."""
        keep = np.ones(len(self), bool)
        for column, value in equals.items():
            keep &= (self.events[column] == value).to_numpy()
        return self[keep]

    def average(self, by: tuple[str, ...] = ("subject", "stimulus"), *, at_most: int | None = None) -> Trials:
        """Average repetitions: one trial per group, which raises the SNR by sqrt(n).

        Parameters
        ----------
        by : tuple of str
            Columns that make a group; the first trial of each group lends its row of events.
        at_most : int or None
            Average only the first ``at_most`` repetitions of each group.

        Returns
        -------
        Trials
            With column `n_averaged`, in the order in which groups first appear.
        """
        group = self.events.groupby(list(by), sort=False).ngroup().to_numpy()
        keep = np.ones(len(self), bool)
        if at_most is not None:
            keep = self.events.groupby(list(by), sort=False).cumcount().to_numpy() < at_most
        n_groups = int(group.max()) + 1 if len(group) else 0
        counts = np.bincount(group[keep], minlength=n_groups)
        eeg = means(self.eeg, np.flatnonzero(keep), group[keep], counts)
        first = self.events.iloc[np.unique(group, return_index=True)[1]].reset_index(drop=True)
        if "n_averaged" in self.events:
            raise DataError("These trials are averages already; average single trials.")
        return replace(
            self, eeg=eeg, events=first.assign(n_averaged=counts), history=(*self.history, Applied("Average"))
        )

    def to_epochs(self) -> mne.EpochsArray:
        """Return the trials as ``mne.EpochsArray``, in float64, with the events as metadata; `from_epochs` goes back.

        MNE takes EEG to be in volts; channels without a unit are marked so, and MNE's figures of them are not in µV.
        Unit, kind of number and the steps that were applied are written into ``info["description"]``, which a saved
        file keeps. Onsets of different runs coincide, and MNE wants unique samples, so the true ones stay in the
        metadata.
        """
        import mne
        from mne.io.constants import FIFF

        codes = {name: i + 1 for i, name in enumerate(sorted(self.events["label"].unique()))}
        info = mne.create_info(list(self.ch_names), self.sfreq, "eeg", verbose="error")
        if self.unit != "V":
            for channel in info["chs"]:
                channel["unit"] = FIFF.FIFF_UNIT_NONE
        steps = [{"step": a.step} | ({} if a.fitted_on is None else {"fitted_on": list(map(str, a.fitted_on))})
                 for a in self.history]  # fmt: skip
        info["description"] = json.dumps({_MARK: {"unit": self.unit, "dtype": str(self.eeg.dtype), "history": steps}})
        at = np.arange(len(self))
        return mne.EpochsArray(
            np.asarray(self.eeg, np.float64),
            info,
            np.column_stack([at, np.zeros_like(at), self.events["label"].map(codes).to_numpy(np.int64)]),
            self.tmin,
            codes,
            metadata=self.events.copy(),
            verbose="error",
        )

    @classmethod
    def from_epochs(
        cls, epochs: mne.BaseEpochs, *, label: str = "label", source: str = "epochs", file: str = ""
    ) -> Trials:
        """Return the good EEG channels of ``mne.Epochs``; whatever `to_epochs` wrote comes back as it was.

        Parameters
        ----------
        epochs : mne.BaseEpochs
            Its metadata become the events; what is absent there is made up as in `complete_events`.
        label : str
            Column of the metadata that holds the category; without it, the names of ``event_id`` are the categories.
        source : str
            What error messages call these epochs.
        file : str
            Name of their file: goes into the events, and ``sub-``, ``ses-`` and ``run-`` in it say whose they are.

        Returns
        -------
        Trials
            float32; volts, unless the epochs were made of trials in another unit.

        Raises
        ------
        DataError
            If there is no good EEG channel, or no such column.
        """
        import mne

        picks = mne.pick_types(epochs.info, eeg=True, exclude="bads")
        if not len(picks):
            raise DataError(f"{source}: no good EEG channel among {', '.join(epochs.ch_names[:5])}. Set their types.")
        events, own = _events_of(epochs, label, source, file), _own_words(epochs.info["description"])
        dtype = np.float16 if own.get("dtype") == "float16" else np.float32
        eeg = epochs.get_data(picks=picks, copy=False, verbose="error").astype(dtype)
        good, unit = tuple(epochs.ch_names[i] for i in picks), own.get("unit", "V")
        history = tuple(Applied(h["step"], np.array(h["fitted_on"]) if "fitted_on" in h else None)
                        for h in own.get("history", ()))  # fmt: skip
        events = complete_events(events, source)
        return cls(eeg, events, good, float(epochs.info["sfreq"]), float(epochs.tmin), unit, history)

    @property
    def key(self) -> str:
        """Name trials on disk without reading them: what is made of them is cached under it."""
        if not isinstance(self.eeg, OnDisk):
            raise DataError("Trials.key: these trials lie in memory; use fingerprint().")
        return key([self.eeg.key, self._events_key, self.ch_names, self.sfreq, self.tmin, self.unit])

    @property
    def _events_key(self) -> str:
        here = id(self.events)
        if here not in _keys:
            h = hashlib.sha256()
            for name in self.events:
                values = self.events[name].to_numpy()
                # a tenth of the time of pandas' own hash, or of csv
                h.update(f"{name}{values.dtype}".encode())
                h.update("\0".join(map(str, values)).encode() if values.dtype == object else values.tobytes())
            _keys[here] = h.hexdigest()
        return _keys[here]

    def fingerprint(self) -> str:
        """SHA-256 of the EEG, the events and the sampling, 16 hexadecimal digits.

        Of trials on disk it is computed once, and again when a file has another size or time of change.
        """
        if isinstance(self.eeg, OnDisk):
            digest = cached("fingerprint", self.key, lambda: {"text": np.array([int(self._digest(), 16)], np.uint64)})
            return f"{int(digest['text'][0]):016x}"
        return self._digest()

    def _digest(self) -> str:
        h = hashlib.sha256(
            f"{self.eeg.shape}{self.eeg.dtype}{self.ch_names}{self.sfreq}{self.tmin}{self.unit}".encode()
        )
        for start in range(0, len(self), 1024):
            h.update(np.ascontiguousarray(self.eeg[start : start + 1024]).data)
        h.update(self.events.to_csv(index=False).encode())
        return h.hexdigest()[:16]

    def describe(self) -> dict[str, object]:
        """Return the numbers that describe these trials: what a reader of a table asks first."""
        count = {f"n_{PLURAL[c]}": int(self.events[c].nunique()) for c in COLUMNS}
        if "stimulus_known" in self.events:  # ids of unknown pictures are only names of trials
            known = self.events["stimulus_known"].astype(bool)
            count["n_stimuli"] = int(self.events["stimulus"][known].nunique())
        return {
            "n_trials": len(self),
            "n_channels": len(self.ch_names),
            "n_times": self.eeg.shape[2],
            "sfreq": self.sfreq,
            "tmin": self.tmin,
            "unit": self.unit,
        } | count


def vouched(events: pd.DataFrame, made_of: Any) -> pd.DataFrame:
    """Return a table of events that its reader makes anew at each opening, so that `Trials` need not look through it.

    Parameters
    ----------
    events : DataFrame
        As `Trials` wants it, with unique `trial` ids and every column of `COLUMNS` as text; not changed afterwards.
    made_of : object
        All that decides the table; its `describe.key` stands in for the content of a million rows.
    """
    ends = events.iloc[[0, -1]].astype(str).to_numpy().tolist() if len(events) else []  # other code, other rows
    _sound[id(events)], _keys[id(events)] = events, key([made_of, list(events), len(events), ends])
    return events


def complete_events(events: pd.DataFrame, source: str) -> pd.DataFrame:
    """Fill in what has a default, for tables from outside.

    Parameters
    ----------
    events : DataFrame
        Column `label`. `subject`, `session` and `run` become "01" where absent; without `stimulus`, every trial is a
        stimulus of its own and `stimulus_known` is False.
    source : str
        File that it came from, for the message.

    Raises
    ------
    DataError
        If there is no `label`, or a cell that is needed is empty.
    """
    if "label" not in events:
        raise DataError(f"{source}: no column 'label'; it has {', '.join(map(str, events)) or 'none'}.")
    events = events.reset_index(drop=True)
    for c in ("subject", "session", "run"):
        if c not in events:
            events[c] = "01"
    if "stimulus" not in events:
        events["stimulus"] = [f"trial-{i:06d}" for i in range(len(events))]
        events["stimulus_known"] = False
    for c in COLUMNS:
        if events[c].isna().any():
            row = int(np.flatnonzero(events[c].isna())[0])
            raise DataError(f"{source}: row {row}, column {c!r}: the cell is empty. Fill it in.")
    return events


def _events_of(epochs: mne.BaseEpochs, label: str, source: str, file: str) -> pd.DataFrame:
    """Bring metadata, event codes and the name of a file into one table."""
    codes, n = epochs.events[:, 2], len(epochs.events)
    given = epochs.metadata if epochs.metadata is not None else pd.DataFrame(index=range(n))
    events = given.reset_index(drop=True).copy()
    if label in events:
        events["label"] = events[label]
    elif label != "label":
        raise DataError(
            f"{source}: the metadata have no column {label!r}; they have {', '.join(map(str, events)) or 'none'}."
        )
    else:
        names = {code: name for name, code in epochs.event_id.items()}
        events["label"] = [names.get(code, str(code)) for code in codes]
    if file:
        for column, entity in (("subject", "sub"), ("session", "ses"), ("run", "run")):
            found = re.search(rf"(?:^|_){entity}-([^_.]+?)(?=_|-epo)", file)
            if found and column not in events:
                events[column] = found.group(1)
        events["recording"] = events.get("recording", file)
        events["trial"] = events.get("trial", pd.Series([f"{file}#{i:06d}" for i in range(n)]))
        if "stimulus" not in events:
            events["stimulus"], events["stimulus_known"] = events["trial"], False
    samples = epochs.events[:, 0]
    # arrays without a recording count 0, 1, 2, ...; taken for times, all their epochs would overlap
    if "onset" not in events and n > 1 and (np.diff(samples) != 1).any():
        events["onset"] = samples / epochs.info["sfreq"]
    return events


def _own_words(description: str | None) -> dict[str, Any]:
    """Read what `Trials.to_epochs` wrote into a description; nothing where somebody else wrote it."""
    try:
        said = json.loads(description or "")
    except json.JSONDecodeError:
        return {}
    own = said.get(_MARK) if isinstance(said, dict) else None
    if not isinstance(own, dict) or own.get("unit") not in UNITS or not isinstance(own.get("history"), list):
        return {}
    sound = all(isinstance(h, dict) and isinstance(h.get("step"), str) for h in own["history"])
    return own if sound else {}
