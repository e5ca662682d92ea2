"""Ways of inference that use the other test trials: CSLS, whitening, one-to-one assignment. All are transductive.

None looks at the truth. Each uses that a test set is closed (every item of the gallery was shown, equally often), which
nobody knows who decodes one trial as it comes. Hence they are columns of their own, and never the headline.

Shape suffixes: N trials, K candidates, D dimensions.
"""

from __future__ import annotations

import numpy as np

ON_TOP = 3.0
"""Added to the assigned candidate's cosine: it then ranks first, whatever the others."""


def csls(scores_NK: np.ndarray, *, k: int = 10) -> np.ndarray:
    r"""Cross-domain similarity local scaling: similarities less how near each side is to everything.

    .. math:: 2 s_{ij} - r_i - r_j

    with :math:`r_i` the mean of the trial's k highest similarities, and :math:`r_j` that of the candidate's among the
    trials of this batch. It takes off hubs: candidates that are near to every trial.

    Parameters
    ----------
    scores_NK : ndarray, shape (N, K)
        Cosines of one subject's trials.
    k : int
        Neighbours; as many as there are when there are fewer.

    References
    ----------
    Conneau et al. 2018, https://arxiv.org/abs/1710.04087, equation (5).

    >>> hub = np.array([[0.55, 0.6], [0.1, 0.7]])  # the second candidate is near to both
    >>> csls(hub, k=1).argmax(1).tolist()
    [0, 1]
    """
    of_trial = _top_mean(scores_NK, k)[:, None]
    of_candidate = _top_mean(scores_NK.T, k)[None]
    return np.asarray(2 * scores_NK - of_trial - of_candidate, np.float32)


def whitened(vectors_ND: np.ndarray) -> np.ndarray:
    """Centre vectors of unit length and make their dimensions uncorrelated, with a shrunken covariance; (N, D) float32.

    Symmetric (ZCA) whitening, so that the axes stay what they were. Decoded trials and the gallery are whitened each by
    their own mean and covariance, shrunken by the rule of Ledoit and Wolf 2004
    (https://doi.org/10.1016/S0047-259X(03)00096-4), because a gallery has fewer items than dimensions.

    Parameters
    ----------
    vectors_ND : ndarray, shape (N, D)
    """
    from sklearn.covariance import ledoit_wolf

    unit = vectors_ND / np.maximum(np.linalg.norm(vectors_ND, axis=1, keepdims=True), 1e-12)
    x = (unit - unit.mean(0)).astype(np.float64)
    if len(x) < 2:
        return x.astype(np.float32)
    values, axes = np.linalg.eigh(ledoit_wolf(x, assume_centered=True)[0])
    values = np.maximum(values, max(1e-6 * values.max(), 1e-12))
    return np.asarray((x @ axes / np.sqrt(values)) @ axes.T, np.float32)


def assigned(scores_NK: np.ndarray, stimulus_N: np.ndarray) -> np.ndarray:
    """Match trials and candidates one to one, at the highest sum of similarities; the match is raised to the top.

    Where a picture was shown several times, its repetitions lie in different matchings: the first of each picture are
    matched with the gallery, then the second of each, and so on.

    Parameters
    ----------
    scores_NK : ndarray, shape (N, K)
        Similarities of one subject's trials, or the log-likelihoods of an ideal observer.
    stimulus_N : ndarray, shape (N,)
        What was shown, which tells repetitions apart and nothing else.

    Returns
    -------
    ndarray, shape (N, K), float32
        Similarities scaled into [-1, 1] where they are not, plus `ON_TOP` at the match.

    References
    ----------
    Crouse 2016, https://doi.org/10.1109/TAES.2016.140952, by ``scipy.optimize.linear_sum_assignment``.

    >>> both_like_the_first = np.array([[0.9, 0.8], [0.8, 0.1]], np.float32)
    >>> assigned(both_like_the_first, np.array(["a", "b"])).argmax(1).tolist()
    [1, 0]
    """
    from scipy.optimize import linear_sum_assignment

    out = np.array(scores_NK, np.float32)
    largest = float(np.abs(out[np.isfinite(out)]).max(initial=1.0))
    out /= largest
    nth = _occurrence(stimulus_N)
    for turn in np.unique(nth):
        rows = np.flatnonzero(nth == turn)
        trial, candidate = linear_sum_assignment(scores_NK[rows], maximize=True)
        out[rows[trial], candidate] += ON_TOP
    return out


def _occurrence(stimulus_N: np.ndarray) -> np.ndarray:
    """Count, for each trial, the trials before it that showed the same picture."""
    code = np.unique(stimulus_N, return_inverse=True)[1]
    order = np.argsort(code, kind="stable")
    first = np.r_[0, np.flatnonzero(np.diff(code[order])) + 1]
    nth = np.empty(len(code), np.int64)
    nth[order] = np.arange(len(code)) - np.repeat(first, np.diff(np.r_[first, len(code)]))
    return nth


def _top_mean(scores: np.ndarray, k: int) -> np.ndarray:
    k = min(k, scores.shape[1])
    return np.asarray(np.partition(scores, -k, axis=1)[:, -k:].mean(1))
