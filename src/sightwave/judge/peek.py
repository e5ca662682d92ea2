"""Peek: what choosing the epoch on the test part would add. It is no result, and is printed as none.

Many published scores are those of the epoch that did best on the test trials. This tells by how much that flatters: the
weights of every epoch are kept while the test part is sealed, and scored after the run's own score is known. Nothing is
chosen by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sightwave.decode.base import Metric
from sightwave.errors import RecipeError
from sightwave.judge.chance import permutation
from sightwave.judge.statistic import by_subject, with_all
from sightwave.metrics.base import higher_is_better
from sightwave.results import Predictions


def best_on_test(
    epochs: Sequence[Sequence[Predictions]], kept: Predictions, metric: Metric, *, n: int = 200, seed: int = 0
) -> dict[str, Any]:
    """Score the epoch that is best on the test trials, chosen for each decoder, as is often done.

    Parameters
    ----------
    epochs : sequence of sequence of Predictions
        For each decoder (fold and seed), what it said of the test trials after each epoch.
    kept : Predictions
        The run's own, of all decoders.
    metric : callable
        The headline.
    n : int
        Permutations for the chance of the best epoch.
    seed : int

    Returns
    -------
    dict
        `task metric repetitions`; `honest`, the run's score, and `best`; `chance` of one epoch and `chance_best`, what
        the best epoch reaches when the truth is permuted; `curve`, the mean score after each epoch; `chosen`, the best
        epoch of each decoder, from 1.

    Raises
    ------
    RecipeError
        If nothing was trained in epochs.
    """
    if not epochs or not all(epochs):
        raise RecipeError("There is no epoch to choose among: this recipe is solved in closed form.")
    sign = 1.0 if higher_is_better(metric) else -1.0
    curves, nulls = [], []
    for said in epochs:
        curves.append([_value(metric, p) for p in said])
        # the same seed permutes the truth in the same way after every epoch
        nulls.append(np.array([permutation(p, [metric], n=n, seed=seed).values[0, 0] for p in said]))
    chosen = [int(np.argmax(sign * np.array(c))) for c in curves]
    shortest = min(map(len, curves))
    return {
        "task": kept.task,
        "metric": metric.__name__,
        "repetitions": kept.repetitions,
        "honest": _value(metric, kept),
        "best": _value(metric, Predictions.pool([said[e] for said, e in zip(epochs, chosen, strict=True)])),
        "chance": float(np.mean([null.mean() for null in nulls])),
        "chance_best": float(np.mean([sign * (sign * null).max(0).mean() for null in nulls])),
        "curve": np.mean([c[:shortest] for c in curves], 0).tolist(),
        "chosen": [e + 1 for e in chosen],
    }


def _value(metric: Metric, p: Predictions) -> float:
    return float(with_all(by_subject(metric, p))[0, 0])
