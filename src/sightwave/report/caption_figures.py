"""Figures of caption scores, as markup: sources side by side, distributions of cosines, classes, and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sightwave.metrics.captions import CLIP_SCORE_WEIGHT, auc, overlap
from sightwave.report import words
from sightwave.report.svg import INK, LINE, MAIN, MUTED, SECOND, SOFT, figure, markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SOURCES = {
    "value": "EEG",
    "ceiling": "image",
    "nearest": "nearest training caption",
    "most_frequent": "class prior",
    "noise": "noise EEG",
    "shuffled": "shuffled EEG",
}
"""Source -> its name to people, in the order of tables and figures."""
COLOURS = {"value": MAIN, "ceiling": SECOND}
PANELS = ("recall@1", "class-aware recall@1", "within-class recall@1", "MAP")
FAR = 3.0
"""A ceiling this many times above all else is told at the border of its panel instead of stretching the axis."""


def is_share(score: str) -> bool:
    """Whether a score is printed in per cent.

    >>> is_share("class-aware recall@1"), is_share("BERTScore F1 > 0.7"), is_share("MAP")
    (True, True, False)
    """
    return "recall@" in score or " > " in score


def by_score(table: pd.DataFrame) -> dict[str, dict[Any, Any]]:
    """Return the rows of a table of scores by their names."""
    return {str(row["score"]): row for row in table.to_dict("records")}


def said(value: float, score: str, *, unit: bool = True) -> str:
    """Print one value of a score.

    >>> said(0.25, "recall@1"), said(0.0047, "MAP"), said(float("nan"), "MAP")
    ('25.0 %', '0.0047', '–')
    """
    if not np.isfinite(value):
        return words.UNKNOWN
    if is_share(score):
        return f"{100 * value:.{2 if 0 < value < 0.0095 else 1}f}" + (" %" if unit else "")
    return f"{value:.{4 if 0 < abs(value) < 0.01 else 3}f}"


def sources(table: pd.DataFrame) -> str:
    """Draw the main scores of every source with their intervals, beside chance.

    Parameters
    ----------
    table : DataFrame
        As `CaptionScores` has it.
    """
    rows = by_score(table)
    shown = [s for s in PANELS if s in rows]
    there = [s for s in SOURCES if s in table]
    with figure(10.2, 0.33 * len(there) + 0.95) as fig:
        w, h = fig.get_size_inches()
        left = 1.78 / w
        wide = (1 - left) / len(shown)
        for i, score in enumerate(shown):
            ax = fig.add_axes((left + i * wide + 0.012, 0.5 / h, wide - 0.034, 1 - 0.85 / h))
            _panel(ax, rows[score], score, there, names=i == 0)
        return markup(fig, "Main scores of each source with 95 % intervals, beside chance.")


def _panel(ax: Axes, row: Mapping[Any, Any], score: str, there: Sequence[str], *, names: bool) -> None:
    scale = 100 if is_share(score) else 1
    highs = {s: float(row[_end(s, "high")]) * scale for s in there if np.isfinite(row[s])}
    others = max([v for s, v in highs.items() if s != "ceiling"], default=1.0)
    far = highs.get("ceiling", 0.0) > FAR * others
    top = 1.12 * (others if far else max(highs.values()))
    ax.set(xlim=(0, top), ylim=(len(there) - 0.5, -0.5))
    ax.axvline(float(row["chance"]) * scale, color=MUTED, lw=1.2, ls=(0, (3, 2.4)))
    for y, source in enumerate(there):
        if source not in highs:
            continue
        colour = COLOURS.get(source, SOFT)
        if far and source == "ceiling":
            ax.text(top, y, f"{said(float(row[source]), score)} →", ha="right", va="center", color=colour, fontsize=9.5)
            continue
        low = float(row[_end(source, "low")]) * scale
        ax.plot([low, highs[source]], [y, y], color=colour, lw=2.6, solid_capstyle="round")
        ax.plot([float(row[source]) * scale], [y], "o", color=colour, ms=7.5)
    ax.set_yticks(range(len(there)), [SOURCES[s] for s in there] if names else [])
    ax.tick_params(axis="y", length=0, labelsize=10)
    ax.spines["left"].set_visible(False)
    ax.grid(True, axis="x", color=LINE, lw=0.6)
    ax.set_axisbelow(True)
    ax.locator_params(axis="x", nbins=4)
    ax.set_title(score + (" (%)" if is_share(score) else ""), color=INK)


def distributions(pairs: Mapping[str, np.ndarray], limits: tuple[float, float]) -> str:
    """Draw how CLIPScores of matched, mismatched and retrieved pairs are distributed.

    Parameters
    ----------
    pairs : mapping of str to ndarray, any shape
        Cosines.
    limits : (float, float)
        Of the axis, so that two figures may be compared.

    Returns
    -------
    str
    """
    bins = np.linspace(*limits, 46)
    with figure(4.9, 2.7) as fig:
        ax = fig.add_axes((0.03, 0.19, 0.95, 0.66))
        for name, colour in (("mismatched", SOFT), ("matched", MAIN), ("retrieved", SECOND)):
            x = CLIP_SCORE_WEIGHT * pairs[name].ravel()
            height = np.histogram(x, bins, density=True)[0]
            ax.stairs(
                height, bins, color=colour, lw=1.8, fill=name != "retrieved", alpha=0.28 if name != "retrieved" else 1
            )
            ax.stairs(height, bins, color=colour, lw=1.6)
            ax.plot([x.mean()] * 2, [0, -0.035 * ax.get_ylim()[1]], color=colour, lw=3, clip_on=False)
        tops = {"mismatched": 0.0, "matched": 0.34, "retrieved": 0.6}
        for name, colour in (("mismatched", SOFT), ("matched", MAIN), ("retrieved", SECOND)):
            mean = CLIP_SCORE_WEIGHT * float(pairs[name].mean())
            told = f"{name} {mean:.2f}".replace("-", "−")
            ax.text(tops[name], 1.1, told, color=colour, transform=ax.transAxes, fontsize=10, va="center")
        ax.set(xlim=limits, yticks=[], xlabel="CLIPScore before what is below 0 is cut: 2.5 cosine")
        ax.spines["left"].set_visible(False)
        apart = pairs["matched"], pairs["mismatched"]
        return markup(
            fig, f"CLIPScores: matched against mismatched, AUC {auc(*apart):.3f}, overlap {overlap(*apart):.3f}."
        )


def classes(per_class: pd.DataFrame) -> str:
    """Draw class-aware MAP of each class beside its ceiling, its nulls and chance, the highest first.

    Parameters
    ----------
    per_class : DataFrame
        As `CaptionScores` has it.
    """
    rows = per_class.sort_values("value", ascending=False).reset_index(drop=True)
    n = len(rows)
    with figure(10.2, 0.235 * n + 0.75) as fig:
        w, h = fig.get_size_inches()
        ax = fig.add_axes((1.2 / w, 0.42 / h, 1 - 1.3 / w, 1 - 0.66 / h))
        for i, row in rows.iterrows():
            y = int(str(i))
            ax.plot([row["low"], row["high"]], [y, y], color=MAIN, lw=2.4, solid_capstyle="round")
            ax.plot([row["chance"]] * 2, [y - 0.34, y + 0.34], color=MUTED, lw=1.3)
        marks = (
            ("value", "o", MAIN, 6.5),
            ("ceiling", "s", SECOND, 5),
            ("nearest", "D", SOFT, 4),
            ("most_frequent", "x", MUTED, 5),
        )
        for source, marker, colour, size in marks:
            if source in rows:
                ax.plot(rows[source], np.arange(n), marker, color=colour, ms=size, label=SOURCES[source],
                        zorder=3 if source == "value" else 2)  # fmt: skip
        ax.plot([], [], "|", color=MUTED, ms=9, label="chance")
        ax.set(ylim=(n - 0.4, -0.6), xlim=(0, None), xlabel="class-aware MAP")
        ax.set_yticks(range(n), rows["class"])
        ax.tick_params(axis="y", length=0, labelsize=10)
        ax.spines["left"].set_visible(False)
        ax.grid(True, axis="both", color=LINE, lw=0.6)
        ax.set_axisbelow(True)
        ax.legend(frameon=False, ncols=5, loc="lower right", bbox_to_anchor=(1.0, 0.995), fontsize=9.5,
                  handletextpad=0.3, columnspacing=1.4)  # fmt: skip
        return markup(fig, "Class-aware MAP class by class, with 95 % intervals, ceiling, nulls and chance.")


def curve(rows: pd.DataFrame, of: str, scores: Sequence[str] = ("recall@5", "class-aware recall@5")) -> str:
    """Draw scores over repetitions or over seeds, with intervals and chance.

    Parameters
    ----------
    rows : DataFrame
        As `CaptionScores.curve`.
    of : {"repetitions", "seeds"}
    scores : sequence of str
        One line each.
    """
    own = rows[rows["of"] == of]
    names = list(dict.fromkeys(own["n"]))
    with figure(4.9, 2.7) as fig:
        ax = fig.add_axes((0.1, 0.19, 0.88, 0.7))
        for score, colour in zip((s for s in scores if (own["score"] == s).any()), (MAIN, SECOND, SOFT), strict=False):
            line = own[own["score"] == score]
            x = np.arange(len(line))
            ax.plot(x, 100 * line["chance"], color=colour, lw=1.1, ls=(0, (3, 2.4)))
            ax.plot(x, 100 * line["value"], color=colour, lw=2, marker="o", ms=6)
            ax.vlines(x, 100 * line["low"], 100 * line["high"], color=colour, lw=2)
            ax.annotate(score, (x[-1], 100 * line["value"].iloc[-1]), xytext=(-8, 8), textcoords="offset points",
                        ha="right", color=colour)  # fmt: skip
        ax.set_xticks(range(len(names)), names)
        ax.set(
            ylim=(0, None),
            xlim=(-0.3, len(names) - 0.7),
            ylabel="%",
            xlabel={"repetitions": "repetitions averaged", "seeds": "seeds whose vectors are averaged"}[of],
        )
        ax.grid(True, axis="y", color=LINE, lw=0.6)
        ax.set_axisbelow(True)
        return markup(fig, f"Recall over {of}, with 95 % intervals; dashed: chance.")


def _end(source: str, end: str) -> str:
    return end if source == "value" else f"{source}_{end}"
