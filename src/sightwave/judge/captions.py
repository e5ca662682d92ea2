"""Intervals of caption scores: from one value per query and source to a table with ceiling, chance and nulls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sightwave.judge.intervals import Resampled, ends, resample
from sightwave.judge.statistic import mean_where_finite, with_all
from sightwave.results import Predictions

Columns = Mapping[str, Mapping[str, np.ndarray]]
REAL, CHANCE, CEILING = "value", "chance", "ceiling"
AUC, OVERLAP = "CLIPScore AUC", "CLIPScore overlap"
_CHUNK = 4_000_000


@dataclass(frozen=True, eq=False)
class Judged:
    """Scores of several sources, with the draws that their intervals come from.

    Parameters
    ----------
    table : DataFrame
        One row per score: `score`, `value`, `low`, `high`, `chance`, and of every further source its value and, behind
        ``_low`` and ``_high``, its interval; and `beyond`, whether the interval lies beyond chance, and that of each
        difference to a null, draw by draw, beyond 0.
    draws : dict of (str, str) to ndarray, shape (n_draws,)
        (source, score) -> the score under each draw. Draws are common to all, so that differences and ratios of them
        have intervals, too.
    resampled : tuple of str
        What was drawn anew, as `Intervals` says it.
    """

    table: pd.DataFrame
    draws: dict[tuple[str, str], np.ndarray]
    resampled: tuple[str, ...]


def judge(columns: Columns, pairs: Columns, events: pd.DataFrame, *, n: int = 1000, seed: int = 0) -> Judged:
    """Put every score of every source beside its interval.

    Parameters
    ----------
    columns : mapping
        Source -> score -> one value per query, shape (N,), whose mean is the score. ``"value"`` is what is judged;
        ``"chance"`` is what each query may expect and needs no interval. A source may lack scores.
    pairs : mapping
        Source -> cosines ``"matched"``, shape (N,), and ``"mismatched"``, shape (N, any).
    events : DataFrame, N rows
        As in `Predictions`. Pictures are drawn anew with all their queries; subjects and seeds where there are enough.
    n : int
        Draws per interval.

    Returns
    -------
    Judged
    """
    p = _predictions(events)
    drawn = resample(p, n=n, seed=seed)
    once = Resampled(type(drawn.weight)(np.ones((1, drawn.weight.values.shape[1]), np.int64), drawn.weight.unit),
                     None, None, drawn.n_units, drawn.resampled)  # fmt: skip
    keys = [(source, score) for source, scores in columns.items() for score in scores]
    flat = np.stack([columns[source][score] for source, score in keys], axis=1).astype(np.float64)
    value, many = (_means(flat, p, d) for d in (once, drawn))
    draws = dict(zip(keys, many, strict=True))
    values = {key: float(v[0]) for key, v in zip(keys, value, strict=True)}
    for source, cosines in pairs.items():
        for name, v, x in zip((AUC, OVERLAP), *(_apart(cosines, p, d) for d in (once, drawn)), strict=True):
            values[source, name], draws[source, name] = float(v[0]), x
            if (
                name == OVERLAP
            ):  # drawing anew alone makes distributions differ more, so the draws are put about the score
                draws[source, name] = np.clip(x - np.nanmean(x) + v[0], 0, 1)
    scores = [*columns[REAL], *((AUC, OVERLAP) if REAL in pairs else ())]
    values |= {(CHANCE, AUC): 0.5, (CHANCE, OVERLAP): 1.0}
    rows = pd.DataFrame({"score": scores})
    for source in (REAL, CHANCE, *(s for s in columns if s not in (REAL, CHANCE))):
        rows[source] = [values.get((source, score), np.nan) for score in scores]
        if source == CHANCE:
            continue
        none = np.full((1, n), np.nan)
        both = [ends(draws.get((source, score), none).reshape(1, -1), drawn.n_units[:1]) for score in scores]
        prefix = "" if source == REAL else f"{source}_"
        rows[f"{prefix}low"], rows[f"{prefix}high"] = [float(a[0]) for a, _ in both], [float(b[0]) for _, b in both]
    nulls = [s for s in columns if s not in (REAL, CHANCE, CEILING)]
    rows["beyond"] = [
        _beyond(score, draws, nulls, values.get((CHANCE, score), np.nan), drawn.n_units) for score in scores
    ]
    ordered = ["score", REAL, "low", "high", CHANCE]
    rows = rows[[*ordered, *(c for c in rows if c not in ordered)]]
    return Judged(rows, {k: v for k, v in draws.items() if k[0] != CHANCE}, drawn.resampled)


def judge_classes(
    columns: Columns,
    score: str,
    members: Mapping[str, np.ndarray],
    events: pd.DataFrame,
    *,
    n: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Do the same for one score, class by class.

    Parameters
    ----------
    columns, events, n
        As for `judge`.
    score : str
    members : mapping of str to ndarray of bool, shape (N,)
        Class -> its queries.

    Returns
    -------
    DataFrame
        Columns `class n_images value low high chance ...`, as in `Judged.table`.
    """
    rows = []
    for name, mine in members.items():
        own = {source: {score: scores[score][mine]} for source, scores in columns.items() if score in scores}
        part = events[mine].reset_index(drop=True)
        table = judge(own, {}, part, n=n, seed=seed).table.drop(columns="score")
        rows.append({"class": name, "n_images": part["stimulus"].nunique(), **table.iloc[0].to_dict()})
    return pd.DataFrame(rows)


def _beyond(
    score: str, draws: Mapping[tuple[str, str], np.ndarray], nulls: list[str], chance: float, n_units: np.ndarray
) -> bool:
    """Whether a score is better than chance and than every null, by the intervals of the differences."""
    sign = -1 if score == OVERLAP else 1
    mine = draws[REAL, score]
    others = [draws[null, score] for null in nulls if (null, score) in draws]
    low, high = ends(mine.reshape(1, -1), n_units[:1])
    clear = bool(high[0] < chance if sign < 0 else low[0] > chance)
    return clear and all(ends((sign * (mine - other)).reshape(1, -1))[0][0] > 0 for other in others)


def _predictions(events: pd.DataFrame) -> Predictions:
    """Dress up the queries for the judge's bootstrap, which reads their events and what was shown."""
    truth, candidates = pd.factorize(events["label"].astype(str))
    once = "1" if "n_averaged" not in events or (events["n_averaged"] == 1).all() else "many"
    nothing = np.zeros((len(events), len(candidates)), np.float32)
    return Predictions("captions", once, nothing, truth.astype(np.int64), np.asarray(candidates), events)


def _decoders(p: Predictions) -> list[tuple[int, int, np.ndarray]]:
    """Rows of every subject and seed."""
    subject, seed = (pd.factorize(p.events[c])[0] for c in ("subject", "seed"))
    every = [
        (s, r, np.flatnonzero((subject == s) & (seed == r))) for s, r in np.ndindex(subject.max() + 1, seed.max() + 1)
    ]
    return [(s, r, rows) for s, r, rows in every if len(rows)]


def _gather(each: dict[tuple[int, int], np.ndarray], d: Resampled) -> np.ndarray:
    """Average (..., M) of every subject and seed: over seeds, then over subjects."""
    one = next(iter(each.values()))
    n_subjects, n_seeds = (max(key[i] for key in each) + 1 for i in (0, 1))
    values = np.full((n_subjects, n_seeds, *one.shape), np.nan)
    for key, v in each.items():
        values[key] = v
    shape = (1, n_seeds, *(1,) * (one.ndim - 1), one.shape[-1])
    w = np.ones(shape) if d.seed_weight is None else d.seed_weight.T.reshape(shape)
    by_subject = mean_where_finite(values, np.broadcast_to(w, values.shape), axis=1)
    flat = by_subject.reshape(n_subjects, -1, one.shape[-1])
    return np.stack([with_all(flat[:, i], d.subject_weight)[0] for i in range(flat.shape[1])]).reshape(one.shape)


def _means(columns_NC: np.ndarray, p: Predictions, d: Resampled) -> np.ndarray:
    """Mean of each column under each draw, shape (C, M)."""
    each = {}
    for s, r, rows in _decoders(p):
        units, of_row = np.unique(d.weight.unit[rows], return_inverse=True)
        sums = np.zeros((len(units), columns_NC.shape[1] + 1))
        np.add.at(sums, of_row, np.concatenate([columns_NC[rows], np.ones((len(rows), 1))], axis=1))
        total = d.weight.values[:, units].astype(np.float64) @ sums
        with np.errstate(invalid="ignore"):
            each[s, r] = (total[:, :-1] / total[:, -1:]).T
    return _gather(each, d)


def _apart(cosines: Mapping[str, np.ndarray], p: Predictions, d: Resampled) -> np.ndarray:
    """AUC and overlap of matched and mismatched cosines under each draw, shape (2, M)."""
    each = {}
    for s, r, rows in _decoders(p):
        matched, other = cosines["matched"][rows], cosines["mismatched"][rows]
        row = np.concatenate([np.arange(len(rows)), np.repeat(np.arange(len(rows)), other.shape[1])])
        x = np.concatenate([matched, other.ravel()])
        order = np.argsort(x, kind="stable")
        last = np.flatnonzero(np.r_[x[order][1:] != x[order][:-1], True])  # equal values are passed at once
        is_match, row = (order < len(rows)).astype(np.float64), row[order]
        step = max(1, _CHUNK // len(x))
        found = []
        for start in range(0, len(d.weight.values), step):
            w = d.weight.values[start : start + step][:, d.weight.unit[rows]][:, row].astype(np.float64)
            up = [np.cumsum(w * of, axis=1)[:, last] for of in (is_match, 1 - is_match)]
            with np.errstate(invalid="ignore"):
                f, g = (u / u[:, -1:] for u in up)
            rise = np.diff(f, axis=1, prepend=0)
            below = np.concatenate([np.zeros((len(g), 1)), g[:, :-1]], axis=1)
            found.append([(rise * (below + g)).sum(1) / 2, 1 - np.abs(f - g).max(1)])
        each[s, r] = np.concatenate(found, axis=1)
    return _gather(each, d)
