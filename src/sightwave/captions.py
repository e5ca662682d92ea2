"""Image -> caption retrieval by a CLIP model: which captions it finds for an image, with chance, interval and nulls.

Flow: pictures and captions -> `embed` -> {image vectors, caption vectors} -> `evaluate` -> `CaptionScores`. It needs no
EEG: it is the ceiling of caption retrieval from EEG, which `eeg_captions` scores in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sightwave import files
from sightwave.embeddings import Embeddings
from sightwave.errors import DataError, ShapeError, SpaceError
from sightwave.judge.caption_ranks import (
    CLASS,
    CONSTANT,
    REAL,
    SUCCESS,
    Bank,
    Found,
    Part,
    Source,
    constant,
    derangement,
    search,
    unit,
)  # fmt: skip
from sightwave.judge.captions import Judged, judge, judge_classes
from sightwave.stimuli import Stimuli

N_EXAMPLES = 10
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class CaptionScores:
    """What a caption retrieval found, with its doubt.

    Parameters
    ----------
    table : DataFrame
        One row per score: `value`, `low` and `high` (95 %; images drawn anew, with EEG also subjects and seeds where
        there are enough; the bank fixed), `chance` (a random order of the captions, or random captions), and values
        with ``_low`` and ``_high`` of other sources: `shuffled` (each query has the vector of another image's),
        `most_frequent` (one order for all: captions of the commonest class first, the most typical among them). From
        EEG also `ceiling` (the image itself, by the same CLIP), `noise` (noise of the trials' scale, decoded) and
        `nearest` (the caption of the training trial that was decoded most alike).
    per_class : DataFrame
        Class-aware MAP of each class, `n_images`, the same columns; empty without classes.
    examples : DataFrame
        Ten queries, evenly spaced and not picked: own caption, its rank, and the first five retrieved; from EEG also
        those that the image retrieves.
    pairs : dict of str to ndarray
        Cosines: ``"matched"`` (N,), ``"mismatched"`` (N, 5), ``"retrieved"`` (N,).
    notes : tuple of str
        What a reader must know beside the numbers.
    facts : dict
        Space and counts.
    ceiling_pairs : dict of str to ndarray
        The same cosines for the images; empty unless the queries are EEG.
    curve : DataFrame
        Scores over repetitions, and over seeds whose vectors are averaged: columns `of`, `n`, `score`, `value`,
        `low`, `high`, `chance`; empty unless the queries are EEG.
    judged : Judged or None
        The draws behind the intervals.
    """

    table: pd.DataFrame
    per_class: pd.DataFrame
    examples: pd.DataFrame
    pairs: dict[str, np.ndarray]
    notes: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    ceiling_pairs: dict[str, np.ndarray] = field(default_factory=dict)
    curve: pd.DataFrame = field(default_factory=pd.DataFrame)
    judged: Judged | None = None

    def value(self, score: str, source: str = REAL) -> float:
        """Return one score by its name in the table; an unknown one is a `ValueError`."""
        return float(self.table.loc[self.table["score"] == score, source].item())

    def save(self, folder: Path) -> None:
        """Write `scores.csv`, `per_class.csv`, `examples.csv`, `notes.txt`, and from EEG `curve.csv` into a folder."""
        tables = {"scores": self.table, "per_class": self.per_class, "examples": self.examples, "curve": self.curve}
        for name, table in tables.items():
            if name != "curve" or len(table):
                files.write_text(folder / f"{name}.csv", table.to_csv(index=False))
        files.write_text(folder / "notes.txt", "".join(f"{note}\n" for note in self.notes))


def phantom(*, per_class: int = 25) -> Stimuli:
    """Return phantom pictures of the twenty categories, each with its fullest caption, none of them trained on.

    Parameters
    ----------
    per_class : int
        Pictures per category, below 1,000: the tiny CLIP was trained on those from there on.
    """
    from sightwave.phantom import album
    from sightwave.phantom.concepts import CATEGORIES

    ids = [f"{c}-{i:04d}" for c in CATEGORIES for i in range(per_class)]
    table = pd.DataFrame({"label": [i.rpartition("-")[0] for i in ids]}, index=ids)
    table["captions"] = pd.Series([album.scene(i).captions[:1] for i in ids], index=ids, dtype=object)
    return Stimuli(table, lambda i: album.picture(str(i)).copy(), album.code())


def embed(stimuli: Stimuli, clip: str | Path = "phantom", *, device: str = "cpu") -> tuple[Embeddings, Embeddings]:
    """Embed every picture, and every caption of each, by one CLIP; cached by content.

    Parameters
    ----------
    stimuli : Stimuli
    clip : str or Path
        A folder or a hub name, as `ClipImage` takes it.

    Returns
    -------
    images : Embeddings
        One row per picture.
    captions : Embeddings
        One row per caption; its id is the picture's, so that ids repeat where a picture has several.
    """
    from sightwave.targets.clip import ClipImage, ClipText

    rows = [(i, text) for i in stimuli.ids for text in stimuli.captions(i)]
    each = pd.DataFrame(
        {"label": "", "captions": [(text,) for _, text in rows]}, index=[f"{n}" for n in range(len(rows))]
    )
    images = ClipImage(clip, device=device).embed(stimuli, ())
    captions = ClipText(clip, device=device).embed(Stimuli(each, key=stimuli.key), ())
    return images, Embeddings(captions.vectors, np.array([i for i, _ in rows]), captions.space)


def evaluate(
    images: Embeddings,
    captions: Embeddings,
    *,
    labels: Mapping[str, str] | None = None,
    texts: Sequence[str] | None = None,
    text_model: str | Path | None = None,
    layer: int | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> CaptionScores:
    """Rank a bank of captions for every image, and score what was found.

    Parameters
    ----------
    images : Embeddings
        One row per query; an id may repeat.
    captions : Embeddings
        The bank, in the space of the images or the text half of the same CLIP; ids are those of the images described.
    labels : mapping of str to str or None
        Image -> category, for the class-aware scores; left out without any, or where all are equal.
    texts : sequence of str or None
        The captions in words, in the order of the bank: for the examples, and for BERTScore.
    text_model : str or Path or None
        Folder of the text model of BERTScore, which is left out without one; see `token_vectors`.
    layer : int or None
        Its layer.
    n_bootstrap : int
        Draws per interval.
    progress : callable
        Called as ``progress(what, done, total)``.

    Returns
    -------
    CaptionScores

    Raises
    ------
    SpaceError, ShapeError, DataError
        If the two do not lie in one space, texts are missing, or an image has no caption in the bank.

    Notes
    -----
    Recall@k counts an image as found when one of its captions (class-aware: of its class) is among the first k. MAP
    takes all of them as right. Within-class scores rank an image's captions among those of its class alone:
    what is found beyond the class. An order that only groups captions by class has a class-aware MAP above chance, as
    `most_frequent` shows. A caption that is written twice ties with its twin, and ties count against the image.

    BERTScore compares the first retrieved caption with the image's own. Its published threshold of F1 > 0.7 is passed
    by nearly all pairs of *random* captions, with roberta-large by 100 %; `chance` is therefore that share, measured
    on random pairs of this very bank. CLIPScore is 2.5 max(cosine, 0); its AUC and overlap are
    those of the cosines, before what is below 0 is cut. The retrieved caption is the highest of a bank,
    so its CLIPScore exceeds that of the true one even for a model that knows nothing of the images.

    Published for EEG -> caption, 13 subjects, ViT-H-14, a student project (image -> caption was not reported there):
    class-aware recall@1/3/5 of 11.2/15.7/18.1 %, MAP .0047, class-aware MAP .1405, BERTScore .872 with 100 % above .7,
    bare cosines .221 (matched), .341 (retrieved), .196 (random).
    """
    _same_clip(images, captions)
    if texts is not None and len(texts) != len(captions):
        raise ShapeError(f"Texts must be one per caption of the bank, {len(captions)}, got {len(texts)}.")
    if text_model is not None and texts is None:
        raise DataError("BERTScore needs the captions in words: give texts.")
    if len(np.unique(images.ids)) < 2:
        raise DataError(f"{len(images)} queries of one image: retrieval needs at least two images.")
    classes = None
    if labels is not None and len(set(labels.values())) > 1:
        lacking = sorted({str(i) for i in (*images.ids, *captions.ids)} - set(labels))
        if lacking:
            raise DataError(f"{len(lacking)} images have no label, e.g. {lacking[0]!r}. Give one to each, or to none.")
        classes = np.array([labels[str(i)] for i in images.ids])
    bank = Bank(captions.ids, _labels(captions.ids, labels) if labels and classes is not None else None, texts)
    part = Part(np.arange(len(images)), np.arange(len(captions)), unit(captions.vectors))
    rng = np.random.default_rng(seed)
    q = unit(images.vectors)
    swapped = q[derangement(images.ids, rng)]
    prior = {} if classes is None else dict(zip(*np.unique(classes, return_counts=True), strict=True))
    sources: dict[str, Source] = {
        REAL: lambda p: (q, p.vectors),
        "shuffled": lambda p: (swapped, p.vectors),
        CONSTANT: lambda p: (np.ones((len(p.rows), 1), np.float32), constant(p, bank.labels, prior)),
    }
    found = search(sources, images.ids, classes, [part], bank, rng=rng, text_model=text_model, layer=layer,
                   progress=progress)  # fmt: skip
    # labels stay out, lest sorted images are taken for blocks of an experiment
    events = pd.DataFrame({"stimulus": images.ids, "label": "", "fold": "all", "seed": 0})
    events["trial"] = np.arange(len(images))
    events[["subject", "session", "run"]] = "all"
    scores = scores_of(found, events, classes, bank, {REAL: "retrieved"}, n_bootstrap, seed, progress)
    facts = {"space": images.space, "n_images": len(np.unique(images.ids)), "n_captions": len(captions)}
    first = (f"{facts['n_images']:,} images, {len(captions):,} captions, {images.space}. Intervals: 95 %, images drawn "
             "anew, the bank fixed. Ties count against the image.")  # fmt: skip
    notes = (first, *notes_of(scores.table, found, [part], classes, text_model))
    return replace(scores, facts=facts, notes=notes)


def scores_of(
    found: Found,
    events: pd.DataFrame,
    classes: np.ndarray | None,
    bank: Bank,
    shown: Mapping[str, str],
    n_bootstrap: int,
    seed: int,
    progress: Progress | None,
) -> CaptionScores:
    """Judge what was found by `search`.

    Parameters
    ----------
    found : Found
    events : DataFrame
        One row per query.
    classes : ndarray of str, shape (n_queries,), or None
    bank : Bank
    shown : mapping of str to str
        Source -> how its captions are called in the examples.
    n_bootstrap : int
    """
    if progress:
        progress("draw images anew", 0, 1)
    judged = judge(found.columns, found.pairs, events, n=n_bootstrap, seed=seed)
    per_class = pd.DataFrame()
    if classes is not None:
        members = {str(label): classes == label for label in np.unique(classes)}
        per_class = judge_classes(found.columns, f"{CLASS}MAP", members, events, n=n_bootstrap, seed=seed)
    examples = _examples(found, events, classes, bank, shown)
    if progress:
        progress("draw images anew", 1, 1)
    return CaptionScores(judged.table, per_class, examples, found.pairs[REAL], (), judged=judged)


def _same_clip(images: Embeddings, captions: Embeddings) -> None:
    """Refuse spaces in which a cosine has no meaning; the two halves of one CLIP share theirs."""
    of_image = images.space.removeprefix("clip-image/")
    if images.space != captions.space and (of_image == images.space or captions.space != f"clip-text/{of_image}"):
        raise SpaceError(
            f"Images live in {images.space!r}, captions in {captions.space!r}: cosine has no meaning across spaces. "
            "Take both from one CLIP, projected."
        )


def _labels(ids: np.ndarray, labels: Mapping[str, str]) -> np.ndarray:
    return np.array([labels[str(i)] for i in ids])


def _examples(
    found: Found, events: pd.DataFrame, classes: np.ndarray | None, bank: Bank, shown: Mapping[str, str]
) -> pd.DataFrame:
    """Ten queries of the first seed at fixed places, with the captions that came first, in words and by image."""
    own = np.flatnonzero(events["seed"] == events["seed"].iloc[0])
    rows = own[np.unique(np.linspace(0, len(own) - 1, N_EXAMPLES).round().astype(int))]
    of_query = events["stimulus"].to_numpy().astype(str)[rows]
    said = [f"(caption of {i})" for i in bank.ids] if bank.texts is None else bank.texts
    first = {str(i): j for j, i in reversed(list(enumerate(bank.ids)))}
    table = {"image": of_query, "caption": [said[first[i]] for i in of_query], "rank": found.rank[rows],
             "label": "" if classes is None else classes[rows],
             "subject": events["subject"].to_numpy()[rows]}  # fmt: skip
    for source, name in shown.items():
        for k in range(found.top[source].shape[1] if source in found.top else 0):
            at = found.top[source][rows, k]
            table |= {f"{name}_{k + 1}": [said[j] for j in at], f"{name}_{k + 1}_of": bank.ids[at]}
            if bank.labels is not None:
                table |= {f"{name}_{k + 1}_label": bank.labels[at]}
    return pd.DataFrame(table)


def notes_of(
    table: pd.DataFrame, found: Found, parts: Sequence[Part], classes: np.ndarray | None, model: object
) -> tuple[str, ...]:
    """Say in words what a reader must know beside the numbers.

    Parameters
    ----------
    table : DataFrame
    found : Found
    parts : sequence of Part
    classes : ndarray of str, shape (n_queries,), or None
    model : object
        None says that there was no text model.
    """
    notes = []
    twins = max(len(p.vectors) - len({row.tobytes() for row in p.vectors}) for p in parts)
    if twins:
        notes.append(f"Captions that repeat the vector of another, and tie with it: {twins:,}.")
    if classes is None:
        notes.append("The images have no categories, so nothing is class-aware here.")
    if model is None:
        notes.append("BERTScore was left out: no text model was given.")
    else:
        row = table.set_index("score").loc[SUCCESS]
        verdict = "so the threshold tells nothing" if row["chance"] > 0.5 else "compare the two"
        notes.append(
            f"{SUCCESS}: {row['value']:.1%} of the retrieved captions, and {row['chance']:.1%} of RANDOM captions of "
            f"other images: {verdict}. With roberta-large, 100 % of the pairs of a published retrieval passed it."
        )
    cosine = {name: float(x.mean()) for name, x in found.pairs[REAL].items()}
    notes.append(f"Bare cosines: matched {cosine['matched']:.3f}, mismatched {cosine['mismatched']:.3f}, retrieved "
                 f"{cosine['retrieved']:.3f}; CLIPScore is 2.5 times that. The retrieved caption is the highest of the "
                 "bank, so it scores high whatever the image: compare it with its shuffled null.")  # fmt: skip
    return tuple(notes)
