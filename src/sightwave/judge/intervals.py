"""Intervals: how far a score would move with other pictures, other people and other seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sightwave.decode.base import Metric
from sightwave.judge.confounds import presentation_blocks
from sightwave.judge.statistic import ALL, Draws, by_subject, check, group, seeds, subjects, with_all
from sightwave.metrics.base import higher_is_better
from sightwave.results import Predictions

MIN_SUBJECTS = 5
MIN_STIMULI = 10
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Intervals:
    """95 % bootstrap intervals.

    Parameters
    ----------
    subjects : tuple of str, length S + 1
        ``"all"`` first.
    low, high : ndarray, shape (n_metrics, S + 1)
    resampled : tuple of str
        What was drawn anew: of "subjects"; "stimuli", "trials" or "blocks"; and "seeds". What is not named
        is taken as given: an interval without "subjects" speaks of these subjects, not of people.
    """

    subjects: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    resampled: tuple[str, ...]


def bootstrap(predictions: Predictions, metrics: Sequence[Metric], *, n: int = 1000, seed: int = 0) -> Intervals:
    """Compute percentile intervals by resampling stimuli, subjects and seeds, crossed.

    Parameters
    ----------
    predictions : Predictions
    metrics : sequence of callable
    n : int
        Number of draws.
    seed : int

    Returns
    -------
    Intervals

    Notes
    -----
    Stimuli are drawn with all their trials, jointly for all subjects, because all saw the same ones; with fewer than 10
    of them trials are drawn instead, and the interval speaks of these stimuli. Where classes came in blocks, whole
    blocks of presentation are drawn. Subjects are drawn when there are at
    least 5: fewer cannot show how people differ. Seeds are drawn when there are at least 2. The interval of one subject
    draws stimuli and seeds.

    Crossed resampling ("pigeonhole bootstrap", Owen 2007, https://arxiv.org/abs/0712.1111) errs on the wide side.
    Where every draw gives the same perfect or zero score, the bootstrap is blind; the far end is then the exact
    binomial one for as many units as were drawn: 0.025 ** (1 / n_units) below 1, or its mirror image above 0.
    """
    check(predictions)
    drawn = resample(predictions, n=n, seed=seed)
    low, high = np.empty((2, len(metrics), len(drawn.n_units)))
    for i, metric in enumerate(metrics):
        values = by_subject(metric, predictions, weight=drawn.weight, seed_weight=drawn.seed_weight)
        low[i], high[i] = ends(
            with_all(values, drawn.subject_weight), drawn.n_units if higher_is_better(metric) else None
        )
    return Intervals((ALL, *subjects(predictions)), low, high, drawn.resampled)


@dataclass(frozen=True, eq=False)
class Resampled:
    """The draws of a bootstrap.

    Parameters
    ----------
    weight : Draws
        How often each unit counts.
    seed_weight : ndarray, shape (M, R), or None
    subject_weight : ndarray, shape (M, S), or None
    n_units : ndarray of int, shape (S + 1,)
        Units of all and of each subject.
    resampled : tuple of str
        As in `Intervals`.
    """

    weight: Draws
    seed_weight: np.ndarray | None
    subject_weight: np.ndarray | None
    n_units: np.ndarray
    resampled: tuple[str, ...]


def resample(predictions: Predictions, *, n: int, seed: int) -> Resampled:
    """Draw units, seeds and subjects of ``predictions`` anew, n times, by the rules of `bootstrap`."""
    rng, everyone, n_seeds = np.random.default_rng(seed), subjects(predictions), len(seeds(predictions))
    unit, kind = units(predictions)
    weight = Draws(multiplicities(rng, n, int(unit.max()) + 1), unit)
    seed_weight = multiplicities(rng, n, n_seeds) if n_seeds > 1 else None
    subject_weight = multiplicities(rng, n, len(everyone)) if len(everyone) >= MIN_SUBJECTS else None
    names = [subject_weight is not None, True, seed_weight is not None]
    resampled = tuple(name for name, there in zip(("subjects", kind, "seeds"), names, strict=True) if there)
    n_units = np.array([len(np.unique(unit))]
                       + [len(np.unique(unit[predictions.events["subject"] == s])) for s in everyone])  # fmt: skip
    return Resampled(weight, seed_weight, subject_weight, n_units, resampled)


def ends(values: np.ndarray, n_units: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Find the ends of the 95 % interval, row by row.

    Parameters
    ----------
    values : ndarray, shape (n_rows, M)
        NaN where a draw has no value.
    n_units : ndarray of int, shape (n_rows,), or None
        Given for scores that end at 1: where the bootstrap is blind, the far end is the exact binomial one.
    """
    low, high = _ends(values)
    if n_units is not None:
        same, tail = low == high, (1 - LEVEL) / 2
        low = np.where(same & (high == 1), tail ** (1 / n_units), low)
        high = np.where(same & (high == 0), 1 - tail ** (1 / n_units), high)
    return low, high


def units(predictions: Predictions) -> tuple[np.ndarray, str]:
    """Return each trial's unit that is drawn anew, shape (n_trials,), and its kind: "blocks", "stimuli" or "trials"."""
    e = predictions.events
    blocks = presentation_blocks(predictions)
    if blocks is not None:
        return np.unique(blocks, return_inverse=True)[1], "blocks"
    stimulus = group(e, "stimulus")
    if stimulus.max() + 1 >= MIN_STIMULI:
        return stimulus, "stimuli"
    trial = e["trial"] if "trial" in e else e.groupby(["subject", "seed"]).cumcount()
    return group(e.assign(_trial=trial), "subject", "_trial"), "trials"


def multiplicities(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    """Draw ``size`` units out of ``size`` with replacement, ``n`` times: how often each came, shape (n, size)."""
    flat = rng.integers(0, size, (n, size)) + size * np.arange(n)[:, None]
    return np.bincount(flat.ravel(), minlength=n * size).reshape(n, size)


def _ends(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take the ends of the 95 % interval over the draws, row by row; NaN where no draw has a value.

    Parameters
    ----------
    values : ndarray, shape (n_rows, n_draws)
    """
    found = np.full((2, len(values)), np.nan)
    for i, row in enumerate(values):
        if np.isfinite(row).any():
            found[:, i] = np.quantile(row[np.isfinite(row)], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return found[0], found[1]
