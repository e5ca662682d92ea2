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


def rich_table(results: Sequence[Result]) -> Table:
    """Build the table that ends a comparison: cost, then the headline of each task with interval and chance.

    Parameters
    ----------
    results : sequence of Result

    Returns
    -------
    rich.table.Table
        A variant of the first run is called by its own name, ``-lora``; a run whose audit failed is marked LEAK.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    gpu = any(math.isfinite(cost(r)["peak_gpu_memory_mb"]) for r in results)
    tuned = any(cost(r)["towers"] > 0 for r in results)
    columns = ["EEG\nparameters", *(["target\nparameters"] if tuned else []), "s per\nepoch", "memory\nMB"]
    columns += [*(["GPU\nMB"] if gpu else [])]
    found = [_headlines(r) for r in results]
    asked = list(dict.fromkeys(question for each in found for question in each))
    for question in asked:
        columns += [question.replace(" ", "\n", 1), "chance"]
    phantom = " · phantom (simulated brain)" if any(map(words.is_phantom, results)) else ""
    table = Table(title=f"side by side{phantom}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False,
                  collapse_padding=True, caption=CAPTION, caption_justify="left")  # fmt: skip
    table.add_column("run", overflow="fold", min_width=max(len(_short_name(r, results)) for r in results))
    for column in columns:
        table.add_column(column, justify="right")
    for r, scores in zip(results, found, strict=True):
        c = cost(r)
        cells = [_whole(c["encoder"] + c["heads"]), *([_whole(c["towers"])] if tuned else [])]
        cells += [_short(c["epoch_seconds"]), _whole(c["peak_memory_mb"]), *([_whole(c["peak_gpu_memory_mb"])] * gpu)]
        for question in asked:
            cells += scores.get(question, ("", ""))
        table.add_row(*(Text(cell) for cell in (_short_name(r, results), *cells)))  # brackets are no markup
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
    """Headline of each task at the most repetitions: what was asked -> score with interval, and chance."""
    table, found = words.scores_of(r), {}
    for task, metric in words.headlines(table).items():
        rows = table[(table.task == task) & (table.metric == metric)]
        rows = rows[rows.repetitions == max(rows.repetitions, key=words.level)]
        whole = rows[rows.subject == "all"]
        row = next((whole if len(whole) else rows).itertuples())
        said = f"{words.number(row.value, metric)}\n{words.interval(row.low, row.high, metric)}"
        if not len(whole) and len(rows) > 1:
            said = f"{words.number(rows.value.min(), metric)} – {words.number(rows.value.max(), metric)}"
        question = f"{words.question(task).word} {words.metric_name(metric)}"
        found[question] = (said, words.number(row.chance, metric))
    return found


def _whole(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else words.UNKNOWN


def _short(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else words.UNKNOWN
