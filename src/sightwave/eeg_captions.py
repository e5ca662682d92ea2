"""EEG -> caption retrieval scored by the analyses of `captions`: ceiling, shuffled and noise EEG, and other nulls.

Flow: `Result` -> `decode.captions.kept` -> `from_eeg` -> `CaptionScores`. Nothing is decoded here: a result keeps the
vectors of its test trials.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sightwave.captions import CaptionScores, Progress, notes_of, scores_of
from sightwave.decode.captions import Kept
from sightwave.errors import DataError
from sightwave.judge.caption_ranks import (
    CLASS,
    CONSTANT,
    REAL,
    WITHIN,
    Bank,
    Part,
    Source,
    constant,
    derangement,
    search,
    unit,
)
from sightwave.judge.captions import judge

CURVE = tuple(f"{level}{score}" for level in ("", CLASS, WITHIN) for score in ("recall@1", "recall@5", "MAP"))
"""Scores that are followed over repetitions and seeds."""


def from_eeg(
    kept: Kept,
    *,
    every: bool = False,
    text_model: str | Path | None = None,
    layer: int | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> CaptionScores:
    """Rank the captions for every decoded trial, and for the image behind it, by the analyses of `evaluate`.

    Parameters
    ----------
    kept : Kept
        What a result keeps, at the most repetitions; fewer make the curve.
    every : bool
        Search every caption of each image, not only its fullest.
    text_model, layer, n_bootstrap, progress
        As for `evaluate`.

    Returns
    -------
    CaptionScores

    Notes
    -----
    All sources answer for the same trials, so that their intervals may be compared: an image that five people saw
    counts five times as a ceiling, too. The nulls know the training part alone: `nearest` gives each trial the caption
    of the training trial that was decoded most alike, `most_frequent` orders classes by their training trials. Seeds
    whose vectors are averaged are not drawn anew, and make a curve only where they share the captions' vectors.
    """
    level = kept.levels[-1]
    events = kept.events[level].reset_index(drop=True)
    ids = events["stimulus"].to_numpy().astype(str)
    if len(np.unique(ids)) < 2:
        raise DataError(f"{len(ids)} trials of one image: retrieval needs at least two images.")
    items = kept.items
    labels = items["label"].to_numpy().astype(str)
    classes = events["label"].to_numpy().astype(str) if len(set(labels)) > 1 else None
    bank = Bank(
        items["stimulus"].to_numpy().astype(str), labels if classes is not None else None, items["text"].tolist()
    )
    parts, rng = _parts(kept, level, every), np.random.default_rng(seed)
    q, noise = unit(kept.vectors[level]), unit(kept.noise)
    swapped = np.empty_like(q)
    for part in parts:
        swapped[part.rows] = q[part.rows][derangement(ids[part.rows], rng)]
    banks, of_row = [unit(b) for b in kept.banks], kept.bank[level]
    nearest = np.stack([banks[b][i] for b, i in zip(of_row, kept.nearest, strict=True)])
    sources: dict[str, Source] = {REAL: lambda p: (q[p.rows], p.vectors)}
    if kept.images is not None:
        seen = unit(kept.images.at(ids).vectors)
        clip = None if kept.untuned is None else unit(kept.untuned)
        sources["ceiling"] = lambda p: (seen[p.rows], p.vectors if clip is None else clip[p.columns])
    sources |= {
        "shuffled": lambda p: (swapped[p.rows], p.vectors),
        "noise": lambda p: (noise[p.rows], p.vectors),
        CONSTANT: lambda p: (
            np.ones((len(p.rows), 1), np.float32),
            constant(p, None if bank.labels is None else bank.labels[p.columns], kept.prior),
        ),
        "nearest": lambda p: (nearest[p.rows], p.vectors),
    }
    found = search(sources, ids, classes, parts, bank, rng=rng, text_model=text_model, layer=layer, progress=progress)
    shown = {REAL: "retrieved", "ceiling": "image"}
    scores = scores_of(found, events, classes, bank, shown, n_bootstrap, seed, progress)
    n_searched = max(len(p.columns) for p in parts)
    resampled = scores.judged.resampled if scores.judged else ()
    facts = {
        "space": kept.space,
        "task": kept.task,
        "repetitions": level,
        "n_trials": int(events.groupby("seed").size().max()),
        "n_images": len(np.unique(ids)),
        "n_captions": n_searched,
        "n_subjects": events["subject"].nunique(),
        "n_seeds": events["seed"].nunique(),
        "resampled": resampled,
    }
    first = (
        f"{facts['n_trials']:,} decoded trials of {facts['n_images']:,} images, {n_searched:,} captions, {kept.space}. "
        f"Intervals: 95 %, {' and '.join(resampled)} drawn anew, the bank fixed. Ties count against the trial."
    )
    notes = (first, *notes_of(scores.table, found, parts, classes, text_model), *kept.notes)
    curve = _curve(kept, classes, bank, every, n_bootstrap, seed)
    return replace(scores, facts=facts, notes=notes, curve=curve, ceiling_pairs=found.pairs.get("ceiling", {}))


def _parts(kept: Kept, level: str, every: bool) -> list[Part]:
    """Group the trials that search the same captions by the same vectors."""
    events, of_row = kept.events[level], kept.bank[level]
    searched = kept.items["searched"].to_numpy() & (every | kept.items["first"].to_numpy())
    stimulus, banks = kept.items["stimulus"], [unit(b) for b in kept.banks]
    parts = []
    for fold, rows in events.reset_index(drop=True).groupby("fold", sort=False).indices.items():
        there = searched if kept.everything else searched & stimulus.isin(set(events["stimulus"].iloc[rows])).to_numpy()
        columns = np.flatnonzero(there)
        if len(set(stimulus.iloc[columns])) < 2:
            raise DataError(f"{kept.task}: fold {fold!r} tests a single picture, so there is nothing to choose from.")
        parts += [Part(rows[of_row[rows] == b], columns, banks[b][columns]) for b in np.unique(of_row[rows])]
    return parts


def _curve(
    kept: Kept, classes: np.ndarray | None, bank: Bank, every: bool, n_bootstrap: int, seed: int
) -> pd.DataFrame:
    """Follow the scores over repetitions, and over seeds whose unit vectors are averaged."""
    rows = []
    for level in kept.levels:
        rows += _point("repetitions", level, kept, level, classes is not None, bank, every, n_bootstrap, seed)
    top, n_seeds = kept.levels[-1], kept.events[kept.levels[-1]]["seed"].nunique()
    if n_seeds > 1 and len(kept.banks) == 1:
        for k in sorted({1, 2, 3, 5, n_seeds} & set(range(1, n_seeds + 1))):
            together = _together(kept, top, k)
            rows += _point("seeds", str(k), together, top, classes is not None, bank, every, n_bootstrap, seed)
    return pd.DataFrame(rows)


def _point(
    of: str, n: str, kept: Kept, level: str, classed: bool, bank: Bank, every: bool, draws: int, seed: int
) -> list[dict[str, Any]]:
    events = kept.events[level].reset_index(drop=True)
    q = unit(kept.vectors[level])
    classes = events["label"].to_numpy().astype(str) if classed else None
    ids = events["stimulus"].to_numpy().astype(str)
    found = search({REAL: lambda p: (q[p.rows], p.vectors)}, ids, classes, _parts(kept, level, every), bank,
                   rng=np.random.default_rng(seed))  # fmt: skip
    columns = {s: {k: v for k, v in scores.items() if k in CURVE} for s, scores in found.columns.items()}
    table = judge(columns, {}, events, n=draws, seed=seed).table
    return [{"of": of, "n": n} | {str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def _together(kept: Kept, level: str, k: int) -> Kept:
    """Average the unit vectors of k seeds, for every k that follow each other, as if one seed had said it."""
    events = kept.events[level].reset_index(drop=True)
    vectors, rows = [], []
    for _, fold in events.groupby("fold", sort=False):
        each = [unit(kept.vectors[level][part.index]) for _, part in fold.groupby("seed", sort=False)]
        first = next(part.index for _, part in fold.groupby("seed", sort=False))
        for start in range(len(each) if k < len(each) else 1):
            vectors.append(np.mean([each[(start + i) % len(each)] for i in range(k)], axis=0))
            rows.append(first)
    taken = events.loc[np.concatenate(rows)].assign(seed=0).reset_index(drop=True)
    return replace(kept, events={level: taken}, vectors={level: np.concatenate(vectors)},
                   bank={level: np.zeros(len(taken), np.int32)})  # fmt: skip
