"""Filters on trials. An epoch is short: what lasts longer than it must be filtered before the recording is cut.

All three work on each trial alone, in double precision and a chunk at a time. Near both ends of a trial a filter
sees samples that were never recorded (they are mirrored or repeated), so the first and last milliseconds are less
true than the middle: cut wider than needed, and `Crop` afterwards. Where the continuous recording is at hand,
`Recording.filter` has no such edges.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np

from sightwave.errors import RecipeError
from sightwave.preprocess.base import Step, by_chunks
from sightwave.trials import Trials


@dataclass(frozen=True)
class Notch(Step):
    """Subtract, from each trial and channel, the sine of each given frequency that fits it best.

    A narrow filter rings for longer than an epoch lasts; least squares has no edges. A constant and a slope are
    fitted beside the sines and left in the trial. What is removed is as wide as one over the epoch's length in Hz,
    and a hum whose amplitude changes within the trial leaves a rest.

    Parameters
    ----------
    freqs_hz : tuple of float
        The mains and its harmonics, e.g. ``(50.0, 100.0)``.

    Raises
    ------
    RecipeError
        If a frequency is not below half the sampling rate, or the trials hold less than two periods of it.
    """

    freqs_hz: tuple[float, ...] = (50.0,)

    def apply(self, trials: Trials) -> Trials:
        """Return trials without the hum."""
        n_times = trials.eeg.shape[2]
        length_s = n_times / trials.sfreq
        for f in self.freqs_hz:
            if not 2 / length_s <= f < trials.sfreq / 2:
                raise RecipeError(
                    f"Notch: {f:g} Hz must lie between {2 / length_s:g} Hz, two periods within the {length_s:g} s of a "
                    f"trial, and {trials.sfreq / 2:g} Hz, half the sampling rate."
                )
        t = np.arange(n_times) / trials.sfreq
        sines = [g(2 * np.pi * f * t) for f in self.freqs_hz for g in (np.cos, np.sin)]
        design = np.stack([np.ones(n_times), np.linspace(-1, 1, n_times), *sines])
        hum = np.linalg.pinv(design)[:, 2:] @ design[2:]  # (n_times, n_times): a trial -> its sines
        return replace(trials, eeg=by_chunks(trials.eeg, lambda x: x - x @ hum))


@dataclass(frozen=True)
class Bandpass(Step):
    """Keep what lies between two frequencies: a Butterworth filter run forth and back, so nothing is shifted in time.

    Parameters
    ----------
    l_freq, h_freq : float or None
        Edges in Hz, where the amplitude is halved; None leaves that side open.
    order : int
        Of the filter in one direction; both together have twice that.

    Raises
    ------
    RecipeError
        If the edges are no band below half the sampling rate, or a period of ``l_freq`` is longer than a trial. To
        take off such slow waves, filter the recording before it is cut, or subtract a `Baseline`.

    Notes
    -----
    The ends are extended by the trial mirrored through its end points, as ``scipy.signal.sosfiltfilt`` does.
    """

    l_freq: float | None = None
    h_freq: float | None = None
    order: int = 4

    def __post_init__(self) -> None:
        low, high = self.l_freq or 0.0, np.inf if self.h_freq is None else self.h_freq
        if (self.l_freq is None and self.h_freq is None) or not 0 <= low < high or self.order < 1:
            raise RecipeError(
                f"Bandpass keeps what lies between l_freq and h_freq, 0 < l_freq < h_freq, one of them may be None; "
                f"got {self.l_freq} and {self.h_freq} Hz, order {self.order}."
            )

    def apply(self, trials: Trials) -> Trials:
        """Return filtered trials."""
        from scipy.signal import butter, sosfiltfilt

        n_times, half = trials.eeg.shape[2], trials.sfreq / 2
        length_s = n_times / trials.sfreq
        if self.h_freq is not None and self.h_freq >= half:
            raise RecipeError(f"Bandpass: h_freq={self.h_freq:g} Hz must be below {half:g} Hz, half the sampling rate.")
        if self.l_freq and self.l_freq * length_s < 1:
            raise RecipeError(
                f"Bandpass: one period of l_freq={self.l_freq:g} Hz lasts {1 / self.l_freq:g} s, a trial {length_s:g} "
                "s: no filter can tell such waves apart in it. Filter the recording before it is cut "
                "(Recording.filter), or use l_freq=None and Baseline()."
            )
        # a high-pass and a low-pass in a row: each edge as steep as `order` says, whatever lies between them
        sides: tuple[tuple[float | None, Literal["highpass", "lowpass"]], ...]
        sides = ((self.l_freq, "highpass"), (self.h_freq, "lowpass"))
        sos = np.vstack([butter(self.order, f, kind, fs=trials.sfreq, output="sos") for f, kind in sides if f])

        def work(x: np.ndarray) -> np.ndarray:
            return np.asarray(sosfiltfilt(sos, x, padlen=n_times - 1)) if len(x) else x

        return replace(trials, eeg=by_chunks(trials.eeg, work))


@dataclass(frozen=True)
class Resample(Step):
    """Change the sampling rate of trials: a low-pass below the lower of both half rates, and every sample in its place.

    Parameters
    ----------
    sfreq : float
        New sampling rate in Hz. The first sample stays where it is in time.

    Raises
    ------
    RecipeError
        If the rate is not above 0, leaves fewer than two samples, or is no simple fraction of the old one.

    Notes
    -----
    Polyphase, by ``scipy.signal.resample_poly``, each end extended by its last value. The Fourier method, the default
    of ``mne.Epochs.resample``, pads to a power of two, of which the new rate need not make a whole number of samples:
    it moves trials that go from 1000 to 100 Hz, or from 250 to 100, by up to 4 ms. The published files of THINGS-EEG2
    hold that shift, and `prepare_things_eeg2` keeps it.
    """

    sfreq: float

    def __post_init__(self) -> None:
        if not self.sfreq > 0:
            raise RecipeError(f"Resample.sfreq must be above 0 Hz, got {self.sfreq}.")

    def apply(self, trials: Trials) -> Trials:
        """Return trials at the new rate."""
        from scipy.signal import resample_poly

        new, old = self.sfreq, trials.sfreq
        ratio = Fraction(new / old).limit_denominator(1000)
        if not ratio or abs(float(ratio) * old - new) > 1e-6 * new:
            raise RecipeError(f"Resample: {new:g} / {old:g} Hz is no fraction of numbers up to 1000. Take a near rate.")
        n_times = -(-trials.eeg.shape[2] * ratio.numerator // ratio.denominator)
        if n_times < 2:
            raise RecipeError(f"Resample({new:g}) leaves {n_times} sample of {trials.eeg.shape[2]} at {old:g} Hz.")

        def work(x: np.ndarray) -> np.ndarray:
            if not len(x):
                return np.empty((*x.shape[:2], n_times))
            return np.asarray(resample_poly(x, ratio.numerator, ratio.denominator, axis=2, padtype="edge"))

        return replace(trials, eeg=by_chunks(trials.eeg, work), sfreq=float(new))
