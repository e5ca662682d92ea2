"""What travels between us and a worker: a pickle that may hold no names at all, then the bytes of its arrays."""

from __future__ import annotations

import io
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import numpy as np

from sightwave.errors import DataError

__all__ = ["BROKEN", "receive", "send"]

BROKEN = (EOFError, OSError, ValueError, TypeError, LookupError, struct.error, pickle.UnpicklingError)
"""What `receive` raises of a parcel that is cut short or senseless."""


def send(pipe: IO[bytes], value: Any, path: Path | None = None) -> None:
    """Write a plain value: None, numbers, text, bytes, lists, tuples, sets, dicts, paths, arrays, DataFrames.

    Parameters
    ----------
    pipe : binary file
    value : object
    path : Path or None
        Arrays that map this file are sent as their place in it.

    Raises
    ------
    DataError
        If there is anything else in ``value``; then nothing is written.
    """
    tree = io.BytesIO()
    pack = _Packer(tree, path)
    pack.dump(value)
    pipe.write(struct.pack("<Q", tree.tell()))
    pipe.write(tree.getbuffer())
    for array in pack.arrays:
        pipe.write(array.reshape(-1).view(np.uint8).data)
    pipe.flush()


def receive(pipe: IO[bytes], path: Path | None = None) -> Any:
    """Read what `send` wrote; ``path`` is the file that arrays may map. A broken parcel raises one of `BROKEN`."""
    (n,) = struct.unpack("<Q", _exactly(pipe, bytearray(8)))
    tree = io.BytesIO(_exactly(pipe, bytearray(n)))
    return _Unpacker(tree, pipe, path).load()


def _exactly(pipe: Any, into: Any) -> Any:
    if pipe.readinto(into) != len(into):
        raise EOFError
    return into


class _Packer(pickle.Pickler):
    """Writes plain values; arrays and tables go by number."""

    def __init__(self, f: IO[bytes], path: Path | None):
        super().__init__(f, protocol=4)
        self._path, self._seen = path, dict[int, tuple[int, Any]]()
        self.arrays: list[np.ndarray] = []

    def persistent_id(self, x: Any) -> Any:
        if isinstance(x, Path):
            return "path", str(x)
        if isinstance(x, np.generic):
            return "scalar", np.asarray(x)
        table = type(x).__name__ == "DataFrame"
        if not table and not isinstance(x, np.ndarray):
            return None
        if id(x) in self._seen:  # also what would grow without end
            return "again", self._seen[id(x)][0]
        number = len(self._seen)
        self._seen[id(x)] = number, x
        if table:
            return "table", number, [(c, x[c].to_numpy()) for c in x]
        if x.dtype.hasobject and x.dtype.names is None:
            return "objects", number, x.shape, list(x.flat)
        if x.dtype.names is not None:
            raise DataError(f"holds an array with the fields {', '.join(x.dtype.names)}, which is not plain data")
        if (at := _place(x, self._path)) is not None:
            return "mapped", number, x.dtype.str, x.shape, x.strides, at
        if x.nbytes:
            self.arrays.append(np.ascontiguousarray(x))
        return "array", number, x.dtype.str, x.shape

    def reducer_override(self, x: Any) -> Any:
        """Refuse what is not plain; an OrderedDict is."""
        if x is OrderedDict or type(x) is OrderedDict:
            return NotImplemented
        raise DataError(f"holds {getattr(x, '__name__', type(x).__name__)}, which is not data")


class _Unpacker(pickle.Unpickler):
    """Reads what `_Packer` wrote, and imports nothing."""

    def __init__(self, f: IO[bytes], pipe: IO[bytes], path: Path | None):
        super().__init__(f)
        self._pipe, self._path, self._map = pipe, path, np.empty(0, np.uint8)
        self._there: dict[int, Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        kind, first, *rest = pid
        if kind == "path":
            return Path(first)
        if kind == "scalar":
            return first[()]
        if kind != "again":
            self._there[first] = getattr(self, f"_{kind}")(*rest)
        return self._there[first]

    def _array(self, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        array = np.empty(shape, dtype)
        if array.nbytes:
            _exactly(self._pipe, array.reshape(-1).view(np.uint8))
        return array

    def _mapped(self, dtype: str, shape: tuple[int, ...], strides: tuple[int, ...], at: int) -> np.ndarray:
        if not len(self._map) and self._path is not None:
            self._map = np.memmap(self._path, np.uint8, "r")
        return np.ndarray(shape, dtype, self._map, at, strides)  # refuses what the file is too short for

    def _objects(self, shape: tuple[int, ...], items: list[Any]) -> np.ndarray:
        array = np.empty(len(items), object)
        for i, item in enumerate(items):
            array[i] = item
        return array.reshape(shape)

    def _table(self, columns: list[tuple[Any, np.ndarray]]) -> Any:
        import pandas as pd

        return pd.DataFrame(dict(columns))


def _place(x: np.ndarray, path: Path | None) -> int | None:
    """First byte of an array in the file ``path``, if it maps that file."""
    root: Any = None
    base: Any = x
    while base is not None:
        root = base if isinstance(base, np.memmap) else root
        base = getattr(base, "base", None)
    if root is None or path is None or root.filename is None or Path(root.filename) != path.resolve():
        return None
    start = root.__array_interface__["data"][0] - root.offset
    return int(x.__array_interface__["data"][0]) - start
