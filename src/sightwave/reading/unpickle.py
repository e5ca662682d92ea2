"""Pickled public files, read as data: about ten names are allowed, everything else in a file is refused by its name.

No name is imported because a file says so: each allowed one is answered by a small stand-in made here, anew for every
file, which checks what it is given. Three containers are known: a plain pickle, ``.npy`` of objects, and torch files,
zip and legacy. ``torch.load(weights_only=True)`` does not read protocol 5, in which THINGS-EEG2 circulates. All of it
happens in a worker, since a few bytes of a pickle can ask for any amount of memory and time. Large arrays are passed
over and mapped from where they lie, so a file of 4 GB is opened without being read.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import struct
import tokenize
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from sightwave.errors import DataError
from sightwave.files import load_array, must_exist
from sightwave.reading.worker import in_worker

__all__ = ["load_pickle"]

_STORAGES = {"DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "LongStorage": "i8", "IntStorage": "i4",
             "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?"}  # fmt: skip
_TORCH_LEGACY = 0x1950A86A20F9469CFC6C
MAPPED = 1 << 26
"""Bytes of an array that is mapped and not read. So large a piece of memory is fresh, and costs nothing untouched."""
_BROKEN = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError, AttributeError, ImportError,
    OverflowError, RecursionError, NotImplementedError, AssertionError, struct.error, zipfile.BadZipFile,
    OSError, SyntaxError, tokenize.TokenError,  # the last two: numpy, of damaged .npy headers
)  # fmt: skip


def load_pickle(path: Path) -> Any:
    """Read a pickled file of numbers, text, lists, dicts and arrays, and run nothing of it.

    Parameters
    ----------
    path : Path
        A pickle, an ``.npy`` of objects (a dict saved with ``numpy.save`` comes back as the dict), or a torch file.

    Returns
    -------
    object
        Tensors come back as arrays; they and other large arrays stay on disk, memory-mapped, and cannot be written to.

    Raises
    ------
    MissingFile
        If there is no such file.
    DataError
        If the file holds a name that is not on the list, is damaged, or cannot be read within the limits of a worker.
    """
    if path.is_symlink() and not path.exists():
        raise DataError(f"{path}: a link to content that is not here. Was it downloaded? (datalad get)")
    if must_exist(path).is_dir():
        raise DataError(f"{path} is a folder; a file is needed here.")
    return in_worker(_load, path)


def _load(path: Path) -> Any:
    try:
        with _Passing(path.open("rb", buffering=0), path) as f:
            found = f.filled(_content(f, path))
            if f.missing or f.unclaimed:  # lies where it cannot be exchanged, or is no array: everything is read
                f.whole = None
                f.seek(0)
                found = _content(f, path)
            return found
    except DataError as e:
        raise e if str(path) in str(e) else DataError(f"{path}: holds {e}.") from e
    except _BROKEN as e:
        what = str(e) or type(e).__name__
        raise DataError(f"{path}: not a whole pickle of plain data ({what[:200]}). Copy the file again.") from e


def _content(f: io.BufferedReader, path: Path) -> Any:
    head = f.read(8)
    f.seek(0)
    if head.startswith(b"/annex/") or head.startswith(b"version "):
        raise DataError(f"{path}: a pointer to content that is not here. Download it (datalad get, git lfs).")
    if head.startswith(b"\x93NUMPY"):
        return _npy(f, path)
    if head.startswith(b"PK\x03\x04"):
        return _torch_zip(f, path)
    found = _Reader(f, path).load()
    return _torch_legacy(f, path) if _is_magic(found) else found


class _Passing(io.BufferedReader):
    """A file that passes over large pieces of bytes, and knows where in it they lie."""

    def __init__(self, raw: io.RawIOBase, path: Path):
        super().__init__(raw)
        self.whole: np.ndarray | None = np.memmap(path, np.uint8, "r") if path.stat().st_size else None
        self.missing: dict[int, tuple[object, np.ndarray]] = {}
        self.unclaimed: set[int] = set()
        self._ends: dict[int, tuple[int, int]] = {}

    def readinto(self, memory: Any) -> int:
        """Fill ``memory``, unless it is large: then note where it ends, and where in the file."""
        if len(memory) < MAPPED or self.whole is None or (end := self.tell() + len(memory)) > len(self.whole):
            return super().readinto(memory)
        self._ends[_address(memory) + len(memory)] = end, len(memory)
        self.unclaimed.add(end)
        self.seek(end)
        return len(memory)

    def place_of(self, raw: Any) -> np.ndarray | None:
        """Bytes of the file that belong into ``raw``, shape (n,); None when they are there."""
        if self.whole is None or not isinstance(raw, (bytes, bytearray)) or len(raw) < MAPPED:
            return None
        # what was read ahead stands in front, so the ends are compared
        end, n = self._ends.get(_address(raw) + len(raw), (0, 0))
        if not 0 < n <= len(raw) <= end:
            return None
        self.unclaimed.discard(end)
        return self.whole[end - len(raw) : end]

    def filled(self, found: Any) -> Any:
        """Put mapped arrays into the dict that was found, in the places of those that could not map."""
        names = [k for k, v in found.items() if id(v) in self.missing] if type(found) is dict else []
        there = {k: self.missing[id(found[k])] for k in names}
        for k, (empty, array) in there.items():
            found[k] = array
            self.missing.pop(id(empty), None)
        return found


def _address(memory: Any) -> int:
    return int(np.frombuffer(memory, np.uint8).__array_interface__["data"][0])


class _Reader(pickle.Unpickler):
    """Unpickle with the stand-ins of `_allowed`, and with `storage` for what torch keeps beside the pickle."""

    def __init__(self, f: IO[bytes], path: Path, storage: Callable[[Any], Any] | None = None):
        super().__init__(f, encoding="latin1")
        self._path, self._storage = path, storage
        self._names = _allowed(f if isinstance(f, _Passing) else None)

    def find_class(self, module: str, name: str) -> Any:
        """Answer an allowed name by its stand-in; refuse every other, without importing anything."""
        module = re.sub(r"^numpy\._core\b", "numpy.core", module)
        try:
            return self._names[f"{module}.{name}"]
        except KeyError:
            raise DataError(
                f"{self._path}: holds {module}.{name}, which is not data. The file could run code, so it is not read."
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        """Hand out a storage of a torch file."""
        if self._storage is None:
            raise DataError(f"{self._path}: refers to something outside of itself.")
        return self._storage(pid)


@dataclass(frozen=True)
class _Kind:
    """Stand-in for a class of torch storages."""

    dtype: str


def _allowed(file: _Passing | None) -> dict[str, Any]:
    """Return the names that a file may hold and what answers them; new ones each time, so no file can alter them."""

    class Dtype:
        """A dtype without fields; its flags come from numpy and not from the file."""

        def __init__(self, spec: str, align: bool = False, copy: bool = True):
            # nothing is shown or turned to text before it is known to be text: a list of lists of ... has no end
            if not (isinstance(spec, str) and re.fullmatch(r"[<>|=]?(b1|[biufc]\d{1,2}|[SU]\d{1,6}|O\d?|\?)", spec)):
                raise DataError("a dtype that is not one of plain numbers or text")
            self.value = np.dtype(spec)

        def __setstate__(self, state: tuple[Any, ...]) -> None:
            if any(x is not None for x in state[2:5]):
                raise DataError("a dtype with fields is not one of plain numbers or text")
            if state[1] in ("<", ">"):
                self.value = self.value.newbyteorder(state[1])

    class Array(np.ndarray):
        """An array that looks at its state before numpy takes it over."""

        def __new__(cls, *_: Any) -> Any:
            return np.ndarray.__new__(cls, (0,), "b")

        def __setstate__(self, state: Any) -> None:
            version, shape, dtype, fortran, raw = state
            value = _dtype(dtype)
            n = _count(shape)
            given = len(raw) if value.hasobject == isinstance(raw, list) else -1
            if given != n * (1 if value.hasobject else value.itemsize):
                raise DataError(f"an array of shape {shape} and {value} does not have the content for it")
            if file is not None and (there := file.place_of(raw)) is not None:
                file.missing[id(self)] = self, np.ndarray(shape, value, there, order="F" if fortran else "C")
                return
            super().__setstate__((version, shape, value, bool(fortran), raw))  # type: ignore[arg-type]

    def _dtype(dtype: Any) -> np.dtype[Any]:
        if not isinstance(dtype, Dtype):
            raise DataError("something that is no dtype stands where a dtype belongs")
        return dtype.value

    def _plain_dtype(dtype: Any) -> np.dtype[Any]:
        if (value := _dtype(dtype)).hasobject:
            raise DataError("objects stand where numbers belong")
        return value

    def reconstruct(*_: Any) -> Any:
        return Array()

    def scalar(dtype: Any, raw: Any = b"") -> Any:
        return np.frombuffer(raw.encode("latin1") if isinstance(raw, str) else raw, _plain_dtype(dtype), 1)[0]

    def frombuffer(raw: Any, dtype: Any, shape: Any, order: str) -> Any:
        there = file.place_of(raw) if file is not None else None
        return np.frombuffer(raw if there is None else there, _plain_dtype(dtype)).reshape(
            shape, order="F" if order == "F" else "C"
        )

    def encode(text: str, encoding: str = "latin1") -> bytes:
        if encoding not in ("latin1", "latin-1"):  # other codecs unpack bombs
            raise DataError("text in an encoding other than latin1")
        return text.encode("latin1")

    def rebuild(storage: np.ndarray, offset: int, size: Any, stride: Any, *_: Any) -> np.ndarray:
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if min((offset, *size, *stride)) < 0 or (_count(size) and last >= len(storage)):
            raise DataError(f"a tensor of shape {tuple(size)} reaches beyond its storage of {len(storage)} numbers")
        step = tuple(s * storage.itemsize for s in stride)
        return np.lib.stride_tricks.as_strided(storage[offset:], tuple(size), step, writeable=False)

    storages = {f"torch.{name}": _Kind(dtype) for name, dtype in _STORAGES.items()}
    return storages | {
        "numpy.core.multiarray._reconstruct": reconstruct,
        "numpy.core.multiarray.scalar": scalar,
        "numpy.core.numeric._frombuffer": frombuffer,
        "numpy.ndarray": Array,
        "numpy.dtype": Dtype,
        "_codecs.encode": encode,
        "collections.OrderedDict": OrderedDict,
        "torch._utils._rebuild_tensor": rebuild,
        "torch._utils._rebuild_tensor_v2": rebuild,
    }


def _count(shape: Any) -> int:
    if not (isinstance(shape, (tuple, list)) and all(type(n) is int and n >= 0 for n in shape)):
        raise DataError("something that is no shape stands where the shape of an array belongs")
    return math.prod(shape)


def _is_magic(found: Any) -> bool:
    return type(found) is int and found == _TORCH_LEGACY


def _npy(f: io.BufferedReader, path: Path) -> Any:
    version = np.lib.format.read_magic(f)
    if version not in ((1, 0), (2, 0)):
        raise DataError(f"{path}: .npy version {version} is not known here.")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(f)
    if not dtype.hasobject:
        return load_array(path)
    found = _Reader(f, path).load()
    if not (isinstance(found, np.ndarray) and found.shape == shape):
        raise DataError(f"{path}: the header says shape {shape}, the content is something else.")
    return found.item() if shape == () else found


def _torch_zip(file: io.BufferedReader, path: Path) -> Any:
    """Read a torch file: ``<name>/data.pkl`` and one stored, uncompressed member per storage, which is mapped."""
    with zipfile.ZipFile(path) as members:
        known = {m.filename: m for m in members.infolist()}
        pickles = [n for n in known if n.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise DataError(f"{path}: a zip file without data.pkl is no torch file.")
        folder = pickles[0].removesuffix("data.pkl")
        little = f"{folder}byteorder" not in known or members.read(f"{folder}byteorder").strip() == b"little"
        whole = np.memmap(path, np.uint8, "r")

        def place(member: zipfile.ZipInfo) -> int:
            # lengths of name and extra field in the local header
            name, extra = struct.unpack("<HH", whole[member.header_offset + 26 : member.header_offset + 30].tobytes())
            return member.header_offset + 30 + int(name) + int(extra)

        def storage(pid: Any) -> np.ndarray:
            kind, key, n = _storage_of(pid, path)
            member, dtype = known[f"{folder}data/{key}"], np.dtype(kind.dtype).newbyteorder("<" if little else ">")
            if member.compress_type != zipfile.ZIP_STORED or n * dtype.itemsize > member.file_size:
                raise DataError(f"{path}: storage {key} is cut short or compressed.")
            return np.ndarray((n,), dtype, whole, place(member))

        if known[pickles[0]].compress_type == zipfile.ZIP_STORED and known[pickles[0]].file_size >= MAPPED:
            file.seek(place(known[pickles[0]]))  # as it lies there, so that large arrays in it can be passed over
            return _Reader(file, path, storage).load()
        with members.open(pickles[0]) as f:
            return _Reader(f, path, storage).load()


def _torch_legacy(f: IO[bytes], path: Path) -> Any:
    """Go on after the magic number: version, system, the object, the storages' keys, then their bytes in that order.

    The object is read twice: for the sizes of the storages, and again when they are known to lie where in the file.
    """
    _Reader(f, path).load()
    system = _Reader(f, path).load()
    if not system.get("little_endian", True):
        raise DataError(f"{path}: written on a big-endian machine; save it again.")
    start, whole = f.tell(), np.memmap(path, np.uint8, "r")
    storages: dict[str, np.ndarray] = {}

    def promised(pid: Any) -> np.ndarray:
        kind, key, n = _storage_of(pid, path)
        if n * np.dtype(kind.dtype).itemsize > len(whole):
            raise DataError(f"{path}: storage {key} of {n} numbers is larger than the file.")
        # as long, and of any values, for the size is all that is wanted
        return storages.setdefault(key, np.ndarray((n,), np.dtype(kind.dtype), whole))

    _Reader(f, path, promised).load()
    keys = _Reader(f, path).load()
    at = f.tell()
    for key in map(str, keys):
        size = storages[key]
        if whole[at : at + 8].tobytes() != struct.pack("<q", len(size)) or at + 8 + size.nbytes > len(whole):
            raise DataError(f"{path}: storage {key} is cut short.")
        storages[key] = np.ndarray(size.shape, size.dtype, whole, at + 8)
        at += 8 + size.nbytes
    if len(set(keys)) != len(storages):
        raise DataError(f"{path}: {len(storages)} storages are named, {len(set(keys))} are there.")
    f.seek(start)
    return _Reader(f, path, lambda pid: storages[_storage_of(pid, path)[1]]).load()


def _storage_of(pid: Any, path: Path) -> tuple[_Kind, str, int]:
    sound = isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage" and isinstance(pid[1], _Kind)
    if not sound or type(pid[4]) is not int or pid[4] < 0 or (len(pid) > 5 and pid[5] is not None):
        raise DataError(f"{path}: refers to something that is no storage of plain numbers.")
    return pid[1], str(pid[2]), pid[4]
