"""Dataset: where trials come from. One file per data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from sightwave.results import Predictions
from sightwave.stimuli import Stimuli
from sightwave.trials import Trials


@dataclass(frozen=True)
class Dataset(ABC):
    """A data set that a recipe can name.

    Attributes
    ----------
    citation, licence : str
    phantom : bool
        True when the brain is simulated; then every table says so.
    """

    citation: ClassVar[str]
    licence: ClassVar[str]
    phantom: ClassVar[bool] = False

    @abstractmethod
    def subjects(self, root: Path | None) -> tuple[str, ...]:
        """Names of the subjects that are there."""

    @abstractmethod
    def load(self, root: Path | None, subjects: tuple[str, ...]) -> tuple[Trials, Stimuli]:
        """Read the trials of ``subjects`` and the stimuli that they saw.

        Raises
        ------
        DataError, MissingFile
            Naming file and field.
        """

    def left_out(self, root: Path | None) -> dict[str, str]:
        """Return what `load` leaves out, and why: file -> reason."""
        return {}

    def is_phantom(self, root: Path | None) -> bool:
        """Whether the brain is simulated: always, or because the phantom's writers left ``PHANTOM.txt`` in ``root``."""
        return self.phantom or (root is not None and (root / "PHANTOM.txt").exists())

    def ideal(self, predictions: Predictions, *, repetitions: float | None = None) -> np.ndarray | None:
        """Scores that an ideal observer would have given, same shape as ``predictions.scores``; None when unknown.

        Parameters
        ----------
        predictions : Predictions
        repetitions : float or None
            Let it see averages of so many repetitions, a fraction if need be, instead of the predictions' own number.
        """
        return None
