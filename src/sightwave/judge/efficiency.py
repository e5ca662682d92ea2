"""Efficiency: how much of what the EEG holds a decoder uses, where an ideal observer is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sightwave.decode.base import Metric
from sightwave.judge.statistic import by_subject, with_all
from sightwave.metrics.base import higher_is_better
from sightwave.results import Predictions

N_HALVINGS, LEAST = 12, 1e-4


def efficiency(predictions: Predictions, metric: Metric, ideal: Callable[..., np.ndarray | None]) -> float:
    r"""Repetitions that the ideal observer needs, over those that the decoder was given, for the same score.

    Vision science calls it efficiency: the ideal observer gets :math:`\eta` times the evidence and does as well. It is
    found by bisection on a logarithmic scale; evidence grows in proportion to repetitions, so a fraction of one is
    a noisier trial.

    Parameters
    ----------
    predictions : Predictions
        All of them averages of the same number of repetitions.
    metric : callable
    ideal : callable
        As `Dataset.ideal`: ``ideal(predictions, repetitions=r)`` gives scores, or None when unknown.

    Returns
    -------
    float
        In [0, 1]; 0 for a decoder that is no better than an ideal observer with next to no evidence, NaN when no
        ideal observer is known, or when it does no better than guessing itself.

    References
    ----------
    Tanner & Birdsall 1958, https://doi.org/10.1121/1.1909803, for the idea; there with contrast energy.
    """
    sign = 1.0 if higher_is_better(metric) else -1.0

    def score(given: Predictions) -> float:
        return sign * float(with_all(by_subject(metric, given))[0, 0])

    def best(share: float) -> float:
        scores = ideal(predictions, repetitions=share * float(predictions.repetitions))
        if scores is None:
            return math.nan
        p = predictions
        return score(Predictions(p.task, p.repetitions, scores, p.truth, p.candidates, p.events))

    if not predictions.repetitions.isdigit() or math.isnan(most := best(1.0)):
        return math.nan
    reached, least, low, high = score(predictions), best(LEAST), math.log(LEAST), 0.0
    if most <= least:  # there is no evidence in this EEG: whatever is reached is luck or a leak
        return math.nan
    if reached >= most:
        return 1.0
    if reached <= least:
        return 0.0
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if best(math.exp(middle)) < reached else (low, middle)
    return math.exp((low + high) / 2)
