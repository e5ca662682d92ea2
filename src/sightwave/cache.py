"""A cache of arrays, keyed by content: change a field of what makes them, get another file.

Small ones come back in memory; those of `OnDisk` are written a few trials at a time, and stay on disk.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from sightwave import files
from sightwave.describe import key
from sightwave.errors import DataError
from sightwave.ondisk import OnDisk

SPARE = 2_000_000_000
"""Bytes that a large array leaves free on the disk."""


CHUNK = 1000
"""Rows that are kept together while an array is made."""

Watcher = Callable[[str, int, int], None]
_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


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
    path = _path(name, what)
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


def cached_rows(name: str, what: Any, n_rows: int, make: Callable[[int, int], np.ndarray]) -> np.ndarray:
    """Return an array that is made a thousand rows at a time; one that was interrupted goes on where it stopped.

    Parameters
    ----------
    name : str
        First part of the file name, for people.
    what : object
        As for `cached`.
    n_rows : int
    make : callable
        ``make(start, stop)`` returns these rows.

    Returns
    -------
    ndarray, shape (n_rows, ...)
        Who is inside of `watched` is told of each chunk that is made.
    """
    chunks = [(start, min(start + CHUNK, n_rows)) for start in range(0, n_rows, CHUNK)]

    def piece(start: int, stop: int) -> np.ndarray:
        if len(chunks) == 1:
            return make(start, stop)
        return cached(f"{name}-rows", [what, start, stop], lambda: {"vectors": make(start, stop)})["vectors"]

    def whole() -> Mapping[str, np.ndarray]:
        tell, title, parts = _watcher.get() or (lambda what, done, total: None), f"embedding {name}"[:44], []
        for start, stop in chunks:
            tell(title, start, n_rows)
            parts.append(piece(start, stop))
        tell(title, n_rows, n_rows)
        return {"vectors": np.concatenate(parts)}

    vectors = cached(name, what, whole)["vectors"]
    if len(chunks) > 1 and _path(name, what).exists():
        for start, stop in chunks:
            _path(f"{name}-rows", [what, start, stop]).unlink(missing_ok=True)
    return vectors


@contextmanager
def watched(tell: Watcher) -> Iterator[None]:
    """Tell of arrays that take long to make, as long as this lasts: ``tell(what, rows done, rows)``."""
    token = _watcher.set(tell)
    try:
        yield
    finally:
        _watcher.reset(token)


def _path(name: str, what: Any) -> Path:
    return folder() / f"{name}-{key(what)}.safetensors"


def stored(name: str, eeg: OnDisk, dtype: Any = np.float32) -> OnDisk:
    """Return trials that are computed when they are asked for from a file in which they are computed already.

    Parameters
    ----------
    name : str
        First part of the file name, for people.
    eeg : OnDisk
        Its key names the file, so what was written before is opened at once, whatever its size.
    dtype : dtype
        float32, or float16 for half the disk.

    Returns
    -------
    OnDisk
        ``eeg`` itself, and a warning, where the disk has no room: then each batch is computed anew.
    """
    path = folder() / f"{name}-{key([eeg.key, str(np.dtype(dtype))])}.npy"
    found = _opened(path)
    if found is None or found.shape != eeg.shape:
        try:
            _write(path, eeg, np.dtype(dtype))
        except OSError as e:
            warnings.warn(
                f"Prepared trials cannot be written to {path.parent} ({e}), so they are computed anew each time, which "
                "is slow. Set SIGHTWAVE_CACHE to a folder with more room.",
                stacklevel=2,
            )
            return eeg
        found = files.load_array(path)
    return OnDisk.of([found], path.stem)


def _opened(path: Path) -> np.ndarray | None:
    """Map an array that was written before; a damaged file is removed."""
    if path.exists():
        try:
            return files.load_array(path)
        except DataError:
            path.unlink(missing_ok=True)
    return None


def _write(path: Path, eeg: OnDisk, dtype: np.dtype[Any]) -> None:
    """Write an ``.npy`` file a few trials at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    n_bytes = eeg.size * dtype.itemsize
    if shutil.disk_usage(path.parent).free < n_bytes + SPARE:
        raise OSError(f"{n_bytes / 1e9:.1f} GB are needed, and {SPARE / 1e9:g} GB to spare")
    with files.replacing(path) as part, part.open("wb") as f:
        head = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": eeg.shape}
        np.lib.format.write_array_header_2_0(f, head)
        for rows in eeg.chunks():
            f.write(np.ascontiguousarray(eeg[rows], dtype).data)
