"""Preprocessing steps: Trials -> Trials. What a step learns, it learns from the training part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from sightwave.errors import RecipeError, one_of
from sightwave.trials import Applied, Trials

MOST_SAMPLES = 100_000
"""Trials times samples that a noise covariance is estimated from; more would cost memory, not change it much."""


@dataclass(frozen=True)
class Step(ABC):
    """One step. Write `apply`; write `fit` too when the step learns something.

    Attributes
    ----------
    train_only : bool
        Applied to train and val, never to test (how test trials are averaged is `Recipe.repetitions`).
    """

    train_only: ClassVar[bool] = False

    def fit(self, train: Trials) -> Self:
        """Return a step ready to apply; this one learns nothing."""
        return self

    @abstractmethod
    def apply(self, trials: Trials) -> Trials:
        """Return the trials after this step."""

    def __call__(self, trials: Trials) -> Trials:
        """Apply, and write down what the step was fitted on, for the audit."""
        done = self.apply(trials)
        if done.history is not trials.history:  # the step has written its own line
            return done
        return replace(done, history=(*trials.history, Applied(type(self).__name__, getattr(self, "_fitted_on", None))))


@dataclass(frozen=True)
class Average(Step):
    """Average the repetitions of a stimulus within a subject, in train and val: SNR grows by sqrt(n)."""

    by: tuple[str, ...] = ("subject", "stimulus")
    train_only: ClassVar[bool] = True

    def apply(self, trials: Trials) -> Trials:
        """Return one trial per group."""
        return trials.average(self.by)


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


@dataclass(frozen=True)
class PickChannels(Step):
    """Keep channels by name, in the order given; an unknown name is an `UnknownName`."""

    names: tuple[str, ...]

    def apply(self, trials: Trials) -> Trials:
        """Return trials with fewer channels."""
        for name in self.names:
            if name not in trials.ch_names:
                raise one_of("channel", name, trials.ch_names)
        rows = [trials.ch_names.index(n) for n in self.names]
        return replace(trials, eeg=trials.eeg[:, rows], ch_names=self.names)


@dataclass(frozen=True)
class Standardise(Step):
    """Zero mean and unit variance per channel, over the training trials and times."""

    _mean: np.ndarray | None = None
    _std: np.ndarray | None = None
    _fitted_on: np.ndarray | None = None

    def fit(self, train: Trials) -> Self:
        """Learn each channel's mean and standard deviation."""
        mean, std = train.eeg.mean((0, 2), keepdims=True), train.eeg.std((0, 2), keepdims=True)
        return replace(self, _mean=mean, _std=np.maximum(std, 1e-12), _fitted_on=train.events["trial"].to_numpy())

    def apply(self, trials: Trials) -> Trials:
        """Return unitless trials."""
        if self._mean is None:
            raise RecipeError("Standardise is not fitted. Call fit(train) first.")
        return replace(trials, eeg=((trials.eeg - self._mean) / self._std).astype(np.float32), unit="z")


@dataclass(frozen=True)
class Whiten(Step):
    r"""Multivariate noise normalisation: multiply the channels by :math:`\Sigma^{-1/2}` of the noise.

    The noise is what is left of the training trials after each condition's mean is taken away; where no stimulus
    was repeated, after the grand mean. The covariance over channels, pooled over time, is shrunk by Ledoit and Wolf.

    Notes
    -----
    After Guggenmos et al. 2018, https://doi.org/10.1016/j.neuroimage.2018.02.044. THINGS-EEG2's own scripts average
    the covariances of train and test; here the training part alone is used.
    """

    _matrix: np.ndarray | None = None
    _fitted_on: np.ndarray | None = None

    def fit(self, train: Trials) -> Self:
        """Learn the whitening matrix, shape (n_channels, n_channels)."""
        from sklearn.covariance import ledoit_wolf

        group = train.events.groupby(["subject", "stimulus"], sort=False).ngroup().to_numpy()
        if np.bincount(group).max() == 1:
            group = np.zeros_like(group)
        counts, sums = np.bincount(group), np.zeros((group.max() + 1, *train.eeg.shape[1:]), np.float32)
        for i, g in enumerate(group):  # ufunc.at takes a hundred times longer
            sums[g] += train.eeg[i]
        rows = np.random.default_rng(0).permutation(np.flatnonzero(counts[group] > 1))
        rows = np.sort(rows[: max(2, MOST_SAMPLES // train.eeg.shape[2])])
        if not len(rows):
            raise RecipeError("Whiten needs at least two training trials.")
        # residuals of n repetitions have variance (n - 1) / n of the noise
        n = counts[group[rows]][:, None, None].astype(np.float32)
        residual = (train.eeg[rows] - sums[group[rows]] / n) * np.sqrt(n / (n - 1))
        del sums
        flat = residual.transpose(0, 2, 1).reshape(-1, residual.shape[1])
        scale = flat.std()
        values, vectors = np.linalg.eigh(ledoit_wolf(flat / scale, assume_centered=True)[0])
        matrix = (vectors / np.sqrt(np.maximum(values, 1e-9))) @ vectors.T / scale
        return replace(self, _matrix=matrix.astype(np.float32), _fitted_on=train.events["trial"].to_numpy())

    def apply(self, trials: Trials) -> Trials:
        """Return unitless trials whose noise is white over channels."""
        if self._matrix is None:
            raise RecipeError("Whiten is not fitted. Call fit(train) first.")
        return replace(trials, eeg=np.matmul(self._matrix, np.asarray(trials.eeg, np.float32)), unit="z")
