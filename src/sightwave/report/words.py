"""How a score is said to people: names of tasks and metrics, numbers with their doubt, the headline in one sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from sightwave.decode.question import Question as Question
from sightwave.decode.question import question as question
from sightwave.results import SCORE_COLUMNS, Result

UNKNOWN = "–"
SHARES = ("top-", "recall@", "assigned@", "oracle@", "balanced accuracy", "f1 macro")
"""Metrics that are printed in per cent."""

VERDICTS = {
    "PASS": "The audit found no leak between training and test.",
    "WARN": "The audit found something that a reader should know.",
    "FAIL": "The split leaks: these scores are not evidence of decoding.",
}


def is_share(metric: str) -> bool:
    """Whether a metric is printed in per cent; one that is not known here may be anything, and is printed as it is."""
    return metric.lower().startswith(SHARES)


def metric_name(metric: str) -> str:
    """Say a metric's name to people.

    >>> metric_name("auc"), metric_name("top-1")
    ('AUC', 'top-1')
    """
    return {
        "auc": "AUC", "mrr": "mean reciprocal rank", "kappa": "Cohen's kappa", "f1 macro": "macro F1",
    }.get(metric, metric)  # fmt: skip


def number(value: float, metric: str, *, unit: bool = True) -> str:
    """Print one value of a metric.

    >>> number(0.3124, "top-1"), number(0.728, "auc"), number(12.0, "median rank"), number(float("nan"), "top-1")
    ('31.2 %', '0.728', '12', '–')
    """
    if not math.isfinite(value):
        return UNKNOWN
    if is_share(metric):
        return f"{100 * value:.1f}" + (" %" if unit else "")
    if metric == "median rank":
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.3f}"


def interval(low: float, high: float, metric: str) -> str:
    """Print a 95 % interval.

    >>> interval(0.28, 0.345, "top-1"), interval(float("nan"), 1.0, "top-1")
    ('[28.0, 34.5]', '–')
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        return UNKNOWN
    return f"[{number(low, metric, unit=False)}, {number(high, metric, unit=False)}]"


def p_value(p: float) -> str:
    """Print a p-value.

    >>> p_value(0.0001), p_value(0.0312), p_value(0.44), p_value(float("nan"))
    ('< 0.001', '0.031', '0.44', '–')
    """
    if not math.isfinite(p):
        return UNKNOWN
    return "< 0.001" if p < 0.0009995 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def average(repetitions: str) -> str:
    """Say how many repetitions one trial is the average of.

    >>> average("1"), average("16")
    ('single trial', 'average of 16')
    """
    return "single trial" if repetitions in ("1", "") else f"average of {repetitions}"


def three(levels: Iterable[float]) -> list[float]:
    """Keep the lowest, the highest and the middle one of several levels.

    >>> three([20, 1, 4, 2, 8])
    [1, 4, 20]
    """
    known = sorted(set(levels))
    return sorted({known[0], known[len(known) // 2], known[-1]}) if known else []


def level(repetitions: str) -> float:
    """Order numbers of repetitions: ``"16"`` above ``"1"``."""
    found = re.search(r"\d+(\.\d+)?", repetitions)
    return float(found.group()) if found else 0.0


def scores_of(result: Result) -> pd.DataFrame:
    """Scores with text columns as text and numbers as floats, in their own order."""
    numbers = ("value", "chance", "low", "high", "p", "ceiling", "noise_free")
    table = result.scores.reset_index(drop=True).reindex(columns=list(SCORE_COLUMNS))
    return table.astype({c: str for c in ("task", "metric", "repetitions", "subject")} | {c: float for c in numbers})


def headlines(table: pd.DataFrame) -> dict[str, str]:
    """Task -> its headline metric, which is the first that the task reports."""
    return {str(task): str(rows["metric"].iloc[0]) for task, rows in table.groupby("task", sort=False)}


def plain(tasks: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the tasks that ask about each trial alone and the very items shown: no other gallery, no other inference.

    Where there is none of these, another gallery speaks, but still for each trial alone.
    """
    alone = {task: value for task, value in tasks.items() if not question(task).mark}
    return {task: value for task, value in alone.items() if not question(task).way} or alone


def is_phantom(result: Result) -> bool:
    """Whether the brain behind these numbers is simulated."""
    return bool(result.data.get("phantom"))


def verdict(result: Result) -> str:
    """Return the audit's verdict, or ``"UNKNOWN"``."""
    return str(result.audit.get("verdict") or "UNKNOWN").upper()


def leaks(result: Result) -> bool:
    """Whether the audit failed and the recipe went on by naming the leak: then every table carries the mark."""
    return verdict(result) == "FAIL"


def findings(result: Result) -> list[dict[str, str]]:
    """Return the audit's findings as ``{"level": ..., "text": ...}``; sentences and mappings are both understood."""
    said = []
    for f in result.audit.get("findings") or ():
        if not isinstance(f, Mapping):
            said.append({"level": "", "text": str(f)})
            continue
        left = dict(f)
        grade = _first(left, ("level", "verdict", "severity"))
        text = _first(left, ("text", "message", "says", "sentence", "finding", "what"))
        if text and left.pop("kind", None):  # one of the audit's own findings: its message says it all
            left.clear()
        rest = "; ".join(f"{k.replace('_', ' ')}: {_plain(v)}" for k, v in left.items() if v not in (None, "", [], ()))
        said.append({"level": grade.upper(), "text": f"{text} ({rest})" if text and rest else text or rest})
    return said


def notes(result: Result) -> list[str]:
    """Say what chance and intervals could not cover, each said once, with its tasks unless it holds for all."""
    tasks: dict[str, dict[str, None]] = {}
    for line in result.data.get("notes") or ():
        head, sep, note = str(line).partition(": ")
        task = head.partition(", repetitions ")[0]
        tasks.setdefault(note if sep else head, {})[question(task).word if sep else ""] = None
    every = {question(str(t)).word for t in result.scores["task"]}
    return [
        _upper(n) + (f" ({', '.join(t)})" if set(t) - {""} and set(t) != every else "") + "." for n, t in tasks.items()
    ]


def efficiency(result: Result, task: str) -> str:
    """Say how much of the evidence the decoder used, against the ideal observer; nothing where that is unknown."""
    value = (result.data.get("efficiency") or {}).get(task)
    return "" if value is None else "< 0.01 %" if value < 1e-4 else f"{100 * value:.2g} %"


def efficiencies(result: Result) -> str:
    """Say the efficiency of every task in one sentence; nothing where no ideal observer is known."""
    said = [f"{question(t).word} {efficiency(result, t)}" for t in plain(result.data.get("efficiency") or {})]
    return f"Efficiency against the ideal observer: {_list(said)}." if said else ""


def noise_free(result: Result) -> str:
    """Say what the best noise-free map to a target scores, beside the ideal observer; nothing if it says nothing."""
    table, said = scores_of(result), []
    for task, metric in plain(headlines(table)).items():
        rows = table[(table.task == task) & (table.metric == metric) & (table.subject == "all")]
        rows = rows[rows.repetitions == max(rows.repetitions, key=level, default="")]
        for free, best, chance in rows[["noise_free", "ceiling", "chance"]].to_numpy(float):
            if not free > chance:  # unknown, or a brain without any signal
                continue
            ideal = f" (ideal observer {number(best, metric)})" if math.isfinite(best) else ""
            said.append(f"{question(task).word} {number(free, metric)}{ideal}")
    return f"Best noise-free map to the target: {_list(said)}." if said else ""


def opened(result: Result) -> str:
    """How often the test set was opened, and how the epoch was chosen.

    The sentence belongs beside every score.
    """
    times = {1: "once", 2: "twice"}.get(result.opened, f"{result.opened} times")
    chosen = _chosen(result.selection.strip().rstrip("."))
    peeked = (
        " Each epoch was scored on it as well (peek); nothing was chosen by that." if result.data.get("peek") else ""
    )
    return f"Test set opened {times}{chosen}.{peeked}"


def peek(result: Result) -> str:
    """Say what choosing the epoch on the test part would have added; nothing where nobody looked."""
    p = result.data.get("peek")
    if not p:
        return ""
    name = str(p["metric"])
    honest, best, chance, lucky = (number(float(p[k]), name) for k in ("honest", "best", "chance", "chance_best"))
    return (
        f"NOT A RESULT: the best epoch on test would read {best} instead of {honest} ({question(str(p['task'])).word}, "
        f"{metric_name(name)}, {average(str(p['repetitions']))}). By chance alone the best epoch reaches {lucky} where "
        f"guessing gives {chance}."
    )


def headline(result: Result) -> str:
    """Say what was found in two or three sentences, for somebody who reads nothing else."""
    table = scores_of(result)
    if not len(table):
        return "No scores were computed."
    clauses, levels = [], []
    for task, metric in plain(headlines(table)).items():
        rows = table[(table.task == task) & (table.metric == metric)]
        top = max(rows.repetitions, key=level)
        rows = rows[rows.repetitions == top]
        whole = rows[rows.subject == "all"]
        clauses.append(_clause(question(task), metric, whole if len(whole) else rows))
        levels.append(top)
    n = table["subject"][table["subject"] != "all"].nunique() or len(result.subjects)  # not all may have been tested
    brain = ("simulated EEG of {} phantom subject{}" if is_phantom(result) else "the EEG of {} subject{}").format(
        n, "s" * (n != 1)
    )
    same = f", {_from(levels[0])}," if len(set(levels)) == 1 else ""
    said = [c if same else f"{c}, {_from(r)}" for c, r in zip(clauses, levels, strict=True)]
    brackets = " Brackets hold 95 % intervals." if any("[" in c for c in clauses) else ""
    return f"From {brain}{same or ','} the decoder {_list(said)}.{brackets}"


def _clause(q: Question, metric: str, rows: pd.DataFrame) -> str:
    r = rows.iloc[0]
    n = int(r.n_candidates) if "n_candidates" in rows and pd.notna(r.n_candidates) else 0
    of = "" if not n else f" of {n}" if q.kind == "classify" else f" among {n}"
    found = re.fullmatch(r"(?:top-|recall@)(\d+)", metric)
    if found and q.kind == "classify":
        what = (
            f"named the right {q.word}{of}"
            if found[1] == "1"
            else f"had the right {q.word} in its first {found[1]}{of}"
        )
    elif found:
        place = "first" if found[1] == "1" else f"in the first {found[1]}"
        what = f"ranked the right {q.word}{f' (by {q.way})' if q.way else ''} {place}{of}"
    else:
        apart = f"{n} categories" if q.word == "category" and n else f"the {q.word}"
        said = metric_name(metric)
        what = f"told {apart} apart with {'an' if said[0] in 'Aaeio' else 'a'} {said} of"
    guessing = f"where guessing gives {number(r.chance, metric)}"
    if len(rows) > 1:
        values, above = sorted(rows.value), int((rows.p < 0.05).sum())
        span = f"{number(values[0], metric)} to {number(values[-1], metric)}" + (" of trials" if found else "")
        many = f"{above} of {len(rows)} subjects with p < 0.05"
        return f"{what} {'in ' if found else ''}{span} by subject, {guessing} ({many})"
    span = interval(r.low, r.high, metric)
    value = number(r.value, metric) + (f" {span}" if span != UNKNOWN else "")
    tail = f" (not above chance, p = {p_value(r.p)})" if r.p >= 0.05 else ""
    return f"{what} {f'in {value} of trials' if found else value} {guessing}{tail}"


def _upper(s: str) -> str:
    return s[:1].upper() + s[1:].rstrip(".")


def _from(repetitions: str) -> str:
    return "from single trials" if repetitions in ("1", "") else f"averaged over {repetitions} repetitions"


def _list(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + ", and " + parts[-1]


def _chosen(selection: str) -> str:
    """Say how the epoch was chosen, also where it was fixed beforehand or where there are no epochs."""
    if not selection or selection.startswith("closed form"):
        return f"; {selection}" if selection else ""
    if selection.startswith("fixed"):
        return f"; epoch {selection}"
    return "; epoch chosen by " + re.sub(r"^(the )?epoch (was )?(chosen )?by ", "", selection, flags=re.IGNORECASE)


def _first(left: dict[str, Any], names: Sequence[str]) -> str:
    return next((str(left.pop(n)) for n in names if left.get(n)), "")


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
