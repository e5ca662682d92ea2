"""What a metric is: a function of scores and truth that returns one number; and how to have it for many draws at once.

Any function ``(scores, truth) -> float`` is a metric; its ``__name__`` is the metric's name. The judge needs each one
thousands of times, with truth permuted or trials weighted; `fast` attaches a vectorised form for that. A metric
without one is simply called in a loop.

Shape suffixes in this room: M draws, N trials, K candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import numpy as np

from sightwave.errors import DataError, ShapeError


class Many(Protocol):
    """The vectorised form of a metric."""

    def __call__(self, scores_NK: np.ndarray, truth_MN: np.ndarray, weight_MN: np.ndarray | None, /) -> np.ndarray:
        """Return (M,). Either of truth and weight may have a single row, which then serves every draw."""


class Metric(Protocol):
    """A metric of this room.

    Attributes
    ----------
    higher_is_better : bool
        Direction, for p-values and for choosing an epoch on validation.
    per_fold : bool
        True when trials are ranked against each other, which is meaningless across folds, because each fold has its own
        decoder. The judge then averages the metric over folds, weighted by their trials.
    many : Many
    each : callable or None
        (scores, truth) -> one value per trial, (n_trials,), whose mean is the metric; None where it is no such mean.
    """

    __name__: str
    __qualname__: str
    higher_is_better: bool
    per_fold: bool
    many: Many
    each: Callable[[np.ndarray, np.ndarray], np.ndarray] | None

    def __call__(self, scores: np.ndarray, truth: np.ndarray, /) -> float:
        """Return the metric of ``scores`` (n_trials, n_candidates) and ``truth`` (n_trials,)."""


Function = Callable[[np.ndarray, np.ndarray], float]


def fast(
    many: Many,
    *,
    name: str = "",
    higher_is_better: bool = True,
    per_fold: bool = False,
    each: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> Callable[[Function], Metric]:
    """Attach the vectorised form and the traits to a metric; the function itself stays what it is.

    Parameters
    ----------
    many : Many
    name : str
        How tables call it; the function's own name when empty.
    higher_is_better, per_fold : bool
    each : callable or None
        See `Metric`.
    """

    def attach(function: Function) -> Metric:
        metric = cast(Metric, function)
        metric.__name__ = name or metric.__name__
        metric.many, metric.higher_is_better, metric.per_fold = many, higher_is_better, per_fold
        metric.each = each
        return metric

    return attach


def higher_is_better(metric: Function) -> bool:
    """Tell a metric's direction; a plain function counts as higher is better."""
    return bool(getattr(metric, "higher_is_better", True))


def per_fold(metric: Function) -> bool:
    """Whether a metric must be computed within each fold; a plain function need not."""
    return bool(getattr(metric, "per_fold", False))


def many(metric: Function, scores: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Compute a metric for M draws of truth, of weights, or of both.

    Parameters
    ----------
    metric : callable
        Metric of this room, or any function of scores and truth.
    scores : ndarray, shape (n_trials, n_candidates)
    truth : ndarray of int, shape (M, n_trials) or (1, n_trials)
    weight : ndarray of int, shape (M, n_trials), or None
        How often each trial counts. A draw without any trial gives NaN.

    Returns
    -------
    ndarray, shape (M,)
    """
    vectorised: Many | None = getattr(metric, "many", None)
    if vectorised is not None:
        return vectorised(scores, truth, weight)
    if weight is None:
        return np.array([metric(scores, t) for t in truth])
    truth = np.broadcast_to(truth, weight.shape)
    rows = [np.repeat(np.arange(len(scores)), w) for w in weight.astype(int)]
    return np.array([metric(scores[r], t[r]) if len(r) else np.nan for t, r in zip(truth, rows, strict=True)])


def check(scores: np.ndarray, truth: np.ndarray) -> None:
    """Refuse what no metric can be computed from.

    Raises
    ------
    ShapeError
        If scores and truth disagree.
    DataError
        If there is no trial, a score is NaN, or truth points outside the candidates.
    """
    if scores.ndim != 2 or truth.shape != scores.shape[:1]:
        raise ShapeError(
            f"Scores must be (n_trials, n_candidates) with truth (n_trials,), got {scores.shape} and {truth.shape}."
        )
    if not scores.size:
        raise DataError(f"There is nothing to score: scores have shape {scores.shape}.")
    bad = np.isnan(scores)
    if bad.any():
        row = int(np.flatnonzero(bad.any(1))[0])
        raise DataError(f"Scores hold NaN in {int(bad.any(1).sum())} of {len(scores)} trials, first in row {row}. "
                        "The decoder has diverged, or its input holds NaN.")  # fmt: skip
    if truth.min() < 0 or truth.max() >= scores.shape[1]:
        raise DataError(f"Truth must lie in 0..{scores.shape[1] - 1}, got {truth.min()}..{truth.max()}. "
                        "Is every trial's own answer among the candidates?")  # fmt: skip


def mean(x_MN: np.ndarray, weight_MN: np.ndarray | None = None) -> np.ndarray:
    """Average over trials, weighted when asked, shape (M,); no weight at all gives NaN."""
    if weight_MN is None:
        return np.asarray(x_MN.mean(-1))
    with np.errstate(invalid="ignore"):
        return np.asarray((x_MN * weight_MN).sum(-1) / weight_MN.sum(-1))
