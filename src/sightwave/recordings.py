"""Recording: continuous EEG and the moments when something appeared; `epoch` cuts it into `Trials`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sightwave.errors import DataError, ShapeError
from sightwave.trials import Trials


@dataclass(frozen=True, eq=False)
class Recording:
    """One run of continuous EEG.

    Parameters
    ----------
    eeg : ndarray, shape (n_channels, n_samples)
        Volts, time axis last.
    onsets : DataFrame
        One row per event: `onset` (s after the first sample), `label`, `stimulus`. Any other column is carried along.
    ch_names : tuple of str, length n_channels
    sfreq : float
        Hz.
    name : str
        Which recording this is, best its path within the data set: goes into the events as `recording`, and the
        audit finds overlapping samples by it.
    subject, session, run : str

    Raises
    ------
    ShapeError
        If `eeg` and `ch_names` disagree.
    DataError
        If `onsets` lacks a column, or a sample is not finite: one NaN would spread over its channel in `filter`.
    """

    eeg: np.ndarray
    onsets: pd.DataFrame
    ch_names: tuple[str, ...]
    sfreq: float
    name: str
    subject: str = "01"
    session: str = "01"
    run: str = "01"

    def __post_init__(self) -> None:
        if self.eeg.ndim != 2 or len(self.eeg) != len(self.ch_names):
            turned = self.eeg.ndim == 2 and self.eeg.shape[1] == len(self.ch_names)
            raise ShapeError(
                f"{self.name}: Recording.eeg must be (n_channels, n_samples) = ({len(self.ch_names)}, n_samples), "
                f"got {self.eeg.shape}.{' The axes are swapped: give eeg.T.' if turned else ''}"
            )
        missing = [c for c in ("onset", "label", "stimulus") if c not in self.onsets]
        if missing:
            raise DataError(
                f"{self.name}: Recording.onsets lacks the column(s) {', '.join(missing)}; "
                f"it has {', '.join(map(str, self.onsets))}."
            )
        for channel, samples in zip(self.ch_names, self.eeg, strict=True):
            bad = np.flatnonzero(~np.isfinite(samples))
            if len(bad):
                raise DataError(
                    f"{self.name}: channel {channel!r} holds {len(bad)} sample(s) that are NaN or infinite, the first "
                    f"at {bad[0] / self.sfreq:.3f} s. Cut them out or interpolate them before filtering."
                )

    def filter(self, l_freq: float | None, h_freq: float | None) -> Recording:
        """Return the recording band-passed from ``l_freq`` to ``h_freq`` Hz, with MNE's zero-phase FIR filter."""
        from mne.filter import filter_data

        eeg = filter_data(self.eeg.astype(np.float64), self.sfreq, l_freq, h_freq, verbose="error")
        return replace(self, eeg=eeg)

    def inside(self, tmin: float, tmax: float) -> np.ndarray:
        """Return which epochs lie wholly within the recording, boolean, shape (n_onsets,)."""
        first, n_times, at = self._window(tmin, tmax)
        return (at + first >= 0) & (at + first + n_times <= self.eeg.shape[1])

    def epoch(self, tmin: float, tmax: float, *, baseline: tuple[float, float] | None = None) -> Trials:
        """Cut one trial per onset, from ``tmin`` to ``tmax`` seconds around it, both included.

        Parameters
        ----------
        tmin, tmax : float
            Rounded to the nearest sample; `Trials.tmin` is the rounded value.
        baseline : (float, float) or None
            Subtract each channel's mean over these seconds.

        Returns
        -------
        Trials
            Without the epochs that leave the recording (`inside` tells which). Trial ids are made of the recording's
            name and the onset's row, so they do not depend on what else is loaded.

        Raises
        ------
        DataError
            If no epoch lies within the recording, or the baseline holds no sample.
        """
        keep = self.inside(tmin, tmax)
        first, n_times, at = self._window(tmin, tmax)
        if not keep.any():
            raise DataError(
                f"{self.name}: none of {len(keep)} epochs from {tmin:g} to {tmax:g} s lies within the recording of "
                f"{self.eeg.shape[1] / self.sfreq:.1f} s. Are the onsets in seconds after its first sample?"
            )
        starts = at[keep] + first
        eeg = np.stack([self.eeg[:, s : s + n_times] for s in starts])
        if baseline is not None:
            times = (first + np.arange(n_times)) / self.sfreq
            window = (times >= baseline[0] - 1e-9) & (times <= baseline[1] + 1e-9)
            if not window.any():
                raise DataError(f"{self.name}: the baseline {baseline} holds no sample of {tmin:g} to {tmax:g} s.")
            eeg = eeg - eeg[:, :, window].mean(2, keepdims=True)
        who = {"subject": self.subject, "session": self.session, "run": self.run, "recording": self.name}
        ids = [f"{self.name}#{i:04d}" for i in np.flatnonzero(keep)]
        events = self.onsets[keep].reset_index(drop=True).assign(**who, trial=ids)
        return Trials(eeg.astype(np.float32), events, self.ch_names, self.sfreq, first / self.sfreq)

    def _window(self, tmin: float, tmax: float) -> tuple[int, int, np.ndarray]:
        """First sample relative to onset, samples per epoch, and the onsets' samples."""
        first = round(tmin * self.sfreq)
        at = np.rint(self.onsets["onset"].to_numpy(np.float64) * self.sfreq).astype(np.int64)
        return first, round(tmax * self.sfreq) - first + 1, at


def concatenate(parts: Sequence[Trials]) -> Trials:
    """Join trials of several recordings, in order.

    Raises
    ------
    DataError
        If their channels, sampling, window or unit differ; nothing is re-ordered or resampled in silence.
    """
    if not parts:
        raise DataError("There are no trials to join: no recording has any left.")
    first = parts[0]
    for part in parts[1:]:
        for field, a, b in (
            ("ch_names", first.ch_names, part.ch_names),
            ("sfreq", first.sfreq, part.sfreq),
            ("tmin", first.tmin, part.tmin),
            ("n_times", first.eeg.shape[2], part.eeg.shape[2]),
            ("unit", first.unit, part.unit),
        ):
            if a != b:
                names = (_name(first), _name(part))
                raise DataError(
                    f"{field} differs: {a} in {names[0]}, {b} in {names[1]}. Bring them into one form first."
                )
    events = pd.concat([p.events for p in parts], ignore_index=True)
    return replace(first, eeg=np.concatenate([p.eeg for p in parts]), events=events)


def _name(trials: Trials) -> str:
    row = trials.events.iloc[0]
    return str(row["recording"] if "recording" in row else f"subject {row['subject']}")
