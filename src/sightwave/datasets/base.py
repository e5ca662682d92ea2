"""Dataset: where trials come from. One file per data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from sightwave.reading.download import Source
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
    looks_for : str
        What `recognise` goes by, for who has none of it; "" when the data set needs no folder.
    channels_known : bool
        False when the publication does not name its channels: then names are ours, and nothing is drawn on a head.
    generic : bool
        True when the layout is one that many data sets share, so that a data set with a reader of its own goes first.
    by_hand : str
        What has to be fetched in a browser, and from where; "" when `sources` is all there is, or nothing is public.
    """

    citation: ClassVar[str]
    licence: ClassVar[str]
    phantom: ClassVar[bool] = False
    looks_for: ClassVar[str] = ""
    channels_known: ClassVar[bool] = True
    generic: ClassVar[bool] = False
    by_hand: ClassVar[str] = ""

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

    @classmethod
    def recognise(cls, root: Path) -> tuple[Dataset, ...]:
        """Return the data sets of this kind that ``root`` holds, by the names of its files; none is the usual answer.

        One that holds two tasks or variants is answered by both, the one that is more often wanted first.
        """
        return ()

    def sources(self) -> tuple[Source, ...]:
        """Return the public files of this data set that can be downloaded without a browser."""
        return ()

    def left_out(self, root: Path | None) -> dict[str, str]:
        """Return what `load` leaves out, and why: file -> reason."""
        return {}

    def is_phantom(self, root: Path | None) -> bool:
        """Whether the brain is simulated: always, or because the phantom's writers left ``PHANTOM.txt``.

        It counts in ``root``, in the two folders above, and up to two folders below, where readers look for data too.
        """
        if self.phantom or root is None:
            return self.phantom
        above = (root.resolve(), *root.resolve().parents[:2])
        marks = ("PHANTOM.txt", "*/PHANTOM.txt", "*/*/PHANTOM.txt")
        return any((p / marks[0]).exists() for p in above) or any(next(root.glob(m), None) for m in marks)

    def ideal(self, predictions: Predictions, *, repetitions: float | None = None) -> np.ndarray | None:
        """Scores that an ideal observer would have given, same shape as ``predictions.scores``; None when unknown.

        Parameters
        ----------
        predictions : Predictions
        repetitions : float or None
            Let it see averages of so many repetitions, a fraction if need be, instead of the predictions' own number.
        """
        return None

    def features(self, stimuli: np.ndarray) -> np.ndarray | None:
        """All that the brain responds to in these pictures, without noise; None when unknown, as for every real brain.

        Parameters
        ----------
        stimuli : ndarray of str, shape (n_stimuli,)
            Their ids.

        Returns
        -------
        ndarray, shape (n_stimuli, n_features), or None
        """
        return None
