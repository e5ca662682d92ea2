"""Classify: score every category for every trial."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import softmax

from sightwave.decode.base import Decoded, Metric, Task
from sightwave.metrics.classification import auc, balanced_accuracy, cohen_kappa, f1_macro, top_k
from sightwave.results import Predictions


@dataclass(frozen=True)
class Classify(Task):
    """Which category was seen: the head that was trained on labels is read out.

    Parameters
    ----------
    space : str
        A space with one dimension per category, in the order of the sorted category names.
    binary : bool
        Two categories only: report AUC first.
    """

    space: str = "label"
    binary: bool = False

    @property
    def name(self) -> str:
        """How tables call it."""
        return "classify" if self.space == "label" else f"classify {self.space}"

    @property
    def spaces(self) -> tuple[str, ...]:
        """The one space that is read."""
        return (self.space,)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """AUC and accuracies of two categories; top-k, balanced accuracy, F1 and kappa of more."""
        if self.binary:
            return (auc, top_k(1), balanced_accuracy)
        return (top_k(1), top_k(3), top_k(5), balanced_accuracy, f1_macro, cohen_kappa)

    def predict(self, decoded: Decoded) -> Predictions:
        """Return scores (n_trials, n_categories)."""
        categories = np.unique(decoded.stimuli.table["label"].to_numpy().astype(str))
        truth = np.searchsorted(categories, decoded.events["label"].to_numpy().astype(str))
        scores = decoded.eeg[self.space].vectors
        return Predictions(self.name, decoded.repetitions, scores, truth, categories, decoded.events)

    def answer(self, decoded: Decoded) -> Predictions:
        """Return scores (n_trials, n_categories); an ensemble votes by the mean of its members' probabilities."""
        first = self.predict(decoded)
        if not decoded.others:
            return first
        members = [softmax(m.eeg[self.space].vectors, axis=1) for m in (decoded, *decoded.others)]
        return replace(first, scores=np.stack(members).mean(0).astype(np.float32))
