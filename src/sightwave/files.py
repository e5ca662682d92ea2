"""The one door to files: whole or absent, checked, confined; nothing else in the package opens a path to write.

Every writer here stages beside its target, syncs, and renames, so a crash or a full disk leaves the old file or
none. Every reader raises an error of ours that names the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import struct
import tokenize
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sightwave.errors import DataError, MissingFile

PIXEL_LIMIT = 64_000_000
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")  # of all that Pillow knows, one starts another program


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a staging path beside ``path``; on success sync it and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.chmod(0o666 & ~_umask())  # some writers stage as 0600, which other users of an installation could not read
        _sync(part)
        os.replace(part, path)
        _sync(path.parent)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a staging folder beside ``path``; on success it takes the place of ``path`` as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part, old = (path.with_name(f".{path.name}.{os.getpid()}.{kind}") for kind in ("part", "old"))
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        for file in sorted(part.rglob("*")):
            _sync(file)
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(part, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
        _sync(path.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, whole or not at all; NaN is refused."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_text(path: Path) -> str:
    """Read a UTF-8 text file.

    Raises
    ------
    MissingFile, DataError
        If the file is absent, or not UTF-8.
    """
    try:
        return _file(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        raise DataError(f"{path}: byte {e.start} is not UTF-8. Save the file as UTF-8.") from e


def read_json(path: Path) -> Any:
    """Read JSON; a damaged file is a `DataError` with its line and column."""
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as e:
        raise DataError(f"{path}: not JSON at line {e.lineno}, column {e.colno}: {e.msg}.") from e
    except (ValueError, RecursionError) as e:  # a number of 5,000 digits, lists in lists without end
        raise DataError(f"{path}: JSON that no program would write ({e}).") from e


def append_line(path: Path, line: str) -> None:
    """Append one line and sync: a ledger that only grows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as f:
        f.write(line + "\n")
        f.flush()
        os.fsync(f.fileno())


@contextmanager
def growing(path: Path, *, at: int) -> Iterator[BinaryIO]:
    """Yield a file that is open for writing from byte ``at``, which exists: a download, or an array, that goes on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("r+b" if path.exists() else "w+b") as f:
        f.truncate(at)
        f.seek(at)
        yield f
        f.flush()
        os.fsync(f.fileno())


def save_tensors(path: Path, tensors: Mapping[str, np.ndarray], meta: Mapping[str, str] | None = None) -> None:
    """Write arrays as safetensors, whole or not at all.

    Parameters
    ----------
    path : Path
    tensors : mapping of str to ndarray, any shape
    meta : mapping of str to str or None
        Goes into the header, beside the SHA-256 of the arrays' bytes.
    """
    from safetensors.numpy import save_file

    arrays = {k: np.ascontiguousarray(v) for k, v in tensors.items()}
    with replacing(path) as part:
        save_file(arrays, part, {**(meta or {}), "sha256": _digest(arrays)})


def load_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read arrays and metadata written by `save_tensors`; changed content is a `DataError`."""
    from safetensors import SafetensorError, safe_open

    _file(path)
    try:
        with safe_open(path, "numpy") as f:
            meta, arrays = f.metadata() or {}, {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, OSError, MemoryError) as e:
        raise DataError(f"{path}: not a whole safetensors file ({e}). Delete it and make it again.") from e
    if meta.get("sha256") != _digest(arrays):
        raise DataError(f"{path}: the content does not match its own SHA-256. Delete it and make it again.")
    return arrays, meta


def save_array(path: Path, array: np.ndarray) -> None:
    """Write one array of numbers, of any shape, as ``.npy``, whole or not at all."""
    with replacing(path) as part, part.open("wb") as f:
        np.save(f, array, allow_pickle=False)


def save_pickle(path: Path, value: Any, *, wrapped: bool = False) -> None:
    """Write plain values and arrays as a pickle of protocol 4, whole or not at all: for layouts that others chose.

    Parameters
    ----------
    path : Path
    value : object
    wrapped : bool
        Put it into an ``.npy`` array of one object first, as ``numpy.save`` does with a dict.
    """
    with replacing(path) as part, part.open("wb") as f:
        if wrapped:
            np.save(f, np.array(value, dtype=object))
        else:
            pickle.dump(value, f, protocol=4)


def save_torch(path: Path, value: Any) -> None:
    """Write tensors, arrays and plain values as ``torch.save`` does, whole or not at all: for others' layouts."""
    import torch

    # given a path, torch would write the staging name into the archive, and no two files would be the same
    with replacing(path) as part, part.open("wb") as f:
        torch.save(value, f, pickle_protocol=5)


def load_array(path: Path, *, mmap: bool = True) -> np.ndarray:
    """Open an ``.npy`` file, memory-mapped unless told otherwise; pickled objects are refused."""
    _file(path)
    try:
        array: np.ndarray = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except (ValueError, TypeError, EOFError, OSError, OverflowError, MemoryError, RecursionError, SyntaxError,
            tokenize.TokenError) as e:  # fmt: skip
        raise DataError(f"{path}: not a whole .npy array of numbers ({e}). Save it with numpy.save.") from e
    return array


def read_image(path: Path) -> np.ndarray:
    """Read an image file as RGB, shape (height, width, 3), uint8; at most `PIXEL_LIMIT` pixels, one of `FORMATS`."""
    from PIL import Image, UnidentifiedImageError

    _file(path)
    try:
        # our limit stands in for Pillow's, which warns
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width * height <= PIXEL_LIMIT:
                return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError, TypeError, EOFError,
            LookupError, OverflowError, MemoryError, AttributeError, struct.error, zlib.error) as e:  # fmt: skip
        raise DataError(f"{path}: not a readable image ({e}).") from e
    raise DataError(f"{path}: {width} x {height} pixels, at most {PIXEL_LIMIT:,} are read.")


def confine(root: Path, relative: str) -> Path:
    """Join a path that came from a file to ``root``; whatever leads out of ``root`` is refused."""
    try:
        path = (root / relative).resolve()
        inside = path.is_relative_to(root.resolve())
    except (ValueError, OSError, RuntimeError):  # a null character, a name too long, a loop of links
        inside = False
    if not inside:
        raise DataError(f"{relative!r} leads out of {root}. Give paths inside the data folder.")
    return path


def must_exist(path: Path, what: str = "file") -> Path:
    """Return ``path``, or raise `MissingFile` with what is there instead."""
    if path.exists():
        return path
    near = sorted(p.name for p in path.parent.iterdir())[:8] if path.parent.is_dir() else None
    there = f"{path.parent} holds {', '.join(near) or 'nothing'}" if near is not None else f"{path.parent} is no folder"
    raise MissingFile(f"No {what} at {path}: {there}.")


def sha256(path: Path) -> str:
    """Hash the content of a file."""
    with _file(path).open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _file(path: Path) -> Path:
    if must_exist(path).is_dir():
        raise DataError(f"{path} is a folder; a file is needed here.")
    return path


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    h = hashlib.sha256()
    for name in sorted(arrays):
        h.update(f"{name}{arrays[name].dtype}{arrays[name].shape}".encode())
        h.update(np.ascontiguousarray(arrays[name]).data)
    return h.hexdigest()


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
