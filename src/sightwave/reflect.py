"""Reflect: results that retrieve captions -> numbers with their intervals -> `report.reflection` writes the page.

One result per protocol: new pictures, new sessions, new people. The first is the one that the others are held against.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sightwave.captions import CaptionScores, Progress
from sightwave.decode.captions import kept
from sightwave.eeg_captions import from_eeg
from sightwave.errors import DataError
from sightwave.judge.caption_ranks import SUCCESS
from sightwave.judge.intervals import LEVEL
from sightwave.report import reflection
from sightwave.report.reflection import CLASS, INSTANCE, PROTOCOLS, WITHIN, Number, Told
from sightwave.results import Result


def reflect(
    results: Sequence[Result],
    path: Path,
    *,
    text_model: Path | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Write the page of reflection.

    Parameters
    ----------
    results : sequence of Result
        Each with a task that retrieves captions.
    text_model : Path or None
        Of BERTScore, which is left out without one.
    n_bootstrap : int

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    DataError
        If a result keeps no decoded captions.
    """
    told = []
    for result in results:
        tasks = kept(result)
        if not tasks:
            raise DataError(
                f"The result {result.name!r} keeps no decoded captions: it has no task that retrieves them."
            )
        scores = from_eeg(tasks[0], text_model=text_model, n_bootstrap=n_bootstrap, seed=seed, progress=progress)
        told.append(tell(result, scores))
    return reflection.write(path, told, title="What captions from EEG tell")


def tell(result: Result, scores: CaptionScores) -> Told:
    """Turn the scores of a result into the numbers that sentences are made of."""
    assert scores.judged is not None  # for the type checker
    rows = {str(r["score"]): r for r in scores.table.to_dict("records")}
    levels, draws = [s for s in (INSTANCE, CLASS, WITHIN) if s in rows], scores.judged.draws
    chance = {s: float(rows[s]["chance"]) for s in levels}
    ceiling = {s: float(rows[s]["ceiling"]) for s in levels if "ceiling" in rows[s]}
    share = {}
    for s in ceiling:
        if rows[s]["ceiling_low"] > chance[s]:
            one = (rows[s]["value"] - chance[s]) / (ceiling[s] - chance[s])
            share[s] = _number(one, (draws["value", s] - chance[s]) / (draws["ceiling", s] - chance[s]))
    gain = {}
    if CLASS in rows:
        values = {s: np.r_[rows[s]["value"], draws["value", s]] for s in (INSTANCE, CLASS)}
        with np.errstate(divide="ignore", invalid="ignore"):
            total, kind = (np.log2(values[s] / chance[s]) for s in (INSTANCE, CLASS))
            bits = {"total": total, "class": kind, "instance": total - kind, "share": kind / total}
        gain = {name: _number(x[0], x[1:]) for name, x in bits.items()}
    against = {
        null: _number(rows[INSTANCE]["value"] - rows[INSTANCE][null], draws["value", INSTANCE] - draws[null, INSTANCE])
        for null in ("nearest", "most_frequent", "shuffled", "noise")
    }
    split = result.recipe.get("split") or {}
    use = str(split.get("use", "")).rpartition(".")[2]
    if use == "NewImages":
        inner = str((split.get("split") or {}).get("use", "")).rpartition(".")[2]
        use = f"{PROTOCOLS.get(inner, inner)} and pictures"
    findings = result.audit.get("findings") or ()
    shared = [f["count"] for f in findings if f.get("kind") in ("stimulus", "image")]
    return Told(
        result.name, PROTOCOLS.get(use, use or result.name), bool(result.data.get("phantom")),
        result.audit.get("verdict") == "FAIL", scores.facts,
        {s: Number(float(rows[s]["value"]), float(rows[s]["low"]), float(rows[s]["high"])) for s in levels},
        chance, ceiling, share, gain, against, scores.curve, int(sum(shared)),
        (float(rows[SUCCESS]["value"]), float(rows[SUCCESS]["chance"])) if SUCCESS in rows else None,
    )  # fmt: skip


def _number(value: float, draws: np.ndarray) -> Number:
    """Put a value beside its interval; undefined draws, such as the logarithm of 0, leave it without one."""
    if not np.isfinite(draws).all():
        return Number(float(value), float("nan"), float("nan"))
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Number(float(value), float(low), float(high))
