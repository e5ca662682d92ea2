"""Several results side by side: what each cost, and what it scored, one line per run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from sightwave.report import words
from sightwave.results import Result

if TYPE_CHECKING:
    from rich.table import Table

COST = ("encoder", "heads", "towers", "epoch_seconds", "peak_memory_mb", "peak_gpu_memory_mb")


def frame(results: Sequence[Result]) -> pd.DataFrame:
    """Costs and all scores as numbers, one row per run, task, metric, repetitions and subject: for a csv file.

    Parameters
    ----------
    results : sequence of Result

    Returns
    -------
    DataFrame
        ``run``, `COST` (parameters that learnt; seconds per epoch; megabytes), ``verdict`` of the audit, and the
        columns of `Result.scores`.
    """
    parts = []
    for r in results:
        table = words.scores_of(r)
        for place, name in enumerate(COST):
            table.insert(place, name, cost(r)[name])
        table.insert(0, "run", r.name)
        parts.append(table.assign(verdict=words.verdict(r)))
    return pd.concat(parts, ignore_index=True)


def cost(result: Result) -> dict[str, float]:
    """Tell what a run cost: `COST`, each a number, or NaN where it was not measured."""
    known: dict[str, Any] = {**result.parameters, **result.provenance}
    return {name: float(known.get(name, math.nan)) for name in COST}


def lines(results: Sequence[Result]) -> list[dict[str, str]]:
    """Say what each run cost and what the headline of each task was, as text: one line per run, column -> cell.

    Parameters
    ----------
    results : sequence of Result

    Returns
    -------
    list of dict of str to str
        A variant of the first run is called by its own name, ``-lora``; a run whose audit failed is marked LEAK. A
        column that no run has something for is left out.
    """
    gpu = any(math.isfinite(cost(r)["peak_gpu_memory_mb"]) for r in results)
    tuned = any(cost(r)["towers"] > 0 for r in results)
    found = [_headlines(r) for r in results]
    asked = list(dict.fromkeys(question for each in found for question in each))
    said = []
    for r, scores in zip(results, found, strict=True):
        c = cost(r)
        line = {"run": _short_name(r, results), "EEG parameters": _whole(c["encoder"] + c["heads"])}
        line |= {"target parameters": _whole(c["towers"])} if tuned else {}
        line |= {"s per epoch": _short(c["epoch_seconds"]), "memory MB": _whole(c["peak_memory_mb"])}
        line |= {"GPU MB": _whole(c["peak_gpu_memory_mb"])} if gpu else {}
        for question in asked:
            line |= dict(zip((question, f"{question}, chance"), scores.get(question, ("", "")), strict=True))
        said.append(line)
    return said


def rich_table(results: Sequence[Result]) -> Table:
    """Build the table that ends a comparison: cost, then the headline of each task with interval and chance.

    Parameters
    ----------
    results : sequence of Result

    Returns
    -------
    rich.table.Table
        What `lines` says.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    said = lines(results)
    phantom = " · phantom (simulated brain)" if any(map(words.is_phantom, results)) else ""
    table = Table(title=f"side by side{phantom}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False,
                  collapse_padding=True, caption=CAPTION, caption_justify="left")  # fmt: skip
    table.add_column("run", overflow="fold", min_width=max(len(line["run"]) for line in said))
    for column in list(said[0])[1:]:
        head = "chance" if column.endswith(", chance") else column.replace(" ", "\n", 1)
        table.add_column(head, justify="right")
    for line in said:
        table.add_row(*(Text(cell.replace(" [", "\n[")) for cell in line.values()))  # brackets are no markup
    return table


CAPTION = (
    "Parameters that learn, of all subjects; seconds and memory (of the whole process) vary from run to run. "
    "In brackets: 95 % intervals of each run by itself, not of differences."
)


def _short_name(r: Result, results: Sequence[Result]) -> str:
    """Name a run; a variant of the first by its own name alone."""
    first = results[0].name
    return r.name.removeprefix(first if r.name.startswith(f"{first}-") else "") + (" LEAK" if words.leaks(r) else "")


def _headlines(r: Result) -> dict[str, tuple[str, str]]:
    """Headline of each plain task at the most repetitions: what was asked -> score with interval, and chance."""
    table, found = words.scores_of(r), {}
    for task, metric in words.plain(words.headlines(table)).items():
        rows = table[(table.task == task) & (table.metric == metric)]
        rows = rows[rows.repetitions == max(rows.repetitions, key=words.level)]
        whole = rows[rows.subject == "all"]
        row = next((whole if len(whole) else rows).itertuples())
        said = f"{words.number(row.value, metric)} {words.interval(row.low, row.high, metric)}"
        if not len(whole) and len(rows) > 1:
            said = f"{words.number(rows.value.min(), metric)} – {words.number(rows.value.max(), metric)}"
        question = f"{words.question(task).title} {words.metric_name(metric)}"
        found[question] = (said, words.number(row.chance, metric))
    return found


def _whole(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else words.UNKNOWN


def _short(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else words.UNKNOWN
