"""Image -> caption retrieval by a CLIP model: which captions it finds for an image, with chance, interval and nulls.

Flow: pictures and captions -> `embed` -> {image vectors, caption vectors} -> `evaluate` -> `CaptionScores`. It needs no
EEG: it is the ceiling of caption retrieval from EEG, whose decoded vectors may take the place of the images'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sightwave import files
from sightwave.embeddings import Embeddings
from sightwave.errors import DataError, ShapeError, SpaceError
from sightwave.judge.captions import judge, judge_classes
from sightwave.metrics.captions import chance_average_precision, chance_recall, clip_score, rank_captions
from sightwave.metrics.text import THRESHOLD, bert_score, token_vectors
from sightwave.stimuli import Stimuli

KS = (1, 3, 5)
N_MISMATCHED = 5
"""Captions of other images that each image is paired with."""
N_EXAMPLES, N_SHOWN = 10, 5
CLASS = "class-aware "
SUCCESS = f"BERTScore F1 > {THRESHOLD:g}"
Progress = Callable[[str, int, int], None]
Levels = Mapping[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class CaptionScores:
    """What an image -> caption retrieval found, with its doubt.

    Parameters
    ----------
    table : DataFrame
        One row per score: `value`, `low` and `high` (95 %, images drawn anew, the bank fixed), `chance` (a random order
        of the captions, or random captions), `shuffled` with its own interval (each image has the vector of another),
        and `most_frequent` (one order for all: captions of the commonest class first, the most typical among them).
    per_class : DataFrame
        Class-aware MAP of each class, `n_images`, the same columns; empty without classes.
    examples : DataFrame
        Ten images, evenly spaced and not picked: own caption, and the first five retrieved.
    pairs : dict of str to ndarray
        Cosines: ``"matched"`` (N,), ``"mismatched"`` (N, 5), ``"retrieved"`` (N,).
    notes : tuple of str
        What a reader must know beside the numbers.
    """

    table: pd.DataFrame
    per_class: pd.DataFrame
    examples: pd.DataFrame
    pairs: dict[str, np.ndarray]
    notes: tuple[str, ...]

    def value(self, score: str) -> float:
        """Return one score by its name in the table; an unknown one is a `ValueError`."""
        return float(self.table.loc[self.table["score"] == score, "value"].item())

    def save(self, folder: Path) -> None:
        """Write `scores.csv`, `per_class.csv`, `examples.csv` and `notes.txt` into a folder."""
        for name, table in (("scores", self.table), ("per_class", self.per_class), ("examples", self.examples)):
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
    takes all of them as right. An order that only groups captions by class has a class-aware MAP above chance, as
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
    q, c = _unit(images.vectors), _unit(captions.vectors)
    levels: dict[str, tuple[np.ndarray, np.ndarray]] = {"": (images.ids, captions.ids)}
    if labels is not None and len(set(labels.values())) > 1:
        lacking = sorted({str(i) for i in (*images.ids, *captions.ids)} - set(labels))
        if lacking:
            raise DataError(f"{len(lacking)} images have no label, e.g. {lacking[0]!r}. Give one to each, or to none.")
        levels[CLASS] = (_labels(images.ids, labels), _labels(captions.ids, labels))
    rng = np.random.default_rng(seed)
    other = _others(images.ids, captions.ids, rng)
    swapped = q[_derangement(images.ids, rng)]
    orders = {"value": (q, c), "shuffled": (swapped, c), "most_frequent": _one_for_all(q, c, levels)}
    found = {}
    for i, (name, (a, b)) in enumerate(orders.items()):
        if progress:
            progress("rank captions", i, len(orders))
        found[name] = rank_captions(a, b, levels, top=N_SHOWN)
    columns = {name: _ranks(found[name].rank, found[name].average_precision) for name in orders}
    pairs = {
        name: _cosines(orders[name][0], c, captions.ids, images.ids, other, found[name].top[:, 0])
        for name in ("value", "shuffled")
    }
    if texts is not None and text_model is not None:
        if progress:
            progress("compare tokens", 0, 1)
        chosen = {name: [texts[j] for j in f.top[:, 0]] for name, f in found.items()}
        chosen["chance"] = [texts[j] for j in other[:, 0]]
        columns["chance"] = {}
        own = _own_texts(images.ids, captions.ids, texts)
        tokens = token_vectors({t for group in (*own, *chosen.values()) for t in group}, text_model, layer=layer)
        for name, retrieved in chosen.items():
            columns[name] |= _bert(bert_score(retrieved, own, tokens))
    chance = _chance(levels, len(captions))
    for name, values in columns.pop("chance", {}).items():
        chance[name] = float(values.mean())
    for name, cosines in pairs.items():
        columns[name] |= {f"CLIPScore {kind}": clip_score(x) for kind, x in cosines.items() if x.ndim == 1}
    chance |= dict.fromkeys(("CLIPScore matched", "CLIPScore retrieved"),
                            float(clip_score(pairs["value"]["mismatched"]).mean()))  # fmt: skip
    chance |= {"CLIPScore AUC": 0.5, "CLIPScore overlap": 1.0}
    judged = judge(columns, pairs, chance, images.ids, n=n_bootstrap, seed=seed)
    per_class = pd.DataFrame()
    if CLASS in levels:
        by_class = {label: levels[CLASS][0] == label for label in np.unique(levels[CLASS][0])}
        share = {label: _chance({"": (levels[CLASS][0][mine], levels[CLASS][1])}, len(captions))["MAP"]
                 for label, mine in by_class.items()}  # fmt: skip
        per_class = judge_classes(columns, f"{CLASS}MAP", by_class, share, images.ids, n=n_bootstrap, seed=seed)
    examples = _examples(images.ids, captions.ids, texts, found["value"].top)
    notes = _notes(judged, pairs["value"], images, c, levels, text_model)
    if progress:
        progress("done", 1, 1)
    return CaptionScores(judged, per_class, examples, pairs["value"], notes)


def _same_clip(images: Embeddings, captions: Embeddings) -> None:
    """Refuse spaces in which a cosine has no meaning; the two halves of one CLIP share theirs."""
    of_image = images.space.removeprefix("clip-image/")
    if images.space != captions.space and (of_image == images.space or captions.space != f"clip-text/{of_image}"):
        raise SpaceError(
            f"Images live in {images.space!r}, captions in {captions.space!r}: cosine has no meaning across spaces. "
            "Take both from one CLIP, projected."
        )


def _unit(vectors: np.ndarray) -> np.ndarray:
    v = np.asarray(vectors, np.float32)
    return v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12)


def _labels(ids: np.ndarray, labels: Mapping[str, str]) -> np.ndarray:
    return np.array([labels[str(i)] for i in ids])


def _others(of_query: np.ndarray, of_caption: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw captions of other images for each query, shape (N, 5)."""
    drawn = rng.integers(0, len(of_caption), (len(of_query), N_MISMATCHED))
    while (own := of_caption[drawn] == of_query[:, None]).any():
        drawn[own] = rng.integers(0, len(of_caption), int(own.sum()))
    return drawn


def _derangement(ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give each query a row of another image, the same for all queries of one image."""
    known, first, code = np.unique(ids, return_index=True, return_inverse=True)
    order = rng.permutation(len(known))
    instead = np.empty(len(known), np.int64)
    instead[order] = np.roll(order, 1)
    return first[instead[code]]


def _one_for_all(q: np.ndarray, c: np.ndarray, levels: Levels) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors whose product is one order for all: captions of the commonest class first, typical ones first."""
    order = c @ _unit(q.mean(0, keepdims=True))[0]
    if CLASS in levels:
        known, count = np.unique(levels[CLASS][0], return_counts=True)
        of_caption = levels[CLASS][1]
        at = np.minimum(np.searchsorted(known, of_caption), len(known) - 1)
        order = order + 4 * np.where(known[at] == of_caption, np.argsort(np.argsort(count, kind="stable"))[at], -1)
        order = order.astype(np.float64).argsort(kind="stable").argsort().astype(np.float32)
    return np.ones((len(q), 1), np.float32), order[:, None]


def _ranks(rank: Mapping[str, np.ndarray], precision: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for level in rank:
        found |= {f"{level}recall@{k}": (rank[level] <= k).astype(float) for k in KS}
        found |= {f"{level}MAP": precision[level]}
    return found


def _chance(levels: Levels, n_captions: int) -> dict[str, float]:
    """Compute what each score is expected to be under a random order."""
    found: dict[str, float] = {}
    for level, (of_query, of_caption) in levels.items():
        known, count = np.unique(of_caption, return_counts=True)
        n_right = count[np.minimum(np.searchsorted(known, of_query), len(known) - 1)]
        found |= {f"{level}recall@{k}": float(chance_recall(n_right, n_captions, k).mean()) for k in KS}
        found |= {f"{level}MAP": float(chance_average_precision(n_right, n_captions).mean())}
    return found


def _cosines(
    q: np.ndarray, c: np.ndarray, of_caption: np.ndarray, of_query: np.ndarray, other: np.ndarray, first: np.ndarray
) -> dict[str, np.ndarray]:
    """Cosines of each query with the mean of its own captions, with those of others, and with the first retrieved."""
    known, code, count = np.unique(of_caption, return_inverse=True, return_counts=True)
    total = np.zeros((len(known), c.shape[1]))
    np.add.at(total, code, c)
    own = (total / count[:, None])[np.searchsorted(known, of_query)]
    many = np.stack([np.einsum("nd,nd->n", q, c[column]) for column in other.T], axis=1)
    return {"matched": np.einsum("nd,nd->n", q, own), "mismatched": many,
            "retrieved": np.einsum("nd,nd->n", q, c[first])}  # fmt: skip


def _own_texts(of_query: np.ndarray, of_caption: np.ndarray, texts: Sequence[str]) -> list[tuple[str, ...]]:
    own: dict[str, list[str]] = {}
    for i, text in zip(of_caption, texts, strict=True):
        own.setdefault(str(i), []).append(text)
    return [tuple(own[str(i)]) for i in of_query]


def _bert(scores: np.ndarray) -> dict[str, np.ndarray]:
    found = {f"BERTScore {name}": scores[:, i] for i, name in enumerate(("precision", "recall", "F1"))}
    return found | {SUCCESS: (scores[:, 2] > THRESHOLD).astype(float)}


def _examples(
    of_query: np.ndarray, of_caption: np.ndarray, texts: Sequence[str] | None, top: np.ndarray
) -> pd.DataFrame:
    rows = np.unique(np.linspace(0, len(of_query) - 1, N_EXAMPLES).round().astype(int))
    said = [f"(caption of {i})" for i in of_caption] if texts is None else texts
    own = [next(said[int(j)] for j in np.flatnonzero(of_caption == of_query[i])) for i in rows]
    found = {f"retrieved_{k + 1}": [said[int(j)] for j in top[rows, k]] for k in range(top.shape[1])}
    return pd.DataFrame({"image": of_query[rows], "caption": own, **found})


def _notes(
    table: pd.DataFrame,
    pairs: Mapping[str, np.ndarray],
    images: Embeddings,
    c: np.ndarray,
    levels: Levels,
    model: object,
) -> tuple[str, ...]:
    n_images = len(np.unique(images.ids))
    notes = [f"{n_images:,} images, {len(c):,} captions, {images.space}. Intervals: 95 %, images drawn anew, the bank "
             "fixed. Ties count against the image."]  # fmt: skip
    twins = len(c) - len({row.tobytes() for row in c})
    if twins:
        notes.append(f"Captions that repeat the vector of another, and tie with it: {twins:,}.")
    if CLASS not in levels:
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
    cosine = {name: float(x.mean()) for name, x in pairs.items()}
    notes.append(f"Bare cosines: matched {cosine['matched']:.3f}, mismatched {cosine['mismatched']:.3f}, retrieved "
                 f"{cosine['retrieved']:.3f}; CLIPScore is 2.5 times that. The retrieved caption is the highest of the "
                 "bank, so it scores high whatever the image: compare it with its shuffled null.")  # fmt: skip
    return tuple(notes)
