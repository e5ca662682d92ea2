"""The page of caption retrieval: EEG beside the image itself and beside every null, ten trials, classes and curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from sightwave import files
from sightwave.metrics.captions import CLIP_SCORE_WEIGHT, auc, overlap
from sightwave.report import caption_figures as figures
from sightwave.report import page, trials, words
from sightwave.report.caption_figures import SOURCES, said
from sightwave.results import Result

RANKED = ("recall@1", "recall@3", "recall@5", "MAP")
GROUPS = (
    ("The image's own caption", RANKED),
    ("Any caption of its class", tuple(f"class-aware {s}" for s in RANKED)),
    ("Its own caption among those of its class", tuple(f"within-class {s}" for s in RANKED)),
    ("Words of the first caption", ("BERTScore F1", "BERTScore F1 > 0.7")),
    ("Cosines", tuple(f"CLIPScore {s}" for s in ("matched", "mismatched", "retrieved", "AUC", "overlap"))),
)
ABOUT = {
    "value": "the decoded trial",
    "ceiling": "the picture that was shown, by the image half of the same CLIP",
    "nearest": "the caption of the training trial that was decoded most alike: what memory alone would answer",
    "most_frequent": "one order for all: captions of the class with most training trials first, typical ones first",
    "noise": "noise with the scale of the trials, through the same steps and decoder",
    "shuffled": "the decoded vector of another picture's trial",
}
N_BEST = 5


class Scores(Protocol):
    """What the page needs of `CaptionScores`."""

    @property
    def table(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def per_class(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def examples(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def pairs(self) -> dict[str, np.ndarray]: ...  # noqa: D102
    @property
    def ceiling_pairs(self) -> dict[str, np.ndarray]: ...  # noqa: D102
    @property
    def curve(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def facts(self) -> dict[str, Any]: ...  # noqa: D102
    @property
    def notes(self) -> tuple[str, ...]: ...  # noqa: D102


def write(path: Path, result: Result, scores: Scores, *, title: str) -> Path:
    """Write the page; written whole or not at all.

    Parameters
    ----------
    path : Path
    result : Result
    scores : CaptionScores
        Of this result's trials.
    title : str

    Returns
    -------
    Path
        ``path``.
    """
    files.write_text(Path(path), render(result, scores, title=title))
    return Path(path)


def render(result: Result, scores: Scores, *, title: str) -> str:
    """Return the page as text; the same result gives the same bytes."""
    phantom = words.is_phantom(result)
    shown = [s for s in SOURCES if s in scores.table]
    return (
        page.environment()
        .get_template("captions.html.j2")
        .render(
            title=title + (" (phantom)" if phantom and "phantom" not in title.lower() else ""),
            phantom=phantom,
            result=result,
            leak=words.leaks(result),
            verdict=words.verdict(result),
            verdict_says=words.VERDICTS.get(words.verdict(result), "No audit was stored with this result."),
            findings=words.findings(result),
            opened=words.opened(result),
            headline=headline(result, scores),
            facts=_facts(result, scores),
            sources=[(SOURCES[s], ABOUT[s]) for s in shown],
            groups=_groups(scores.table, shown),
            drawn=figures.sources(scores.table),
            cosines=_cosines(scores),
            curves=[(of, figures.curve(scores.curve, of)) for of in _curves(scores.curve)],
            classes=figures.classes(scores.per_class) if len(scores.per_class) else "",
            cards=_cards(result, scores),
            notes=scores.notes,
        )
    )


def headline(result: Result, scores: Scores) -> str:
    """Say in two sentences what was found, for somebody who reads nothing else."""
    row = figures.by_score(scores.table)["recall@1"]
    n, brain = int(scores.facts["n_subjects"]), "simulated EEG" if words.is_phantom(result) else "the EEG"
    whom = f"{brain} of {n} {'phantom ' if words.is_phantom(result) else ''}subject{'s' * (n != 1)}"
    told = [f"guessing gives {said(row['chance'], 'recall@1')}"]
    told += [f"the image itself {said(row['ceiling'], 'recall@1')}"] if "ceiling" in row else []
    told += [f"the nearest training caption {said(row['nearest'], 'recall@1')}"] if "nearest" in row else []
    verdict = "That is more than every null." if row["beyond"] else "The intervals do not tell that from every null."
    how = words.average(str(scores.facts["repetitions"])).replace("average", "averages")
    how = "single trials" if how == "single trial" else how
    found = f"{said(row['value'], 'recall@1')} {_interval(row, 'value', 'recall@1')} of trials"
    return (
        f"From {whom}, {how}, the picture's own caption came first among {scores.facts['n_captions']:,} in {found}; "
        f"{', '.join(told)}. {verdict}"
    )


def _facts(result: Result, scores: Scores) -> list[tuple[str, str]]:
    f = scores.facts
    return [("trials", f"{f['n_trials']:,}"), ("pictures", f"{f['n_images']:,}"), ("captions", f"{f['n_captions']:,}"),
            ("subjects", str(f["n_subjects"])), ("seeds", str(f["n_seeds"])), ("space", str(f["space"])),
            ("recipe", result.name)]  # fmt: skip


def _interval(row: Mapping[Any, Any], source: str, score: str) -> str:
    low, high = (row.get(end if source == "value" else f"{source}_{end}", np.nan) for end in ("low", "high"))
    if not np.isfinite(low):
        return ""
    return f"[{said(low, score, unit=False)}, {said(high, score, unit=False)}]"


def _groups(table: pd.DataFrame, shown: list[str]) -> list[dict[str, Any]]:
    """Lay the table out: a cell per source, and whether EEG is better than chance and than every null."""
    rows, made = figures.by_score(table), []
    for title, scores in GROUPS:
        lines = []
        for score in scores:
            if score not in rows:
                continue
            row = rows[score]
            fair = score not in ("CLIPScore retrieved", "CLIPScore mismatched")  # the first of a bank is always high
            cells = [(said(row[s], score), _interval(row, s, score)) for s in shown]
            lines.append(
                {
                    "score": score,
                    "cells": cells,
                    "chance": said(row["chance"], score),
                    "beyond": fair and bool(row["beyond"]),
                }
            )
        if lines:
            made.append({"title": title, "rows": lines})
    return made


def _cosines(scores: Scores) -> list[dict[str, str]]:
    """Draw matched, mismatched and retrieved pairs of EEG and of images on one axis."""
    both = {"EEG and caption": scores.pairs} | (
        {"Image and caption": scores.ceiling_pairs} if scores.ceiling_pairs else {}
    )
    every = [CLIP_SCORE_WEIGHT * x for pairs in both.values() for x in pairs.values()]
    limits = min(float(x.min()) for x in every), max(float(x.max()) for x in every) + 1e-6
    return [
        {
            "title": name,
            "svg": figures.distributions(pairs, limits),
            "auc": f"{auc(pairs['matched'], pairs['mismatched']):.3f}",
            "overlap": f"{overlap(pairs['matched'], pairs['mismatched']):.3f}",
        }
        for name, pairs in both.items()
    ]


def _curves(curve: pd.DataFrame) -> list[str]:
    """Return what has more than one point."""
    if not len(curve):
        return []
    return [of for of in ("repetitions", "seeds") if curve.loc[curve["of"] == of, "n"].nunique() > 1]


def _cards(result: Result, scores: Scores) -> list[dict[str, Any]]:
    """Ten trials that nobody picked: picture, own caption, and what EEG and the image retrieved."""
    pictures, made = trials.picture_addresses(result), []
    for row in scores.examples.to_dict("records"):
        own, label = str(row["image"]), str(row["label"])
        lists = []
        for prefix, name in (("retrieved", "from EEG"), ("image", "from the image")):
            best = [
                {"text": row[f"{prefix}_{k}"], "right": str(row[f"{prefix}_{k}_of"]) == own,
                 "kin": bool(label) and str(row.get(f"{prefix}_{k}_label", "")) == label}
                for k in range(1, N_BEST + 1) if f"{prefix}_{k}" in row
            ]  # fmt: skip
            if best:
                lists.append({"name": name, "best": best})
        made.append({"picture": pictures.get(own, ""), "caption": row["caption"], "label": label, "id": own,
                     "subject": row["subject"], "rank": int(row["rank"]), "lists": lists})  # fmt: skip
    return made
