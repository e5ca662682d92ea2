"""Open one part of a large data set: read once, and from then on its trials lie where they can be mapped.

An array that maps its own file stays there. What had to be unpickled, cast or averaged goes to the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from sightwave import files
from sightwave.cache import cached, folder, stored
from sightwave.describe import key
from sightwave.errors import DataError
from sightwave.ondisk import OnDisk, fits, identity, place_of
from sightwave.reading.checks import check_trials
from sightwave.trials import Trials

SMALL = 1 << 26
"""Bytes. A file that has no more is read anew each time, which takes less than a second."""
NOTED = 1 << 18
"""Bytes. A list in a file of so many is kept as JSON, which needs no worker to read."""


def prepared(
    path: Path, what: Any, read: Callable[[], tuple[np.ndarray, dict[str, Any]]], *, average: bool
) -> tuple[np.ndarray, dict[str, Any], str]:
    """Return the trials of a file, one after the other, and what else is known of them.

    Parameters
    ----------
    path : Path
    what : object
        All that decides the answer besides the file: the layout, the identity of files beside it.
    read : callable
        Returns the array (n_conditions, n_repetitions, n_channels, n_times) and plain JSON about it.
    average : bool
        Average the repetitions.

    Returns
    -------
    eeg : ndarray, shape (n_trials, n_channels, n_times), float16 or float32
        A memory map, unless the file is small; averages are float32.
    about : dict
        What ``read`` told, and ``"shape"``, the first two axes.
    key : str
        Names this answer.
    """
    place = key([what, identity(path), average])
    index, large = folder() / f"trials-{place}.json", path.stat().st_size > SMALL
    if large and index.exists():
        known = files.read_json(index)
        try:
            eeg = np.memmap(known["file"], np.dtype(known["dtype"]), "r", known["at"], tuple(known["shape"]))
        except (OSError, ValueError):  # somebody emptied the cache: it is filled again
            index.unlink()
        else:
            return eeg, known["about"], place
    array, about = read()
    about = {**about, "shape": list(array.shape[:2])}
    dtype = np.dtype(np.float16 if array.dtype == np.float16 and not average else np.float32)
    stays = place_of(array) is not None or not large  # what a file holds as it is needed is not copied
    if stays and not average and array.dtype == dtype and array.flags.c_contiguous:
        trials = array.reshape(-1, *array.shape[2:])
    else:
        late = _late(array, average, place)
        kept = stored("trials", late, dtype) if large else late
        trials = np.asarray(late, dtype) if kept is late else kept.parts[0]
    if large and (where := place_of(trials)) is not None:
        known = {"about": about, "file": where[0], "at": where[1], "shape": list(trials.shape), "dtype": dtype.str}
        files.write_json(index, known)
    return trials, about, place


def noted(path: Path, read: Callable[[], Any]) -> Any:
    """Return plain JSON that ``read`` takes from a file, read once unless the file is small or changes."""
    if path.stat().st_size < NOTED:
        return read()
    note = folder() / f"noted-{key(identity(path))}.json"
    if note.exists():
        try:
            return files.read_json(note)
        except DataError:
            note.unlink(missing_ok=True)
    value = read()
    with suppress(OSError, TypeError, ValueError, RecursionError):  # no room, or no plain JSON: it is read again
        files.write_json(note, value)
    return value


def joined(parts: Sequence[tuple[np.ndarray, str]]) -> np.ndarray:
    """Put the trials of several files, each with its key, one after the other: in memory if they fit, else `OnDisk`.

    Raises
    ------
    DataError
        If they differ in precision or length.
    """
    kinds = {(p.dtype, p.shape[2]): None for p, _ in parts}
    if len(kinds) > 1:
        raise DataError(f"Subjects differ: {' and '.join(f'{d} x {n} samples' for d, n in kinds)}.")
    eeg = OnDisk.of([p for p, _ in parts], key([k for _, k in parts]))
    return np.asarray(eeg) if fits(eeg.as_eeg()) else eeg.as_eeg()


def check_once(trials: Trials, source: np.ndarray) -> float:
    """Check trials as `check_trials` does, those on disk only once.

    Parameters
    ----------
    trials : Trials
    source : ndarray of str, shape (n_trials,)
        The file that each came from, for the message.

    Returns
    -------
    float
        A trial's typical standard deviation.
    """

    def look() -> dict[str, np.ndarray]:
        check_trials(trials, source)
        some = np.asarray(trials.eeg[:: max(1, len(trials) // 100)], np.float64)
        return {"sd": np.array([np.median(some.std(2))])}

    on_disk = isinstance(trials.eeg, OnDisk)
    return float((cached("checked", trials.key, look) if on_disk else look())["sd"][0])


def _late(array: np.ndarray, average: bool, place: str) -> OnDisk:
    """Average or take the repetitions of a few conditions at a time, when they are asked for."""
    n, n_repetitions, *tail = array.shape
    if average:
        return OnDisk((n, *tail), np.float32, lambda rows: array[rows].mean(1, dtype=np.float32), place)

    def single(rows: np.ndarray) -> np.ndarray:
        return np.asarray(array[rows // n_repetitions, rows % n_repetitions])

    return OnDisk((n * n_repetitions, *tail), array.dtype, single, place)
