"""Trials that are already loaded, as a data set that a recipe can name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from sightwave.datasets.base import Dataset
from sightwave.stimuli import Stimuli
from sightwave.trials import Trials


@dataclass(frozen=True, eq=False)
class InMemory(Dataset):
    """Run a recipe on trials of your own: ``replace(recipe, dataset=InMemory(*from_epochs(epochs)))``.

    Parameters
    ----------
    _trials : Trials
    _stimuli : Stimuli
        Neither is part of the recipe's record; the data's fingerprint, which is saved beside it, speaks for them.
    """

    citation: ClassVar[str] = "your own data"
    licence: ClassVar[str] = "yours"

    _trials: Trials
    _stimuli: Stimuli

    def subjects(self, root: Path | None) -> tuple[str, ...]:
        """Names of the subjects, in order."""
        return tuple(sorted(self._trials.events["subject"].unique()))

    def load(self, root: Path | None, subjects: tuple[str, ...]) -> tuple[Trials, Stimuli]:
        """Return the trials of ``subjects``; ``root`` is ignored."""
        keep = np.isin(self._trials.events["subject"].to_numpy().astype(str), subjects)
        return (self._trials if keep.all() else self._trials[keep]), self._stimuli
