"""What rides on a trial and is not the brain's answer to its picture: eyes, drift, neighbours in a rapid stream.

Flow: `brain.Brain.record` adds the slow things below to its trials, `add_neighbours` the responses to other pictures.
A slow thing is a pair: a weight for each trial and channel, (n, C), and a course over time, (n, T), or (1, T) when it
is that of every trial. Everything is in microvolt.

Shape suffixes: N trials, C channels, K features, T times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sightwave.phantom.brain import Brain

Slow = tuple[np.ndarray, np.ndarray]
_BLINK_S, _SACCADE_S = 0.07, 0.2  # width of a blink; when the eyes move


def blinks(n: int, where: np.ndarray, t: np.ndarray, *, rate: float, rng: np.random.Generator) -> Slow:
    """Blinks in a share ``rate`` of ``n`` trials, of 60 to 120 microvolt where the eyes are, at any time.

    Parameters
    ----------
    n : int
    where : ndarray, shape (C, 3)
        Electrodes, in head radii.
    t : ndarray, shape (T,)
        Times in seconds from the onset on.
    rate : float
    rng : Generator
    """
    chance_N, when_N, size_N = rng.random((n, 3)).T
    weight_N = np.where(chance_N < rate, 60 + 60 * size_N, 0)
    middle_N = when_N * (t[-1] + 0.2) - 0.1
    here = weight_N > 0
    course_NT = np.zeros((n, len(t)), np.float32)
    course_NT[here] = np.exp(-0.5 * ((t - middle_N[here, None]) / _BLINK_S) ** 2)
    return (weight_N[:, None] * _eyes(where)).astype(np.float32), course_NT


def drift(n: int, n_channels: int, t: np.ndarray, *, uv: float, rng: np.random.Generator) -> Slow:
    """Straight drift of every channel over the times ``t``, shape (T,), of spread ``uv`` from the first to the last."""
    course_1T = (t / t[-1] - 0.5)[None]
    return (uv * rng.standard_normal((n, n_channels))).astype(np.float32), course_1T.astype(np.float32)


def saccade(eye_uv: np.ndarray, where: np.ndarray, t: np.ndarray) -> Slow:
    """Movement of the eyes to the side 200 ms after the onset, of ``eye_uv`` microvolt in each trial, shape (n,)."""
    across = where[:, 0]
    side_C = _eyes(where) * np.sign(across) * np.minimum(1, 4 * abs(across))
    step_1T = 1 / (1 + np.exp(-(t - _SACCADE_S) * 60))[None]
    return (np.asarray(eye_uv)[:, None] * side_C).astype(np.float32), step_1T.astype(np.float32)


def walk(clock: np.ndarray, n_channels: int, n_times: int, *, uv: float, rng: np.random.Generator) -> Slow:
    """Random walk of every channel, of RMS ``uv``, at the places ``clock`` in the order of presentation, shape (n,)."""
    path = np.cumsum(rng.normal(size=(int(clock.max()) + 1, n_channels)), 0)
    path = (path - path.mean(0)) / np.maximum(path.std(0), 1e-9) * uv
    return path[clock.astype(int)].astype(np.float32), np.ones((1, n_times), np.float32)


def add_neighbours(
    x_NCT: np.ndarray, brain: Brain, z_NK: np.ndarray, sequence_N: np.ndarray, *,
    soa_s: float, session: int, before: int = 0,
) -> None:  # fmt: skip
    """Add, in place, the responses to the pictures shown before and after each trial's own.

    Parameters
    ----------
    x_NCT : ndarray, shape (n, C, T), float32
        Trials in the order of presentation.
    brain : Brain
        Whose window is as long as T; a response ends with it.
    z_NK : ndarray, shape (n, N_FEATURES)
        Features of the picture of each trial.
    sequence_N : ndarray, shape (n,)
        Only trials of the same sequence are neighbours.
    soa_s : float
        From one onset to the next, at least one sample.
    session : int
        Where the cap sits, as in `Brain.record`.
    before : int
        Samples of a trial before its own onset.

    Notes
    -----
    The noise stays that of each trial: real epochs that overlap share the very samples, besides.
    """
    kernel_KCT = brain.responses(session)
    n, n_c, n_t = x_NCT.shape
    step = round(soa_s * brain.sfreq)
    reach = (n_t - 1) // step
    for start in range(0, n, 64):
        stop = min(start + 64, n)
        low, high = max(0, start - reach), min(n, stop + reach)
        flat = np.asarray(z_NK[low:high], np.float32) @ kernel_KCT[1:].reshape(len(kernel_KCT) - 1, -1)
        evoked_NCT = flat.reshape(-1, n_c, n_t) + kernel_KCT[0]
        for lag in (k for k in range(-reach, reach + 1) if k):
            i = np.arange(max(start, -lag), min(stop, n - lag))
            i = i[sequence_N[i] == sequence_N[i + lag]]
            onset = before + lag * step  # the sample at which that neighbour comes on
            a, b = max(onset, 0), min(onset + n_t, n_t)
            if len(i) and a < b:
                x_NCT[i, :, a:b] += evoked_NCT[i + lag - low, :, a - onset : b - onset]


def _eyes(where: np.ndarray) -> np.ndarray:
    """Reach of the eyes at each channel, (C,)."""
    return np.asarray(np.exp(-((where - np.array((0, 0.95, -0.1))) ** 2).sum(1) / 0.25))
