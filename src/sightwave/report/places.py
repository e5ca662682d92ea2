"""Where and when the information sits: one figure of three panels, and its table in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sightwave.report import words
from sightwave.report.svg import LINE, MAIN, MUTED, PAPER, figure, markup
from sightwave.results import Result

Row = Mapping[str, Any]
_TITLES = {"time": "by time window", "region": "by electrodes", "frequency": "by frequency band"}
_SHARE = {"time": 2.2, "region": 1.0, "frequency": 1.0}
SAYS = (
    "A linear decoder of its own for each part of the EEG, in closed form, on the same training and test trials. "
    "Filled: above chance with p < 0.05, corrected for the parts of its panel (Holm); bars: 95 % interval; dashed: "
    "chance. Parts do not add up: what two of them hold may be the same. Windows overlap by half; a voltage spreads "
    "over the head, and a band is read under a Hann window."
)


HEADS = ("by", "part", "score", "95 % interval", "chance", "p (Holm)")


def title(result: Result) -> str:
    """Say what was asked of which trials, and whether they are a phantom's."""
    first, phantom = result.data["where"][0], " · phantom (simulated brain)" * words.is_phantom(result)
    asked = f"{words.question(str(first['task']))}, {words.metric_name(str(first['metric']))}"
    leak = " · LEAK" * words.leaks(result)
    return f"{asked}, {words.average(str(first['repetitions']))}{phantom}{leak}"


def panels(rows: Sequence[Row]) -> str:
    """Draw the score by time window, by region and by frequency band, on one axis.

    Parameters
    ----------
    rows : sequence of mapping
        As `sightwave.where.where` returns them.

    Returns
    -------
    str
    """
    kinds = [by for by in _TITLES if any(r["by"] == by for r in rows)]
    metric, share = str(rows[0]["metric"]), words.is_share(str(rows[0]["metric"]))
    top = max(max(float(r["high"]), float(r["chance"])) for r in rows if np.isfinite(r["high"]))
    low = min(0.0, *(float(r["low"]) for r in rows if np.isfinite(r["low"])))
    total, left = sum(_SHARE[k] for k in kinds), 0.065
    room = 0.925 - 0.035 * (len(kinds) - 1)
    with figure(9.6, 3.5) as fig:
        for k, by in enumerate(kinds):
            mine = [r for r in rows if r["by"] == by]
            width = room * _SHARE[by] / total
            ax = fig.add_axes((left, 0.27, width, 0.61))
            left += width + 0.035
            x = [1e3 * (r["low_edge"] + r["high_edge"]) / 2 for r in mine] if by == "time" else list(range(len(mine)))
            ax.plot(x, [r["chance"] for r in mine], color=MUTED, lw=1.2, ls=(0, (4, 3)))
            if by == "time":
                ax.plot(x, [r["value"] for r in mine], color=MAIN, lw=1.2)
                ax.set_xlabel("middle of the window (ms after onset)")
            else:
                names = [str(r["name"]).removesuffix(" Hz").replace(" to ", "–") for r in mine]
                ax.set_xticks(x, names, rotation=40, ha="right")
                ax.set_xlim(-0.6, len(mine) - 0.4)
                ax.set_xlabel("Hz" if by == "frequency" else "")
            for at, r in zip(x, mine, strict=True):
                sure = r["p_holm"] < 0.05
                ax.plot([at, at], [r["low"], r["high"]], color=MAIN, lw=2, alpha=0.6, solid_capstyle="round")
                ax.plot(at, r["value"], "o", ms=6, mfc=MAIN if sure else PAPER, mec=MAIN, mew=1.5)
            ax.set_ylim(low, 1.06 * top)
            ax.set_title(_TITLES[by])
            ax.grid(True, axis="y", color=LINE, lw=0.6)
            ax.set_axisbelow(True)
            if share:
                ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:g}")
            if k:
                ax.tick_params(labelleft=False)
            else:
                ax.set_ylabel(words.metric_name(metric) + (" (%)" if share else ""))
        return markup(fig, "Score from parts of the EEG: by time window, by region of the head, by frequency band.")


def lines(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Say each part in words: `by name score interval chance p`.

    Parameters
    ----------
    rows : sequence of mapping
        As `sightwave.where.where` returns them.
    """
    said = []
    for r in rows:
        name, metric = str(r["name"]), str(r["metric"])
        n = f" ({r['high_edge']:.0f} channels)" if r["by"] == "region" else ""
        said.append({
            "by": str(r["by"]), "name": name + n, "score": words.number(float(r["value"]), metric),
            "interval": words.interval(float(r["low"]), float(r["high"]), metric),
            "chance": words.number(float(r["chance"]), metric), "p": words.p_value(float(r["p_holm"])),
        })  # fmt: skip
    return said
