"""Intervals of image -> caption scores: from one value per query to a table with chance and nulls."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sightwave.decode.base import Metric
from sightwave.judge.intervals import bootstrap
from sightwave.judge.statistic import mean_of
from sightwave.metrics.captions import auc, overlap
from sightwave.results import Predictions

Columns = Mapping[str, Mapping[str, np.ndarray]]
REAL, SHUFFLED, CONSTANT = "value", "shuffled", "most_frequent"


def judge(
    columns: Columns,
    pairs: Columns,
    chance: Mapping[str, float],
    ids: np.ndarray,
    *,
    n: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Put every score beside its interval, its chance and its nulls.

    Parameters
    ----------
    columns : mapping
        ``"value"``, ``"shuffled"`` and ``"most_frequent"`` -> score -> one value per query, shape (N,), whose mean is
        the score. The last may lack scores.
    pairs : mapping
        ``"value"`` and ``"shuffled"`` -> cosines ``"matched"``, shape (N,), and ``"mismatched"``, shape (N, any).
    chance : mapping of str to float
        Score -> its chance.
    ids : ndarray of str, shape (N,)
        The image of each query; images are drawn anew, with all their queries.
    n : int
        Draws per interval.

    Returns
    -------
    DataFrame
        Columns `score value low high chance shuffled shuffled_low shuffled_high most_frequent`.
    """
    names = list(columns[REAL])
    metrics = [*(mean_of(i, name) for i, name in enumerate(names)), *_apart(len(names))]
    rows = pd.DataFrame({"score": [m.__name__ for m in metrics]})
    for kind, prefix in ((REAL, ""), (SHUFFLED, "shuffled_")):
        cosines = [pairs[kind]["matched"], *pairs[kind]["mismatched"].T]
        p = _predictions([*(columns[kind][name] for name in names), *cosines], ids)
        ends = bootstrap(p, metrics, n=n, seed=seed)
        rows[kind] = [m(p.scores, p.truth) for m in metrics]
        rows[f"{prefix}low"], rows[f"{prefix}high"] = ends.low[:, 0], ends.high[:, 0]
    rows.insert(4, "chance", [chance[s] for s in rows["score"]])
    rows[CONSTANT] = [float(np.mean(columns[CONSTANT].get(s, np.nan))) for s in rows["score"]]
    return rows


def judge_classes(
    columns: Columns,
    score: str,
    members: Mapping[str, np.ndarray],
    chance: Mapping[str, float],
    ids: np.ndarray,
    *,
    n: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Do the same for one score, class by class.

    Parameters
    ----------
    columns, n
        As for `judge`.
    ids : ndarray of str, shape (N,)
    score : str
    members : mapping of str to ndarray of bool, shape (N,)
        Class -> its queries.
    chance : mapping of str to float
        Class -> chance.

    Returns
    -------
    DataFrame
        Columns `class n_images value low high chance shuffled most_frequent`.
    """
    rows = []
    for name, mine in members.items():
        values = {kind: columns[kind][score][mine] for kind in (REAL, SHUFFLED, CONSTANT)}
        ends = bootstrap(_predictions([values[REAL]], ids[mine]), [mean_of(0, score)], n=n, seed=seed)
        means = {kind: float(v.mean()) for kind, v in values.items()}
        rows.append({"class": name, "n_images": len(np.unique(ids[mine])), REAL: means[REAL], "low": ends.low[0, 0],
                     "high": ends.high[0, 0], "chance": chance[name], SHUFFLED: means[SHUFFLED],
                     CONSTANT: means[CONSTANT]})  # fmt: skip
    return pd.DataFrame(rows)


def _predictions(columns: list[np.ndarray], ids: np.ndarray) -> Predictions:
    """Hand on the values of each query as if they were scores of candidates: the judge's bootstrap needs no more."""
    events = pd.DataFrame({"stimulus": ids, "label": "", "fold": "all", "seed": 0, "trial": np.arange(len(ids))})
    events[["subject", "session", "run"]] = "all"
    candidates, truth = np.arange(len(columns)).astype(str), np.zeros(len(ids), np.int64)
    return Predictions("image -> caption", "none", np.stack(columns, axis=1), truth, candidates, events)


def _apart(column: int) -> tuple[Metric, Metric]:
    """Make the metrics that tell matched cosines, in ``column``, from the mismatched ones behind it."""

    def area(scores: np.ndarray, truth: np.ndarray) -> float:
        return auc(scores[:, column], scores[:, column + 1 :])

    def shared(scores: np.ndarray, truth: np.ndarray) -> float:
        return overlap(scores[:, column], scores[:, column + 1 :])

    area.__name__, shared.__name__ = "CLIPScore AUC", "CLIPScore overlap"
    return area, shared
