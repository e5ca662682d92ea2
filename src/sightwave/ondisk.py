"""OnDisk: trials that lie in files and are gathered when they are asked for, so that data need not fit into memory.

It stands where `Trials.eeg` has an array, and is indexed by trial like one; each answer is an ordinary, small array.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from sightwave.describe import key

IN_MEMORY = 1 << 30
"""Bytes. Trials that take no more are read into memory, where everything is quickest."""
RELEASE = 1 << 28
"""Bytes gathered before the pages are let go: a page that was touched counts as memory of the process until then."""
CHUNK = 1 << 24
"""Numbers (trials x channels x times) that `chunks` hands out at a time."""

Gather = Callable[[np.ndarray], np.ndarray]


class OnDisk:
    """EEG of shape (n_trials, n_channels, n_times) of which only the trials asked for are ever in memory.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    gather : callable
        Trial numbers, shape (n,) int64 -> their EEG, shape (n, n_channels, n_times).
    key : str
        Names the content: equal keys, equal trials. What is made of them is cached under it.

    Attributes
    ----------
    parts : tuple of ndarray
        The arrays that they lie in, when they are all of these; else empty.
    """

    ndim = 3
    parts: tuple[np.ndarray, ...] = ()

    def __init__(self, shape: tuple[int, ...], dtype: Any, gather: Gather, key: str):
        self.shape, self.dtype, self.key = tuple(shape), np.dtype(dtype), key
        self._gather = gather

    @classmethod
    def of(cls, parts: Sequence[np.ndarray], key: str) -> OnDisk:
        """Put arrays, most of all memory maps, one after the other; nothing is copied or read.

        Parameters
        ----------
        parts : sequence of ndarray, each of shape (n, n_channels, n_times)
            Of one dtype; not empty.
        key : str
        """
        files = _Files(parts)
        made = cls((int(files.ends[-1]), *parts[0].shape[1:]), parts[0].dtype, files, key)
        made.parts = tuple(parts)
        return made

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes that they would take in memory."""
        return self.size * self.dtype.itemsize

    def __getitem__(self, at: Any) -> np.ndarray:
        """Gather trials by number, slice, mask or numbers; what follows the first index is applied to them."""
        first, *rest = at if isinstance(at, tuple) else (at,)
        if isinstance(first, (int, np.integer)):
            found = self._gather(np.array([range(len(self))[first]]))[0]
            return found[tuple(rest)] if rest else found
        found = self._gather(np.arange(len(self))[first])
        return found[(slice(None), *rest)] if rest else found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read everything into memory."""
        out = np.empty(self.shape, dtype or self.dtype)
        for part in self.chunks():
            out[part] = self[part]
        return out

    def chunks(self) -> list[slice]:
        """Cut the trials into runs of at most `CHUNK` numbers."""
        size = max(1, CHUNK // max(1, self.shape[1] * self.shape[2]))
        return [slice(start, start + size) for start in range(0, len(self), size)]

    def rows(self, keep: Any) -> OnDisk:
        """Keep trials by mask, numbers or slice, still on disk."""
        index = np.arange(len(self))[keep]
        if len(index) == len(self) and (index == np.arange(len(self))).all():
            return self
        return OnDisk(
            (len(index), *self.shape[1:]), self.dtype, lambda r: self._gather(index[r]), key([self.key, index])
        )

    def as_eeg(self) -> np.ndarray:
        """Return itself, for `Trials.eeg`: it does what is asked of an array there, which no type can say."""
        return cast(np.ndarray, self)


def in_files(eeg: np.ndarray) -> np.ndarray:
    """Return a memory map, shape (n_trials, n_channels, n_times), that is too large for memory as `OnDisk`.

    Everything else comes back as it is.
    """
    place = place_of(eeg) if isinstance(eeg, np.memmap) and not fits(eeg) else None
    if place is None:
        return eeg
    what = [identity(Path(place[0])), place[1], list(eeg.shape), list(eeg.strides), str(eeg.dtype)]
    return OnDisk.of([eeg], key(what)).as_eeg()


def means(eeg: np.ndarray, rows: np.ndarray, group: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average trials by group; those on disk when their mean is asked for.

    Parameters
    ----------
    eeg : ndarray, shape (n_trials, n_channels, n_times)
    rows, group : ndarray of int, shape (n,)
        Which trials, and the group of each, from 0 on.
    counts : ndarray of int, shape (n_groups,)
        Trials of each group.

    Returns
    -------
    ndarray, shape (n_groups, n_channels, n_times), float32
        Or `OnDisk`, if ``eeg`` is.
    """
    shape = (len(counts), *eeg.shape[1:])
    if not isinstance(eeg, OnDisk):
        return _add(np.zeros(shape, np.float32), eeg, rows, group, counts)
    members, ends = rows[np.argsort(group, kind="stable")], np.cumsum(counts)

    def some(asked: np.ndarray) -> np.ndarray:
        own = [members[ends[g] - counts[g] : ends[g]] for g in asked]
        out = np.zeros((len(asked), *shape[1:]), np.float32)
        place = np.repeat(np.arange(len(asked)), counts[asked])
        return _add(out, eeg, np.concatenate(own or [rows[:0]]), place, counts[asked])

    return OnDisk(shape, np.float32, some, key([eeg.key, "average", rows, group])).as_eeg()


def place_of(array: np.ndarray) -> tuple[str, int] | None:
    """File that an array of any shape maps, and its first byte in it; None when it lies in memory."""
    root, base = None, array
    while base is not None:
        root = base if isinstance(base, np.memmap) else root
        base = getattr(base, "base", None)  # type: ignore[assignment]
    if root is None or root.filename is None:
        return None
    start = root.__array_interface__["data"][0] - root.offset
    return str(root.filename), int(array.__array_interface__["data"][0]) - start


def fits(eeg: np.ndarray) -> bool:
    """Whether these trials, shape (n_trials, n_channels, n_times), may lie in memory in single precision."""
    return eeg.size * 4 <= IN_MEMORY


def identity(path: Path) -> list[Any]:
    """Tell this file from others and from itself after a change, without reading it: name, bytes, time of change."""
    known = path.stat()
    return [str(path.resolve()), known.st_size, known.st_mtime_ns]


def _add(out: np.ndarray, eeg: np.ndarray, rows: np.ndarray, group: np.ndarray, counts: np.ndarray) -> np.ndarray:
    for i, g in zip(rows, group, strict=True):  # one trial at a time, so that a memory map stays on disk
        out[g] += eeg[i]
    out /= np.maximum(counts, 1)[:, None, None].astype(np.float32)
    return out


class _Files:
    """Gather from arrays that lie one after the other."""

    def __init__(self, parts: Sequence[np.ndarray]):
        self._parts = [np.asarray(p) for p in parts]  # np.memmap takes a microsecond longer at each trial
        self.ends = np.cumsum([len(p) for p in parts])
        self._maps = [m for p in parts if (m := _map_of(p)) is not None and not p.flags.writeable]
        self._touched = 0

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        if len(self._parts) == 1:
            out = self._parts[0][rows]
        else:
            which = np.searchsorted(self.ends, rows, side="right")
            at = rows - np.concatenate([[0], self.ends])[which]
            out = np.empty((len(rows), *self._parts[0].shape[1:]), self._parts[0].dtype)
            for i, (p, k) in enumerate(zip(which.tolist(), at.tolist(), strict=True)):
                out[i] = self._parts[p][k]
        self._touched += out.nbytes
        if self._touched > RELEASE:
            self._touched = 0
            for whole in self._maps:
                whole.madvise(mmap.MADV_DONTNEED)  # the system may still hold them, for the next time
        return out


def _map_of(array: Any) -> mmap.mmap | None:
    """Return the memory map that an array is a view of; None when there is none, or the system takes no advice."""
    while array is not None and not isinstance(array, mmap.mmap):
        array = getattr(array, "base", None)
    return array if hasattr(mmap, "MADV_DONTNEED") else None
