"""Trials: epoched EEG, one row of `events` per trial. The currency before the encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sightwave.errors import DataError, ShapeError

COLUMNS = ("subject", "session", "run", "stimulus", "label")
PLURAL = {c: "stimuli" if c == "stimulus" else f"{c}s" for c in COLUMNS}
UNITS = ("V", "z")


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
        Voltages in `unit`, time axis last, in the order of `events`. May be a memory map.
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
        events = self.events.reset_index(drop=True).astype({c: str for c in COLUMNS})
        if "trial" not in events:
            events["trial"] = [f"{i:06d}" for i in range(len(events))]
        elif events["trial"].duplicated().any():
            twice = events["trial"][events["trial"].duplicated()].iloc[0]
            raise DataError(f"Trials.events: trial {twice!r} occurs more than once; trial ids must be unique.")
        object.__setattr__(self, "events", events)

    def __len__(self) -> int:
        return len(self.eeg)

    def __getitem__(self, keep: np.ndarray | slice) -> Trials:
        """Keep trials by boolean mask, integer index or slice."""
        return replace(self, eeg=self.eeg[keep], events=self.events.iloc[keep].reset_index(drop=True))

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
        eeg = np.zeros((n_groups, *self.eeg.shape[1:]), np.float32)
        for i in np.flatnonzero(keep):  # one trial at a time, so that a memory map stays on disk
            eeg[group[i]] += self.eeg[i]
        eeg /= np.maximum(counts, 1)[:, None, None].astype(np.float32)
        first = self.events.iloc[np.unique(group, return_index=True)[1]].reset_index(drop=True)
        if "n_averaged" in self.events:
            raise DataError("These trials are averages already; average single trials.")
        return replace(
            self, eeg=eeg, events=first.assign(n_averaged=counts), history=(*self.history, Applied("Average"))
        )

    def fingerprint(self) -> str:
        """SHA-256 of the EEG, the events and the sampling, 16 hexadecimal digits."""
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
