"""Task: what is asked of the decoded EEG. One file per kind of question."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd

from sightwave.decode.question import question
from sightwave.embeddings import Embeddings
from sightwave.results import Predictions
from sightwave.stimuli import Stimuli

Metric = Callable[[np.ndarray, np.ndarray], float]
"""(scores (n_trials, n_candidates), truth (n_trials,)) -> one number; its ``__name__`` is the metric's name."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """Trials of one part in every space, and the targets that they should hit.

    Parameters
    ----------
    eeg : dict of str to Embeddings
        Space -> one row per trial; ids are the stimuli seen. ``"features"`` holds the encoder's own output.
    targets : dict of str to Embeddings
        Space -> every stimulus of the experiment, in the order of ``stimuli.ids``.
    stimuli : Stimuli
    events : DataFrame
        One row per trial.
    repetitions : str
        How many repetitions each trial is the average of.
    train : Decoded or None
        The training part, for tasks that learn from it (`needs_train`).
    others : tuple of Decoded
        The same trials by the further members of an ensemble.
    """

    eeg: dict[str, Embeddings]
    targets: dict[str, Embeddings]
    stimuli: Stimuli
    events: pd.DataFrame
    repetitions: str = "1"
    train: Decoded | None = None
    others: tuple[Decoded, ...] = ()


@dataclass(frozen=True)
class Task(ABC):
    """A question. Metrics are functions; see `Metric`.

    Attributes
    ----------
    needs_train : bool
        Whether `predict` wants ``decoded.train``.
    stimulus_bound : bool
        True when a test stimulus that was also trained on makes the answer worthless (retrieval).
    """

    needs_train: ClassVar[bool] = False
    stimulus_bound: ClassVar[bool] = False

    @property
    @abstractmethod
    def name(self) -> str:
        """How tables call this question, e.g. ``"retrieve clip-image/tiny_clip"``."""

    @property
    @abstractmethod
    def spaces(self) -> tuple[str, ...]:
        """Spaces that the EEG must be decoded into."""

    @property
    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """What is computed from the predictions; the first is the headline."""

    @property
    def mark(self) -> str:
        """What must be said beside every score, such as ``"transductive"``; empty for what one trial alone can say."""
        return question(self.name).mark

    def ideally(self, scores: np.ndarray, predictions: Predictions) -> np.ndarray | None:
        """Turn an ideal observer's scores into its answer to this very question.

        Parameters
        ----------
        scores : ndarray, shape (n_trials, n_candidates)
            Log-likelihoods.
        predictions : Predictions
            What they were made for.

        Returns
        -------
        ndarray, shape (n_trials, n_candidates), or None
            None where it is not known how an ideal observer would answer.
        """
        return scores

    @abstractmethod
    def predict(self, decoded: Decoded) -> Predictions:
        """Score every candidate for every trial, as the first member of an ensemble does."""

    def answer(self, decoded: Decoded) -> Predictions:
        """Score every candidate for every trial, as the whole ensemble does: by the mean of its cosines."""
        return self.predict(joined(decoded))


def joined(decoded: Decoded) -> Decoded:
    """Put an ensemble into one: unit vectors side by side, so that a cosine is the mean of the members' cosines.

    Parameters
    ----------
    decoded : Decoded

    Returns
    -------
    Decoded
        Without others; every space has as many times its dimensions as there are members. One decoder is left as it is.
    """
    if not decoded.others:
        return decoded
    members = (decoded, *decoded.others)
    trains = [member.train for member in members if member.train is not None]
    train = joined(replace(trains[0], others=tuple(trains[1:]))) if trains else None
    eeg, targets = side_by_side([m.eeg for m in members]), side_by_side([m.targets for m in members])
    return replace(decoded, eeg=eeg, targets=targets, train=train, others=())


def side_by_side(members: Sequence[Mapping[str, Embeddings]]) -> dict[str, Embeddings]:
    """Put the unit vectors of several members side by side in every space.

    Parameters
    ----------
    members : sequence of mapping of str to Embeddings
        Space -> vectors of the same items in the same order.
    """
    return {
        space: replace(first, vectors=np.concatenate([m[space].unit() for m in members], axis=1))
        for space, first in members[0].items()
    }
