"""Rank a bank of captions for queries of several sources: one value per query and score, for `judge.captions`.

Shape suffixes here: N queries, K captions of the bank, D features; n and k are those of one part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightwave.metrics.captions import chance_average_precision, chance_recall, clip_score, rank_captions
from sightwave.metrics.text import THRESHOLD, bert_score, token_vectors

KS = (1, 3, 5)
N_MISMATCHED, N_SHOWN = 5, 5
"""Captions of other images that each query is paired with; first captions that are shown."""
CLASS, WITHIN = "class-aware ", "within-class "
SUCCESS = f"BERTScore F1 > {THRESHOLD:g}"
REAL, CHANCE, CONSTANT = "value", "chance", "most_frequent"
Levels = Mapping[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Bank:
    """The captions.

    Parameters
    ----------
    ids : ndarray of str, shape (K,)
        The image that each describes.
    labels : ndarray of str, shape (K,), or None
        Its category.
    texts : sequence of str or None
    """

    ids: np.ndarray
    labels: np.ndarray | None
    texts: Sequence[str] | None


@dataclass(frozen=True, eq=False)
class Part:
    """Queries that search the same captions by the same vectors: those of one decoder and gallery.

    Parameters
    ----------
    rows : ndarray of int, shape (n,)
        Queries.
    columns : ndarray of int, shape (k,)
        Captions of the bank.
    vectors : ndarray, shape (k, D)
        Of unit length.
    """

    rows: np.ndarray
    columns: np.ndarray
    vectors: np.ndarray


Source = Callable[[Part], tuple[np.ndarray, np.ndarray]]
"""A part -> vectors of its queries and of its captions, whose product is the similarity."""


@dataclass(frozen=True, eq=False)
class Found:
    """What every source found.

    Parameters
    ----------
    columns : dict
        Source -> score -> one value per query, shape (N,); ``"chance"`` is one of them.
    pairs : dict
        Source -> cosines ``"matched"`` (N,), ``"mismatched"`` (N, 5), ``"retrieved"`` (N,).
    top : dict of str to ndarray of int, shape (N, at most 5)
        Source -> captions that came first, as rows of the bank.
    rank : ndarray of int, shape (N,)
        Place of the first own caption, for what is judged.
    """

    columns: dict[str, dict[str, np.ndarray]]
    pairs: dict[str, dict[str, np.ndarray]]
    top: dict[str, np.ndarray]
    rank: np.ndarray


def search(
    sources: Mapping[str, Source],
    of_query: np.ndarray,
    class_of_query: np.ndarray | None,
    parts: Sequence[Part],
    bank: Bank,
    *,
    rng: np.random.Generator,
    text_model: str | Path | None = None,
    layer: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Found:
    """Search the bank by every source.

    Parameters
    ----------
    sources : mapping of str to callable
        ``"value"`` is what is judged; ``"most_frequent"`` has an order and no cosines.
    of_query : ndarray of str, shape (N,)
        The image of each query.
    class_of_query : ndarray of str, shape (N,), or None
    parts : sequence of Part
    bank : Bank
    text_model : str or Path or None
        Of BERTScore, which is left out without one.
    layer : int or None

    Returns
    -------
    Found
    """
    n = len(of_query)
    other = np.zeros((n, N_MISMATCHED), np.int64)
    for part in parts:
        other[part.rows] = _others(of_query[part.rows], bank.ids[part.columns], rng)
    columns: dict[str, dict[str, np.ndarray]] = {}
    pairs: dict[str, dict[str, np.ndarray]] = {}
    top: dict[str, np.ndarray] = {}
    own_rank = np.zeros(n, np.int64)
    for i, (name, source) in enumerate(sources.items()):
        if progress:
            progress("rank captions", i, len(sources))
        for part in parts:
            q, c = source(part)
            levels = _levels(part, of_query, class_of_query, bank)
            found = rank_captions(q, c, levels, top=N_SHOWN)
            _put(columns.setdefault(name, {}), part.rows, n, _ranks(found.rank, found.average_precision))
            if class_of_query is not None:
                _put(columns[name], part.rows, n, _within(q, c, levels))
            _put(top, part.rows, n, {name: part.columns[found.top]})
            if name == REAL:
                own_rank[part.rows] = found.rank[""]
            if name != CONSTANT:
                cosines = _cosines(q, c, levels[""][1], levels[""][0], other[part.rows], found.top[:, 0])
                _put(pairs.setdefault(name, {}), part.rows, n, cosines)
    if progress:
        progress("rank captions", len(sources), len(sources))
    for part in parts:
        levels = _levels(part, of_query, class_of_query, bank)
        _put(columns.setdefault(CHANCE, {}), part.rows, n, _chances(levels))
        other[part.rows] = part.columns[other[part.rows]]
    if bank.texts is not None and text_model is not None:
        if progress:
            progress("compare tokens", 0, 1)
        chosen = {name: [bank.texts[j] for j in t[:, 0]] for name, t in top.items()}
        chosen[CHANCE] = [bank.texts[j] for j in other[:, 0]]
        own = _own_texts(of_query, parts, bank)
        tokens = token_vectors({t for group in (*own, *chosen.values()) for t in group}, text_model, layer=layer)
        for name, retrieved in chosen.items():
            columns[name] |= _bert(bert_score(retrieved, own, tokens))
        if progress:
            progress("compare tokens", 1, 1)
    for name, cosines in pairs.items():
        columns[name] |= {f"CLIPScore {kind}": clip_score(x) for kind, x in cosines.items() if x.ndim == 1}
    random = clip_score(pairs[REAL]["mismatched"]).mean(1)
    columns[CHANCE] |= dict.fromkeys(("CLIPScore matched", "CLIPScore retrieved"), random)
    return Found(columns, pairs, top, own_rank)


def constant(part: Part, classes: np.ndarray | None, prior: Mapping[str, int]) -> np.ndarray:
    """Order the captions once for all queries: those of the commonest class first, the most typical among them first.

    Parameters
    ----------
    part : Part
    classes : ndarray of str, shape (k,), or None
        Of the part's captions.
    prior : mapping of str to int
        How common each class is.

    Returns
    -------
    ndarray, shape (k, 1), float32
        Higher comes first.
    """
    order = part.vectors @ unit(part.vectors.mean(0, keepdims=True))[0]
    if classes is not None:
        known = sorted(prior, key=lambda label: (prior[label], label))
        place = {label: i for i, label in enumerate(known)}
        order = order + 4 * np.array([place.get(str(label), -1) for label in classes])
        order = order.astype(np.float64).argsort(kind="stable").argsort()
    return order.astype(np.float32)[:, None]


def derangement(ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give each query a row of another image, the same for all queries of one image.

    Parameters
    ----------
    ids : ndarray of str, shape (N,)

    Returns
    -------
    ndarray of int, shape (N,)
    """
    known, first, code = np.unique(ids, return_index=True, return_inverse=True)
    order = rng.permutation(len(known))
    instead = np.empty(len(known), np.int64)
    instead[order] = np.roll(order, 1)
    return first[instead[code]]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Bring vectors, shape (N, D), to length 1."""
    v = np.asarray(vectors, np.float32)
    return v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12)


def _levels(
    part: Part, of_query: np.ndarray, class_of_query: np.ndarray | None, bank: Bank
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    levels = {"": (of_query[part.rows], bank.ids[part.columns])}
    if class_of_query is not None and bank.labels is not None:
        levels[CLASS] = (class_of_query[part.rows], bank.labels[part.columns])
    return levels


def _put(into: dict[str, np.ndarray], rows: np.ndarray, n: int, values: Mapping[str, np.ndarray]) -> None:
    for name, v in values.items():
        if name not in into:
            into[name] = np.zeros((n, *v.shape[1:]), v.dtype)
        into[name][rows] = v


def _ranks(rank: Mapping[str, np.ndarray], precision: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for level in rank:
        found |= {f"{level}recall@{k}": (rank[level] <= k).astype(float) for k in KS}
        found |= {f"{level}MAP": precision[level]}
    return found


def _within(q: np.ndarray, c: np.ndarray, levels: Levels) -> dict[str, np.ndarray]:
    """Rank the own captions among those of the same class alone."""
    (own, of_caption), (mine, theirs) = levels[""], levels[CLASS]
    found: dict[str, np.ndarray] = {}
    for label in np.unique(mine):
        rows, columns = np.flatnonzero(mine == label), np.flatnonzero(theirs == label)
        inside = rank_captions(q[rows], c[columns], {WITHIN: (own[rows], of_caption[columns])}, top=1)
        _put(found, rows, len(mine), _ranks(inside.rank, inside.average_precision))
    return found


def _chances(levels: Levels) -> dict[str, np.ndarray]:
    """Compute what each query may expect of a random order."""
    found: dict[str, np.ndarray] = {}
    for level, (of_query, of_caption) in levels.items():
        found |= _chance(level, _count(of_query, of_caption), np.full(len(of_query), len(of_caption)))
    if CLASS in levels:
        found |= _chance(WITHIN, _count(*levels[""]), _count(*levels[CLASS]))
    return found


def _chance(level: str, n_right: np.ndarray, n_captions: np.ndarray) -> dict[str, np.ndarray]:
    found = {f"{level}recall@{k}": np.zeros(len(n_right)) for k in KS} | {f"{level}MAP": np.zeros(len(n_right))}
    for size in np.unique(n_captions):
        rows = n_captions == size
        for k in KS:
            found[f"{level}recall@{k}"][rows] = chance_recall(n_right[rows], int(size), min(k, int(size)))
        found[f"{level}MAP"][rows] = chance_average_precision(n_right[rows], int(size))
    return found


def _count(of_query: np.ndarray, of_caption: np.ndarray) -> np.ndarray:
    """Count the right captions of each query."""
    known, count = np.unique(of_caption, return_counts=True)
    return count[np.minimum(np.searchsorted(known, of_query), len(known) - 1)]


def _others(of_query: np.ndarray, of_caption: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw captions of other images for each query, shape (N, 5)."""
    drawn = rng.integers(0, len(of_caption), (len(of_query), N_MISMATCHED))
    while (own := of_caption[drawn] == of_query[:, None]).any():
        drawn[own] = rng.integers(0, len(of_caption), int(own.sum()))
    return drawn


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


def _own_texts(of_query: np.ndarray, parts: Sequence[Part], bank: Bank) -> list[tuple[str, ...]]:
    assert bank.texts is not None  # for the type checker
    own: dict[str, dict[str, None]] = {}
    for j in np.unique(np.concatenate([part.columns for part in parts])):
        own.setdefault(str(bank.ids[j]), {})[bank.texts[j]] = None
    return [tuple(own[str(i)]) for i in of_query]


def _bert(scores: np.ndarray) -> dict[str, np.ndarray]:
    found = {f"BERTScore {name}": scores[:, i] for i, name in enumerate(("precision", "recall", "F1"))}
    return found | {SUCCESS: (scores[:, 2] > THRESHOLD).astype(float)}
