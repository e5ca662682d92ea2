"""Paired: how recipes differ on the very same test trials, with interval, p and correction for all the pairs.

Two intervals that overlap say little about a difference: both recipes met the same pictures and the same people, and
what was hard for one was mostly hard for the other. Here both are drawn, and flipped, together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from sightwave.decode.base import Metric
from sightwave.decode.question import question
from sightwave.errors import DataError
from sightwave.judge.intervals import MIN_SUBJECTS, ends, multiplicities, units
from sightwave.judge.statistic import Draws, by_subject, group, seeds, subjects, with_all
from sightwave.metrics.named import named
from sightwave.results import Predictions, Result

COLUMNS = ("question", "metric", "repetitions", "a", "b", "value_a", "value_b", "difference", "low", "high", "p",
           "p_holm", "over", "n_trials")  # fmt: skip


def paired(
    results: Sequence[Result], *, with_first: bool = False, n: int = 2000, n_flips: int = 9999, seed: int = 0
) -> pd.DataFrame:
    """Compare recipes pair by pair, on the headline of every question that all of them answer for each trial by itself.

    Parameters
    ----------
    results : sequence of Result
        At least two, on the same test trials. Spaces may differ: "which image" is one question, whatever the target.
    with_first : bool
        Compare each with the first alone, and not all with all.
    n : int
        Bootstrap draws.
    n_flips : int
        Random sign flips; the smallest p is 1 / (n_flips + 1).
    seed : int

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, one row per question and pair; `difference` is a minus b, at the most repetitions that all
        have. `p` is two-sided; `p_holm` is corrected over all pairs of a question (Holm 1979). `over` says what
        interval and p are over: "stimuli" (of these subjects) or "subjects x stimuli".

    Raises
    ------
    DataError
        If there are fewer than two results, or data, subjects, test trials or candidates differ.

    Notes
    -----
    Interval: subjects (5 and more) and stimuli are drawn again, the same for both; training seeds for each apart, for a
    seed of one recipe has no partner in the other.

    p: were both equally good, each difference might as well have had the other sign. With fewer than 5 subjects the
    signs of whole stimuli are flipped. With 5 and more, differences may be shared by all trials of a subject and by all
    trials of a stimulus. Then signs of subjects and signs of stimuli are flipped, and the sum of both is scaled to the
    variance of a two-way clustered mean, V(subjects) + V(stimuli) - V(both) (Cameron, Gelbach & Miller 2011,
    https://doi.org/10.1198/jbes.2010.07136). Where all agree, 5 subjects cannot give a p much below 2/32, and 10 not
    below 2/1024. A metric that is no mean over trials (AUC, median rank) has a p from 5 subjects on, by flipping
    theirs. Where classes came in blocks, blocks take the place of stimuli.
    """
    if len(results) < 2:
        raise DataError(f"To compare recipes needs at least two results, got {len(results)}.")
    _same_data(results)
    names, rows = _names(results), []
    for title, answers in _shared(results).items():
        aligned = _aligned(answers, names)
        metric = named(answers[0][1])
        table = [
            {"question": title, "metric": metric.__name__, "repetitions": aligned[0].repetitions,
             "a": names[i], "b": names[j]} | _one(aligned[i], aligned[j], metric, n, n_flips, seed)
            for i, j in combinations(range(len(results)), 2)
            if not (with_first and i)
        ]  # fmt: skip
        for row, p in zip(table, holm(np.array([row["p"] for row in table])), strict=True):
            rows.append(row | {"p_holm": p})
    if not rows:
        raise DataError("These results share no question that both answer for each trial by itself.")
    return pd.DataFrame(rows)[list(COLUMNS)]


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p-values for their number by Holm's step-down rule; NaN stays, and is not counted.

    Parameters
    ----------
    p : ndarray, shape (n,)

    Returns
    -------
    ndarray, shape (n,)

    >>> holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    out, known = np.full(len(p), np.nan), np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    out[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1.0)
    return out


def sign_flip(
    contribution: np.ndarray, subject: np.ndarray | None, unit: np.ndarray, *, n: int = 9999, seed: int = 0
) -> float:
    """Test whether contributions to a difference sum to zero.

    Parameters
    ----------
    contribution : ndarray, shape (n_trials,)
        What each trial adds to the difference.
    subject : ndarray of int, shape (n_trials,), or None
        None takes the subjects as given: only units are flipped.
    unit : ndarray of int, shape (n_trials,)
        Stimulus, block or trial.
    n : int
    seed : int

    Returns
    -------
    float
        Two-sided p; see `paired` for the null.
    """
    rng, observed = np.random.default_rng(seed), abs(contribution.sum())

    def flipped(groups: np.ndarray) -> tuple[np.ndarray, float]:
        sums = np.bincount(groups, contribution)
        sums = sums[sums != 0]
        null = np.empty(n)
        step = max(1, 4_000_000 // max(len(sums), 1))
        for start in range(0, n, step):
            signs = rng.integers(0, 2, (min(step, n - start), len(sums)), np.int8) * 2 - 1
            null[start : start + step] = signs @ sums
        return null, float((sums**2).sum())

    null, of_units = flipped(unit)
    if subject is not None:
        more, of_subjects = flipped(subject)
        cell = np.unique(subject * (int(unit.max()) + 1) + unit, return_inverse=True)[1]
        of_cells = float((np.bincount(cell, contribution) ** 2).sum())
        both = of_units + of_subjects
        # an estimate may fall below either part, which the truth cannot
        wanted = max(both - of_cells, of_units, of_subjects)
        null = (null + more) * np.sqrt(wanted / both if both else 0.0)
    # equal sums may differ in their last bits
    return float((1 + (np.abs(null) >= observed - 1e-12).sum()) / (n + 1))


def _one(a: Predictions, b: Predictions, metric: Metric, n: int, n_flips: int, seed: int) -> dict[str, object]:
    """Difference of two aligned predictions with its doubt."""
    rng, everyone = np.random.default_rng(seed), subjects(a)
    unit, kind = _units_of(a)
    many = len(everyone) >= MIN_SUBJECTS
    weight = multiplicities(rng, n, int(unit.max()) + 1)
    people = multiplicities(rng, n, len(everyone)) if many else None
    values, drawn = [], []
    for p in (a, b):
        u = np.tile(unit, len(p) // len(unit))
        w = multiplicities(rng, n, len(seeds(p))) if len(seeds(p)) > 1 else None
        values.append(by_subject(metric, p)[:, 0])
        drawn.append(with_all(by_subject(metric, p, weight=Draws(weight, u), seed_weight=w), people)[0])
    low, high = ends((drawn[0] - drawn[1])[None])
    apart = values[0] - values[1]
    return {
        "value_a": np.nanmean(values[0]), "value_b": np.nanmean(values[1]), "difference": np.nanmean(apart),
        "low": low[0], "high": high[0], "p": _p(a, b, metric, apart, unit, many, n_flips, seed),
        "over": f"subjects x {kind}" if many else kind, "n_trials": len(unit),
    }  # fmt: skip


def _p(
    a: Predictions, b: Predictions, metric: Metric, apart: np.ndarray, unit: np.ndarray, many: bool, n: int, seed: int
) -> float:
    subject, each = group(a.events, "subject")[: len(unit)], getattr(metric, "each", None)
    if each is None:
        who = np.arange(len(apart))[np.isfinite(apart)]
        return sign_flip(apart[who] / len(who), None, np.arange(len(who)), n=n, seed=seed) if many else np.nan
    mean = [each(p.scores, p.truth).reshape(-1, len(unit)).mean(0) for p in (a, b)]
    share = 1 / (np.bincount(subject)[subject] * (subject.max() + 1))
    return sign_flip((mean[0] - mean[1]) * share, subject if many else None, unit, n=n, seed=seed)


def _units_of(p: Predictions) -> tuple[np.ndarray, str]:
    """Return the unit of each trial of one seed."""
    unit, kind = units(p)
    return unit[: len(p) // len(seeds(p))], kind


def _names(results: Sequence[Result]) -> list[str]:
    """Names of results, numbered where two are called the same."""
    names = [r.name for r in results]
    return [n if names.count(n) == 1 else f"{n} #{names[: i + 1].count(n)}" for i, n in enumerate(names)]


def _same_data(results: Sequence[Result]) -> None:
    first = results[0]
    for r in results[1:]:
        for what, mine, theirs in (
            ("data", first.data.get("fingerprint"), r.data.get("fingerprint")),
            ("subjects", sorted(first.subjects), sorted(r.subjects)),
        ):
            if mine != theirs:
                raise DataError(
                    f"{first.name} and {r.name} cannot be compared pair by pair: their {what} differ ({mine} and "
                    f"{theirs}). Run both on the same {what}, with the same settings of the data set."
                )


def _shared(results: Sequence[Result]) -> dict[str, list[tuple[Predictions, str]]]:
    """Title of a plain question -> each result's predictions and headline metric, for questions that all answer."""
    found: dict[str, list[dict[str, tuple[Predictions, str]]]] = {}
    for i, r in enumerate(results):
        for task in dict.fromkeys(r.scores["task"]):
            q = question(str(task))
            answers = found.setdefault(q.title, [])
            if q.mark or len(answers) != i:  # the first space of a kind speaks for the recipe
                continue
            metric = str(r.scores["metric"][r.scores["task"] == task].iloc[0])
            answers.append({p.repetitions: (p, metric) for p in r.predictions if p.task == task})
    shared: dict[str, list[tuple[Predictions, str]]] = {}
    for title, answers in found.items():
        if len(answers) < len(results):
            continue
        common = [k for k in answers[0] if all(k in answer for answer in answers)]
        chosen = [answer[max(common, key=_times)] for answer in answers] if common else []
        if len({m for _, m in chosen}) == 1:
            shared[title] = chosen
    return shared


def _times(repetitions: str) -> int:
    """Order numbers of repetitions, of which some are ranges."""
    first = re.match(r"\d+", repetitions)
    return int(first[0]) if first else 0


def _aligned(answers: Sequence[tuple[Predictions, str]], names: Sequence[str]) -> list[Predictions]:
    """Sort each by seed, subject and trial, and refuse what is not the same trials among the same candidates."""
    made, first = list[Predictions](), pd.DataFrame()
    for (p, _), name in zip(answers, names, strict=True):
        if "trial" not in p.events:
            raise DataError(f"{name}: events of {p.task!r} lack the column 'trial', so trials cannot be paired.")
        order = np.lexsort([p.events[c].astype(str).to_numpy() for c in ("trial", "subject", "seed")])
        p = p[order]
        size = len(p) // len(seeds(p))
        keys = p.events[["subject", "trial"]].astype(str).reset_index(drop=True)
        if len(p) % size or (keys.to_numpy().reshape(-1, size, 2) != keys.to_numpy()[:size]).any():
            raise DataError(f"{name}: its seeds were not tested on the same trials of {p.task!r}.")
        keys = keys[:size].assign(n_candidates=np.isfinite(p.scores[:size]).sum(1), answer=p.candidates[p.truth[:size]])
        if made and not keys.equals(first):
            raise DataError(
                f"{names[0]} and {name} cannot be compared pair by pair: they were not tested on the same trials among "
                f"the same candidates ({len(first)} trials, {len(made[0].candidates)} candidates against {size} and "
                f"{len(p.candidates)}). Give both the same split, gallery and dataset."
            )
        first = first if made else keys
        made.append(p)
    return made
