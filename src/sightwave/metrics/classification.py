"""Classification metrics: which class is said, how often it is right, and how well scores separate two classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from sightwave.errors import ShapeError
from sightwave.metrics.base import Many, Metric, check, fast
from sightwave.metrics.retrieval import within


@cache
def top_k(k: int) -> Metric:
    """Make the metric "top-k": the share of trials whose class is among the k with the highest scores.

    Ties count against the trial, so a constant decoder is never right.

    >>> top_k(1).__name__
    'top-1'
    >>> top_k(1)(np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([1, 1]))
    0.5
    """
    return within(k, f"top-{k}", f"{__name__}.top_k({k})")


def confusion(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Count trials by true class (row) and by class said (column), shape (n_candidates, n_candidates).

    >>> confusion(np.array([[0.2, 0.8], [0.6, 0.4], [0.1, 0.9]]), np.array([1, 1, 0])).tolist()
    [[0, 1], [1, 1]]
    """
    check(scores, truth)
    k = scores.shape[1]
    return np.bincount(truth * k + scores.argmax(1), minlength=k * k).reshape(k, k)


Formula = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Hits, trials of a class, and times that a class was said, each (M, K) -> (M,)."""


def of_counts(formula: Formula) -> Many:
    """Make the vectorised form of a metric that depends on counts per class alone."""

    def many(scores_NK: np.ndarray, truth_MN: np.ndarray, weight_MN: np.ndarray | None, /) -> np.ndarray:
        said = scores_NK.argmax(1)
        return formula(*_counts(said, truth_MN, weight_MN, scores_NK.shape[1]))

    return many


def _balanced(hits: np.ndarray, true: np.ndarray, said: np.ndarray) -> np.ndarray:
    return _mean_where(hits, true, true > 0)


@fast(of_counts(_balanced), name="balanced accuracy")
def balanced_accuracy(scores: np.ndarray, truth: np.ndarray) -> float:
    """Mean over the classes that occur of the share of their trials that are recognised.

    >>> balanced_accuracy(np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]), np.array([0, 0, 1, 1]))
    0.75
    """
    return _once(_balanced, scores, truth)


def _f1(hits: np.ndarray, true: np.ndarray, said: np.ndarray) -> np.ndarray:
    return _mean_where(2 * hits, true + said, true + said > 0)


@fast(of_counts(_f1), name="f1 macro")
def f1_macro(scores: np.ndarray, truth: np.ndarray) -> float:
    """Mean F1 over the classes that occur or are said.

    >>> f1_macro(np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([0, 1]))
    1.0
    """
    return _once(_f1, scores, truth)


def _kappa(hits: np.ndarray, true: np.ndarray, said: np.ndarray) -> np.ndarray:
    n = true.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        agreed, expected = hits.sum(-1) / n, (true * said).sum(-1) / n**2
        return np.where(expected < 1, (agreed - expected) / (1 - expected), np.nan)


@fast(of_counts(_kappa), name="kappa")
def cohen_kappa(scores: np.ndarray, truth: np.ndarray) -> float:
    """Cohen's kappa: agreement beyond what the two marginals give by chance; NaN when only one class is left.

    >>> cohen_kappa(np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([0, 1]))
    1.0
    """
    return _once(_kappa, scores, truth)


def _auc(scores_NK: np.ndarray, truth_MN: np.ndarray, weight_MN: np.ndarray | None, /) -> np.ndarray:
    """Area under the curve for every draw: sort once, then count the negatives below each positive."""
    if scores_NK.shape[1] != 2:
        raise ShapeError(f"auc is for two candidates, got {scores_NK.shape[1]}. Use balanced_accuracy or f1_macro.")
    margin = scores_NK[:, 1] - scores_NK[:, 0]
    order = np.argsort(margin, kind="stable")
    margin, positive = margin[order], (truth_MN[:, order] == 1).astype(float)
    left, right = np.searchsorted(margin, margin, "left"), np.searchsorted(margin, margin, "right")
    weight = 1.0 if weight_MN is None else weight_MN[:, order]
    pos, neg = positive * weight, (1 - positive) * weight
    below = np.concatenate([np.zeros((len(neg), 1)), np.cumsum(neg, 1)], 1)
    with np.errstate(invalid="ignore"):  # a draw with a single class has no curve: NaN
        return np.asarray((pos * (below[:, left] + below[:, right])).sum(1) / (2 * pos.sum(1) * neg.sum(1)))


@fast(_auc, per_fold=True)
def auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Area under the ROC curve of the score difference of two candidates; ties count one half.

    The share of pairs (a trial of class 1, a trial of class 0) that are in the right order; NaN without such a pair.

    >>> auc(np.array([[0.0, 0.1], [0.0, 0.4], [0.0, 0.35], [0.0, 0.8]]), np.array([0, 0, 1, 1]))
    0.75
    """
    check(scores, truth)
    return float(_auc(scores, truth[None], None)[0])


def _once(formula: Formula, scores: np.ndarray, truth: np.ndarray) -> float:
    check(scores, truth)
    return float(formula(*_counts(scores.argmax(1), truth[None], None, scores.shape[1]))[0])


def _counts(
    said: np.ndarray, truth_MN: np.ndarray, weight_MN: np.ndarray | None, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits, true and said counts per class, each (M, K) or (1, K) where all draws share it."""
    if weight_MN is None:
        hits = _tally(truth_MN, truth_MN == said, k)
        return hits, _tally(truth_MN, None, k), np.bincount(said, minlength=k)[None]
    truth_MN, said_MN = (np.broadcast_to(x, weight_MN.shape) for x in (truth_MN, said))
    return (
        _tally(truth_MN, weight_MN * (truth_MN == said_MN), k),
        _tally(truth_MN, weight_MN, k),
        _tally(said_MN, weight_MN, k),
    )


def _tally(class_MN: np.ndarray, weight_MN: np.ndarray | None, k: int) -> np.ndarray:
    """Sum of weights per class, row by row, shape (M, K)."""
    m = len(class_MN)
    flat = (class_MN if m == 1 else class_MN + k * np.arange(m)[:, None]).ravel()
    weight = None if weight_MN is None else weight_MN.ravel()
    return np.bincount(flat, weight, minlength=m * k).reshape(m, k)


def _mean_where(above: np.ndarray, below: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Mean of above/below over the classes that are there; NaN where none is."""
    share = np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=there)
    with np.errstate(invalid="ignore"):
        return np.asarray(share.sum(-1) / np.count_nonzero(there, axis=-1))
