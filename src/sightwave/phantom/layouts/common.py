"""What the written layouts share: the marker, the pictures, and the overlap of responses in a rapid stream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sightwave import files
from sightwave.errors import DataError, RecipeError
from sightwave.phantom.brain import Brain

MARKER = "PHANTOM.txt"
"""The file that says, in a written layout, that everything beside it is simulated."""


def mark(out: Path, layout: str, seed: int) -> None:
    """Say in ``out`` that everything in it is simulated, before anything else is written there.

    Raises
    ------
    DataError
        If something else is in that folder: real recordings would be overwritten, or called simulated.
    """
    if out.exists() and not (out / MARKER).exists() and any(out.iterdir()):
        raise DataError(f"{out} holds something that is no phantom, and nothing is written there. Give a new folder.")
    files.write_text(
        out / MARKER,
        f"Everything in this folder is simulated by sightwave in the layout of {layout} (seed {seed}).\n"
        "No person was measured. Say 'phantom' wherever a number from it is shown.\n",
    )


def check_counts(layout: str, **counts: int) -> None:
    """Raise `RecipeError` unless every count is at least one."""
    for name, n in counts.items():
        if n < 1:
            raise RecipeError(f"write_{layout}: {name} must be at least 1, got {n}.")


def save_pictures(folder: Path, rgb: np.ndarray, names: Sequence[str]) -> None:
    """Write pictures as JPEG; what ``folder`` held before is replaced.

    Parameters
    ----------
    folder : Path
    rgb : ndarray, shape (n, height, width, 3), uint8
    names : sequence of str, length n
        Paths inside ``folder``.
    """
    with files.replacing_folder(folder) as part:
        for picture, name in zip(rgb, names, strict=True):
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(part / name, format="JPEG", quality=92)


def add_neighbours(
    x_NCT: np.ndarray, brain: Brain, z_NK: np.ndarray, sequence_N: np.ndarray, *,
    soa_s: float, session: int, before: int = 0,
) -> None:  # fmt: skip
    """Add, in place, the responses to the pictures shown before and after each trial's own.

    Parameters
    ----------
    x_NCT : ndarray, shape (n, C, T), float32
        Trials in the order of presentation, in microvolt.
    brain : Brain
        Whose window is as long as T; a response ends with it.
    z_NK : ndarray, shape (n, N_FEATURES)
        Features of the picture of each trial.
    sequence_N : ndarray, shape (n,)
        Only trials of the same sequence are neighbours.
    soa_s : float
        From one onset to the next.
    session : int
        Where the cap sits, as in `Brain.record`.
    before : int
        Samples of a trial before its own onset.
    """
    w_KCF, common_CF = brain.sources
    kernel_KCT = np.fft.irfft(w_KCF, n=brain.n_times).astype(np.float32)
    common_CT = np.fft.irfft(common_CF, n=brain.n_times).astype(np.float32)
    mix = brain._cap_shift(session)
    n, n_c, n_t = x_NCT.shape
    step = round(soa_s * brain.sfreq)
    reach = (n_t - 1) // step
    for start in range(0, n, 64):
        stop = min(start + 64, n)
        low, high = max(0, start - reach), min(n, stop + reach)
        flat = np.asarray(z_NK[low:high], np.float32) @ kernel_KCT.reshape(len(kernel_KCT), -1)
        evoked_NCT = flat.reshape(-1, n_c, n_t) + common_CT
        if mix is not None:
            evoked_NCT = np.matmul(mix, evoked_NCT)
        for lag in (k for k in range(-reach, reach + 1) if k):
            i = np.arange(max(start, -lag), min(stop, n - lag))
            i = i[sequence_N[i] == sequence_N[i + lag]]
            onset = before + lag * step  # the sample at which that neighbour comes on
            a, b = max(onset, 0), min(onset + n_t, n_t)
            if len(i) and a < b:
                x_NCT[i, :, a:b] += evoked_NCT[i + lag - low, :, a - onset : b - onset]
