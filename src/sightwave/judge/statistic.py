"""The statistic that everything in this room speaks about: a metric per subject, for one or for many draws.

Value of a subject = mean over seeds of the metric on that subject's trials; where a metric ranks trials against each
other (`per_fold`), mean over folds first, weighted by trials. Value of "all" = mean over subjects, not over pooled
trials, so that a subject with many trials does not speak for the others. Score, null and interval come through here.

Shape suffixes in this room: M draws, N trials, K candidates, U units that are drawn, S subjects, R seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sightwave.decode.base import Metric
from sightwave.errors import DataError
from sightwave.metrics.base import fast, many, mean, per_fold
from sightwave.results import Predictions

ALL = "all"
NEEDED = ("subject", "session", "run", "stimulus", "fold", "seed")
_CHUNK = 2_000_000  # numbers in one working array: 16 MB


@dataclass(frozen=True, eq=False)
class Draws:
    """M draws of one value per unit, and the unit of each trial.

    Parameters
    ----------
    values : ndarray of int, shape (M, U)
    unit : ndarray of int, shape (N,)
    """

    values: np.ndarray
    unit: np.ndarray


def check(predictions: Predictions) -> None:
    """Refuse predictions whose events lack a column that the judge needs; a `DataError` names it."""
    missing = [c for c in NEEDED if c not in predictions.events]
    if missing:
        raise DataError(f"Predictions of {predictions.task!r}: events lack the column(s) {', '.join(missing)}.")
    if not len(predictions):
        raise DataError(f"Predictions of {predictions.task!r} hold no trial, so there is nothing to score.")


def subjects(predictions: Predictions) -> tuple[str, ...]:
    """Subjects in order of appearance."""
    return tuple(pd.unique(predictions.events["subject"]))


def seeds(predictions: Predictions) -> tuple[object, ...]:
    """Training seeds in order of appearance."""
    return tuple(pd.unique(predictions.events["seed"]))


def group(events: pd.DataFrame, *columns: str) -> np.ndarray:
    """Return each trial's group of equal values in ``columns``, numbered by appearance, shape (n_trials,)."""
    code = np.zeros(len(events), np.int64)
    for column in columns:
        each, values = pd.factorize(events[column])
        code = pd.factorize(code * len(values) + each)[0]
    return code


def distinct(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Count the distinct values in each group, shape (n_groups,)."""
    pair = np.unique(groups * (int(values.max()) + 1) + values)
    return np.bincount(pair // (int(values.max()) + 1))


def by_subject(
    metric: Metric,
    predictions: Predictions,
    *,
    truth: Draws | None = None,
    weight: Draws | None = None,
    seed_weight: np.ndarray | None = None,
) -> np.ndarray:
    """Compute a metric per subject, as is or for M draws.

    Parameters
    ----------
    metric : callable
    predictions : Predictions
    truth : Draws or None
        Permuted truth per unit.
    weight : Draws or None
        How often each unit counts.
    seed_weight : ndarray, shape (M, R), or None
        How often each seed counts.

    Returns
    -------
    ndarray, shape (S, M)
        M = 1 without draws. NaN where the metric is undefined, e.g. a single class.
    """
    m = next((len(d.values) for d in (truth, weight) if d is not None), 1)
    subject, seed = group(predictions.events, "subject"), group(predictions.events, "seed")
    values = np.full((subject.max() + 1, seed.max() + 1, m), np.nan)
    for s, r in np.ndindex(values.shape[:2]):
        rows = np.flatnonzero((subject == s) & (seed == r))
        if len(rows):
            values[s, r] = _one_decoder(metric, predictions, rows, truth, weight)
    w = np.ones((1, values.shape[1], m)) if seed_weight is None else seed_weight.T[None]
    return mean_where_finite(values, w, axis=1)


def with_all(values: np.ndarray, subject_weight: np.ndarray | None = None) -> np.ndarray:
    """Put the mean over subjects in front: (S, M) -> (S + 1, M). A subject without a value is left out of the mean.

    ``subject_weight``, shape (M, S), counts each subject several times.
    """
    w = np.ones_like(values) if subject_weight is None else subject_weight.T
    return np.concatenate([mean_where_finite(values, w, axis=0)[None], values])


def mean_of(column: int, name: str) -> Metric:
    """Make the metric that is the mean of one column, for values that stand in the place of scores.

    Parameters
    ----------
    column : int
    name : str
    """

    def of_draws(scores_NK: np.ndarray, truth_MN: np.ndarray, weight_MN: np.ndarray | None, /) -> np.ndarray:
        return mean(scores_NK[None, :, column], weight_MN)

    @fast(of_draws, name=name)
    def metric(scores: np.ndarray, truth: np.ndarray) -> float:
        return float(scores[:, column].mean())

    return metric


def mean_where_finite(values: np.ndarray, weight: np.ndarray, axis: int) -> np.ndarray:
    """Average what is finite.

    Parameters
    ----------
    values : ndarray, shape (...)
    weight : ndarray, shape (...)
        Broadcast to ``values``.
    axis : int

    Returns
    -------
    ndarray
        One axis fewer; NaN where nothing is finite or all weight is 0.
    """
    weight = np.where(np.isfinite(values), weight, 0)
    total = weight.sum(axis)
    sum_ = (np.where(weight > 0, values, 0) * weight).sum(axis)
    return np.divide(sum_, total, out=np.full(total.shape, np.nan), where=total > 0)


def _one_decoder(
    metric: Metric, p: Predictions, rows: np.ndarray, truth: Draws | None, weight: Draws | None
) -> np.ndarray:
    """Metric on one subject and seed, shape (M,): over folds when the metric asks for it."""
    if not per_fold(metric):
        return _many(metric, p, rows, truth, weight)[0]
    fold = p.events["fold"].to_numpy()[rows]
    parts = [_many(metric, p, rows[fold == f], truth, weight) for f in pd.unique(fold)]
    return mean_where_finite(np.array([v for v, _ in parts]), np.array([n for _, n in parts]), axis=0)


def _many(
    metric: Metric, p: Predictions, rows: np.ndarray, truth: Draws | None, weight: Draws | None
) -> tuple[np.ndarray, np.ndarray]:
    """Metric, and number of trials that counted, each (M,); in chunks, so that memory stays small."""
    scores, own = p.scores[rows], p.truth[rows][None]
    m = next((len(d.values) for d in (truth, weight) if d is not None), 1)
    step = max(1, _CHUNK // max(len(rows), scores.shape[1]))
    values, counts = np.empty(m), np.full(m, float(len(rows)))
    for start in range(0, m, step):
        part = slice(start, start + step)
        t = own if truth is None else np.take(truth.values[part], truth.unit[rows], axis=1)
        w = None if weight is None else np.take(weight.values[part], weight.unit[rows], axis=1)
        values[part] = many(metric, scores, t, w)
        if w is not None:
            counts[part] = w.sum(1)
    return values, counts
