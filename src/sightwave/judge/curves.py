"""Curves: how a retrieval score falls with the size of the gallery, exactly and with its interval."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from sightwave.judge.intervals import bootstrap
from sightwave.judge.statistic import by_subject, mean_of, with_all
from sightwave.metrics.retrieval import pool_recall, rank_of_own
from sightwave.results import Predictions

_ROUND = np.array([1, 1.5, 2, 3, 5, 7])


def pool_curve(predictions: Predictions, *, k: int = 1, n: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Compute the expected recall@k in random galleries of 2 candidates up to all.

    Scores of galleries of different sizes cannot be compared; on this curve they can.

    Parameters
    ----------
    predictions : Predictions
        Of a retrieval in the exact gallery.
    k : int
    n : int
        Bootstrap draws.
    seed : int

    Returns
    -------
    DataFrame
        Columns `size value low high chance`: the mean over subjects of `metrics.retrieval.pool_recall`, which draws
        nothing, and its 95 % interval as everywhere.
    """
    candidates = (~np.isneginf(predictions.scores)).sum(1)
    sizes = pool_sizes(int(candidates.min()))
    values = pool_recall(rank_of_own(predictions.scores, predictions.truth), candidates, sizes, k)
    each = replace(predictions, scores=values, candidates=sizes.astype(str))  # which is no longer read by its truth
    metrics = [mean_of(i, f"recall@{k} of {m}") for i, m in enumerate(sizes)]
    interval = bootstrap(each, metrics, n=n, seed=seed)
    value = [float(with_all(by_subject(metric, each))[0, 0]) for metric in metrics]
    return pd.DataFrame({
        "size": sizes, "value": value, "low": interval.low[:, 0], "high": interval.high[:, 0],
        "chance": np.minimum(k / sizes, 1.0),
    })  # fmt: skip


def pool_sizes(most: int) -> np.ndarray:
    """Return round sizes from 2 up, and the largest, shape (n_sizes,), int64.

    Parameters
    ----------
    most : int

    >>> pool_sizes(24).tolist()
    [2, 3, 5, 7, 10, 15, 20, 24]
    """
    steps = (_ROUND[None] * 10.0 ** np.arange(7)[:, None]).ravel()
    whole = steps[(steps == steps.round()) & (steps >= 2) & (steps < most)].astype(np.int64)
    return np.r_[whole, most]
