r"""The ideal observer: how well could anybody have read this phantom? Flow: `Brain`, features -> log-likelihoods.

It knows the sources, the noise and the features of every candidate, and sees trials without nuisances (jitter, blinks,
drift, cap shift), so it bounds what a decoder can reach. With whitened means :math:`u_j` of the candidates, the
log-likelihood of candidate *j* given the average *x* of *r* trials is :math:`r\,(x^T u_j - |u_j|^2 / 2)` plus a
constant. Only the part of *x* in the span of the sources counts, and there :math:`x = u_i + N(0, I / r)`.

Shape suffixes: N trials, M candidates, C channels, F frequencies, K features, T times.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sightwave.phantom.brain import Brain


@lru_cache(maxsize=64)
def metric(brain: Brain) -> np.ndarray:
    """Whitened inner products of the sources, (K, K): with features z, ``z_i @ metric @ z_j`` is :math:`u_i^T u_j`."""
    w_KCF, _ = brain.sources
    white = np.linalg.solve(brain.noise_factor.astype(float), w_KCF.transpose(2, 1, 0).astype(complex))
    white = white.reshape(-1, len(w_KCF))
    return (white.conj().T @ white).real


def means(brain: Brain, z: np.ndarray) -> np.ndarray:
    """Whitened means of pictures in the span of the sources, (n, K)."""
    m = metric(brain)
    return np.asarray(z, float) @ np.linalg.cholesky(m + 1e-9 * np.eye(len(m)))


def observe(u_NK: np.ndarray, *, repetitions: float, rng: np.random.Generator) -> np.ndarray:
    """Simulate the whitened average of repeated trials, (n, K): one row per row of `means`."""
    return u_NK + rng.standard_normal(u_NK.shape) / np.sqrt(repetitions)


def identify(x_NK: np.ndarray, u_MK: np.ndarray, *, repetitions: float) -> np.ndarray:
    """Log-likelihood of every candidate picture, (n, m), but for a constant per trial."""
    return repetitions * (x_NK @ u_MK.T - 0.5 * (u_MK**2).sum(1))


def classify(
    x_NK: np.ndarray, bank_MK: np.ndarray, class_M: np.ndarray, n_classes: int, *, repetitions: float
) -> np.ndarray:
    """Log-likelihood of every class, (n, n_classes): the mean likelihood of the class's exemplars in a bank.

    Parameters
    ----------
    x_NK : ndarray
        Observations of `observe`.
    bank_MK : ndarray
        `means` of pictures that were not shown.
    class_M : ndarray of int
        Their classes.
    """
    each = identify(x_NK, bank_MK, repetitions=repetitions)
    per_class = [np.logaddexp.reduce(each[:, class_M == c], 1) - np.log((class_M == c).sum()) for c in range(n_classes)]
    return np.stack(per_class, 1)


def posterior_features(brain: Brain, z: np.ndarray, *, repetitions: int = 1, seed: int = 0) -> np.ndarray:
    r"""Posterior mean of the features given a simulated average of trials, prior N(0, I), (n, K).

    With y = Mz + N(0, M / r) it is :math:`(M + I / r)^{-1} y`: what a linear decoder with endless training data
    recovers. It is a reference, not a bound: squared error is the wrong aim for ranking.
    """
    m = metric(brain)
    root = np.linalg.cholesky(m + 1e-9 * np.eye(len(m)))
    noise = np.random.default_rng(seed).standard_normal(z.shape)
    y = np.asarray(z, float) @ m + noise @ root.T / np.sqrt(repetitions)
    posterior: np.ndarray = np.linalg.solve(m + np.eye(len(m)) / repetitions, y.T).T
    return posterior


def log_likelihood(brain: Brain, eeg_NCT: np.ndarray, z_MK: np.ndarray) -> np.ndarray:
    """Log-likelihood of every candidate given recorded trials in microvolt, (n, m), but for a constant per trial."""
    y, u = whiten(brain, eeg_NCT, common=True), whiten(brain, evoked(brain, z_MK))
    return (y @ u.conj().T).real - 0.5 * (np.abs(u) ** 2).sum(1)


def whiten(brain: Brain, eeg_NCT: np.ndarray, *, common: bool = False) -> np.ndarray:
    """Whitened spectra, (n, F * C) complex: the noise's real and imaginary parts have unit variance.

    With ``common``, the response common to all pictures is taken away first.
    """
    spectrum = np.fft.rfft(eeg_NCT) - (brain.sources[1] if common else 0)
    white = np.linalg.solve(brain.noise_factor.astype(float), spectrum.transpose(2, 1, 0))
    return np.ascontiguousarray(white.transpose(2, 0, 1)).reshape(len(eeg_NCT), -1)


def evoked(brain: Brain, z: np.ndarray) -> np.ndarray:
    """Noise-free response to pictures without the common one, in microvolt, (n, C, T)."""
    return np.fft.irfft(np.tensordot(z, brain.sources[0], 1), n=brain.n_times)
