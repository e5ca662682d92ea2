import importlib.util
import os
import struct
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bad_readers import (
    chatter,
    crash,
    crash_if_used,
    devour,
    doze,
    give_back,
    hang,
    leave,
    mapped,
    nested,
    objects,
    process_of,
    refuse,
    stumble,
    wait,
)
from sightwave.errors import DataError, MissingFile, ShapeError
from sightwave.reading import worker
from sightwave.reading.unpickle import load_pickle
from sightwave.reading.worker import in_worker

ROOT = Path(__file__).resolve().parents[1]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits the memory of a process")


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "recording.set"
    file.write_bytes(b"not much")
    return file


def test_plain_values_and_arrays_come_back_as_they_were(path):
    ragged = np.empty(2, object)
    ragged[:] = [[1, 2], np.arange(3)]
    values = (
        {"a": [None, True, 1, 10**40, 0.1, "ü", b"\0"], 2: (1, (2,)), "set": {1, 2}},
        OrderedDict(a=1),
        path,
        np.float32(0.1),
        np.str_("Oz"),
        [np.arange(24.0).reshape(2, 3, 4).T, np.zeros((0, 3), "i2"), np.array("x"), np.array(["Oz", "Pz1"])],
        np.array(["2026-01-01"], "M8[ns]"),
    )
    found = in_worker(give_back, path, *values)
    assert found[:5] == values[:5]
    assert [type(x) for x in found[:5]] == [type(x) for x in values[:5]]
    for x, y in zip([*found[5], found[6]], [*values[5], values[6]], strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)
    again, table = in_worker(give_back, path, ragged, pd.DataFrame({"a": [1, 2], "b": ["x", ""]}))
    assert again[0] == [1, 2]
    assert again[1].tolist() == [0, 1, 2]
    pd.testing.assert_frame_equal(table, pd.DataFrame({"a": [1, 2], "b": ["x", ""]}))


def test_arrays_that_map_the_file_stay_on_disk(tmp_path):
    path = tmp_path / "x.bin"
    np.arange(12, dtype="f4").tofile(path)
    found = in_worker(mapped, path)
    np.testing.assert_array_equal(found["turned"], np.arange(12).reshape(3, 4).T[1:])
    assert isinstance(found["turned"].base, np.memmap)
    assert not found["turned"].flags.writeable
    assert found["copy"].base is None


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_tensors_of_torch_files_stay_on_disk(tmp_path, zipped):
    import torch

    x = torch.arange(20.0)
    content = {"x": x, "shared": x[5:].reshape(3, 5).T, "y": torch.ones(3, dtype=torch.int16), "none": torch.zeros(0)}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    found = load_pickle(tmp_path / "x.pth")
    for name, value in content.items():
        np.testing.assert_array_equal(found[name], value.numpy())
        assert found[name].dtype == value.numpy().dtype
        assert isinstance(found[name].base, np.memmap)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (crash, r"its reader crashed \(SIGSEGV\)"),
        (leave, r"its reader crashed \(it was killed\)"),
        (stumble, "ZeroDivisionError: cannot divide by the number of channels"),
        (objects, "holds crash, which is not data"),
    ],
)
def test_whatever_befalls_a_reader_is_our_error_with_the_file_and_what_to_do(path, function, message):
    with pytest.raises(DataError, match=rf"recording\.set: .*{message}") as e:
        in_worker(function, path)
    assert "Copy it again" in str(e.value) or "copy it again" in str(e.value) or function is objects
    assert in_worker(chatter, path) == "read"  # the next file is read all the same


@pytest.mark.parametrize("function", [hang, wait])
def test_a_reader_that_hangs_is_stopped(path, function):
    with pytest.raises(DataError, match=r"recording\.set: not read within 0\.2 s"):
        in_worker(function, path, seconds=0.2)
    assert in_worker(chatter, path) == "read"


def test_others_may_hold_the_processor_while_a_file_is_read(path):
    """The limit is of processor time, so a busy machine refuses no sound file."""
    assert in_worker(doze, path, seconds=1) == "read"


@linux
def test_a_reader_that_eats_memory_is_stopped(path):
    with pytest.raises(DataError, match=r"recording\.set: reading it takes over 300 MB"):
        in_worker(devour, path, megabytes=300)
    assert in_worker(chatter, path) == "read"


@linux
def test_a_pickle_of_seven_bytes_cannot_have_gigabytes(tmp_path):
    """Opcode LONG_BINPUT: store at place 2**31 - 1, for which Python makes a list of that length."""
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x02]r" + struct.pack("<I", 2**31 - 1) + b".")
    with pytest.raises(DataError, match=r"x\.pkl: reading it takes over 1,000 MB"):
        load_pickle(path)


def test_dicts_of_dicts_without_end_are_no_hang(tmp_path):
    import pickle

    bomb: dict[str, object] = {"x": 1}
    for _ in range(100):
        bomb = {"a": bomb, "b": bomb}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(bomb))
    found = load_pickle(tmp_path / "x.pkl")
    assert found["a"] is found["b"]


def test_our_own_errors_arrive_as_they_are(path):
    with pytest.raises(ShapeError, match=r"recording\.set: axis 1 has 3 channels"):
        in_worker(refuse, path)
    with pytest.raises(MissingFile, match=r"gone\.set"):
        in_worker(refuse, path.with_name("gone.set"))


def test_one_process_reads_many_files_and_is_another_one_after_a_crash(path):
    first = in_worker(process_of, path)
    assert first != os.getpid()
    assert in_worker(process_of, path) == first
    for function in (refuse, stumble):
        with pytest.raises(DataError if function is stumble else ShapeError):
            in_worker(function, path)
    assert in_worker(process_of, path) == first
    with pytest.raises(DataError, match="crashed"):
        in_worker(crash, path)
    assert in_worker(process_of, path) != first
    assert in_worker(nested, path)


def test_no_file_pays_for_the_one_before_it(path):
    """The process crashes at its second file, so that one is read by a fresh process."""
    assert [in_worker(crash_if_used, path) for _ in range(3)] == ["read"] * 3


def test_a_process_that_was_killed_between_two_files_is_replaced(path):
    assert in_worker(chatter, path) == "read"
    worker._kept.process.kill()
    assert in_worker(chatter, path) == "read"


def test_only_functions_of_modules_are_called(path):
    with pytest.raises(TypeError, match="must be a function of a module"):
        in_worker(lambda p: 1, path)


def test_limits_grow_with_the_file_and_its_companions(tmp_path):
    for name, n in (("sub-01_eeg.vhdr", 10), ("sub-01_eeg.eeg", 3_000_000), ("sub-02_eeg.eeg", 1000)):
        (tmp_path / name).write_bytes(bytes(n))
    assert worker._size_mb(tmp_path / "sub-01_eeg.vhdr") == pytest.approx(3.00001)
    assert worker._size_mb(tmp_path) == pytest.approx(3.00101)


SHORT = ("npy", "safetensors", "png", "jpg", "own eeg.npy", "own trials.csv", "own captions.csv", "own info.json",
         "own -epo.fif", "n170 csv", "things npy dict", "cvpr40 .pth legacy", "bids .fif", "bids .set", "bids .edf",
         "bids .vhdr", "mat", "result json", "own eeg.mat")  # fmt: skip
EXTRA = {"h5py": "own eeg.h5", "pyarrow": "own trials.parquet"}


def test_mutated_files_are_read_or_refused_by_name(monkeypatch):
    """Twenty of each reader; benchmarks/mutations.py, which this imports, has 500 of each and more readers."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import mutations

    monkeypatch.setattr(worker, "SECONDS", 3.0)  # each hang is waited for
    readers = [*SHORT, *(reader for package, reader in EXTRA.items() if importlib.util.find_spec(package))]
    found = [mutations.attack(reader, 20) for reader in readers]
    assert {row.reader: row.other for row in found if row.other} == {}
    assert sum(row.refused for row in found) > 10 * len(found)
