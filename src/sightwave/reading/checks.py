"""Checks of EEG that came from outside: every refusal names file and field, what was expected, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightwave.errors import DataError, ShapeError, UnitError
from sightwave.trials import Trials

# Typical sd of one channel within a trial. Scalp EEG has 1e-6 to 2e-4 V; averages are smaller, raw drift is larger.
LOW_V, HIGH_V = 2e-7, 5e-4
TO_VOLTS = {"V": 1.0, "mV": 1e-3, "uV": 1e-6, "nV": 1e-9}
WORDS = {
    1e-3: "they look like millivolts: multiply by 1e-3 (unit='mV')",
    1e-6: "they look like microvolts: multiply by 1e-6 (unit='uV')",
    1e-9: "they look like nanovolts: multiply by 1e-9 (unit='nV')",
    1e3: "they look 1000 times too small, as millivolts scaled twice: multiply by 1e3",
    1e6: "they look a million times too small, as microvolts scaled twice: multiply by 1e6",
}
CHUNK = 256


def check_arrays(eeg: np.ndarray, n_rows: int, ch_names: Sequence[str], source: str, table: str) -> None:
    """Check an array of trials against the table and the channel names that belong to it.

    Parameters
    ----------
    eeg : ndarray
        Must be real numbers, shape (n_trials, n_channels, n_times).
    n_rows : int
        Rows of the table, one per trial.
    ch_names : sequence of str
    source, table : str
        Files that array and table came from, for the message.

    Raises
    ------
    ShapeError
        If an axis has the wrong length; says which transposition would fit.
    DataError
        If the numbers are not real, the counts differ, or a channel is named twice.
    """
    if eeg.dtype.kind not in "fiu":
        raise DataError(f"{source}: the array holds {eeg.dtype}; expected real numbers. Save it as float32.")
    twice = sorted({c for c in ch_names if list(ch_names).count(c) > 1})
    if twice:
        raise DataError(f"{source}: ch_names holds {twice[0]!r} more than once. Every channel needs a name of its own.")
    expected = f"(n_trials, n_channels, n_times) = ({n_rows}, {len(ch_names)}, n_times)"
    if eeg.ndim != 3:
        raise ShapeError(f"{source}: eeg must have three axes, {expected}; got {eeg.ndim}, shape {eeg.shape}.")
    if eeg.shape[1] != len(ch_names):
        hint = _transposition(eeg.shape, n_rows, len(ch_names))
        raise ShapeError(
            f"{source}: eeg must be {expected}, since ch_names holds {len(ch_names)} names; got shape "
            f"{eeg.shape}.{hint}"
        )
    if len(eeg) != n_rows:
        raise DataError(
            f"{table} has {n_rows} rows, {source} has {len(eeg)} trials. One row per trial, in the same order; "
            f"nothing is padded or cut."
        )
    if not eeg.shape[2] or not len(eeg):
        raise ShapeError(f"{source}: eeg is empty, shape {eeg.shape}; expected {expected}.")


def check_trials(trials: Trials, source: str | np.ndarray) -> None:
    """Refuse trials that no recording of a brain could hold.

    Parameters
    ----------
    trials : Trials
    source : str, or ndarray of str, shape (n_trials,)
        The file that they came from, or that of each trial, for the message.

    Raises
    ------
    DataError
        If a sample is NaN or infinite, a channel is flat in every trial, or a trial is zero throughout.
    UnitError
        If voltages cannot be volts; names the likely factor.
    """
    eeg, names = trials.eeg, np.array(trials.ch_names)
    if not eeg.size:
        raise DataError(f"{source_of(source, 0)}: eeg holds no sample, shape {eeg.shape}.")
    finite: list[np.ndarray] = []
    zero: list[np.ndarray] = []
    sd: list[np.ndarray] = []
    for start in range(0, len(eeg), CHUNK):  # a memory map is read once, a piece at a time
        part = np.asarray(eeg[start : start + CHUNK], np.float64)
        ok: np.ndarray = np.asarray(np.isfinite(part).all(2))
        finite.append(ok)
        part = np.where(ok[:, :, None], part, 0.0)
        zero.append((part == 0).all((1, 2)) & ok.all(1))
        # np.std of a constant is not exactly 0: rounding in the mean
        sd.append(np.where(np.ptp(part, axis=2) == 0, 0.0, part.std(2)))
    ok_NC, zero_N, sd_NC = np.concatenate(finite), np.concatenate(zero), np.concatenate(sd)
    if not ok_NC.all():
        channel = int(np.flatnonzero(~ok_NC.all(0))[0])
        first = int(np.flatnonzero(~ok_NC[:, channel])[0])
        n_bad = int((~ok_NC).any(1).sum())
        raise DataError(
            f"{source_of(source, first)}: eeg holds NaN or infinity in {n_bad} of {len(eeg)} trials, channel(s) "
            f"{_some(names[~ok_NC.all(0)])}; the first is trial {first}, channel {names[channel]}. "
            f"Drop these trials, or interpolate the channel, before loading."
        )
    if zero_N.any():
        first = int(np.flatnonzero(zero_N)[0])
        raise DataError(
            f"{source_of(source, first)}: eeg is zero throughout {int(zero_N.sum())} of {len(eeg)} trials, the first "
            f"is trial {first}. They were never filled: drop them and their rows."
        )
    flat = ~(sd_NC > 0).any(0)
    if flat.any():
        raise DataError(
            f"{source_of(source, 0)}: channel(s) {_some(names[flat])} are flat in every trial ({int(flat.sum())} of "
            f"{len(names)}). Remove them from eeg and ch_names."
        )
    if trials.unit == "V":
        high = int(np.argmax(np.median(sd_NC, 1)))  # whose unit is another one stands out
        check_unit(float(np.median(sd_NC)), source_of(source, high))


def source_of(source: str | np.ndarray, row: int) -> str:
    """Return the file of a row, where ``source`` is one file for all or has one per trial."""
    return source if isinstance(source, str) else str(source[row]) if len(source) else "no file"


def check_unit(sd: float, source: str) -> None:
    """Raise `UnitError` unless ``sd``, the typical standard deviation of a channel, can be volts of EEG.

    >>> check_unit(20.0, "eeg.npy")
    Traceback (most recent call last):
      ...
    sightwave.errors.UnitError: eeg.npy: eeg has a typical standard deviation of 20 V; EEG has 1e-6 to 2e-4 V; \
they look like microvolts: multiply by 1e-6 (unit='uV').
    """
    if LOW_V <= sd <= HIGH_V:
        return
    fits = [f for f in WORDS if LOW_V <= sd * f <= HIGH_V]
    likely = min(fits, key=lambda f: abs(np.log10(sd * f / 1.5e-5)), default=None)
    words = WORDS[likely] if likely else "no power of 1000 mends that: scale counts by the amplifier's resolution"
    hint = " If they are standardised already, say unit='z'" if 0.3 < sd < 3 else ""
    raise UnitError(
        f"{source}: eeg has a typical standard deviation of {sd:.3g} V; EEG has 1e-6 to 2e-4 V; {words}.{hint}"
    )


def _transposition(shape: tuple[int, ...], n_rows: int, n_channels: int) -> str:
    """Say which order of the axes would fit, when one does."""
    if n_channels not in shape:
        return " No axis has that length: are the names those of this file?"
    channel = shape.index(n_channels)
    others = [a for a in range(3) if a != channel]
    trial = next((a for a in others if shape[a] == n_rows), others[0])
    time = next(a for a in others if a != trial)
    return f" Axis {channel} matches: save eeg.transpose({trial}, {channel}, {time})."


def _some(names: Sequence[str] | np.ndarray, n: int = 5) -> str:
    shown = ", ".join(map(str, names[:n]))
    return shown + (f" and {len(names) - n} more" if len(names) > n else "")
