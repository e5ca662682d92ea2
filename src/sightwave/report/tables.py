"""Scores as tables: for the terminal, as plain text, and as a data frame in people's words."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from sightwave.decode.question import TRANSDUCTIVE
from sightwave.report import words
from sightwave.results import Result

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

COLUMNS = (
    "question",
    "space",
    "metric",
    "repetitions",
    "trials",
    "subject",
    "score",
    "interval",
    "chance",
    "p",
    "ceiling",
    "noise-free map",
)


DAGGER = "\u00a0†"
"""Stands for "transductive" in the terminal, where columns are narrow, with a line below the table."""


def frame(
    results: Result | Sequence[Result], *, metrics: int | None = None, subjects: bool = True, curve: bool = True
) -> pd.DataFrame:
    """Scores in people's words, every cell as text.

    Parameters
    ----------
    results : Result or sequence of Result
    metrics : int or None
        Keep only the first ``metrics`` of each task; None keeps all.
    subjects : bool
        Keep the rows of single subjects, too; they stay anyway where a task has no row for all.
    curve : bool
        Keep every number of repetitions; otherwise the fewest, the most, and one between them.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, preceded by `result` when there are several (marked LEAK where the audit failed); tasks in
        their own order, averages first.
    """
    several = [results] if isinstance(results, Result) else list(results)
    lines = []
    for result in several:
        name = result.name + (" LEAK" if words.leaks(result) else "")
        table = words.scores_of(result)
        for task, rows in table.groupby("task", sort=False):
            known = list(dict.fromkeys(rows.metric))[:metrics]
            keep = rows[rows.metric.isin(known)]
            if not subjects and (keep.subject == "all").any():
                keep = keep[keep.subject == "all"]
            keep = keep.assign(place=keep.metric.map(known.index), level=keep.repetitions.map(words.level))
            if not curve:
                keep = keep[keep.level.isin(words.three(keep.level))]
            ordered = keep.sort_values(["place", "level"], ascending=[True, False], kind="stable")
            lines += [_line(name, str(task), r) for r in ordered.itertuples()]
    made = pd.DataFrame(lines, columns=["result", *COLUMNS])
    return made if len(several) > 1 else made.drop(columns="result")


def rich_table(results: Result | Sequence[Result], *, metrics: int | None = None, subjects: bool = False) -> Table:
    """Build the short table that ends a run: each value with its interval, chance, p-value and ceiling.

    Parameters
    ----------
    results : Result or sequence of Result
    metrics : int or None
        How many metrics of each task are shown, the headline first; None: two of one result, one of several.
    subjects : bool
        Show each subject as well as all together, where there are several.

    Returns
    -------
    rich.table.Table
        Its title says phantom where the brain is simulated, and LEAK where the audit failed. Of many numbers of
        repetitions three are shown; the page and the csv file have all.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    several = [results] if isinstance(results, Result) else list(results)
    subjects = subjects and any(words.scores_of(r)["subject"].nunique() > 2 for r in several)
    lines = frame(several, metrics=metrics or (1 if len(several) > 1 else 2), subjects=subjects, curve=False)
    shown = [
        ("result", "run"),
        ("question", "what"),
        ("metric", "metric"),
        ("repetitions", "reps"),
        ("subject", "who"),
        ("score", "score"),
        ("interval", "95 %\ninterval"),
        ("chance", "chance"),
        ("p", "p"),
        ("ceiling", "ceiling"),
    ]
    says_nothing = {c for c, nothing in (("subject", "all"), ("ceiling", "unknown")) if set(lines[c]) == {nothing}}
    shown = [(c, head) for c, head in shown if c in lines and c not in says_nothing]
    table = Table(
        title=_title(several),
        caption=_caption(several, transductive=bool(lines["question"].str.contains(TRANSDUCTIVE).any())),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    for c, head in shown:
        right = c in ("repetitions", "score", "interval", "chance", "p", "ceiling")
        table.add_column(
            head,
            justify="right" if right else "left",
            no_wrap=right or c == "metric",
            overflow="fold",
            min_width={"question": 10, "subject": 3}.get(c),
            style="bold" if c == "score" else None,
        )
    ambiguous = (lines.groupby("question")["space"].nunique() > 1).any()
    before = None
    for _, line in lines.iterrows():
        group = (line.get("result"), line["question"], line["space"])
        first = group != before
        if first and before is not None:
            table.add_section()
        before = group
        # the space is named only where it tells two lines apart
        space = f" {line['space']}" if ambiguous else ""
        said = line["question"].replace(f" ({TRANSDUCTIVE})", DAGGER) if first else ""
        what = Text(said) + Text(space if first else "", style="dim")
        table.add_row(*(what if c == "question" else _cell(c, str(line[c]), first) for c, _ in shown))
    return table


def session_lines(result: Result) -> list[str]:
    """Say the headline scores of each session, a line per task; nothing where one session was tested."""
    said: dict[str, list[str]] = {}
    for r in result.data.get("sessions") or ():
        metric = str(r["metric"])
        score = f"{words.number(r['value'], metric)} {words.interval(r['low'], r['high'], metric)}"
        name = f"{words.question(str(r['task'])).title}, {words.metric_name(metric)} by session"
        said.setdefault(name, []).append(f"{r['session']}: {score}")
    return [f"{name}, single trials: {'; '.join(parts)}" for name, parts in said.items()]


def text(
    results: Result | Sequence[Result], *, metrics: int | None = None, subjects: bool = False, width: int = 110
) -> str:
    """Render `rich_table` as plain text, without colours."""
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=width, color_system=None, force_terminal=False).print(
        rich_table(results, metrics=metrics, subjects=subjects)
    )
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n") + "\n"


def _cell(column: str, said: str, first: bool) -> Text:
    from rich.text import Text

    if column != "result":
        return Text(said)
    name = Text(said if first else "")
    name.highlight_words(["LEAK"], "bold red")
    return name


def _line(name: str, task: str, r: Any) -> list[str]:
    q, get = words.question(task), lambda c: float(getattr(r, c))
    metric = str(r.metric)
    return [
        name,
        q.title,
        q.note,
        words.metric_name(metric),
        str(r.repetitions),
        words.average(str(r.repetitions)),
        str(r.subject),
        words.number(get("value"), metric),
        words.interval(get("low"), get("high"), metric),
        words.number(get("chance"), metric),
        words.p_value(get("p")),
        *(words.number(get(c), metric) if math.isfinite(get(c)) else "unknown" for c in ("ceiling", "noise_free")),
    ]


def _title(results: Sequence[Result]) -> str:
    names = ", ".join(dict.fromkeys(r.name for r in results))
    phantom = " · phantom (simulated brain)" if any(map(words.is_phantom, results)) else ""
    leak = " · LEAK" if any(map(words.leaks, results)) else ""
    verdicts = "/".join(dict.fromkeys(words.verdict(r) for r in results))
    return f"{_plain(names)}{phantom} · audit {verdicts}{leak}"


def _caption(results: Sequence[Result], *, transductive: bool) -> str:
    said = [(r, s) for r in results for s in (words.noise_free(r), words.opened(r)) if s]
    lines = dict.fromkeys((f"{r.name}: " if len(results) > 1 else "") + s for r, s in said)
    notes = [f"{DAGGER.strip()} transductive: the other test trials helped"] if transductive else []
    return _plain("\n".join([*notes, *lines]))


def _plain(s: str) -> str:
    """Keep rich from reading square brackets in names as markup."""
    from rich.markup import escape

    return escape(s)
