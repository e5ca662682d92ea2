"""What the written layouts share: the marker and the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sightwave import files
from sightwave.errors import DataError, RecipeError

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
