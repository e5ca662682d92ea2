"""Steps on the scale of the signal: average repetitions, standardise channels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from sightwave.errors import RecipeError
from sightwave.preprocess.base import Step, by_chunks, chunks
from sightwave.trials import Trials


@dataclass(frozen=True)
class Average(Step):
    """Average the repetitions of a stimulus within a subject, in train and val: SNR grows by sqrt(n).

    How many repetitions of a test stimulus are averaged is `Recipe.repetitions`, and is printed with each score.
    """

    by: tuple[str, ...] = ("subject", "stimulus")
    train_only: ClassVar[bool] = True
    each_alone: ClassVar[bool] = False

    def apply(self, trials: Trials) -> Trials:
        """Return one trial per group."""
        return trials.average(self.by)


@dataclass(frozen=True)
class Standardise(Step):
    """Zero mean and unit variance per channel, over the training trials and times."""

    _mean: np.ndarray | None = None
    _std: np.ndarray | None = None
    _fitted_on: np.ndarray | None = None

    def fit(self, train: Trials) -> Self:
        """Learn each channel's mean and standard deviation."""
        n = len(train) * train.eeg.shape[2]
        # in two passes and in double precision, a chunk at a time: half precision and memory maps lose nothing
        mean = sum(np.asarray(train.eeg[c], np.float64).sum((0, 2)) for c in chunks(train.eeg)) / n
        square = sum(((train.eeg[c] - mean[:, None]) ** 2).sum((0, 2)) for c in chunks(train.eeg))
        std = np.maximum(np.sqrt(square / n), 1e-12)
        return replace(self, _mean=mean[:, None], _std=std[:, None], _fitted_on=train.events["trial"].to_numpy())

    def apply(self, trials: Trials) -> Trials:
        """Return unitless trials."""
        if self._mean is None or self._std is None:
            raise RecipeError("Standardise is not fitted. Call fit(train) first.")
        mean, std = self._mean, self._std
        return replace(trials, eeg=by_chunks(trials.eeg, lambda x: (x - mean) / std), unit="z")
