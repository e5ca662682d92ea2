"""Noise covariances of many small sets of samples at once, each shrunk, and averaged: what MVNN needs.

Shape suffixes: B sets, N samples of a set, C channels.
"""

from __future__ import annotations

import numpy as np

from sightwave.errors import DataError

SHRINKAGES = ("ledoit_wolf", "oas", "none")


def mean_covariance(x_BNC: np.ndarray, *, shrinkage: str = "ledoit_wolf") -> np.ndarray:
    r"""Covariance over the samples of each set, shrunk, and averaged over the sets; the divisor is N, not N - 1.

    A set's channels are scaled to unit variance, the covariance S is shrunk towards :math:`\mu I`, the mean of its
    diagonal, and scaled back: what scikit-learn's discriminant analysis does with ``shrinkage="auto"``, and with it
    the published scripts of THINGS-EEG2. No covariance of a single set is formed, so a million sets take seconds.

    Parameters
    ----------
    x_BNC : ndarray, shape (B, N, C), float64
    shrinkage : {"ledoit_wolf", "oas", "none"}
        Ledoit & Wolf 2004, https://doi.org/10.1016/S0047-259X(03)00096-4, or Chen et al. 2010,
        https://doi.org/10.1109/TSP.2010.2053029, as scikit-learn prints it. With two samples a set both channels'
        scaled values are +1 and -1, and Ledoit and Wolf's estimate of the shrinkage is 0.

    Returns
    -------
    ndarray, shape (C, C), float64

    >>> x = np.array([[[1.0, 0.0], [-1.0, 2.0]]])
    >>> mean_covariance(x, shrinkage="none").tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    n_sets, n, n_channels = x_BNC.shape
    y_BNC = x_BNC - x_BNC.mean(1, keepdims=True)
    if shrinkage == "none":
        flat = y_BNC.reshape(-1, n_channels)
        return np.asarray(flat.T @ flat) / (n_sets * n)
    var_BC = (y_BNC**2).mean(1)
    scale_BC = np.sqrt(np.where(var_BC > 10 * np.finfo(float).eps * (x_BNC**2).mean(1), var_BC, 1.0))
    z_BNC = y_BNC / scale_BC[:, None]
    # the squared size of S from the smaller of its two Gram matrices
    turned = z_BNC.transpose(0, 2, 1)
    gram = np.matmul(z_BNC, turned) if n < n_channels else np.matmul(turned, z_BNC)
    size_B = (gram**2).sum((1, 2)) / n**2
    mu_B = (z_BNC**2).sum((1, 2)) / (n * n_channels)
    weight_B = _ledoit_wolf(z_BNC, size_B, mu_B) if shrinkage == "ledoit_wolf" else _oas(n, n_channels, size_B, mu_B)
    flat = (y_BNC * np.sqrt(1 - weight_B)[:, None, None]).reshape(-1, n_channels)
    diagonal = (weight_B * mu_B) @ scale_BC**2
    return (flat.T @ flat / n + np.diag(diagonal)) / n_sets


def inverse_root(cov: np.ndarray, *, least: float = 0.0) -> np.ndarray:
    """Return the symmetric inverse square root of a covariance, shape (C, C).

    Parameters
    ----------
    cov : ndarray, shape (C, C)
    least : float
        Floor of the eigenvalues, as a share of their mean; 0 refuses a singular covariance.

    Raises
    ------
    DataError
        If a direction has no variance, as after an average reference, and ``least`` is 0.
    """
    values, vectors = np.linalg.eigh(cov)
    values = np.maximum(values, least * values.mean())
    if not values[0] > 1e-12 * values[-1]:
        raise DataError(
            "The noise covariance is singular, so it cannot be whitened: a channel is flat, or a combination of "
            "others (after an average reference, say). Leave out a channel, or take more trials."
        )
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T)


def _ledoit_wolf(z_BNC: np.ndarray, size_B: np.ndarray, mu_B: np.ndarray) -> np.ndarray:
    """Shrinkage intensity of each set, shape (B,): spread of the samples' own covariances over distance from mu I."""
    n, n_channels = z_BNC.shape[1:]
    fourth_B = ((z_BNC**2).sum(2) ** 2).sum(1)
    spread_B = (fourth_B / n - size_B) / (n_channels * n)
    distance_B = size_B / n_channels - mu_B**2
    spread_B = np.clip(spread_B, 0, np.maximum(distance_B, 0))
    return np.divide(spread_B, distance_B, out=np.zeros_like(spread_B), where=spread_B > 0)


def _oas(n: int, n_channels: int, size_B: np.ndarray, mu_B: np.ndarray) -> np.ndarray:
    """Shrinkage intensity of each set, shape (B,), by oracle approximation."""
    alpha_B = size_B / n_channels**2
    top_B, below_B = alpha_B + mu_B**2, (n + 1) * (alpha_B - mu_B**2 / n_channels)
    return np.minimum(np.divide(top_B, below_B, out=np.ones_like(top_B), where=below_B > 0), 1.0)
