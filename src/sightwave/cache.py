"""A cache of arrays, keyed by content: change a field of what makes them, get another file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sightwave import files
from sightwave.describe import key
from sightwave.errors import DataError


def folder() -> Path:
    """Where the cache lies: ``$SIGHTWAVE_CACHE``, else ``~/.cache/sightwave``."""
    return Path(os.environ.get("SIGHTWAVE_CACHE") or Path.home() / ".cache" / "sightwave")


def cached(name: str, what: Any, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays that ``make`` makes, from disk when ``what`` was made before.

    Parameters
    ----------
    name : str
        First part of the file name, for people.
    what : object
        Everything that decides the content; `describe` turns it into the key.
    make : callable
        Returns name -> array.

    Returns
    -------
    dict of str to ndarray
        A damaged file is made again; a folder that cannot be written costs the cache, never the result.
    """
    path = folder() / f"{name}-{key(what)}.safetensors"
    if path.exists():
        try:
            return files.load_tensors(path)[0]
        except DataError:
            path.unlink(missing_ok=True)
    arrays = dict(make())
    try:
        files.save_tensors(path, arrays)
    except OSError:
        return arrays
    return arrays
