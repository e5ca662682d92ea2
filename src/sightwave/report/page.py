"""The page: one self-contained HTML file that tells what was found, how sure it is, and what it was made from."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from sightwave import files
from sightwave.report import curves, differences, figures, forest, places, side_by_side, svg, tables, trials, words
from sightwave.results import Predictions, Result


def write(
    path: Path,
    results: Sequence[Result],
    *,
    title: str,
    intro: str = "",
    confound: Sequence[Result] | None = None,
    paired: pd.DataFrame | str = "",
) -> Path:
    """Write the report.

    Parameters
    ----------
    path : Path
        The HTML file; written whole or not at all.
    results : sequence of Result
        What is reported. The first is told in full; the others are set beside it, and told shortly after it.
    title, intro : str
        The heading, and a sentence below it. "(phantom)" is added where the brain is simulated.
    confound : sequence of Result or None
        Runs on EEG without any picture signal, recorded in blocks: one under a split that the audit fails, and one
        that leaves whole blocks out. They are told as a story of their own, never among the scores.
    paired : DataFrame or str
        Differences between the results, from `judge.paired.paired`, or why there are none.

    Returns
    -------
    Path
        ``path``.
    """
    path = Path(path)
    files.write_text(path, render(results, title=title, intro=intro, confound=confound, paired=paired))
    return path


def render(
    results: Sequence[Result],
    *,
    title: str,
    intro: str = "",
    confound: Sequence[Result] | None = None,
    paired: pd.DataFrame | str = "",
) -> str:
    """Return the report as text; the same results give the same bytes."""
    phantom = any(words.is_phantom(r) for r in results)
    return _template().render(
        title=title + (" (phantom)" if phantom and "phantom" not in title.lower() else ""),
        intro=intro,
        phantom=phantom,
        parts=[_part(r, first=not i) for i, r in enumerate(results)],
        beside=forest.beside(results),
        costs=side_by_side.lines(results) if len(results) > 1 else [],
        costs_say=side_by_side.CAPTION,
        confound=_confound(confound or ()),
        unpaired=paired if isinstance(paired, str) else "",
        paired=[] if isinstance(paired, str) else differences.frame(paired).to_dict("records"),
        paired_says=differences.SAYS,
    )


def _template() -> Any:
    return environment().get_template("page.html.j2")


@cache
def environment() -> Any:
    """Return what the templates of this room are rendered by: text is escaped, and what is undefined is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    here = FileSystemLoader(Path(__file__).parent)
    room = Environment(loader=here, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    room.filters["solid"] = _solid
    room.filters["drawn"] = Markup  # only for figures, whose text matplotlib has escaped
    return room


def _part(r: Result, *, first: bool) -> dict[str, Any]:
    rows = tables.frame(r)
    return {
        "result": r,
        "phantom": words.is_phantom(r),
        "verdict": words.verdict(r),
        "leak": words.leaks(r),
        "verdict_says": words.VERDICTS.get(words.verdict(r), "No audit was stored with this result."),
        "findings": words.findings(r),
        "allowed": [str(a) for a in r.audit.get("allowed") or ()],
        "opened": words.opened(r),
        "headline": words.headline(r),
        "facts": _facts(r),
        "forests": forest.forests(r),
        "ways": forest.ways(r),
        "sessions": forest.sessions(r),
        "rows": rows.to_dict("records"),
        "noise_free": words.noise_free(r),
        "where": _where(r),
        "peek": words.peek(r),
        "peek_curve": figures.epochs(r.data["peek"]) if r.data.get("peek") else "",
        "figures": _figures(r),
        "cards": trials.cards(r) if first else [],
        "strips": trials.strips(r) if first else [],
        "baselined": r.data.get("sfreq") and -(r.data.get("tmin") or 0) * r.data["sfreq"] >= 2,
        "notes": words.notes(r),
        "fingerprint": str(r.data.get("fingerprint", "unknown")),
        "history": [
            (name, figures.history(r.extras[key], colour))
            for key, name, colour in (
                ("history.loss", "Training loss", svg.MAIN),
                ("history.val", "Validation", svg.SECOND),
            )
            if key in r.extras and len(r.extras[key])
        ],
        "left_out": sorted((str(k), str(v)) for k, v in (r.data.get("left_out") or {}).items()),
        "recipe": json.dumps(r.recipe, indent=2, sort_keys=True, ensure_ascii=False, default=str),
        "provenance": [(k, str(r.data[k])) for k in ("citation", "licence") if r.data.get(k)]
        + [(str(k), _say(v)) for k, v in sorted(r.provenance.items())],
    }


def _facts(r: Result) -> list[tuple[str, str]]:
    d, n = r.data, len(r.data.get("ch_names") or ())
    trials_, n_stimuli = d.get("n_trials"), d.get("n_stimuli")
    given = [
        ("subjects", str(d.get("n_subjects", len(r.subjects)))),
        ("trials", f"{trials_:,}" if isinstance(trials_, int) else ""),
        ("channels", str(n or d.get("n_channels", ""))),
        ("sampled at", f"{float(d['sfreq']):g} Hz" if d.get("sfreq") else ""),
        ("pictures", f"{n_stimuli:,}" if isinstance(n_stimuli, int) and n_stimuli else ""),
        ("seeds", str(len(r.seeds)) if r.seeds else ""),
        ("recipe", r.name),
    ]
    return [(k, v) for k, v in given if v]


def _figures(r: Result) -> list[dict[str, Any]]:
    by_task: dict[str, dict[str, list[Predictions]]] = {}
    for p in r.predictions:
        by_task.setdefault(p.task, {}).setdefault(p.repetitions, []).append(p)
    made: list[dict[str, Any]] = []
    for task, levels in words.plain(by_task).items():
        q, top = words.question(task), max(levels, key=words.level)
        if task.startswith("retrieve"):
            drawn = figures.recall_curve(levels)
            says = (
                f"Share of trials whose right {q.word} is among the k nearest. Thick lines: mean over subjects; thin "
                "lines: each subject; dashed: chance."
            )
            made.append(_figure(q, f"How near the right {q.word} came", drawn, says))
            made += _retrieval(r, task, q, levels[top])
        elif task.startswith("classify"):
            names, shares = figures.confusion(levels[top])
            n, printed = len(names), "all cells" if len(names) <= 6 else "the diagonal"
            says = (
                f"Rows sum to 100 %; printed: {printed}. Mean over subjects, {words.average(top)}. Guessing gives "
                f"{100 / n:.3g} % in every cell."
            )
            drawn, mistakes = figures.confusion_figure(names, shares), figures.mistaken(names, shares) if n > 2 else []
            made.append(_figure(q, "Which category was taken for which", drawn, says, wide=n > 8, mistakes=mistakes))
    table = words.scores_of(r)
    for task, metric in words.plain(words.headlines(table)).items():
        rows = table[(table.task == task) & (table.metric == metric) & (table.subject == "all")]
        if len(rows) > 2:
            says = "Repetitions of a picture averaged before it is decoded. Band: 95 % interval; dashed: chance."
            made.append(
                _figure(
                    words.question(task),
                    f"What repetitions buy: {words.question(task).word}",
                    curves.repetitions(rows, metric),
                    says,
                )
            )
    return sorted(made, key=lambda f: not f["wide"])


def _retrieval(r: Result, task: str, q: words.Question, answers: Sequence[Predictions]) -> list[dict[str, Any]]:
    """Figures that only a retrieval has: over the size of the gallery, and all similarities."""
    made = []
    if curve := (r.data.get("pool") or {}).get(task):
        says = (
            "Expected share of right first places in random smaller galleries, computed exactly from the ranks. Band: "
            "95 % interval; dashed: chance. Only galleries of one size can be compared."
        )
        made.append(_figure(q, "What the size of the gallery does", curves.pool(curve), says))
    mean, labels, _ = curves.similarities(answers[0])
    if len(mean):
        says = (
            "Decoded trials against every candidate, averaged over subjects and seeds, in standard deviations of each "
            "row; ordered by category. A dark diagonal is identification, dark squares along it are categories."
        )
        made.append(_figure(q, f"Similarity to every {q.word}", curves.matrix(mean, labels), says))
    return made


def _where(r: Result) -> dict[str, Any] | None:
    """Tell where and when the information sits, where that was asked."""
    rows = r.data.get("where") or []
    if not rows:
        return None
    q, trials_ = words.question(str(rows[0]["task"])), words.average(str(rows[0]["repetitions"]))
    return {
        "svg": places.panels(rows),
        "lines": places.lines(rows),
        "says": places.SAYS,
        "question": q,
        "trials": trials_,
    }


def _figure(q: words.Question, title: str, drawn: str, says: str, **more: Any) -> dict[str, Any]:
    return {"question": q, "title": title, "svg": drawn, "says": says, "wide": False, "mistakes": []} | more


def _confound(results: Sequence[Result]) -> dict[str, Any] | None:
    """Tell the leaky run beside the honest ones, all on one axis."""
    ordered = sorted(results, key=lambda r: words.verdict(r) != "FAIL")
    told = []
    for r in ordered:
        table = words.scores_of(r)
        if not len(table):
            continue
        task, metric = next(iter(words.headlines(table).items()))
        rows = table[(table.task == task) & (table.metric == metric)]
        rows = rows[rows.repetitions == max(rows.repetitions, key=words.level)]
        rows = rows[rows.subject == "all"] if (rows.subject == "all").any() else rows
        told.append((r, words.question(task), metric, next(rows.itertuples())))
    if not told:
        return None
    names = [_split_name(r) for r, *_ in told]
    laid = forest.lay_out(told[0][1], told[0][2], [row for *_, row in told], names)
    lines = [
        {"mark": m, "verdict": words.verdict(r), "findings": words.findings(r), "leak": words.leaks(r)}
        for m, (r, *_) in zip(laid.marks, told, strict=True)
    ]
    return {
        "forest": laid,
        "lines": lines,
        "scheme": figures.blocks(),
        "phantom": any(words.is_phantom(r) for r in results),
        "leaky": next((x for x in lines if x["leak"]), None),
        "honest": next((x for x in lines if not x["leak"]), None),
        "at_chance": all(row.low <= row.chance <= row.high for r, _, _, row in told if not words.leaks(r)),
    }


def _split_name(r: Result) -> str:
    kind = str((r.recipe.get("split") or {}).get("use", "")).rpartition(".")[2]
    known = {
        "Shuffled": "random split of trials",
        "BySession": "other session held out",
        "LeaveOneRunOut": "whole runs left out",
    }
    return known.get(kind, "random split of trials" if words.leaks(r) else "whole blocks left out")


def _solid(text: str) -> str:
    """Keep a number and its sign, and an interval, on one line."""
    text = re.sub(r"\bp (<|=) ", "p\u00a0\\1\u00a0", text)
    text = re.sub(r"(\d) %", "\\1\u00a0%", text)
    return re.sub(r"(\[[-−\d.]+,) ", "\\1\u00a0", text)


def _say(v: Any) -> str:
    if isinstance(v, dict):
        return ", ".join(f"{k} {_say(x)}" for k, x in sorted(v.items()))
    if isinstance(v, (list, tuple)):
        return ", ".join(map(_say, v))
    return f"{v:.1f}" if isinstance(v, float) else str(v)
