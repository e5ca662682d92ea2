"""Captions: how high the right ones rank in a large bank, in bounded memory; and how far scores of pairs lie apart.

A query is an image, or a decoded trial. A caption is right at a *level*: it belongs to the same image ("instance"), or
to an image of the same category ("class"). Ties are exact and count against the query.

Shape suffixes here: N queries, K captions, D features, B queries of one chunk, R right captions of a query.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from sightwave.errors import DataError, ShapeError

CHUNK_BYTES = 32_000_000
"""Size of one block of similarities; about three times as much is held per thread."""
MANY = 16
"""Queries with more right captions than this are ranked by sorting all scores."""
CLIP_SCORE_WEIGHT = 2.5


@dataclass(frozen=True, eq=False)
class Ranked:
    """Where the right captions came, query by query; any mean over queries is a score.

    Parameters
    ----------
    rank : dict of str to ndarray of int, shape (N,)
        Level -> place of the first right caption, 1 is best: one more than the wrong captions that score as high.
        Recall@k is the share of ranks up to k.
    average_precision : dict of str to ndarray, shape (N,)
        Level -> mean, over the right captions, of the share of right ones among all that score at least as high. MAP
        is its mean. The same definition as scikit-learn's, so a query whose scores are all equal gets R / K.
    top : ndarray of int, shape (N, top)
        The highest captions; of equal ones the first in the bank.
    top_score : ndarray, shape (N, top), float32
    """

    rank: dict[str, np.ndarray]
    average_precision: dict[str, np.ndarray]
    top: np.ndarray
    top_score: np.ndarray


def rank_captions(
    queries_ND: np.ndarray,
    captions_KD: np.ndarray,
    levels: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    top: int = 5,
    chunk_bytes: int = CHUNK_BYTES,
    threads: int | None = None,
) -> Ranked:
    """Rank all captions for each query by the dot product.

    Parameters
    ----------
    queries_ND, captions_KD : ndarray, shapes (N, D) and (K, D)
        Unit vectors make the product a cosine; nothing is normalised here.
    levels : mapping of str to (ndarray, ndarray)
        Level -> codes (any values) of the queries, shape (N,), and of the captions, shape (K,). Right is what has the
        query's own code.
    top : int
        How many captions are returned per query.
    chunk_bytes : int
        Size of one block of similarities.
    threads : int or None
        Blocks at a time; as many as there are cores, at most four, when left out. Results do not depend on it.

    Returns
    -------
    Ranked

    Raises
    ------
    ShapeError
        If vectors and codes disagree.
    DataError
        If a vector is not finite, or a query has no right caption in the bank.

    Notes
    -----
    A matrix product may round two equal columns differently, by where they lie. Equal captions therefore get the score
    of the first of them, so that they tie to the last bit.

    >>> eye = np.eye(3, dtype="f4")
    >>> found = rank_captions(eye, eye[[0, 2, 2]], {"instance": (np.array([0, 1, 2]), np.array([0, 1, 2]))}, top=1)
    >>> found.rank["instance"].tolist(), found.average_precision["instance"].round(2).tolist()
    ([1, 3, 2], [1.0, 0.33, 0.5])
    """
    _check(queries_ND, captions_KD, levels)
    top = min(top, len(captions_KD))
    captions, queries = (np.ascontiguousarray(x, np.float32) for x in (captions_KD, queries_ND))
    twins, firsts = _twins(captions)
    sides = {name: _columns(*codes, name) for name, codes in levels.items()}
    rank = {name: np.empty(len(queries), np.int64) for name in levels}
    precision = {name: np.empty(len(queries)) for name in levels}
    best, best_score = np.empty((len(queries), top), np.int64), np.empty((len(queries), top), np.float32)

    def one(rows: slice) -> None:
        scores_BK = queries[rows] @ captions.T
        scores_BK[:, twins] = scores_BK[:, firsts]
        right = {name: _right(scores_BK, own[rows], members) for name, (own, members) in sides.items()}
        most = max((scores.shape[1] for level in right.values() for _, scores in level), default=0)
        # counting costs one pass per right caption, sorting about thirty
        ordered_BK = np.sort(scores_BK, axis=1) if most > MANY else None
        best[rows], best_score[rows] = _top(scores_BK, ordered_BK, top)
        for name, level in right.items():
            own_rank, own_precision = rank[name][rows], precision[name][rows]  # views: written in place
            for these, right_BR in level:
                own_rank[these], own_precision[these] = _places(scores_BK, ordered_BK, these, right_BR)

    size = max(1, chunk_bytes // (4 * len(captions)))
    blocks = [slice(start, start + size) for start in range(0, len(queries), size)]
    with ThreadPoolExecutor(threads or min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(one, blocks))
    return Ranked(rank, precision, best, best_score)


def chance_recall(n_right: np.ndarray, n_captions: int, k: int) -> np.ndarray:
    """Probability that a random order has a right caption among the first k.

    Parameters
    ----------
    n_right : ndarray of int, shape (N,)
    n_captions, k : int

    Returns
    -------
    ndarray, shape (N,)

    >>> chance_recall(np.array([1, 5, 10]), 10, 3).round(3).tolist()
    [0.3, 0.917, 1.0]
    """
    wrong = n_captions - np.asarray(n_right, float)
    safe = np.maximum(wrong - k, 0)
    none = gammaln(wrong + 1) - gammaln(safe + 1) - gammaln(n_captions + 1) + gammaln(n_captions - k + 1)
    return np.where(wrong < k, 1.0, 1 - np.exp(none))


def chance_average_precision(n_right: np.ndarray, n_captions: int) -> np.ndarray:
    r"""Mean average precision of a random order without ties.

    .. math:: \frac{1}{K}\left(H_K + (K - H_K)\frac{R - 1}{K - 1}\right), \quad H_K = \sum_{i=1}^{K} 1/i

    Parameters
    ----------
    n_right : ndarray of int, shape (N,)
    n_captions : int

    Returns
    -------
    ndarray, shape (N,)

    >>> chance_average_precision(np.array([1, 2]), 2).tolist()
    [0.75, 1.0]
    """
    harmonic = float((1 / np.arange(1, n_captions + 1)).sum())
    others = (np.asarray(n_right, float) - 1) / max(1, n_captions - 1)
    return (harmonic + (n_captions - harmonic) * others) / n_captions


def clip_score(cosine: np.ndarray, *, weight: float = CLIP_SCORE_WEIGHT) -> np.ndarray:
    """CLIPScore of pairs from their cosines: ``weight * max(cosine, 0)``.

    Parameters
    ----------
    cosine : ndarray, any shape
    weight : float
        2.5 stretches the cosines of CLIP ViT-B/32 to about 0..1. Many reports print the bare cosine and call it
        CLIPScore; that is weight 1.

    References
    ----------
    Hessel et al. 2021, https://arxiv.org/abs/2104.08718.

    >>> clip_score(np.array([0.3, -0.1])).tolist()
    [0.75, 0.0]
    """
    return weight * np.maximum(cosine, 0)


def auc(matched: np.ndarray, mismatched: np.ndarray) -> float:
    """Probability that a matched pair scores above a mismatched one; a tie counts one half, 0.5 is chance.

    Parameters
    ----------
    matched, mismatched : ndarray, any shape

    >>> auc(np.array([3.0, 2.0]), np.array([1.0, 2.0]))
    0.875
    """
    below = np.sort(mismatched, axis=None)
    low, high = (np.searchsorted(below, matched.ravel(), side) for side in ("left", "right"))
    return float((low + high).mean() / (2 * below.size))


def overlap(matched: np.ndarray, mismatched: np.ndarray) -> float:
    """Share of two distributions that no threshold tells apart: 1 less the largest distance of their step functions.

    It equals the overlapping coefficient, the area under both densities, where the densities cross once; and it needs
    no bins. 1 for equal distributions, of which finite samples fall a little short; 0 for separate ones.

    Parameters
    ----------
    matched, mismatched : ndarray, any shape

    >>> overlap(np.array([3.0, 2.0]), np.array([1.0, 2.0]))
    0.5
    """
    a, b = np.sort(matched, axis=None), np.sort(mismatched, axis=None)
    at = np.concatenate([a, b])
    steps = [np.searchsorted(x, at, "right") / x.size for x in (a, b)]
    return float(1 - np.abs(steps[0] - steps[1]).max())


def _check(queries: np.ndarray, captions: np.ndarray, levels: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    if queries.ndim != 2 or captions.ndim != 2 or queries.shape[1] != captions.shape[1]:
        raise ShapeError(f"Queries and captions must be (N, D) and (K, D), got {queries.shape} and {captions.shape}.")
    if not queries.size or not captions.size:
        raise DataError(f"There is nothing to rank: {len(queries)} queries, {len(captions)} captions.")
    for name, codes in levels.items():
        for what, code, of in zip(("queries", "captions"), codes, (queries, captions), strict=True):
            if code.shape != of.shape[:1]:
                raise ShapeError(f"Level {name!r}: codes of {what} must be ({len(of)},), got {code.shape}.")
    for what, x in (("query", queries), ("caption", captions)):
        bad = ~np.isfinite(x).all(1)
        if bad.any():
            raise DataError(
                f"{int(bad.sum())} of {len(x)} {what} vectors are not finite, first in row {int(bad.argmax())}. "
                "Look at what made them."
            )


def _twins(captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that repeat an earlier row to the last bit, and these earlier rows."""
    place: dict[bytes, int] = {}
    first = np.array([place.setdefault(row.tobytes(), i) for i, row in enumerate(captions)])
    twins = np.flatnonzero(first != np.arange(len(captions)))
    return twins, first[twins]


def _columns(of_query: np.ndarray, of_caption: np.ndarray, name: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Give numbers to the queries' codes, and list the captions of each number."""
    known, own_of_caption = np.unique(of_caption, return_inverse=True)
    own = np.minimum(np.searchsorted(known, of_query), len(known) - 1)
    strange = known[own] != of_query
    if strange.any():
        raise DataError(
            f"{int(strange.sum())} of {len(own)} queries have no right caption at the level {name!r}, e.g. "
            f"{str(of_query[strange.argmax()])!r}. Put their captions into the bank, or leave them out."
        )
    order = np.argsort(own_of_caption, kind="stable")
    return own, np.split(order, np.cumsum(np.bincount(own_of_caption))[:-1])


def _right(scores_BK: np.ndarray, own_B: np.ndarray, members: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the right captions' scores, ascending, of the queries that have equally many: their rows, and (B', R)."""
    n_right = np.array([len(members[c]) for c in own_B])
    found = []
    for size in np.unique(n_right):
        rows = np.flatnonzero(n_right == size)
        columns_BR = np.stack([members[c] for c in own_B[rows]])
        found.append((rows, np.sort(scores_BK[rows[:, None], columns_BR], axis=1)))
    return found


def _places(
    scores_BK: np.ndarray, ordered_BK: np.ndarray | None, rows: np.ndarray, right_BR: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rank of the first right caption, and average precision, of some queries of a block."""
    n_right = right_BR.shape[1]
    if ordered_BK is None:
        mine_BK = scores_BK if len(rows) == len(scores_BK) else scores_BK[rows]
        reached = [np.count_nonzero(mine_BK >= right_BR[:, r, None], axis=1) for r in range(n_right)]
        reached_BR = np.stack(reached, axis=1)
    else:
        below = [np.searchsorted(ordered_BK[row], right) for row, right in zip(rows, right_BR, strict=True)]
        reached_BR = scores_BK.shape[1] - np.stack(below)
    right_reached_BR = n_right - _first_equal(right_BR)
    rank = 1 + reached_BR[:, -1] - right_reached_BR[:, -1]
    return rank, (right_reached_BR / reached_BR).mean(1)


def _first_equal(ascending: np.ndarray) -> np.ndarray:
    """Place, in each ascending row, of the first of the values that equal this one."""
    first = np.zeros(ascending.shape, np.int64)
    first[:, 1:] = np.where(ascending[:, 1:] != ascending[:, :-1], np.arange(1, ascending.shape[1]), 0)
    return np.maximum.accumulate(first, axis=1)


def _top(scores_BK: np.ndarray, ordered_BK: np.ndarray | None, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and scores of the highest captions; of equal ones the first."""
    n_queries, n_captions = scores_BK.shape
    if ordered_BK is None:
        n_parts = max(top, int(n_captions**0.5))
        width = n_captions // n_parts
        # the k highest of all reach the k-th highest of the parts' maxima, and few others do
        maxima = scores_BK[:, : n_parts * width].reshape(n_queries, n_parts, width).max(2)
        bound = np.partition(maxima, n_parts - top, axis=1)[:, n_parts - top]
    else:
        bound = ordered_BK[:, -top]
    row, column = np.divmod(np.flatnonzero(scores_BK >= bound[:, None]), n_captions)
    score = scores_BK[row, column]
    order = np.lexsort((column, -score, row))
    chosen = order[np.searchsorted(row, np.arange(n_queries))[:, None] + np.arange(top)]
    return column[chosen], score[chosen]
