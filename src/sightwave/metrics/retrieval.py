"""Retrieval metrics: how high the right candidate ranks in the gallery."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from sightwave.metrics.base import Many, Metric, check, fast, mean


def rank_of_own(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Rank of each trial's right candidate, 1 is best.

    Ties count against the query, so a constant decoder is never right, instead of always.

    Parameters
    ----------
    scores : ndarray, shape (n_trials, n_candidates)
        Higher is more likely.
    truth : ndarray of int, shape (n_trials,)
        Column of the right candidate.

    Returns
    -------
    ndarray of int, shape (n_trials,)

    Raises
    ------
    ShapeError, DataError
        If scores and truth disagree, or a score is NaN.

    >>> rank_of_own(np.array([[0.9, 0.1, 0.5], [0.3, 0.3, 0.3]]), np.array([2, 0])).tolist()
    [2, 3]
    """
    check(scores, truth)
    return _own(scores, truth)


def rank_of_each(scores: np.ndarray) -> np.ndarray:
    """Rank of every candidate for every trial, shape (n_trials, n_candidates), by the rule of `rank_of_own`.

    >>> rank_of_each(np.array([[0.9, 0.1, 0.5], [0.3, 0.3, 0.1]])).tolist()
    [[1, 3, 2], [2, 2, 3]]
    """
    order = np.argsort(scores, axis=1)
    ascending = np.take_along_axis(scores, order, 1)
    place = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    first = np.zeros(scores.shape, np.int32)  # equal scores share the lowest place
    first[:, 1:] = np.where(ascending[:, 1:] != ascending[:, :-1], place[:, 1:], 0)
    first = np.maximum.accumulate(first, axis=1)
    rank = np.empty(scores.shape, np.int32)
    np.put_along_axis(rank, order, scores.shape[1] - first, 1)
    return rank


def of_ranks(formula: Callable[[np.ndarray, np.ndarray | None], np.ndarray]) -> Many:
    """Make the vectorised form of a metric that depends on ranks alone.

    Parameters
    ----------
    formula : callable
        Ranks (M, N) and weights (M, N) or None -> (M,).
    """

    def many(scores_NK: np.ndarray, truth_MN: np.ndarray, weight_MN: np.ndarray | None, /) -> np.ndarray:
        if len(truth_MN) == 1:
            return formula(_own(scores_NK, truth_MN[0])[None], weight_MN)
        # the ranks of all candidates are computed once; a permuted truth then only looks them up
        rank_MN = rank_of_each(scores_NK)[np.arange(len(scores_NK)), truth_MN]
        return formula(np.ascontiguousarray(rank_MN), weight_MN)  # sums must run in the order of the plain metric

    return many


@cache
def recall_at(k: int) -> Metric:
    """Make the metric "recall@k": the share of trials whose right candidate is among the first k.

    The same k gives the same function, so a metric can be compared and described.

    >>> recall_at(2).__name__
    'recall@2'
    >>> recall_at(2)(np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]]), np.array([1, 2]))
    0.5
    """
    return within(k, f"recall@{k}", f"{__name__}.recall_at({k})")


def within(k: int, name: str, path: str) -> Metric:
    """Make the metric that is the share of right candidates among the first k, under a name of its own."""

    def share(rank: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
        return mean(rank <= k, weight)

    @fast(of_ranks(share), each=lambda scores, truth: (_own(scores, truth) <= k).astype(float))
    def metric(scores: np.ndarray, truth: np.ndarray) -> float:
        return float(share(rank_of_own(scores, truth)))

    metric.__name__ = name
    metric.__module__, _, metric.__qualname__ = path.rpartition(".")  # what `describe` writes down
    metric.__doc__ = f"Share of trials whose right candidate is among the first {k}."
    return metric


assigned_at_1 = within(1, "assigned@1", f"{__name__}.assigned_at_1")
"""Share of right matches in a one-to-one assignment, whose matches were raised to the top of their rows."""


@cache
def best_of_spaces(k: int) -> Metric:
    """Make the metric "oracle@k": the share of trials whose right candidate is among the first k of any space.

    Scores are minus the best rank of each candidate over the spaces, so several candidates may share the first place.

    >>> best_of_spaces(1)(np.array([[-1.0, -1.0], [-2.0, -1.0]]), np.array([0, 0]))
    0.5
    """

    def right(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
        return np.asarray(scores[np.arange(len(scores)), truth] >= -k, float)

    def many(scores_NK: np.ndarray, truth_MN: np.ndarray, weight_MN: np.ndarray | None, /) -> np.ndarray:
        return mean(right(scores_NK, truth_MN), weight_MN)

    @fast(many, name=f"oracle@{k}", each=right)
    def metric(scores: np.ndarray, truth: np.ndarray) -> float:
        check(scores, truth)
        return float(right(scores, truth).mean())

    metric.__module__, metric.__qualname__ = __name__, f"best_of_spaces({k})"
    metric.__doc__ = f"Share of trials whose right candidate is among the first {k} of any space."
    return metric


def pool_recall(rank: np.ndarray, n: np.ndarray, sizes: np.ndarray, k: int = 1) -> np.ndarray:
    r"""Compute the expected recall@k of each trial in a random smaller gallery, exactly, from its rank.

    A gallery of m holds the right candidate and m - 1 others drawn without replacement, of which a hypergeometric
    number rank before it: with k = 1, :math:`\binom{n-r}{m-1} / \binom{n-1}{m-1}`.

    Parameters
    ----------
    rank : ndarray of int, shape (n_trials,)
        As `rank_of_own` gives it.
    n : ndarray of int, shape (n_trials,)
        Candidates of each trial.
    sizes : ndarray of int, shape (n_sizes,)
        From 1 to the smallest ``n``.
    k : int

    Returns
    -------
    ndarray, shape (n_trials, n_sizes)

    >>> pool_recall(np.array([2]), np.array([4]), np.array([2, 3, 4])).round(3).tolist()
    [[0.667, 0.333, 0.0]]
    """
    from scipy.stats import hypergeom

    before, others = (rank - 1)[:, None], (n - 1)[:, None]
    return np.asarray(hypergeom.cdf(k - 1, others, before, np.asarray(sizes)[None] - 1))


def _median(rank: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Median over trials; with weights, the mean of the lower and the upper weighted median."""
    if weight is None:
        return np.asarray(np.median(rank, axis=-1))
    rank = np.broadcast_to(rank, weight.shape)
    order = np.argsort(rank, axis=-1, kind="stable")
    sorted_rank, sum_ = np.take_along_axis(rank, order, -1), np.cumsum(np.take_along_axis(weight, order, -1), -1)
    half = sum_[:, -1:] / 2
    # argmax finds the first True: where the sum reaches one half, and where it exceeds it
    at = [(reached).argmax(-1)[:, None] for reached in (sum_ >= half, sum_ > half)]
    middle = np.mean([np.take_along_axis(sorted_rank, a, -1)[:, 0] for a in at], axis=0)
    return np.where(sum_[:, -1] > 0, middle, np.nan)


@fast(of_ranks(_median), name="median rank", higher_is_better=False)
def median_rank(scores: np.ndarray, truth: np.ndarray) -> float:
    """Median rank of the right candidate; 1 is best, chance is (n_candidates + 1) / 2.

    >>> median_rank(np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.9, 0.5, 0.1]]), np.array([0, 1, 2]))
    2.0
    """
    return float(_median(rank_of_own(scores, truth)))


def _reciprocal(rank: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    return mean(1 / rank, weight)


@fast(of_ranks(_reciprocal), name="mrr", each=lambda scores, truth: 1 / _own(scores, truth))
def mean_reciprocal_rank(scores: np.ndarray, truth: np.ndarray) -> float:
    """Mean of 1/rank, which is the mean average precision when one candidate is right per trial.

    >>> mean_reciprocal_rank(np.array([[0.9, 0.5], [0.9, 0.5]]), np.array([0, 1]))
    0.75
    """
    return float(_reciprocal(rank_of_own(scores, truth)))


def _own(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    own = scores[np.arange(len(scores)), truth]
    return np.count_nonzero(scores >= own[:, None], axis=1)
