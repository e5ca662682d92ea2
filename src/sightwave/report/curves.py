"""Figures of retrieval: over the size of the gallery, over repetitions, and the matrix of similarities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sightwave.report import words
from sightwave.report.figures import blues
from sightwave.report.svg import LINE, MAIN, MUTED, SECOND, figure, markup
from sightwave.results import Predictions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_NAMES = 32


def pool(curve: Mapping[str, Sequence[float]]) -> str:
    """Draw the expected share of right first places over the size of the gallery.

    Parameters
    ----------
    curve : mapping
        Columns of `judge.curves.pool_curve`.

    Returns
    -------
    str
    """
    size = np.asarray(curve["size"], float)
    with figure(4.9, 3.3) as fig:
        ax = fig.add_axes((0.115, 0.15, 0.85, 0.81))
        ax.plot(size, curve["chance"], color=MUTED, lw=1.2, ls=(0, (4, 3)))
        _named(ax, size, np.asarray(curve["chance"]), "chance", MUTED, 0.5)
        ax.fill_between(size, curve["low"], curve["high"], color=MAIN, alpha=0.16, lw=0)
        ax.plot(size, curve["value"], color=MAIN, lw=2.2, marker="o", ms=3.5)
        ax.set(xscale="log", ylim=(0, 1), xlabel="candidates in the gallery", ylabel="right one first (%)")
        _ticks(ax, size)
        return markup(fig, "Expected share of right first places over the size of the gallery, against chance.")


def repetitions(rows: pd.DataFrame, metric: str) -> str:
    """Draw a score over the number of repetitions that are averaged.

    Parameters
    ----------
    rows : DataFrame
        Rows of `Result.scores` of one task and metric, for all subjects together, one per number of repetitions.
    metric : str

    Returns
    -------
    str
    """
    rows = rows.assign(n=rows["repetitions"].map(words.level)).sort_values("n")
    n, share = rows["n"].to_numpy(float), words.is_share(metric)
    with figure(4.9, 3.3) as fig:
        ax = fig.add_axes((0.115, 0.15, 0.85, 0.81))
        for column, colour, dash, name in (
            ("chance", MUTED, (0, (4, 3)), "chance"),
            ("ceiling", SECOND, (0, (1, 1.5)), "ideal observer"),
        ):
            y = rows[column].to_numpy(float)
            if np.isfinite(y).all():
                ax.plot(n, y, color=colour, lw=1.4, ls=dash)
                _named(ax, n, y, name, colour, 0.45)
        ax.fill_between(n, rows["low"].to_numpy(float), rows["high"].to_numpy(float), color=MAIN, alpha=0.16, lw=0)
        ax.plot(n, rows["value"].to_numpy(float), color=MAIN, lw=2.2, marker="o", ms=4.5)
        ax.set(
            xscale="log", xlabel="repetitions averaged", ylabel=words.metric_name(metric) + (" (%)" if share else "")
        )
        if share:
            ax.set_ylim(0, 1)
        _ticks(ax, n, percent=share, exact=True)
        return markup(fig, f"{metric} over the number of repetitions averaged, with its interval and chance.")


def similarities(p: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average how similar each shown item's trials are to every candidate, in units of each row's spread.

    Parameters
    ----------
    p : Predictions
        Of a retrieval whose candidates were shown.

    Returns
    -------
    matrix : ndarray, shape (n_items, n_items)
        Row: shown; column: candidate; both by category, then by id. Empty where a candidate was not shown.
    labels : ndarray of str, shape (n_items,)
    ids : ndarray of str, shape (n_items,)
    """
    label = p.events.assign(stimulus=p.events["stimulus"].astype(str)).groupby("stimulus")["label"].first()
    ids = p.candidates.astype(str)
    empty = np.zeros((0, 0)), np.zeros(0, str), np.zeros(0, str)
    if set(label.index) != set(ids) or not np.isfinite(p.scores).all():
        return empty
    code = np.searchsorted(ids, p.events["stimulus"].to_numpy().astype(str))
    total = np.zeros((len(ids), len(ids)))
    centred = p.scores - p.scores.mean(1, keepdims=True)
    np.add.at(total, code, centred / np.maximum(centred.std(1, keepdims=True), 1e-9))
    mean = total / np.bincount(code, minlength=len(ids))[:, None]
    names = label.loc[ids].to_numpy().astype(str)
    order = np.lexsort([ids, names])
    return mean[order][:, order], names[order], ids[order]


def matrix(mean: np.ndarray, labels: np.ndarray) -> str:
    """Draw similarities, ordered by category.

    Parameters
    ----------
    mean : ndarray, shape (n_items, n_items)
    labels : ndarray of str, shape (n_items,)

    Returns
    -------
    str
    """
    names, first, count = np.unique(labels, return_index=True, return_counts=True)
    named = len(names) <= _MOST_NAMES and len(names) < len(labels)
    longest = max(map(len, names)) if named else 0
    left, foot, side = 0.35 + 0.07 * longest, 0.45 + 0.06 * longest, 4.2
    most = float(np.quantile(mean, 0.999))
    with figure(side + left + 0.55, side + foot + 0.1) as fig:
        w, h = fig.get_size_inches()
        ax = fig.add_axes((left / w, foot / h, side / w, side / h))
        drawn = ax.imshow(mean, cmap=blues(), vmin=min(0.0, float(np.median(mean))), vmax=most, interpolation="nearest")
        ax.set(xlabel="candidate", ylabel="shown")
        ax.tick_params(length=0, pad=3, labelsize=8)
        if named:
            middle = first + (count - 1) / 2
            ax.set_xticks(middle, names, rotation=90)
            ax.set_yticks(middle, names)
            for edge in first[1:]:
                ax.axhline(edge - 0.5, color=LINE, lw=0.5)
                ax.axvline(edge - 0.5, color=LINE, lw=0.5)
        else:
            ax.set_xticks([])
            ax.set_yticks([])
        bar = fig.colorbar(drawn, cax=fig.add_axes(((left + side + 0.1) / w, foot / h, 0.12 / w, side / h)))
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0, labelsize=8)
        return markup(fig, "Similarity of decoded trials to every candidate, rows and columns ordered by category.")


def _named(ax: Axes, x: np.ndarray, y: np.ndarray, name: str, colour: str, at: float) -> None:
    """Write a curve's name beside it."""
    i = int(np.clip(round(at * (len(x) - 1)), 0, len(x) - 1))
    high = y[i] > 0.85
    ax.annotate(
        name, (x[i], y[i]), xytext=(4, -6 if high else 6), textcoords="offset points", color=colour,
        va="top" if high else "bottom",
    )  # fmt: skip


def _ticks(ax: Any, x: np.ndarray, *, percent: bool = True, exact: bool = False) -> None:
    some = x if exact and len(x) <= 8 else [t for t in (2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000) if t <= x.max()]
    ax.set_xticks(some, [f"{t:g}" for t in some])
    ax.set_xticks([], minor=True)
    if percent:
        ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    ax.grid(True, axis="y", color=LINE, lw=0.6)
    ax.set_axisbelow(True)
