"""Steps on the time window: keep a part of it, or subtract the mean of one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sightwave.errors import RecipeError
from sightwave.preprocess.base import Step
from sightwave.trials import Trials


@dataclass(frozen=True)
class Crop(Step):
    """Keep the samples from ``tmin`` to ``tmax`` seconds, both included."""

    tmin: float
    tmax: float

    def apply(self, trials: Trials) -> Trials:
        """Return shorter trials; an empty window is a `RecipeError`."""
        keep = (trials.times >= self.tmin - 1e-9) & (trials.times <= self.tmax + 1e-9)
        if not keep.any():
            t = trials.times
            raise RecipeError(
                f"Crop({self.tmin}, {self.tmax}) leaves no sample; trials run from {t[0]:g} to {t[-1]:g} s."
            )
        first = int(np.flatnonzero(keep)[0])
        return replace(trials, eeg=trials.eeg[:, :, keep], tmin=float(trials.times[first]))


@dataclass(frozen=True)
class Baseline(Step):
    """Subtract each channel's mean over a window, as ``mne.Epochs.apply_baseline`` does."""

    tmin: float | None = None
    tmax: float | None = 0.0

    def apply(self, trials: Trials) -> Trials:
        """Return trials whose baseline is zero; a window without a sample is a `RecipeError`."""
        t = trials.times
        keep = (t >= (t[0] if self.tmin is None else self.tmin) - 1e-9) & (
            t <= (t[-1] if self.tmax is None else self.tmax) + 1e-9
        )
        if not keep.any():
            raise RecipeError(
                f"Baseline({self.tmin}, {self.tmax}) holds no sample; trials run from {t[0]:g} to {t[-1]:g} s."
            )
        return replace(trials, eeg=trials.eeg - trials.eeg[:, :, keep].mean(2, keepdims=True))
