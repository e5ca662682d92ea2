"""Confounds that show in the order of presentation alone, before any EEG is looked at.

EEG drifts, so whoever knows when a trial happened knows which block it was in. Where a block holds one class, a decoder
of time looks like a decoder of pictures: Li et al. 2020, https://doi.org/10.1109/TPAMI.2020.2973153.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sightwave.errors import ShapeError
from sightwave.judge.statistic import group
from sightwave.results import Predictions

ALPHA = 0.005
MIN_EXCESS = 0.25
WINDOW = 10
_N_PERMUTATIONS, _SMALL = 4999, 200


@dataclass(frozen=True)
class BlockDesign:
    """What the order of the labels gives away.

    Parameters
    ----------
    verdict : {"blocked", "intermixed"}
    p_same : float
        Share of neighbouring trials with the same label.
    expected : float
        What a random order of the same labels would give.
    p_near, expected_near : float
        The same for pairs at most 10 trials apart: classes that alternate inside a block show only here.
    p : float
        Probability of an order at least as clustered, if it were random.
    longest : int
        Longest run of equal labels.
    median_run : float
        Median length of runs of equal labels.
    """

    verdict: str
    p_same: float
    expected: float
    p_near: float
    expected_near: float
    p: float
    longest: int
    median_run: float


def block_design(labels: np.ndarray, runs: np.ndarray | None = None) -> BlockDesign:
    """Decide from the labels in order of presentation whether classes came in blocks.

    Parameters
    ----------
    labels : ndarray, shape (n_trials,)
        In order of presentation.
    runs : ndarray, shape (n_trials,), or None
        Run of each trial; trials of different runs are no neighbours. One run when None.

    Returns
    -------
    BlockDesign
        "blocked" when pairs of equal labels are both improbable (p <= 0.005) and many: more than a quarter of the way
        from chance to certainty. So neither a lucky short run nor a long run with a trace of order is called blocked.

    Notes
    -----
    The statistic is a join count, for neighbours and for pairs at most 10 apart. Its mean and variance under random
    order are exact (Cliff and Ord 1981, chapter 2) and the tail is normal; up to 200 trials it is counted over 4,999
    permutations where there are pairs enough to matter. The labels are exchanged over all trials given, so a class that
    fills a whole run is found too.

    >>> block_design(np.repeat(["cat", "dog", "car", "cup"], 20)).verdict
    'blocked'
    >>> block_design(np.tile(["cat", "dog", "car", "cup"], 20)).verdict
    'intermixed'
    """
    runs = np.zeros(len(labels), int) if runs is None else np.asarray(runs)
    if len(runs) != len(labels):
        raise ShapeError(f"There are {len(labels)} labels but {len(runs)} run ids.")
    label, run = pd.factorize(np.asarray(labels))[0], pd.factorize(runs)[0]
    pairs = [_pairs(run, 1), _pairs(run, WINDOW)]
    found = [_joins(label, *p) for p in pairs]
    # two looks; where pairs are few, the tail of the wide one is not normal and says nothing
    p = min(1.0, 2 * min([tail for same, chance, tail in found if _many(same, chance)], default=found[0][2]))
    blocked = p <= ALPHA and any(_many(same, chance) for same, chance, _ in found)
    ends = np.flatnonzero((label[1:] != label[:-1]) | (run[1:] != run[:-1])) + 1
    lengths = np.diff(np.r_[0, ends, len(label)])
    return BlockDesign(
        "blocked" if blocked else "intermixed", *found[0][:2], *found[1][:2], p,
        int(lengths.max(initial=0)), float(np.median(lengths)),
    )  # fmt: skip


def _pairs(run: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Index pairs of trials of one run, at most ``reach`` apart."""
    left = [np.flatnonzero(run[lag:] == run[:-lag]) for lag in range(1, reach + 1)]
    return np.concatenate(left), np.concatenate([i + lag for lag, i in enumerate(left, 1)])


def _joins(label: np.ndarray, i: np.ndarray, j: np.ndarray) -> tuple[float, float, float]:
    """Share of pairs with equal labels, its expectation, and the probability of at least that many."""
    n, n_pairs = len(label), len(i)
    c = np.bincount(label, minlength=1).astype(float)
    if n < 4 or not n_pairs or len(c) < 2:
        return float("nan"), float("nan"), 1.0
    pair, triple = c * (c - 1), c * (c - 1) * (c - 2)
    two = pair.sum() / (n * (n - 1))  # two trials share a label; three do; two and two do
    three = triple.sum() / (n * (n - 1) * (n - 2))
    twice = (pair.sum() ** 2 - (pair**2).sum() + (triple * (c - 3)).sum()) / (n * (n - 1) * (n - 2) * (n - 3))
    degree = np.bincount(np.r_[i, j], minlength=n)
    touching = float((degree * (degree - 1.0)).sum())  # ordered pairs of pairs that share a trial
    count, mean = int((label[i] == label[j]).sum()), n_pairs * two
    variance = mean + touching * three + (n_pairs * (n_pairs - 1.0) - touching) * twice - mean**2
    tail = _normal_tail((count - 0.5 - mean) / np.sqrt(variance)) if variance > 1e-9 else 1.0
    if n <= _SMALL and variance > 1e-9 and _many(count / n_pairs, two):
        shuffled = np.random.default_rng(0).permuted(np.tile(label.astype(np.int16), (_N_PERMUTATIONS, 1)), axis=1)
        reached = int(((shuffled[:, i] == shuffled[:, j]).sum(1) >= count).sum())
        counted = (1 + reached) / (_N_PERMUTATIONS + 1)
        tail = counted if reached else min(counted, tail)  # beyond what can be counted, the normal tail goes on
    return count / n_pairs, float(two), tail


def _many(same: float, chance: float) -> bool:
    return same - chance > MIN_EXCESS * (1 - chance)


def _normal_tail(z: float) -> float:
    from scipy.stats import norm

    return float(norm.sf(z))


def presentation_blocks(predictions: Predictions) -> np.ndarray | None:
    """Find the blocks of test trials: those shown one after the other with the same right answer.

    Trials of a block share the state of a drifting EEG, so they are one witness and not many.

    Parameters
    ----------
    predictions : Predictions
        Single trials; their order within a run is that of `onset`, or of the rows where there is none.

    Returns
    -------
    ndarray of int, shape (n_trials,), or None
        None when the order is intermixed, or not known: averages, onsets that are NaN, or no column `trial`.
    """
    e = predictions.events
    if predictions.repetitions != "1" or "trial" not in e:
        return None
    run = group(e, "subject", "session", "run")
    onset = e["onset"].to_numpy(float) if "onset" in e else np.zeros(len(e))
    if np.isnan(onset).any():
        return None
    order = np.lexsort((np.arange(len(e)), onset, run))
    _, first = np.unique(e["trial"].to_numpy()[order], return_index=True)  # seeds and folds repeat a trial
    shown = order[np.sort(first)]
    truth, run = predictions.truth[shown], run[shown]
    if block_design(truth, run).verdict != "blocked":
        return None
    block = np.cumsum(np.r_[False, (truth[1:] != truth[:-1]) | (run[1:] != run[:-1])])
    return pd.Series(block, index=e["trial"].to_numpy()[shown])[e["trial"]].to_numpy()
