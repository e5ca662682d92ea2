"""An own folder whose array is HDF5 or MATLAB's, and whose table is parquet."""

import importlib.util
import json

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from sightwave import ondisk
from sightwave.convert import convert
from sightwave.datasets.own import Own, write_own
from sightwave.errors import DataError, ExtraMissing
from sightwave.house import recognise
from sightwave.reading.arrays import load_volume
from sightwave.stimuli import Stimuli


@pytest.fixture
def trials(make_trials):
    t = make_trials(n_subjects=2, part=True)
    onset = np.where(np.arange(len(t)) % 5 == 0, np.nan, np.arange(len(t)) / 3)
    t.events[["onset", "x_mood"]] = list(zip(onset, ["up", "a,b"] * (len(t) // 2), strict=True))
    return t


@pytest.fixture
def folder(tmp_path, trials):
    table = trials.events[["stimulus", "label"]].drop_duplicates().set_index("stimulus")
    write_own(tmp_path / "mine", trials, Stimuli(table, None, "k"))
    return tmp_path / "mine"


def load(folder):
    return Own().load(folder, Own().subjects(folder))[0]


def save_hdf5(path, matlab=False, **arrays):
    """Write as h5py does, or as MATLAB 7.3: its own words in front, the axes the other way round, compressed."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512 if matlab else 0) as f:
        for name, x in arrays.items():
            if matlab:
                f.create_dataset(name, data=x.transpose(), chunks=True, compression="gzip").attrs["MATLAB_class"] = b"x"
            else:
                f.create_dataset(name, data=x)
    if matlab:
        with path.open("r+b") as f:
            f.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128))


# ---- arrays


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.dtype(">f4"), np.float64])
def test_an_array_in_hdf5_is_read_and_stays_on_disk(folder, trials, dtype):
    eeg = trials.eeg.astype(dtype)
    save_hdf5(folder / "eeg.h5", **{"a/eeg": eeg, "a/times": np.arange(5), "other": np.zeros((2, 2, 2))})
    (folder / "eeg.npy").unlink()
    array = load_volume(folder / "eeg.h5")
    np.testing.assert_array_equal(array, eeg)
    assert ondisk.place_of(array)[0] == str(folder / "eeg.h5")
    if dtype is not np.float16:  # too coarse for volts
        np.testing.assert_allclose(load(folder).eeg, trials.eeg, rtol=1e-6)
        assert isinstance(recognise(folder)[0], Own)


@pytest.mark.parametrize("age", ["5", "7.3"])
def test_a_variable_of_matlab_is_read_in_the_order_that_matlab_shows(folder, trials, age):
    eeg, path = trials.eeg.astype(np.float64), folder / "eeg.mat"
    if age == "5":
        savemat(path, {"data": eeg, "names": ["Oz"], "rate": 250.0})
    else:
        save_hdf5(path, matlab=True, data=eeg, rate=np.array([[250.0]]))
    (folder / "eeg.npy").unlink()
    np.testing.assert_allclose(load(folder).eeg, trials.eeg, rtol=1e-6)


def test_an_array_that_is_not_clear_is_refused_with_what_there_is(folder, tmp_path):
    path, eeg = tmp_path / "eeg.h5", np.zeros((2, 3, 4))
    save_hdf5(path, a=eeg, b=eeg + 1, c=np.zeros(3))
    with pytest.raises(DataError, match=r"eeg.h5: expected one array .* there is a \(2, 3, 4\), b \(2, 3, 4\)"):
        load_volume(path)
    save_hdf5(path, c=np.zeros(3))
    with pytest.raises(DataError, match="there is none"):
        load_volume(path)
    savemat(tmp_path / "eeg.mat", {"a": eeg[0], "name": ["x"]})
    with pytest.raises(DataError, match=r"eeg.mat: expected one array .* there is none"):
        load_volume(tmp_path / "eeg.mat")
    path.write_bytes(b"no HDF5")
    with pytest.raises(DataError, match=r"eeg.h5: not an HDF5 file"):
        load_volume(path)


@pytest.mark.parametrize("kind", ["external", "virtual", "link"])
def test_an_array_that_lies_in_other_files_is_refused(tmp_path, kind):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(bytes(96))
    save_hdf5(tmp_path / "other.h5", eeg=np.ones((2, 3, 4), np.float32))
    with h5py.File(tmp_path / "eeg.h5", "w") as f:
        if kind == "external":
            f.create_dataset("eeg", (2, 3, 4), "f4", external=[(str(tmp_path / "secret"), 0, 96)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((2, 3, 4), "f4")
            layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "eeg", (2, 3, 4))
            f.create_virtual_dataset("eeg", layout)
        else:
            f["eeg"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "eeg")
    with pytest.raises(DataError, match="there is none" if kind == "link" else "lies in other files"):
        load_volume(tmp_path / "eeg.h5")


def test_hdf5_without_h5py_says_what_to_install(folder, monkeypatch):
    (folder / "eeg.npy").unlink()
    (folder / "eeg.mat").write_bytes(bytes(512) + b"\x89HDF\r\n\x1a\n" + bytes(99))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExtraMissing, match=r"(?s)eeg.mat is HDF5, as MATLAB 7.3 writes it.*h5py.*sightwave\[hdf5\]"):
        load(folder)


def test_two_arrays_or_tables_are_one_too_many(folder):
    (folder / "eeg.h5").touch()
    with pytest.raises(DataError, match=r"holds eeg.npy and eeg.h5, which say the same"):
        load(folder)
    (folder / "trials.parquet").touch()
    with pytest.raises(DataError, match=r"holds trials.csv and trials.parquet"):
        Own().subjects(folder)


# ---- tables


def test_parquet_says_what_csv_says(folder, tmp_path, trials):
    pytest.importorskip("pyarrow")
    convert(folder, tmp_path / "out", to="parquet")
    assert not (tmp_path / "out" / "trials.csv").exists()
    again, first = load(tmp_path / "out"), load(folder)
    assert again.fingerprint() == first.fingerprint()
    pd.testing.assert_frame_equal(again.events, first.events)
    assert again.events["onset"].isna().sum() == np.isnan(trials.events["onset"].to_numpy(float)).sum()
    convert(tmp_path / "out", tmp_path / "back")
    assert (tmp_path / "back" / "trials.csv").read_bytes() == (folder / "trials.csv").read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mood": 1}, r"trials.parquet: unknown column 'mood'"),
        ({"label": None}, r"trials.parquet: row 1, column 'label': the cell is empty \(24 in all\)"),
        ({"trial": "a"}, r"trials.parquet: row 2, column 'trial': 'a' occurs more than once"),
        ({"part": "exam"}, r"trials.parquet: row 1, column 'part': expected train, val or test, got 'exam'"),
        ({"x_pair": [[1, 2]] * 24}, r"trials.parquet: column 'x_pair' holds list; expected text or numbers"),
    ],
)
def test_a_wrong_cell_of_parquet_is_named_by_row_and_column(folder, change, said):
    pytest.importorskip("pyarrow")
    table = pd.read_csv(folder / "trials.csv")
    table.assign(**change).to_parquet(folder / "trials.parquet")
    (folder / "trials.csv").unlink()
    with pytest.raises(DataError, match=said):
        load(folder)


def test_a_damaged_parquet_is_refused_by_name(folder):
    pytest.importorskip("pyarrow")
    (folder / "trials.csv").rename(folder / "trials.parquet")
    with pytest.raises(DataError, match=r"trials\.parquet"):
        load(folder)


def test_parquet_without_pyarrow_says_what_to_install(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExtraMissing, match=r"(?s)trials.parquet needs pyarrow.*sightwave\[parquet\]"):
        convert(folder, tmp_path / "out", to="parquet")
    assert not (tmp_path / "out").exists()
    (folder / "trials.csv").rename(folder / "trials.parquet")
    with pytest.raises(ExtraMissing, match=r"trials.parquet needs pyarrow"):
        load(folder)


def test_a_folder_in_matlab_alone_is_recognised(tmp_path, make_trials):
    t = make_trials()
    savemat(tmp_path / "eeg.mat", {"eeg": t.eeg.astype(np.float64) * 1e6})
    t.events.to_csv(tmp_path / "trials.csv", index=False)
    info = {"sfreq": t.sfreq, "tmin": t.tmin, "unit": "uV", "ch_names": list(t.ch_names)}
    (tmp_path / "info.json").write_text(json.dumps(info))
    data = recognise(tmp_path)[0]
    np.testing.assert_allclose(data.load(tmp_path, data.subjects(tmp_path))[0].eeg, t.eeg, rtol=1e-5)
