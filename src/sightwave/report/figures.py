"""Figures of scores and predictions, as markup: what was confused, how near the right one came, training, the trap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sightwave.metrics.classification import confusion as counted
from sightwave.metrics.retrieval import rank_of_own
from sightwave.report import words
from sightwave.report.svg import LINE, MAIN, MUTED, SECOND, SOFT, figure, markup
from sightwave.results import Predictions

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def confusion(of: Sequence[Predictions]) -> tuple[np.ndarray, np.ndarray]:
    """Row-normalised confusion, averaged over subjects.

    Parameters
    ----------
    of : sequence of Predictions
        One task at one number of repetitions; the best-scored candidate is the prediction, and a tie goes to the first.

    Returns
    -------
    names : ndarray of str, shape (n_classes,)
    shares : ndarray, shape (n_classes, n_classes)
        Row: true class, column: predicted. A class that nobody was shown is a row of NaN.
    """
    names = of[0].candidates.astype(str)
    n, tables = len(names), []
    for p in of:
        subjects = p.events["subject"].to_numpy().astype(str)
        for s in np.unique(subjects):
            counts = counted(p.scores[subjects == s], p.truth[subjects == s]).astype(float)
            total = counts.sum(1, keepdims=True)
            tables.append(np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0))
    stack = np.stack(tables)
    seen = np.isfinite(stack).sum(0)
    return names, np.divide(np.nansum(stack, 0), seen, out=np.full((n, n), np.nan), where=seen > 0)


def confusion_figure(names: np.ndarray, shares: np.ndarray) -> str:
    """Draw a confusion matrix; few classes get every cell printed, many only the diagonal.

    Parameters
    ----------
    names : ndarray of str, shape (n_classes,)
    shares : ndarray, shape (n_classes, n_classes)
        As `confusion` gives them.

    Returns
    -------
    str
    """
    n = len(names)
    side = min(max(2.2, 0.27 * n), 6.4)
    longest = max(map(len, names)) if n else 0
    left, foot = 0.35 + 0.075 * longest, 0.55 if n <= 3 else 0.44 + 0.064 * longest
    top = float(np.nanmax(shares)) if n > 6 and np.isfinite(shares).any() else 1.0
    with figure(side + left + 0.2, side + foot + 0.08) as fig:
        w, h = fig.get_size_inches()
        ax = fig.add_axes((left / w, foot / h, side / w, side / h))
        ax.imshow(shares, cmap=blues(), vmin=0, vmax=top, interpolation="nearest")
        ax.set_xticks(range(n), names, rotation=0 if n <= 3 else 90)
        ax.set_yticks(range(n), names)
        ax.set_xlabel("decoded")
        ax.set_ylabel("shown")
        ax.tick_params(length=0, pad=3, labelsize=9.5 if n <= 24 else max(4.0, 220 / n))
        for i, j in np.ndindex(n, n):
            if (n <= 6 or i == j) and n <= 30 and np.isfinite(shares[i, j]):
                ax.text(
                    j,
                    i,
                    f"{100 * shares[i, j]:.0f}",
                    ha="center",
                    va="center",
                    fontsize=11 if n <= 6 else 7.5,
                    color="#ffffff" if shares[i, j] > 0.42 * top else "#16324a",
                )
        return markup(fig, "Confusion matrix: shown class by row, decoded class by column, in per cent of the row.")


def mistaken(names: np.ndarray, shares: np.ndarray, n: int = 5) -> list[tuple[str, str, str]]:
    """Return the ``n`` most frequent mistakes as (shown, decoded, share)."""
    off = np.where(np.eye(len(names), dtype=bool) | ~np.isfinite(shares), -1.0, shares)
    flat = np.argsort(-off, axis=None, kind="stable")[:n]
    pairs = [np.unravel_index(int(i), off.shape) for i in flat]
    return [(str(names[i]), str(names[j]), words.number(float(off[i, j]), "top-1")) for i, j in pairs if off[i, j] > 0]


def recall_curve(of: Mapping[str, Sequence[Predictions]]) -> str:
    """Draw recall over k against chance.

    Parameters
    ----------
    of : mapping of str to sequence of Predictions
        Number of repetitions -> predictions of one retrieval task. Thin lines are single subjects.
    """
    levels = sorted(of, key=words.level, reverse=True)
    n = max(len(p.candidates) for ps in of.values() for p in ps)
    k = np.arange(1, n + 1)
    with figure(4.9, 3.3) as fig:
        ax = fig.add_axes((0.115, 0.15, 0.85, 0.81))
        ax.plot(k, k / n, color=MUTED, lw=1.2, ls=(0, (4, 3)))
        _name(ax, k, k / n, "chance", MUTED, 0.62, below=True)
        for i, name in enumerate(levels):
            colour = MAIN if i == 0 else SOFT
            curves = []
            for p in of[name]:
                subjects, r = p.events["subject"].to_numpy().astype(str), rank_of_own(p.scores, p.truth)
                curves += [
                    np.cumsum(np.bincount(r[subjects == s], minlength=n + 1)[1:]) / (subjects == s).sum()
                    for s in np.unique(subjects)
                ]
            for c in curves if len(curves) > 1 else []:
                ax.plot(k, c, color=colour, lw=0.7, alpha=0.55)
            mean = np.mean(curves, 0)
            ax.plot(k, mean, color=colour, lw=2.2)
            _name(ax, k, mean, words.average(name), colour, _place(i, len(levels)), below=i > 0)
        ax.set(xscale="log", xlim=(1, n), ylim=(0, 1), xlabel=f"k nearest of {n}", ylabel="right one among them (%)")
        _round_ticks(ax, n)
        return markup(fig, "Share of trials whose right answer is among the k nearest, over k, against chance.")


def history(values: np.ndarray, colour: str = MAIN) -> str:
    """Draw one training curve over epochs; epochs without a value are skipped.

    Parameters
    ----------
    values : ndarray, shape (n_epochs,)
    colour : str
        One of the colours in `svg`.

    Returns
    -------
    str
    """
    from matplotlib.ticker import MaxNLocator

    epochs = np.arange(1, len(values) + 1)
    known = np.isfinite(values)
    with figure(4.9, 1.9) as fig:
        ax = fig.add_axes((0.1, 0.23, 0.88, 0.73))
        ax.plot(epochs[known], values[known], color=colour, lw=1.8, marker="o" if known.sum() < 2 else None)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(4))
        ax.set_xlabel("epoch")
        return markup(fig, "A training curve over epochs.")


def epochs(peek: Mapping[str, Any]) -> str:
    """Draw the score on the test part after each epoch, which nobody may choose by.

    Parameters
    ----------
    peek : mapping
        As `judge.peek.best_on_test` returns it.

    Returns
    -------
    str
    """
    y = np.asarray(peek["curve"], float)
    x = np.arange(1, len(y) + 1)
    scale = 100 if words.is_share(str(peek["metric"])) else 1
    with figure(4.9, 2.3) as fig:
        ax = fig.add_axes((0.115, 0.2, 0.85, 0.72))
        ax.plot(x, scale * y, color=SECOND, lw=1.8, marker="o", ms=3)
        ax.axhline(scale * peek["honest"], color=MAIN, lw=1.6)
        ax.annotate("as reported", (1, scale * peek["honest"]), xytext=(2, 4), textcoords="offset points", color=MAIN)
        ax.axhline(scale * peek["chance"], color=MUTED, lw=1.2, ls=(0, (4, 3)))
        ax.set(
            xlabel="epoch", ylabel=f"{words.metric_name(str(peek['metric']))} on test" + (" (%)" if scale > 1 else "")
        )
        ax.text(0.5, 0.5, "NOT A RESULT", transform=ax.transAxes, ha="center", va="center", fontsize=24, color=LINE,
                rotation=12, zorder=0, weight="bold")  # fmt: skip
        return markup(fig, "Not a result: the score on the test part after each epoch.")


def blocks() -> str:
    """Draw, as a scheme, why a random split of a blocked recording leaks."""
    n_blocks, each = 12, 9
    rng = np.random.default_rng(4)
    parts = (
        ("random split", rng.random((n_blocks, each)) < 0.22),
        ("whole blocks left out", np.zeros((n_blocks, each), bool)),
    )
    parts[1][1][[1, 4, 10]] = True
    t = np.arange(n_blocks * each) + np.repeat(np.arange(n_blocks), each) * 1.6
    drift = np.cumsum(np.random.default_rng(11).normal(0, 1, (1200,)))
    drift = np.convolve(drift, np.ones(90) / 90, mode="valid")
    with figure(8.6, 1.95) as fig:
        ax = fig.add_axes((0.175, 0.02, 0.82, 0.96))
        x = np.linspace(0, t[-1], len(drift))
        ax.plot(x, 3.15 + 0.62 * (drift - drift.mean()) / np.ptp(drift), color=SECOND, lw=1.5)
        for b in range(n_blocks):
            middle = t[b * each : (b + 1) * each].mean()
            ax.text(middle, 2.28, "ABCD"[b % 4], ha="center", va="center", color=MUTED, fontsize=10)
        for row, (_, test) in enumerate(parts):
            flat, y = test.ravel(), 1.45 - 0.95 * row
            ax.vlines(t[~flat], y - 0.3, y + 0.3, color=LINE, lw=4.2)
            ax.vlines(t[flat], y - 0.3, y + 0.3, color=MAIN, lw=4.2)
        for y, name in ((3.15, "slow drift"), (2.28, "category shown"), (1.45, parts[0][0]), (0.5, parts[1][0])):
            ax.text(-2.5, y, name, ha="right", va="center", fontsize=10)
        ax.set(xlim=(-1, t[-1] + 1), ylim=(0, 3.6))
        ax.axis("off")
        return markup(
            fig, "Scheme: trials in blocks of one category, test trials dark, under a slow drift of the signal."
        )


def blues() -> Any:
    """Return the page's colour map, from paper to dark blue."""
    from matplotlib.colors import LinearSegmentedColormap

    made = LinearSegmentedColormap.from_list("page", ["#f1f6fa", "#82b4d9", "#0a5f9e", "#063a63"])
    return made.with_extremes(bad="#d9d9d9")


def _place(i: int, n: int) -> float:
    """Where along its curve a name stands: names of several curves keep out of each other's way."""
    return 0.3 if i == 0 else 0.5 if n == 2 else 0.28 + 0.13 * i


def _name(ax: Axes, k: np.ndarray, y: np.ndarray, name: str, colour: str, at: float, *, below: bool) -> None:
    """Write a curve's name beside it, so that no legend is needed; ``at`` is a share of the log axis."""
    i = int(np.clip(round(len(k) ** at), 1, len(k))) - 1
    ax.annotate(
        name,
        (k[i], y[i]),
        xytext=(6, -9) if below else (-6, 7),
        textcoords="offset points",
        color=colour,
        ha="left" if below else "right",
        va="center",
    )


def _round_ticks(ax: Axes, n: int) -> None:
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if t <= n]
    ax.set_xticks(ticks, [str(t) for t in ticks])
    ax.set_xticks([], minor=True)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    ax.grid(True, axis="y", color=LINE, lw=0.6)
    ax.set_axisbelow(True)
