"""Whiten: multivariate noise normalisation, in the forms of the field by name, fitted on training trials alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd

from sightwave.errors import RecipeError, one_of
from sightwave.preprocess.base import Step, by_chunks
from sightwave.preprocess.covariance import SHRINKAGES, inverse_root, mean_covariance
from sightwave.trials import Trials

MOST_SAMPLES = 100_000
"""Trials times samples that a noise covariance is estimated from; more would cost memory, not change it much."""
OVER = ("residuals", "time", "epochs")


@dataclass(frozen=True)
class Whiten(Step):
    r"""Multivariate noise normalisation (MVNN): multiply the channels by :math:`\Sigma^{-1/2}` of the noise.

    Parameters
    ----------
    over : {"residuals", "time", "epochs"}
        What the covariance is taken over. "residuals": what is left of the training trials after each condition's mean
        is taken away, pooled over conditions and times; where no stimulus was repeated, after the grand mean. The two
        forms of Guggenmos et al. and of THINGS-EEG2's scripts average over conditions: "time" takes the covariance
        over the repetitions of a condition at each time point (official), "epochs" over the samples of each trial
        (NICE), which also holds the response itself.
    shrinkage : {"ledoit_wolf", "oas", "none"}
        Towards a multiple of the identity.
    per : tuple of str
        Columns of `events` within which a matrix of its own is fitted; ``("subject", "session")`` as published. Each
        group to be whitened then needs training trials.

    Raises
    ------
    RecipeError, UnknownName
        If a condition is never repeated in "time", a group was not fitted, or a name is not known.

    Notes
    -----
    After Guggenmos et al. 2018, https://doi.org/10.1016/j.neuroimage.2018.02.044. THINGS-EEG2's own scripts average
    the covariances of train and test, which a step cannot do: it sees the training part alone. `prepare_things_eeg2`
    can, by name. As published, "time" divides by the number of repetitions n and not by n - 1: noise ends with a
    variance of n / (n - 1); "residuals" ends at 1.
    """

    over: str = "residuals"
    shrinkage: str = "ledoit_wolf"
    per: tuple[str, ...] = ()
    _matrices: dict[tuple[str, ...], np.ndarray] | None = None
    _fitted_on: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.over not in OVER:
            raise one_of("form of Whiten (over)", self.over, OVER)
        if self.shrinkage not in SHRINKAGES:
            raise one_of("shrinkage", self.shrinkage, SHRINKAGES)

    def fit(self, train: Trials) -> Self:
        """Learn the whitening matrix of each group, shape (n_channels, n_channels)."""
        matrices = {}
        for group, rows in self._groups(train).items():
            cov = (self._pooled if self.over == "residuals" else self._by_condition)(train.eeg, train.events, rows)
            matrices[group] = inverse_root(cov, least=1e-9).astype(np.float32)
        return replace(self, _matrices=matrices, _fitted_on=train.events["trial"].to_numpy())

    def apply(self, trials: Trials) -> Trials:
        """Return unitless trials whose noise is white over channels."""
        if self._matrices is None:
            raise RecipeError("Whiten is not fitted. Call fit(train) first.")
        groups = self._groups(trials)
        strange = sorted(set(groups) - set(self._matrices))
        if strange:
            raise RecipeError(
                f"Whiten(per={self.per}) was fitted on no training trial of {' '.join(strange[0])}. Split so that each "
                "group is trained on, or leave out `per`."
            )
        if not self.per:
            matrix = self._matrices[()]
            return replace(
                trials, eeg=by_chunks(trials.eeg, lambda x: np.matmul(matrix, x.astype(np.float32))), unit="z"
            )
        eeg = np.empty(trials.eeg.shape, np.float32)
        for group, rows in groups.items():
            for i in rows:  # one by one, so that a memory map stays on disk
                np.matmul(self._matrices[group], np.asarray(trials.eeg[i], np.float32), out=eeg[i])
        return replace(trials, eeg=eeg, unit="z")

    def _groups(self, trials: Trials) -> dict[tuple[str, ...], np.ndarray]:
        """Rows of each group; one group, named by nothing, where `per` is empty."""
        if not self.per:
            return {(): np.arange(len(trials))}
        for column in self.per:
            if column not in trials.events:
                raise one_of("column of events", column, trials.events.columns)
        of = trials.events.groupby(list(self.per), sort=False).indices
        return {tuple(map(str, k if isinstance(k, tuple) else (k,))): np.asarray(rows) for k, rows in of.items()}

    def _pooled(self, eeg: np.ndarray, events: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
        """Covariance of the residuals, pooled over conditions and times."""
        from sklearn.covariance import empirical_covariance, ledoit_wolf, oas

        group = events.iloc[rows].groupby(["subject", "stimulus"], sort=False).ngroup().to_numpy()
        if np.bincount(group).max() == 1:
            group = np.zeros_like(group)
        counts = np.bincount(group)
        some = np.random.default_rng(0).permutation(np.flatnonzero(counts[group] > 1))
        some = np.sort(some[: max(2, MOST_SAMPLES // eeg.shape[2])])
        if not len(some):
            raise RecipeError("Whiten needs at least two training trials.")
        # means of the conditions that they are of: those of all may be larger than memory
        drawn = np.unique(group[some])
        at = np.searchsorted(drawn, group[some])
        sums = np.zeros((len(drawn), *eeg.shape[1:]), np.float32)
        needed = np.flatnonzero(np.isin(group, drawn))
        for i, g in zip(rows[needed], np.searchsorted(drawn, group[needed]), strict=True):  # ufunc.at: 100 times longer
            sums[g] += eeg[i]
        # residuals of n repetitions have variance (n - 1) / n of the noise
        n = counts[group[some]][:, None, None].astype(np.float32)
        residual = (eeg[rows[some]] - sums[at] / n) * np.sqrt(n / (n - 1))
        del sums
        flat = residual.transpose(0, 2, 1).reshape(-1, residual.shape[1])
        scale = flat.std()
        if self.shrinkage == "none":
            return np.asarray(empirical_covariance(flat / scale, assume_centered=True)) * scale**2
        shrink = ledoit_wolf if self.shrinkage == "ledoit_wolf" else oas
        return np.asarray(shrink(flat / scale, assume_centered=True)[0]) * scale**2

    def _by_condition(self, eeg: np.ndarray, events: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
        """Mean over conditions of the covariance over repetitions at each time, or over the samples of each trial."""
        total, n_conditions = np.zeros((eeg.shape[1], eeg.shape[1])), 0
        for own in events.iloc[rows].groupby(["subject", "stimulus"], sort=False).indices.values():
            if self.over == "time" and len(own) < 2:
                continue
            x_RCT = np.asarray(eeg[rows[own]], np.float64)
            sets = x_RCT.transpose(2, 0, 1) if self.over == "time" else x_RCT.transpose(0, 2, 1)
            total += mean_covariance(sets, shrinkage=self.shrinkage)
            n_conditions += 1
        if not n_conditions:
            raise RecipeError('Whiten(over="time") needs repetitions: no training stimulus was shown twice.')
        return total / n_conditions
