"""The page of reflection: what caption retrieval from EEG shows and what not, in sentences that the numbers write.

A sentence claims something only where the 95 % interval excludes the opposite; else it says that it cannot be told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sightwave import files
from sightwave.report import caption_figures as figures
from sightwave.report import page
from sightwave.report.caption_figures import SOURCES, said
from sightwave.report.svg import INK, LINE, MAIN, MUTED, SECOND, figure, markup

INSTANCE, CLASS, WITHIN = "recall@1", "class-aware recall@1", "within-class recall@1"
PROTOCOLS = {
    "Published": "new pictures",
    "ByStimulus": "new pictures",
    "BySession": "new sessions",
    "LeaveOneSessionOut": "new sessions, each in turn",
    "LeaveOneRunOut": "new runs",
    "LeaveOneSubjectOut": "new people",
    "Shuffled": "single trials at random",
}
FEW_SUBJECTS = 5


@dataclass(frozen=True)
class Number:
    """A value with the ends of its 95 % interval; NaN where it is undefined."""

    value: float
    low: float
    high: float

    def above(self, bar: float) -> bool:
        """Whether the whole interval lies above a bar."""
        return bool(self.low > bar)

    def below(self, bar: float) -> bool:
        """Whether the whole interval lies below a bar."""
        return bool(self.high < bar)


@dataclass(frozen=True, eq=False)
class Told:
    """What the sentences about one result are made of.

    Parameters
    ----------
    name, protocol : str
    phantom, leak : bool
    facts : dict
        Of `CaptionScores`.
    scores : mapping of str to Number
        Score -> EEG.
    chance, ceiling : mapping of str to float
    share : mapping of str to Number
        Score -> (EEG - chance) / (ceiling - chance); empty without a ceiling.
    gain : mapping of str to Number
        ``"total"``, ``"class"``, ``"instance"``: bits above chance of recall@1, log2(L / L0), of which log2(C / C0) is
        the class, C being class-aware recall@1, and the rest is which of the class's captions it was; and ``"share"``,
        class over total.
    against : mapping of str to Number
        Null -> recall@1 of EEG less that of the null, on the same draws.
    curve : DataFrame
        As `CaptionScores.curve`.
    shared : int
        Test pictures that were trained on.
    bert : (float, float) or None
        Share of BERTScores above the threshold, and that of random captions.
    """

    name: str
    protocol: str
    phantom: bool
    leak: bool
    facts: dict[str, Any]
    scores: Mapping[str, Number]
    chance: Mapping[str, float]
    ceiling: Mapping[str, float]
    share: Mapping[str, Number]
    gain: Mapping[str, Number]
    against: Mapping[str, Number]
    curve: pd.DataFrame
    shared: int
    bert: tuple[float, float] | None


def write(path: Path, told: Sequence[Told], *, title: str) -> Path:
    """Write the page; written whole or not at all."""
    files.write_text(Path(path), render(told, title=title))
    return Path(path)


def render(told: Sequence[Told], *, title: str) -> str:
    """Return the page as text."""
    phantom = any(t.phantom for t in told)
    sections = [{"title": name, "sentences": lines, "svg": svg} for name, lines, svg in _sections(told)]
    return str(page.environment().get_template("reflection.html.j2").render(
        title=title + (" (phantom)" if phantom and "phantom" not in title.lower() else ""),
        phantom=phantom, leak=any(t.leak for t in told), sections=sections, limits=limits(told),
        names=[(t.name, t.protocol, *(f"{t.facts[n]:,}" for n in ("n_trials", "n_subjects", "n_captions")))
               for t in told],
    ))  # fmt: skip


def _sections(told: Sequence[Told]) -> list[tuple[str, list[tuple[str, str]], str]]:
    first = told[0]
    made = [
        ("Is there anything?", _each(told, found), ""),
        ("How near is the ceiling?", _each(told, ceiling), _shares(told)),
        ("Class or picture?", _each(told, class_or_instance), _gains(told)),
        ("New sessions, new people", _plain(generalisation(told)), ""),
    ]
    for of, name, says in (
        ("repetitions", "Do repetitions help?", "repetitions"),
        ("seeds", "Do seeds help?", "seeds"),
    ):
        lines = rises(first, of)
        if lines:
            made.append((name, _plain(lines), figures.curve(first.curve, says)))
    return [m for m in made if m[1]]


def _each(told: Sequence[Told], tell: Callable[[Told], list[str]]) -> list[tuple[str, str]]:
    """Tell of every result; the first of its sentences bears its name where there are several."""
    return [(t.protocol if len(told) > 1 and not i else "", line) for t in told for i, line in enumerate(tell(t))]


def _plain(lines: list[str]) -> list[tuple[str, str]]:
    return [("", line) for line in lines]


def found(t: Told) -> list[str]:
    """Say whether the own caption is found above chance, and better than by the best null."""
    lines = []
    for score, what in ((INSTANCE, "its own caption"), (CLASS, "a caption of its class")):
        if score not in t.scores:
            continue
        n, chance = t.scores[score], t.chance[score]
        value = f"{_told(n, score)} of trials find {what} first; chance is {said(chance, score)}"
        if n.above(chance):
            lines.append(f"{value}, which the interval excludes.")
        elif n.below(chance):
            lines.append(f"{value}: fewer than chance. Something is the wrong way round.")
        else:
            lines.append(f"{value}, which the interval includes: nothing is shown.")
    for null in ("nearest", "most_frequent"):
        if null not in t.against:
            continue
        d, name = t.against[null], SOURCES[null]
        points = f"{100 * d.value:+.1f} points [{100 * d.low:+.1f}, {100 * d.high:+.1f}]".replace("-", "−")
        if d.above(0):
            lines.append(f"Against the {name} that is {points} of recall@1: it is more than that null can do.")
        elif d.below(0):
            lines.append(f"Against the {name} that is {points} of recall@1: the null does better.")
        else:
            lines.append(f"Against the {name} that is {points} of recall@1: it cannot be told from that null.")
    return lines


def ceiling(t: Told) -> list[str]:
    """Say which share of the way from chance to what the image itself reaches was covered."""
    lines = []
    for score, what in ((INSTANCE, "own caption"), (CLASS, "class")):
        if score not in t.share:
            continue
        s, top = t.share[score], t.ceiling[score]
        way = f"the way from chance to the image itself ({said(top, score)})"
        value = f"{100 * s.value:.0f} % [{100 * s.low:.0f}, {100 * s.high:.0f}] of {way}".replace("-", "−")
        if s.above(0):
            lost = "the rest is lost between picture and EEG, or in decoding."
            rest = "the ceiling is within reach of the interval." if s.high >= 1 else lost
            lines.append(f"{what.capitalize()}: {value} is covered; {rest}")
        else:
            lines.append(
                f"{what.capitalize()}: {value}: the interval includes 0, so no part of it is shown to be covered."
            )
    if not lines:
        lines.append("The ceiling is unknown: the pictures could not be embedded, or CLIP's own answers are at chance.")
    return lines


def class_or_instance(t: Told) -> list[str]:
    """Say what of the gain is the class, and what is the picture within its class."""
    if WITHIN not in t.scores:
        return ["The pictures have no classes, so class and picture cannot be told apart."]
    lines, w, chance = [], t.scores[WITHIN], t.chance[WITHIN]
    value = f"Among captions of its own class, the picture's own came first in {_told(w, WITHIN)} of trials"
    if w.above(chance):
        lines.append(f"{value}, chance {said(chance, WITHIN)}: there is more in the decoded EEG than the class.")
    elif t.scores[CLASS].above(t.chance[CLASS]):
        lines.append(f"{value}, chance {said(chance, WITHIN)}: nothing beyond the class was shown.")
    else:
        lines.append(f"{value}, chance {said(chance, WITHIN)}: neither class nor picture was shown.")
    total, share = t.gain.get("total"), t.gain.get("share")
    if total is not None and share is not None and total.above(0) and np.isfinite(share.low):
        rest = (
            "the rest is which of its captions it was."
            if share.below(1)
            else "the interval reaches 100 %, so these bits alone do not show more than the class."
        )
        lines.append(
            f"Recall@1 lies {total.value:.1f} bits [{total.low:.1f}, {total.high:.1f}] above chance; "
            f"{100 * share.value:.0f} % [{100 * share.low:.0f}, {100 * share.high:.0f}] of them are the class; {rest}"
        )
    if t.shared:
        n = t.facts["n_images"]
        lines.append(
            f"{t.shared:,} of {n:,} test pictures were trained on, so what looks like the picture may be memory of it. "
            "Run the split that holds out pictures, too."
        )
    return lines


def generalisation(told: Sequence[Told]) -> list[str]:
    """Compare protocols by the share of the ceiling, or by bits above chance where there is none."""
    if len(told) < 2:
        return []
    lines, first = [], told[0]
    for other in told[1:]:
        for score, what in ((CLASS, "class"), (INSTANCE, "own caption")):
            a, b = first.share.get(score), other.share.get(score)
            if a is None or b is None:
                continue
            d = _difference(a, b)
            points = f"{100 * d.value:+.0f} points [{100 * d.low:+.0f}, {100 * d.high:+.0f}]"
            way = (
                f"{what}: {100 * a.value:.0f} % of the way to the ceiling for {first.protocol}, "
                f"{100 * b.value:.0f} % for {other.protocol}, {points}"
            ).replace("-", "−")
            verdict = (
                "so it is lost in part" if d.below(0) else "so it is more" if d.above(0) else "which is no clear change"
            )
            if not b.above(0):
                verdict = "and nothing is shown to be left"
            lines.append(f"{way[:1].upper()}{way[1:]}, {verdict}.")
    return lines


def rises(t: Told, of: str) -> list[str]:
    """Say whether scores rise with repetitions or with seeds, from the least to the most; nothing with one point."""
    lines = []
    own = t.curve[t.curve["of"] == of] if len(t.curve) else t.curve
    for score in ("recall@5", "class-aware recall@5"):
        line = own[own["score"] == score] if len(own) else own
        if len(line) < 2:
            continue
        a, b = line.iloc[0], line.iloc[-1]
        ends = [
            f"{said(r['value'], score)} [{said(r['low'], score, unit=False)}, {said(r['high'], score, unit=False)}]"
            for r in (a, b)
        ]
        unit = of[:-1] if str(a["n"]) == "1" else of
        way = f"{score}: {ends[0]} with {a['n']} {unit}, {ends[1]} with {b['n']}"
        if b["low"] > a["high"]:
            lines.append(f"{way}: it rises.")
        elif b["high"] < a["low"]:
            lines.append(f"{way}: it falls.")
        else:
            lines.append(f"{way}: the intervals overlap, so no rise was shown.")
    return lines


def limits(told: Sequence[Told]) -> list[str]:
    """Say what these numbers cannot say."""
    lines = []
    if any(t.phantom for t in told):
        lines.append("The brain is simulated (phantom): this tells of the method, not of people.")
    if any(t.leak for t in told):
        lines.append("The audit failed for at least one of these runs: its scores are not evidence.")
    few = min(int(t.facts["n_subjects"]) for t in told)
    if few < FEW_SUBJECTS:
        lines.append(f"{few} subject{'s' * (few != 1)}: intervals speak of these, not of people in general.")
    if any(int(t.facts["n_seeds"]) == 1 for t in told):
        lines.append("One seed: how training differs from seed to seed is not in the intervals.")
    for t in told[:1]:
        if t.bert is None:
            continue
        mine, random = (f"{100 * x:.1f} %" for x in t.bert)
        no = "so the threshold says little" if t.bert[1] > 0.5 or t.bert[0] <= t.bert[1] else "compare the two"
        lines.append(f"BERTScore above 0.7: {mine} of first captions, and {random} of random ones: {no}.")
    lines.append("Captions are those of this bank; a larger one is harder, and one of other classes easier.")
    if len(told) > 1:
        lines.append("Protocols differ in their test trials; their differences are drawn as if independent.")
    return lines


def _told(n: Number, score: str) -> str:
    return f"{said(n.value, score)} [{said(n.low, score, unit=False)}, {said(n.high, score, unit=False)}]"


def _difference(a: Number, b: Number) -> Number:
    """Interval of b - a of independent runs, by the square root of the sum of squared arms."""
    down = np.hypot(b.value - b.low, a.high - a.value)
    up = np.hypot(b.high - b.value, a.value - a.low)
    d = b.value - a.value
    return Number(d, d - float(down), d + float(up))


def _shares(told: Sequence[Told]) -> str:
    """Draw the share of the ceiling of every protocol."""
    rows = [
        (t, score, name)
        for t in told
        for score, name in ((CLASS, "class"), (INSTANCE, "own caption"))
        if score in t.share
    ]
    if not rows:
        return ""
    with figure(10.2, 0.3 * len(rows) + 0.75) as fig:
        w, h = fig.get_size_inches()
        ax = fig.add_axes((2.7 / w, 0.46 / h, 1 - 2.85 / w, 1 - 0.56 / h))
        for y, (t, score, _) in enumerate(rows):
            s, colour = t.share[score], MAIN if score == INSTANCE else SECOND
            ax.plot([100 * s.low, 100 * s.high], [y, y], color=colour, lw=2.8, solid_capstyle="round")
            ax.plot([100 * s.value], [y], "o", color=colour, ms=8)
        ax.axvline(0, color=MUTED, lw=1.2, ls=(0, (3, 2.4)))
        ax.axvline(100, color=INK, lw=1)
        least = min(0.0, *(100 * t.share[s].low for t, s, _ in rows))
        ax.set(
            ylim=(len(rows) - 0.5, -0.5),
            xlim=(least - 3, 104),
            xlabel="share of the way from chance (0) to the ceiling (100), %",
        )
        many = len(told) > 1
        ax.set_yticks(range(len(rows)), [f"{t.protocol}: {name}" if many else name for t, _, name in rows])
        ax.tick_params(axis="y", length=0, labelsize=10)
        ax.spines["left"].set_visible(False)
        ax.grid(True, axis="x", color=LINE, lw=0.6)
        ax.set_axisbelow(True)
        return markup(fig, "Share of the way from chance to the ceiling, with 95 % intervals.")


def _gains(told: Sequence[Told]) -> str:
    """Draw the bits above chance, class and picture within it, of every protocol."""
    rows = [t for t in told if t.gain and all(np.isfinite(t.gain[k].value) for k in ("class", "instance"))]
    if not rows:
        return ""
    with figure(10.2, 0.42 * len(rows) + 0.8) as fig:
        w, h = fig.get_size_inches()
        ax = fig.add_axes((2.7 / w, 0.46 / h, 1 - 2.85 / w, 1 - 0.76 / h))
        for y, t in enumerate(rows):
            parts = [t.gain["class"].value, t.gain["instance"].value]
            ax.barh(y, parts[0], color=SECOND, height=0.5)
            ax.barh(y, parts[1], left=max(parts[0], 0), color=MAIN, height=0.5)
            for at, part in ((parts[0] / 2, parts[0]), (max(parts[0], 0) + parts[1] / 2, parts[1])):
                if part > 0.35:
                    ax.text(at, y, f"{part:.1f}", ha="center", va="center", color="#ffffff", fontsize=10)
        ax.text(0, 1.0, "class", color=SECOND, transform=ax.transAxes, va="bottom", fontsize=10)
        ax.text(0.07, 1.0, "which picture of the class", color=MAIN, transform=ax.transAxes, va="bottom", fontsize=10)
        ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel="bits of recall@1 above chance")
        ax.set_yticks(range(len(rows)), [t.protocol for t in rows])
        ax.tick_params(axis="y", length=0, labelsize=10)
        ax.spines["left"].set_visible(False)
        return markup(fig, "Bits of recall@1 above chance: class, and which picture of the class.")
