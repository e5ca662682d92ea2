"""Differences between recipes, as `judge.paired` finds them: in people's words, for the terminal and for the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from sightwave.report import words

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("question", "metric", "trials", "a", "b", "score a", "score b", "a - b", "interval", "p", "p Holm", "over")
SAYS = (
    "Both recipes met the same test trials, so pictures and people are drawn again for both together: this is "
    "the right way to compare, and two intervals that overlap are not. Differences of shares are in points. p is "
    "two-sided, by sign flips; p (Holm) is corrected for all the pairs of a question."
)


def frame(table: pd.DataFrame) -> pd.DataFrame:
    """Say differences in people's words, every cell as text.

    Parameters
    ----------
    table : DataFrame
        From `judge.paired.paired`.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`.
    """
    lines = []
    for r in table.itertuples():
        name, difference = str(r.metric), float(r.difference)  # type: ignore[arg-type]
        said = f"{100 * difference:+.1f}" if words.is_share(name) else f"{difference:+.3g}"
        lines.append([
            r.question, words.metric_name(name), words.average(str(r.repetitions)), r.a, r.b,
            words.number(float(r.value_a), name), words.number(float(r.value_b), name), said,  # type: ignore[arg-type]
            words.interval(float(r.low), float(r.high), name), words.p_value(float(r.p)),  # type: ignore[arg-type]
            words.p_value(float(r.p_holm)), str(r.over).replace(" x ", " × "),  # type: ignore[arg-type]
        ])  # fmt: skip
    return pd.DataFrame(lines, columns=list(COLUMNS))


def rich_table(table: pd.DataFrame) -> Table:
    """Build the table for the terminal.

    Parameters
    ----------
    table : DataFrame
        From `judge.paired.paired`.
    """
    from rich import box
    from rich.table import Table

    lines = frame(table)
    over = ", ".join(dict.fromkeys(lines["over"]))
    made = Table(
        title="Paired differences on the same test trials",
        caption=f"Drawn and flipped: {over}. p is corrected for all pairs of a question (Holm).",
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        pad_edge=False,
    )
    made.add_column("what", overflow="fold", min_width=8)
    made.add_column("a, b", overflow="fold", min_width=12)
    for head in ("a", "b", "a - b", "95 %\ninterval", "p"):
        made.add_column(head, justify="right", no_wrap=True)
    for _, r in lines.iterrows():
        made.add_row(
            r["question"], f"{r['a']}, {r['b']}", r["score a"], r["score b"], r["a - b"], r["interval"], r["p Holm"]
        )
    return made
