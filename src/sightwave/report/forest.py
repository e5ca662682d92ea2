"""Forests: scores with their intervals on one axis, beside chance and ceiling; the page's own table draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sightwave.decode.question import ORACLE
from sightwave.report import words
from sightwave.results import Result


@dataclass(frozen=True)
class Mark:
    """One row of a forest: numbers as text, and places on the axis in per cent of its width.

    `single` is a single trial, `whole` is all subjects together, `above` is above chance with p < 0.05.
    """

    who: str
    trials: str
    value: str
    interval: str
    chance: str
    p: str
    ceiling: str
    noise_free: str
    at: float | None
    left: float | None
    width: float
    chance_at: float | None
    ceiling_at: float | None
    noise_free_at: float | None
    single: bool
    whole: bool
    above: bool


@dataclass(frozen=True)
class Forest:
    """Headline scores of one task, for all and for each subject, on one axis."""

    question: words.Question
    metric: str
    marks: list[Mark]
    ticks: list[tuple[float, str]]
    efficiency: str = ""
    trials: str = ""

    @property
    def top(self) -> Mark:
        """The row that is printed large."""
        return self.marks[0]

    @property
    def noise_free(self) -> bool:
        """Whether the ceiling of the target space is known."""
        return any(m.noise_free_at is not None for m in self.marks)

    @property
    def clear(self) -> bool:
        """Whether what is printed large is above chance: for one subject at least, where there is no score for all."""
        return any(m.above for m in self.marks if m.trials == self.top.trials) if self.spread else self.top.above

    @property
    def spread(self) -> str:
        """Lowest to highest of several subjects when there is no score for all; else nothing."""
        known = sorted(
            (m for m in self.marks if m.trials == self.top.trials and m.at is not None), key=lambda m: m.at or 0.0
        )
        return f"{known[0].value} – {known[-1].value}" if len(known) > 1 and not self.top.whole else ""


@dataclass(frozen=True)
class _Row:
    """One session, as `lay_out` reads it."""

    session: str
    repetitions: str
    value: float
    low: float
    high: float
    chance: float
    p: float
    ceiling = noise_free = math.nan
    subject = "all"


def forests(result: Result) -> list[Forest]:
    """Lay out the headline scores of each plain task: for all first, then by subject; averages before single trials."""
    table, made = words.scores_of(result), []
    for task, metric in words.plain(words.headlines(table)).items():
        rows = table[(table.task == task) & (table.metric == metric)]
        order = sorted(
            rows.itertuples(), key=lambda r: (r.subject != "all", str(r.subject), -words.level(str(r.repetitions)))
        )
        efficiency = words.efficiency(result, str(task))
        made.append(replace(lay_out(words.question(task), metric, order), efficiency=efficiency))
    return made


def ways(result: Result) -> list[Forest]:
    """Lay out, for each space, its galleries and ways of inference under each other, for all subjects together.

    Averages of most repetitions; what one trial alone can say comes first, then what is transductive, then oracles.
    """
    table, found = words.scores_of(result), dict[str, list[tuple[words.Question, str, Any]]]()
    for task, metric in words.headlines(table).items():
        rows = table[(table.task == task) & (table.metric == metric)]
        rows = rows[rows.repetitions == max(rows.repetitions, key=words.level)]
        q = words.question(task)
        space = q.note.partition(" + ")[0]
        found.setdefault(f"{q.word} {space}", []).extend(
            (q, metric, r) for r in rows.itertuples() if r.subject == "all"
        )
    made = []
    for group in found.values():
        if not any(q.way for q, *_ in group):
            continue
        ordered = sorted(group, key=lambda g: (bool(g[0].mark), g[0].mark == ORACLE))
        names = [q.way or f"the very {q.word}" for q, *_ in ordered]
        first = next((g for g in ordered if not g[0].way), ordered[0])
        laid = lay_out(first[0], first[1], [r for *_, r in ordered], names)
        # all are averages of as many, which the caption says; the column says what helped instead
        marked = [
            replace(m, trials=q.mark or "each alone", noise_free_at=None)
            for m, (q, *_) in zip(laid.marks, ordered, strict=True)
        ]
        made.append(replace(laid, marks=marked, trials=laid.top.trials))
    return made


def sessions(result: Result) -> list[Forest]:
    """Lay out the headline scores session by session, for all subjects together; nothing where one was tested."""
    rows: dict[tuple[str, str], list[Any]] = {}
    for row in result.data.get("sessions") or ():
        rows.setdefault((str(row["task"]), str(row["metric"])), []).append(
            _Row(**{k: row[k] for k in _Row.__annotations__})
        )
    return [
        lay_out(words.question(task), metric, found, [f"session {r.session}" for r in found])
        for (task, metric), found in rows.items()
    ]


def beside(results: Sequence[Result]) -> list[Forest]:
    """Lay out several results on one axis, for every question and headline metric that at least two of them share.

    Recipes may each search a space of their own: what is asked is the same. Of many numbers of repetitions three are
    shown.
    """
    rows: dict[tuple[words.Question, str], list[tuple[str, str, Any]]] = {}
    for r in results:
        table = words.scores_of(r)
        for task, metric in words.plain(words.headlines(table)).items():
            q = words.question(task)
            asked = (replace(q, note="") if q.kind != "classify" else q, metric)
            keep = table[(table.task == task) & (table.metric == metric) & (table.subject == "all")]
            few = words.three(map(words.level, keep.repetitions))
            ordered = sorted(keep.itertuples(), key=lambda x: -words.level(str(x.repetitions)))
            found = [(r.name, q.note, x) for x in ordered if words.level(str(x.repetitions)) in few]
            rows.setdefault(asked, []).extend(found)
    return [_beside(q, metric, found) for (q, metric), found in rows.items() if len({n for n, *_ in found}) > 1]


def _beside(q: words.Question, metric: str, found: Sequence[tuple[str, str, Any]]) -> Forest:
    """Name the space once if all share it, else with the run that searched several."""
    spaces = {space for _, space, _ in found}
    several = len({(name, space) for name, space, _ in found}) > len({name for name, *_ in found})
    note = next(iter(spaces)) if len(spaces) == 1 else "" if several else "each in a space of its own"
    names = [f"{name}, {space}" if several else name for name, space, _ in found]
    return lay_out(replace(q, note=note), metric, [x for *_, x in found], names)


def lay_out(question: words.Question, metric: str, rows: Sequence[Any], names: Sequence[str] = ()) -> Forest:
    """Place rows of `Result.scores` on one axis; ``names``, one per row, replace the subjects'."""
    given = ((r.value, r.low, r.high, r.chance, r.ceiling, r.noise_free) for r in rows)
    numbers = [float(v) for values in given for v in values if math.isfinite(float(v))]
    ticks = _ticks(numbers or [0.0, 1.0], metric, [float(r.chance) for r in rows])
    lo, hi = ticks[0], ticks[-1]

    def at(v: Any) -> float | None:
        return round(min(max(100 * (float(v) - lo) / (hi - lo), 0.0), 100.0), 2) if math.isfinite(float(v)) else None

    marks = []
    for i, r in enumerate(rows):
        left, right = at(r.low), at(r.high)
        whole = r.subject == "all"
        marks.append(
            Mark(
                names[i] if names else "all subjects" if whole else f"subject {r.subject}",
                words.average(r.repetitions),
                words.number(r.value, metric),
                words.interval(r.low, r.high, metric),
                words.number(r.chance, metric),
                words.p_value(r.p),
                words.number(r.ceiling, metric) if math.isfinite(r.ceiling) else "unknown",
                words.number(r.noise_free, metric) if math.isfinite(r.noise_free) else "unknown",
                at(r.value),
                left,
                round((right or 0) - (left or 0), 2),
                at(r.chance),
                at(r.ceiling),
                at(r.noise_free),
                words.average(r.repetitions) == "single trial",
                whole,
                bool(r.p < 0.05),
            )
        )
    return Forest(question, words.metric_name(metric), marks, [(at(t) or 0.0, _tick(t, metric)) for t in ticks])


def _ticks(numbers: Sequence[float], metric: str, chances: Sequence[float]) -> list[float]:
    """Round ticks that hold all numbers; the axis starts at 0 unless chance is far from it, as with two classes."""
    known = [c for c in chances if math.isfinite(c)]
    far = bool(known) and min(known) >= 0.3 and metric != "median rank"
    lo, hi = (min(numbers) if far else min(0.0, *numbers)), max(numbers)
    step = next((s for s in _steps(hi - lo) if (hi - lo) / s <= 5), 1.0)
    first, last = math.floor(lo / step + 1e-9), math.ceil(hi / step - 1e-9)
    return [round(step * k, 10) for k in range(first, max(last, first + 1) + 1)]


def _steps(span: float) -> list[float]:
    base = 10.0 ** math.floor(math.log10(span / 5)) if span > 0 else 0.1
    return [base * f for f in (1, 2, 2.5, 5, 10)]


def _tick(v: float, metric: str) -> str:
    return f"{100 * v:.4g}" if words.is_share(metric) else f"{v:g}"
