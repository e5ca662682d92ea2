"""Retrieve: rank a gallery of pictures or captions for every trial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sightwave.decode.base import Decoded, Metric, Task
from sightwave.errors import RecipeError
from sightwave.metrics.retrieval import mean_reciprocal_rank, median_rank, recall_at
from sightwave.results import Predictions


@dataclass(frozen=True)
class Retrieve(Task):
    """Which picture, or which caption, was seen: cosine similarity in ``space`` to every item of the gallery.

    The gallery holds each stimulus once; a trial's own stimulus is its one right answer. Two stimuli with the same
    caption tie, and ties count against the trial.

    Parameters
    ----------
    space : str
        The space of a `ClipImage`, `ClipText` or other target.
    ks : tuple of int
        Recall@k is reported for each.
    gallery : {"test", "all"}
        The stimuli of the test part; or every stimulus of the experiment, those of the training part included.

    Raises
    ------
    RecipeError
        If the gallery is neither.
    """

    space: str
    ks: tuple[int, ...] = (1, 5, 10)
    gallery: str = "test"
    stimulus_bound: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.gallery not in ("test", "all"):
            raise RecipeError(f"Retrieve.gallery must be 'test' or 'all', got {self.gallery!r}.")

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"retrieve {self.space}" + (" among all" if self.gallery == "all" else "")

    @property
    def spaces(self) -> tuple[str, ...]:
        """The one space that is searched."""
        return (self.space,)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Recall@k, median rank and mean reciprocal rank."""
        return (*(recall_at(k) for k in self.ks), median_rank, mean_reciprocal_rank)

    def predict(self, decoded: Decoded) -> Predictions:
        """Return cosine similarities (n_trials, n_gallery)."""
        seen = decoded.events["stimulus"].to_numpy().astype(str)
        gallery = np.unique(seen if self.gallery == "test" else decoded.stimuli.ids)
        truth = np.searchsorted(gallery, seen)
        scores = decoded.eeg[self.space].cosine(decoded.targets[self.space].at(gallery))
        return Predictions(self.name, decoded.repetitions, scores, truth, gallery, decoded.events)
