"""Score: predictions -> a table in which every value stands beside its chance, interval, p-value and ceiling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from sightwave.decode.base import Metric
from sightwave.errors import DataError, ShapeError, one_of
from sightwave.judge.chance import p_value, permutation
from sightwave.judge.intervals import bootstrap
from sightwave.judge.statistic import ALL, by_subject, check, seeds, subjects, with_all
from sightwave.metrics.base import check as check_scores
from sightwave.results import SCORE_COLUMNS, Predictions


def score(
    predictions: Sequence[Predictions],
    metrics: Mapping[str, Sequence[Metric]],
    *,
    ideal: Callable[[Predictions], np.ndarray | None] = lambda _: None,
    noise_free: Sequence[Predictions] = (),
    n_permutations: int = 1000,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Turn predictions into scores with their doubt.

    Parameters
    ----------
    predictions : sequence of Predictions
        One per task and repetitions; folds, seeds and subjects are pooled in it.
    metrics : mapping of str to sequence of callable
        Task name -> metrics, the headline first.
    ideal : callable
        Predictions -> the scores that an ideal observer would have given, same shape, or None when unknown.
    noise_free : sequence of Predictions
        What the best map from true features into the target space says of the same trials; see `judge.ceiling`.
    n_permutations, n_bootstrap : int
    seed : int
        Of permutations and bootstrap draws.

    Returns
    -------
    DataFrame
        Columns `SCORE_COLUMNS`; for each task, repetitions and metric a row ``"all"`` and a row per subject. ``"all"``
        is the mean over subjects. A metric that guessing always satisfies (top-3 of three) has no row. `p` is one-sided
        and not corrected for the number of rows. `n_trials` counts test trials of one seed. ``attrs["notes"]`` says in
        words what chance and intervals could not cover.

    Raises
    ------
    DataError, ShapeError
        If scores hold NaN, truth or ideal scores do not fit, or two predictions answer the same question.
    UnknownName
        If a task has no metrics.
    """
    asked = [(p.task, p.repetitions) for p in predictions]
    if len(set(asked)) < len(asked):
        twice = next(a for a in asked if asked.count(a) > 1)
        raise DataError(f"Two Predictions answer {twice[0]!r} with repetitions {twice[1]!r}. Pool them first.")
    known = {(p.task, p.repetitions): p for p in noise_free}
    tables, notes = [], []
    for p in predictions:
        if p.task not in metrics:
            raise one_of("task with metrics", p.task, metrics)
        free = known.get((p.task, p.repetitions))
        table, said = _one(p, metrics[p.task], ideal(p), free, n_permutations, n_bootstrap, seed)
        tables.append(table)
        notes += [f"{p.task}, repetitions {p.repetitions}: {note}" for note in said]
    scores = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(SCORE_COLUMNS))
    scores.attrs["notes"] = notes
    return scores


def by_session(
    predictions: Sequence[Predictions],
    metrics: Mapping[str, Sequence[Metric]],
    *,
    n_permutations: int = 1000,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Score the headline of each task session by session, where single trials of several sessions were tested.

    Parameters
    ----------
    predictions : sequence of Predictions
        Averages are passed over: they have no session.
    metrics : mapping of str to sequence of callable
    n_permutations, n_bootstrap : int

    Returns
    -------
    DataFrame
        Columns `SCORE_COLUMNS`, with `session` in place of `subject`: the mean over subjects of one session.
    """
    tables = []
    for p in predictions:
        session = p.events["session"].to_numpy().astype(str)
        names = sorted(set(session), key=lambda s: (len(s), s))
        for name in names if p.repetitions == "1" and len(names) > 1 else []:
            part = p[session == name]
            table = score([part], {p.task: metrics[p.task][:1]}, n_permutations=n_permutations,
                          n_bootstrap=n_bootstrap, seed=seed)  # fmt: skip
            tables.append(table[table["subject"] == ALL].assign(session=name))
    found = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*SCORE_COLUMNS, "session"])
    return found.drop(columns="subject")


def _one(
    p: Predictions,
    metrics: Sequence[Metric],
    ideal: np.ndarray | None,
    noise_free: Predictions | None,
    n_permutations: int,
    n_bootstrap: int,
    seed: int,
) -> tuple[pd.DataFrame, list[str]]:
    """Score one set of predictions."""
    check(p)
    check_scores(p.scores, p.truth)
    best = None
    if ideal is not None:
        if ideal.shape != p.scores.shape:
            raise ShapeError(f"Ideal scores of {p.task!r} must be {p.scores.shape}, got {ideal.shape}.")
        best = Predictions(p.task, p.repetitions, ideal, p.truth, p.candidates, p.events)
    null = permutation(p, metrics, n=n_permutations, seed=seed)
    interval = bootstrap(p, metrics, n=n_bootstrap, seed=seed)
    chance, n_trials = null.chance, _n_trials(p)
    rows: list[pd.DataFrame] = []
    for i, metric in enumerate(metrics):
        if rows and (null.values[i] == 1).all():  # e.g. top-3 of three: whoever guesses is right
            continue
        value = with_all(by_subject(metric, p))[:, 0]
        ceilings = [
            np.full(len(value), np.nan) if b is None else with_all(by_subject(metric, b))[:, 0]
            for b in (best, noise_free)
        ]
        rows.append(pd.DataFrame({
            "task": p.task, "metric": metric.__name__, "repetitions": p.repetitions, "subject": null.subjects,
            "value": value, "chance": chance[i], "low": interval.low[i], "high": interval.high[i],
            "p": p_value(metric, null.values[i], value), "ceiling": ceilings[0], "noise_free": ceilings[1],
            "n_trials": n_trials,
            "n_candidates": int((~np.isneginf(p.scores)).sum(1).max()),
        }))  # fmt: skip
    return pd.concat(rows, ignore_index=True)[list(SCORE_COLUMNS)], _notes(p, null.reasons, interval.resampled)


def _n_trials(p: Predictions) -> list[int]:
    """Test trials of all and of each subject, of the seed that has most."""
    each = p.events.groupby(["subject", "seed"]).size().groupby("subject").max()
    return [int(each.sum()), *(int(each[s]) for s in subjects(p))]


def _notes(p: Predictions, reasons: dict[str, str], resampled: tuple[str, ...]) -> list[str]:
    notes = [f"{subject}: {why}" for subject, why in reasons.items()]
    if "subjects" not in resampled:
        n = len(subjects(p))
        whom = "this subject" if n == 1 else f"these {n} subjects"
        notes.append(f"intervals of {ALL!r} speak of {whom}, not of people")
    if "trials" in resampled:
        notes.append("intervals speak of these stimuli: they are too few to be drawn anew")
    if "blocks" in resampled:
        notes.append("classes came in blocks: whole blocks are permuted and drawn, for their trials are one witness")
    if "seeds" not in resampled and len(seeds(p)) == 1:
        notes.append("one seed: how training differs from seed to seed is not in the intervals")
    return notes
