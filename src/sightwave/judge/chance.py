"""Chance: what a metric gives when the EEG says nothing, by permutation that keeps the structure of the experiment.

What may be exchanged is the stimulus: all trials of a stimulus within a subject move together, over folds and seeds
too, because repeated trials of one picture are not independent witnesses. Where every stimulus belongs to one run,
stimuli are exchanged within runs, because the EEG drifts between them. Where all subjects saw the same stimuli,
one permutation serves all, so that what is odd about a picture is odd for everybody. Where classes came in blocks,
whole blocks are exchanged within a session, because the trials of a block share the state of a drifting EEG.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sightwave.decode.base import Metric
from sightwave.errors import DataError
from sightwave.judge.confounds import presentation_blocks
from sightwave.judge.statistic import ALL, Draws, by_subject, check, distinct, group, subjects, with_all
from sightwave.metrics.base import higher_is_better
from sightwave.results import Predictions

FROZEN = (
    "chance is undefined: the truth never varies within a run or session, so nothing can be exchanged within it, "
    "and a decoder of time would do as well as a decoder of pictures"
)


@dataclass(frozen=True, eq=False)
class Null:
    """Metrics under permuted truth.

    Parameters
    ----------
    subjects : tuple of str, length S + 1
        ``"all"`` first.
    values : ndarray, shape (n_metrics, S + 1, n)
        NaN throughout where chance is undefined.
    reasons : dict of str to str
        Subject -> why chance is undefined there.
    """

    subjects: tuple[str, ...]
    values: np.ndarray
    reasons: dict[str, str]

    @property
    def chance(self) -> np.ndarray:
        """Mean of the null, shape (n_metrics, S + 1)."""
        finite = np.isfinite(self.values)
        n = finite.sum(-1)
        return np.divide(np.where(finite, self.values, 0).sum(-1), n, out=np.full(n.shape, np.nan), where=n > 0)


@dataclass(frozen=True, eq=False)
class Exchange:
    """What may be exchanged with what.

    Parameters
    ----------
    unit : ndarray of int, shape (n_trials,)
        Unit of each trial.
    truth : ndarray of int, shape (n_units,)
    block : ndarray of int, shape (n_units,)
        Units are exchanged within a block.
    frozen : tuple of str
        Subjects whose blocks hold one truth each.
    """

    unit: np.ndarray
    truth: np.ndarray
    block: np.ndarray
    frozen: tuple[str, ...] = ()


def permutation(predictions: Predictions, metrics: Sequence[Metric], *, n: int = 1000, seed: int = 0) -> Null:
    """Compute metrics under ``n`` permutations of the truth.

    Parameters
    ----------
    predictions : Predictions
    metrics : sequence of callable
    n : int
        Number of permutations; the smallest p-value is 1 / (n + 1).
    seed : int

    Returns
    -------
    Null
        All metrics see the same permutations.
    """
    check(predictions)
    exchange = exchangeable(predictions)
    truth = Draws(_shuffle(exchange, n, np.random.default_rng(seed)), exchange.unit)
    everyone = subjects(predictions)
    frozen = np.isin(everyone, exchange.frozen)
    values = np.full((len(metrics), len(everyone) + 1, n), np.nan)
    for i, metric in enumerate(metrics):
        null = by_subject(metric, predictions, truth=truth)
        null[frozen] = np.nan
        values[i] = with_all(null)
    if frozen.any():  # a mean over other subjects is not the null of the mean over all
        values[:, 0] = np.nan
    return Null((ALL, *everyone), values, dict.fromkeys((ALL, *exchange.frozen) if frozen.any() else (), FROZEN))


def p_value(metric: Metric, null: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Share of permutations at least as good as what was observed, itself included: (1 + #) / (n + 1).

    Parameters
    ----------
    metric : callable
        Gives the direction.
    null : ndarray, shape (..., n)
        Draws without a value count as good ones; without any value at all p is NaN.
    observed : ndarray, shape (...)

    Returns
    -------
    ndarray, shape (...)
        One-sided, not corrected for the number of tests.
    """
    sign = 1.0 if higher_is_better(metric) else -1.0
    finite = np.isfinite(null)
    # sums in another order differ in the last bits; equal values must count as equal
    worse = finite & (sign * np.where(finite, null, 0) < (sign * observed)[..., None] - 1e-9)
    p = (1 + (~worse).sum(-1)) / (null.shape[-1] + 1)
    return np.where(finite.any(-1) & np.isfinite(observed), p, np.nan)


def exchangeable(predictions: Predictions) -> Exchange:
    """Find units and blocks of a set of predictions.

    Blocks are (session, run) of a subject when each of its stimuli lies in one of them and the truth varies in at least
    one; the whole subject when stimuli recur in several runs, or when trials are averages over runs. Where classes came
    in blocks, units are those blocks and are exchanged within a session. Stimuli are exchanged only within a gallery.
    """
    e, truth = predictions.events, predictions.truth
    blocks = presentation_blocks(predictions)
    if blocks is not None:
        return _blockwise(predictions, blocks)
    unit, column = group(e, "subject", "stimulus"), "stimulus"
    if (distinct(unit, truth) > 1).any():  # the picture does not decide the answer, so the trial is the unit
        if "trial" not in e:
            raise DataError(
                f"Predictions of {predictions.task!r}: a stimulus has several right answers and events lack the column "
                "'trial', so it is unknown what can be exchanged."
            )
        unit, column = group(e, "subject", "trial"), "trial"
    # folds with galleries of their own are pooled with -inf where a fold had no such candidate
    absent = np.isneginf(predictions.scores)
    gallery = np.unique(absent, axis=0, return_inverse=True)[1].reshape(-1) if absent.any() else np.zeros(len(e), int)
    unit = group(e.assign(_unit=unit, _gallery=gallery), "_unit", "_gallery")
    first = np.unique(unit, return_index=True)[1]
    subject, run = group(e, "subject"), group(e, "subject", "session", "run")
    averaged = predictions.repetitions != "1" or ("n_averaged" in e and bool((e["n_averaged"] > 1).any()))
    recurring = np.unique(subject[first][distinct(unit, run) > 1])  # subjects with stimuli in several runs
    varying = np.unique(subject[np.isin(run, np.flatnonzero(distinct(run, truth) > 1))])
    block, frozen = np.empty(len(first), np.int64), []
    for s, name in enumerate(subjects(predictions)):
        mine = subject[first] == s
        whole = averaged or s in recurring
        block[mine] = -1 - s if whole else run[first][mine]
        if len(set(truth[first][mine])) < 2 if whole else s not in varying:
            frozen.append(name)
    if absent.any():
        block = np.unique(np.stack([block, gallery[first]]), axis=1, return_inverse=True)[1].reshape(-1)
        return Exchange(unit, truth[first], block, tuple(frozen))
    own = Exchange(unit, truth[first], block, tuple(frozen))
    return _joint(group(e, column), subject, own) or own


def _blockwise(predictions: Predictions, blocks: np.ndarray) -> Exchange:
    """Exchange whole blocks of presentation within each session."""
    subject, session = group(predictions.events, "subject"), group(predictions.events, "subject", "session")
    first = np.unique(blocks, return_index=True)[1]
    varies = distinct(session, predictions.truth)[session] > 1
    frozen = [name for s, name in enumerate(subjects(predictions)) if not varies[subject == s].any()]
    return Exchange(np.unique(blocks, return_inverse=True)[1], predictions.truth[first], session[first], tuple(frozen))


def _joint(unit: np.ndarray, subject: np.ndarray, own: Exchange) -> Exchange | None:
    """One permutation for all subjects, where all saw the same stimuli in the same runs, with the same answers."""
    truth, block = own.truth[own.unit], np.unique(own.block, return_inverse=True)[1][own.unit]
    # blocks of two subjects are the same if they hold the same stimuli, whatever they are called
    lowest = np.full(int(block.max()) + 1, len(unit))
    np.minimum.at(lowest, block, unit)
    if (distinct(unit, subject) <= subject.max()).any() or (distinct(unit, truth) > 1).any():
        return None
    if (distinct(unit, lowest[block]) > 1).any():
        return None
    first = np.unique(unit, return_index=True)[1]
    return Exchange(unit, truth[first], lowest[block][first], own.frozen)


def _shuffle(exchange: Exchange, n: int, rng: np.random.Generator) -> np.ndarray:
    """Permute truth within blocks, shape (n, n_units)."""
    place = np.argsort(exchange.block, kind="stable")
    block = np.unique(exchange.block, return_inverse=True)[1]
    values = np.empty((n, len(block)), exchange.truth.dtype)
    step = max(1, 2_000_000 // len(block))
    for start in range(0, n, step):
        # sorting by block + uniform noise keeps blocks together and shuffles within them
        order = np.argsort(rng.random((min(step, n - start), len(block))) + block, axis=1)
        values[start : start + step, place] = exchange.truth[order]
    return values
