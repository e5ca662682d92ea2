"""Fields of what was unpickled: they may be anything until they are known to be lists of text or numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sightwave.errors import DataError


def per_trial(info: Mapping[str, Any], field: str, n: int, reps: int, path: Path) -> np.ndarray:
    """Bring a field that has one value per condition, or per condition and repetition, to shape (n, reps).

    Parameters
    ----------
    info : mapping
        Field -> value.
    field : str
    n, reps : int
        Conditions and repetitions.
    path : Path
        File that it came from, for the message.

    Raises
    ------
    DataError
        If there is another number of values, or one is neither text nor a number.
    """
    given = info.get(field, [])
    if isinstance(given, np.ndarray) and given.shape == (n, reps):
        cells = flat(given.ravel(), (str, int, float, np.number), f"{path}: {field!r}")
    elif isinstance(given, list) and len(given) == n and all(isinstance(row, (list, tuple)) for row in given):
        cells = [c for row in given for c in flat(row, (str, int, float, np.number), f"{path}: {field!r}")]
    else:
        cells = flat(given, (str, int, float, np.number), f"{path}: {field!r}")
    values = np.array(cells).reshape(n, reps) if len(cells) == n * reps else np.array(cells)
    if values.shape == (n,):
        values = np.repeat(values[:, None], reps, 1)
    if values.shape != (n, reps):
        raise DataError(f"{path}: {field!r} must have one value per trial, ({n}, {reps}); got shape {values.shape}.")
    return values


def flat(values: Any, kinds: tuple[type, ...], field: str) -> list[Any]:
    """List the values of a flat list or array.

    Parameters
    ----------
    values : object
    kinds : tuple of type
        What each value must be an instance of.
    field : str
        File and field, for the message.

    Raises
    ------
    DataError
        If ``values`` is anything else.
    """
    cells = values.tolist() if isinstance(values, np.ndarray) and values.ndim == 1 else values
    if not isinstance(cells, (list, tuple)) or not all(isinstance(c, kinds) for c in cells):
        wanted = " or ".join("text" if k is str else "numbers" for k in kinds[:2])
        raise DataError(f"{field} must be a flat list of {wanted}.")
    return list(cells)
