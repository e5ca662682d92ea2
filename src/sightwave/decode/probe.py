"""Probe: what can be read linearly from the encoder's features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sightwave.decode.base import Decoded, Metric, Task
from sightwave.errors import DataError
from sightwave.metrics.classification import balanced_accuracy, top_k
from sightwave.results import Predictions


@dataclass(frozen=True)
class Probe(Task):
    """Logistic regression from the encoder's features to a column of the stimuli, fitted on the training part.

    Parameters
    ----------
    column : str
        Column of `Stimuli.table`: ``"label"``, or any attribute that the data set tells (colour, size, animacy).
    C : float
        Inverse penalty, as scikit-learn's.
    """

    column: str = "label"
    C: float = 1.0
    needs_train: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"probe {self.column}"

    @property
    def spaces(self) -> tuple[str, ...]:
        """None: a probe reads the features."""
        return ()

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Accuracy and balanced accuracy."""
        return (top_k(1), balanced_accuracy)

    def predict(self, decoded: Decoded) -> Predictions:
        """Return log-probabilities (n_trials, n_values)."""
        from sklearn.linear_model import LogisticRegression

        assert decoded.train is not None
        table = decoded.stimuli.table
        if self.column not in table:
            raise DataError(
                f"Probe: the stimuli have no column {self.column!r}; they have {', '.join(map(str, table))}."
            )
        values = np.unique(table[self.column].to_numpy().astype(str))

        def facts(part: Decoded) -> tuple[np.ndarray, np.ndarray]:
            truth = np.searchsorted(values, table.loc[part.events["stimulus"], self.column].to_numpy().astype(str))
            return part.eeg["features"].vectors.astype(np.float64), truth

        x, y = facts(decoded.train)
        mean, std = x.mean(0), np.maximum(x.std(0), 1e-9)
        fitted = LogisticRegression(C=self.C, max_iter=2000).fit((x - mean) / std, y)
        q, truth = facts(decoded)
        scores = np.full((len(q), len(values)), -1e4, np.float32)
        scores[:, fitted.classes_] = fitted.predict_log_proba((q - mean) / std)
        return Predictions(self.name, decoded.repetitions, scores, truth, values, decoded.events)
