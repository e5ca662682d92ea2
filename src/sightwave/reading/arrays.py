"""One array of trials in a file: .npy, HDF5, or MATLAB of either age; foreign ones are parsed in a worker."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sightwave.errors import DataError, ExtraMissing
from sightwave.files import load_array, must_exist
from sightwave.reading.worker import in_worker

SUFFIXES = (".npy", ".h5", ".mat")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MATLAB_HEAD = 512  # bytes that MATLAB writes in front of HDF5


def load_volume(path: Path) -> np.ndarray:
    """Open the array of trials that a file holds, memory-mapped where it lies in one piece.

    Parameters
    ----------
    path : Path
        ``.npy``; ``.h5``, HDF5 with one array of three axes, or one that is named ``eeg``; or ``.mat`` with such a
        variable, in the older format or in that of 7.3, whose axes come back in the order that MATLAB shows.

    Returns
    -------
    ndarray, of any shape in ``.npy``, else of three axes

    Raises
    ------
    MissingFile, DataError
        If it is absent, damaged, or does not hold one such array.
    ExtraMissing
        If it is HDF5, and h5py is not installed.
    """
    if path.suffix == ".npy":
        return load_array(path)
    if must_exist(path).is_dir():
        raise DataError(f"{path} is a folder; a file is needed here.")
    with path.open("rb") as f:
        head = f.read(_MATLAB_HEAD + len(_HDF5))
    if head.startswith(_HDF5) or head[_MATLAB_HEAD:] == _HDF5:
        if importlib.util.find_spec("h5py") is None:
            raise ExtraMissing(
                f"{path} is HDF5{', as MATLAB 7.3 writes it' * (path.suffix == '.mat')}, which needs h5py:\n"
                "  pip install 'sightwave[hdf5]'"
            )
        return in_worker(_hdf5, path)
    if path.suffix != ".mat":
        raise DataError(f"{path}: not an HDF5 file. Write it again, or save the array as eeg.npy.")
    return in_worker(_matlab, path)


def _hdf5(path: Path) -> np.ndarray:
    import h5py

    found: dict[str, Any] = {}

    def look(name: str, item: Any) -> None:  # links to other files are not followed
        if isinstance(item, h5py.Dataset) and item.ndim == 3 and item.dtype.kind in "fiu":
            found[name] = item

    with h5py.File(path, "r") as f:
        f.visititems(look)
        item = found[_one(path, {name: x.shape for name, x in found.items()})]
        if item.external or item.is_virtual:
            raise DataError(f"{path}: {item.name!r} lies in other files. Copy it into this one.")
        start = item.id.get_offset() if item.chunks is None else None
        if start is None:
            array = item[...]
        else:
            array = np.ndarray(item.shape, item.dtype, np.memmap(path, np.uint8, "r"), start)
        return array.transpose() if "MATLAB_class" in item.attrs else array  # the last axis is MATLAB's first


def _matlab(path: Path) -> np.ndarray:
    from scipy.io import loadmat, whosmat

    kinds = ("double", "single", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)))
    name = _one(path, {name: shape for name, shape, kind in whosmat(path) if len(shape) == 3 and kind in kinds})
    return np.asarray(loadmat(path, variable_names=[name])[name])


def _one(path: Path, shapes: Mapping[str, Any]) -> str:
    """Choose the only array of three axes, or the one that is named eeg."""
    named = [name for name in shapes if name.rpartition("/")[2] == "eeg"]
    fits = named if len(named) == 1 else list(shapes)
    if len(fits) == 1:
        return fits[0]
    there = ", ".join(f"{name} {tuple(map(int, shape))}" for name, shape in list(shapes.items())[:5]) or "none"
    raise DataError(
        f"{path}: expected one array of three axes, (n_trials, n_channels, n_times), or one of them named eeg; "
        f"there is {there}."
    )
