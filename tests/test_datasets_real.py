"""Readers of the layouts in which THINGS-EEG2, MSS and EEGCVPR40 circulate, on phantoms written in them."""

import collections
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from sightwave import files, ondisk
from sightwave.datasets.cvpr40 import Cvpr40
from sightwave.datasets.mss import ANOMALOUS, CATEGORIES, Mss
from sightwave.datasets.own import Own, write_own
from sightwave.datasets.things_eeg2 import VARIANTS, ThingsEeg2
from sightwave.decode.classify import Classify
from sightwave.encoders.time_bins import TimeBins
from sightwave.errors import DataError, LeakError, MissingFile, RecipeError, ShapeError, UnitError, UnknownName
from sightwave.judge.audit import audit
from sightwave.phantom.layouts import write_cvpr40, write_mss, write_things_eeg2
from sightwave.preprocess import Average, Standardise
from sightwave.reading import unpickle
from sightwave.reading.unpickle import load_pickle
from sightwave.recipe import Recipe
from sightwave.splits import BySession, Published, Shuffled
from sightwave.stimuli import Stimuli
from sightwave.story import audited, run
from sightwave.targets.labels import Labels
from sightwave.train import Solve

# ---- pickles


class Call:
    """Pickles as a call of any function: what a hostile file is made of."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


CONTENT = {
    "eeg": np.arange(24, dtype="f4").reshape(2, 3, 4),
    "half": np.ones((3, 4), "f2")[:, ::2],
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "swapped": np.arange(3, dtype=">i4"),
    "text": np.array([["a/b", "ccc"]]),
    "objects": np.array([1, "x", None], dtype=object),
    "number": np.float64(3.5),
    "list": ["Oz", 1, 2.5],
    "ordered": collections.OrderedDict(a=1),
}
HOSTILE = [
    (os.system, "touch {marker}"),
    (eval, "open({marker!r}, 'w')"),
    (exec, "open({marker!r}, 'w')"),
    (subprocess.Popen, "touch {marker}"),
    (open, "{marker}", "w"),
    (__import__, "os"),
    (getattr, "x", "upper"),
    (np.load, "{marker}"),
    (shutil.rmtree, "{marker}"),
]


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_arrays_come_back_as_they_were(tmp_path, protocol):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(CONTENT, protocol=protocol))
    found = load_pickle(path)
    assert set(found) == set(CONTENT)
    for name, value in CONTENT.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert type(found["eeg"]) is np.ndarray


BIG = np.random.default_rng(1).standard_normal((120, 4, 63)).astype(np.float32)  # beyond a frame of pickle
SEVERAL = {
    "in a dict": {"eeg": BIG, "ch_names": ["Oz"]},
    "twice": {"eeg": BIG, "again": BIG},
    "half precision, Fortran order": {"eeg": np.asfortranarray(np.tile(BIG[0], (99, 1)).astype(np.float16))},
    "in a list": [BIG, BIG + 1],
    "deep": {"a": {"eeg": BIG}},
    "alone": BIG,
    "bytes": {"raw": BIG.tobytes(), "eeg": BIG},
}


@pytest.mark.parametrize("container", ["pickle", "npy", "torch"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("what", SEVERAL)
def test_a_large_array_is_mapped_from_where_it_lies_and_is_the_same(tmp_path, what, protocol, container, monkeypatch):
    monkeypatch.setattr(unpickle, "MAPPED", 1000)
    path, value = tmp_path / "x", SEVERAL[what]
    with path.open("wb") as f:
        if container == "torch":
            torch.save(value, f, pickle_protocol=protocol)
        else:
            if container == "npy":
                np.lib.format.write_array_header_1_0(f, {"descr": "|O", "fortran_order": False, "shape": ()})
                value = np.array(value, object) if isinstance(value, dict) else value
            pickle.dump(value, f, protocol=protocol)
    if container == "npy" and not isinstance(SEVERAL[what], dict):
        with pytest.raises(DataError, match="the header says shape"):
            unpickle._load(path)
        return
    found = unpickle._load(path)

    def same(a, b):
        if isinstance(b, dict):
            return a.keys() == b.keys() and all(same(a[k], b[k]) for k in b)
        return a.dtype == b.dtype and np.array_equal(a, b) if isinstance(b, np.ndarray) else list(a) == list(b)

    expected = SEVERAL[what]
    assert all(map(same, found, expected)) if isinstance(expected, list) else same(found, expected)
    if what in ("in a dict", "twice") and protocol > 2:
        assert ondisk.place_of(found["eeg"])[0] == str(path)


def test_opening_a_large_pickle_takes_no_memory_for_its_arrays(tmp_path):
    eeg = np.broadcast_to(BIG[:1], (100_000, 4, 63))  # 101 MB
    files.save_pickle(tmp_path / "x.npy", {"eeg": np.ascontiguousarray(eeg)}, wrapped=True)
    script = """
import sys
from pathlib import Path
from sightwave.reading.unpickle import _load
def peak():  # of this process alone; ru_maxrss begins at its parent's
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1000
before = peak()
eeg = _load(Path(sys.argv[1]))["eeg"]
opened = peak() - before
print(opened, peak() - before if eeg.sum() else 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "x.npy"], capture_output=True, text=True, check=True
    )
    opened, read = map(float, done.stdout.split())
    assert opened < 10 < 90 < read


def test_a_dict_saved_with_numpy_comes_back_as_the_dict(tmp_path):
    np.save(tmp_path / "x.npy", CONTENT, allow_pickle=True)
    np.testing.assert_array_equal(load_pickle(tmp_path / "x.npy")["eeg"], CONTENT["eeg"])
    np.save(tmp_path / "y.npy", CONTENT["eeg"])
    np.testing.assert_array_equal(load_pickle(tmp_path / "y.npy"), CONTENT["eeg"])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_torch_files_come_back_as_arrays(tmp_path, protocol, new):
    tensors = {
        "t": torch.arange(12.0).reshape(3, 4).T,
        "h": torch.ones(2).half(),
        "i": torch.arange(3),
        "e": torch.zeros(0),
    }
    path = tmp_path / "x.pth"
    torch.save(CONTENT | tensors, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    found = load_pickle(path)
    for name, value in tensors.items():
        np.testing.assert_array_equal(found[name], value.numpy(), err_msg=name)
        assert found[name].dtype == value.numpy().dtype
    np.testing.assert_array_equal(found["text"], CONTENT["text"])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("container", ["pickle", "npy", "zip", "legacy"])
def test_whatever_is_not_data_is_refused_by_name_and_never_called(tmp_path, container, protocol):
    marker = tmp_path / "marker"
    path = tmp_path / "x.bin"
    for function, *args in HOSTILE:
        bomb = {"eeg": [Call(function, *(a.format(marker=str(marker)) for a in args))]}
        if container == "pickle":
            path.write_bytes(pickle.dumps(bomb, protocol=protocol))
        elif container == "npy":
            with path.open("wb") as f:
                np.lib.format.write_array_header_1_0(f, {"descr": "|O", "fortran_order": False, "shape": ()})
                pickle.dump(bomb, f, protocol=protocol)
        else:
            torch.save(bomb, path, pickle_protocol=protocol, _use_new_zipfile_serialization=container == "zip")
        with pytest.raises(DataError, match=rf"x\.bin: holds .*{function.__name__}, which is not data"):
            load_pickle(path)
        assert not marker.exists()


def test_a_file_cannot_reach_beyond_its_own_arrays(tmp_path):
    """Tricks that need no forbidden name: strides, flags and shapes that lie."""
    rebuild = torch._utils._rebuild_tensor_v2
    beyond = [(0, (100,), (1,)), (3, (2,), (1,)), (0, (2, 2), (1, 10**6)), (-1, (2,), (1,)), (0, (2,), (-1,))]
    path = tmp_path / "x.pth"
    for offset, size, stride in beyond:
        torch.save(
            Call(
                rebuild, torch.zeros(4).__reduce_ex__(2)[1][0], offset, size, stride, False, collections.OrderedDict()
            ),
            path,
        )
        with pytest.raises(DataError, match="reaches beyond its storage of 4 numbers"):
            load_pickle(path)
    reconstruct = CONTENT["eeg"].__reduce__()[0]

    class Array:
        def __init__(self, dtype, raw):
            self.state = (1, (1,), dtype, False, raw)

        def __reduce__(self):
            return reconstruct, (np.ndarray, (0,), b"b"), self.state

    class Dtype:  # claims to be of plain bytes and has a field of objects
        def __reduce__(self):
            return np.dtype, ("V8", False, True), (3, "|", None, ("f",), {"f": (np.dtype("O"), 0)}, 8, 1, 0)

    class Object:
        def __reduce__(self):
            return np.dtype, ("O8", False, True), (3, "|", None, None, None, 8, 1, 0)

    for dtype, raw in (
        (Dtype(), b"12345678"),
        (Object(), b"12345678"),
        (np.dtype("f8"), b"1234"),
        (np.dtype("f8"), [1]),
    ):
        path.write_bytes(pickle.dumps(Array(dtype, raw), protocol=2))
        with pytest.raises(DataError, match=r"x\.pth: holds"):
            load_pickle(path)


def test_a_file_cannot_change_how_the_next_one_is_read(tmp_path):
    path = tmp_path / "x.pkl"
    # the opcode BUILD on the stand-ins themselves, which would set their attributes
    state = b"}X\x0c\x00\x00\x00__setstate__ccollections\nOrderedDict\ns"
    for name in (b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"c_codecs\nencode\n"):
        path.write_bytes(b"\x80\x02" + name + state + b"b.")
        with pytest.raises(DataError, match="not a whole pickle" if name.startswith(b"cnumpy") else "is not data"):
            load_pickle(path)
        path.write_bytes(b"\x80\x02" + name + b"N" + state + b"\x86b.")
        with suppress(DataError):
            load_pickle(path)
    path.write_bytes(pickle.dumps(CONTENT, protocol=4))
    np.testing.assert_array_equal(load_pickle(path)["eeg"], CONTENT["eeg"])


def test_a_list_of_lists_without_end_costs_nothing(tmp_path):
    bomb = ["x"]
    for _ in range(200):
        bomb = [bomb, bomb]
    (tmp_path / "image_metadata.npy").write_bytes(pickle.dumps({"train_img_concepts": bomb, "train_img_files": bomb}))
    write_arrays(tmp_path, n_train=4, n_test=2)
    with pytest.raises(DataError, match=r"image_metadata\.npy: 'train_img_concepts' must be a flat list of text"):
        ThingsEeg2().load(tmp_path, ("01",))


@pytest.mark.parametrize("kind", ["pickle", "npy", "zip", "legacy"])
def test_damaged_pickles_are_refused_with_their_name(tmp_path, kind):
    path = tmp_path / "good"
    content = {"eeg": np.zeros((4, 5), "f4"), "names": ["Oz", "Pz"]}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=4))
    elif kind == "npy":
        with path.open("wb") as f:
            np.save(f, content, allow_pickle=True)
    else:
        torch.save(content | {"t": torch.ones(3)}, path, _use_new_zipfile_serialization=kind == "zip")
    good, rng = path.read_bytes(), np.random.default_rng(0)
    refused: list[str] = []
    for i in range(150):
        bad = bytearray(good)
        if i % 3 == 0:
            bad = bad[: rng.integers(1, len(bad))]
        else:
            for at in rng.integers(0, len(bad), 1 + i % 4):
                bad[at] = rng.integers(256)
        (tmp_path / "bad").write_bytes(bad)
        try:
            load_pickle(tmp_path / "bad")
        except DataError as e:  # anything else is a crash, and fails this test
            refused.append(str(e))
    assert len(refused) > 50
    assert [e for e in refused if str(tmp_path / "bad") not in e] == []


def test_pointers_of_git_annex_are_told_from_data(tmp_path):
    (tmp_path / "a.npy").write_text("/annex/objects/MD5E-s24400128--abc.npy\n")
    with pytest.raises(DataError, match="datalad get"):
        load_pickle(tmp_path / "a.npy")


def test_the_real_list_of_pictures_is_read(shared):
    path = shared / "things_embeddings" / "things_eeg2_image_metadata.npy"
    if not path.exists():
        pytest.skip("the list of pictures is not there")
    found = load_pickle(path)
    assert len(found["train_img_files"]) == len(found["train_img_concepts"]) == 16540
    assert len(found["test_img_files"]) == 200
    assert found["test_img_concepts"][0] == "00001_aircraft_carrier"
    assert found["train_img_files"][0] == "aardvark_01b.jpg"


# ---- THINGS-EEG2


def write_arrays(root, *, n_train, n_test, channels=("Pz", "Oz"), seed=0):
    """NeuroBridge's layout by hand: one subject, noise."""
    rng = np.random.default_rng(seed)
    (root / "sub-01").mkdir(exist_ok=True)
    for part, n, reps in (("train", n_train, 4), ("test", n_test, 8)):
        np.save(root / "sub-01" / f"{part}.npy", rng.normal(size=(n, 1, reps, len(channels), 250)).astype("f4"))
    files.write_json(root / "info.json", {"ch_names": list(channels)})


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    root = tmp_path_factory.mktemp("things")
    write_things_eeg2(
        root,
        subjects=(1, 2),
        n_concepts=6,
        per_concept=2,
        n_test=4,
        repetitions=4,
        test_repetitions=8,
        variants=VARIANTS,
    )
    return root


@pytest.fixture(scope="module")
def nice(things):
    return ThingsEeg2(variant="nice").load(things, ("01", "02"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_all_four_layouts_are_recognised_and_agree(things, nice, variant, tmp_path):
    dataset = ThingsEeg2(variant=variant)
    assert dataset.subjects(things) == ("01", "02")
    trials, stimuli = dataset.load(things, ("01", "02"))
    e = trials.events
    assert len(trials) == 2 * (6 * 2 * 4 + 4 * 8)
    assert trials.unit == "z"
    assert e["part"].value_counts().to_dict() == {"train": 96, "test": 64}
    assert (len(trials.ch_names), trials.sfreq, trials.tmin) == (
        (17, 100.0, -0.2) if variant == "official" else (63, 250.0, 0.0)
    )
    assert e["onset"].isna().all()  # no layout keeps the order of presentation
    assert stimuli.image(stimuli.ids[0]).shape == (64, 64, 3)
    assert e["session"].nunique() == (4 if variant == "ubp" else 1)
    if variant == "official":
        return
    assert list(stimuli.ids) == list(nice[1].ids)
    assert list(e["stimulus"]) == list(nice[0].events["stimulus"])
    # repetitions come in different orders, so the mean over them is what the copies share
    ours, theirs = (t.average(by=("subject", "stimulus")) for t in (trials, nice[0]))
    np.testing.assert_allclose(ours.eeg, theirs.eeg, atol=2e-3 if variant == "ubp" else 1e-6)
    # one copy alone is recognised by itself
    place = {
        "nice": "Preprocessed_data_250Hz",
        "ubp": "Preprocessed_data_250Hz_whiten",
        "neurobridge": "preprocessed_eeg",
    }
    shutil.copytree(things / place[variant], tmp_path / "copy")
    shutil.copytree(things / "Image_set", tmp_path / "Image_set")
    assert ThingsEeg2().load(tmp_path, ("02",))[0].fingerprint() == trials.where(subject="02").fingerprint()


def test_the_label_is_the_concept_and_no_concept_is_in_both_parts(nice):
    e = nice[0].events
    assert e["stimulus"].iloc[0] == "00001_shape0000/shape0000_01b.jpg"
    assert e["label"].iloc[0] == "shape0000"
    assert not set(e["label"][e["part"] == "train"]) & set(e["label"][e["part"] == "test"])


def test_averaging_while_reading_is_averaging_after_it(things, nice):
    early, _ = ThingsEeg2(variant="nice", average=True).load(things, ("01", "02"))
    late = nice[0].average(by=("subject", "stimulus"))
    np.testing.assert_allclose(early.eeg, late.eeg, atol=1e-5)
    assert list(early.events["n_averaged"]) == list(late.events["n_averaged"])
    assert early.repetitions == "4-8"
    assert [a.step for a in early.history][-1] == "Average"
    assert ThingsEeg2(variant="ubp", average=True).load(things, ("01",))[0].events["session"].iloc[-1] == "0+1+2+3"


def test_the_audit_has_nothing_against_the_published_split(nice):
    trials, stimuli = nice
    verdict = audit(Published()(trials), trials, stimuli, holds_out=Published.holds_out, stimulus_bound=True)
    assert verdict.verdict == "PASS"


def test_numbers_as_small_as_volts_are_volts(tmp_path):
    write_arrays(tmp_path, n_train=4, n_test=2)
    meta = {
        f"{p}_img_{k}": [f"{p}{i}" for i in range(n)]
        for p, n in (("train", 4), ("test", 2))
        for k in ("concepts", "files")
    }
    files.save_pickle(tmp_path / "image_metadata.npy", meta, wrapped=True)
    assert ThingsEeg2().load(tmp_path, ("01",))[0].unit == "z"
    for path in (tmp_path / "sub-01").iterdir():
        np.save(path, np.load(path) * np.float32(1e-5))
    trials, stimuli = ThingsEeg2().load(tmp_path, ("01",))
    assert (trials.unit, trials.history) == ("V", ())
    assert stimuli.read is None


def test_several_copies_ask_which(things):
    with pytest.raises(DataError, match=r"several copies: official in .*; nice in .*variant="):
        ThingsEeg2().subjects(things)
    with pytest.raises(RecipeError, match="variant must be auto or one of"):
        ThingsEeg2(variant="atm")


def test_lists_of_another_copy_are_refused_with_both_numbers(tmp_path):
    write_arrays(tmp_path, n_train=5, n_test=2)
    meta = {
        f"{p}_img_{k}": [f"0000{i}_c" for i in range(n)]
        for p, n in (("train", 4), ("test", 2))
        for k in ("concepts", "files")
    }
    files.save_pickle(tmp_path / "image_metadata.npy", meta, wrapped=True)
    with pytest.raises(DataError, match=r"image_metadata\.npy names 4 train pictures, .*train\.npy holds 5 conditions"):
        ThingsEeg2().load(tmp_path, ("01",))
    del meta["test_img_files"]
    files.save_pickle(tmp_path / "image_metadata.npy", meta, wrapped=True)
    with pytest.raises(DataError, match="'test_img_files'"):
        ThingsEeg2().load(tmp_path, ("01",))
    (tmp_path / "image_metadata.npy").unlink()
    with pytest.raises(MissingFile, match=r"No image_metadata\.npy"):
        ThingsEeg2().load(tmp_path, ("01",))


def test_wrong_files_say_what_is_wrong(tmp_path, things):
    with pytest.raises(MissingFile, match="--data DIR"):
        ThingsEeg2().subjects(None)
    with pytest.raises(MissingFile, match=r"preprocessed_eeg_training\.npy or train\.pt or train\.npy"):
        ThingsEeg2().subjects(tmp_path)
    with pytest.raises(UnknownName, match="No subject named '3'"):
        ThingsEeg2(variant="nice").load(things, ("3",))
    shutil.copytree(things / "Image_set", tmp_path / "Image_set")
    sub = tmp_path / "sub-01"
    sub.mkdir()
    good = load_pickle(things / "Preprocessed_data_250Hz/sub-01/preprocessed_eeg_training.npy")
    shutil.copy(things / "Preprocessed_data_250Hz/sub-01/preprocessed_eeg_test.npy", sub)
    wrong = [
        ({"preprocessed_eeg_data": good["preprocessed_eeg_data"].transpose(0, 1, 3, 2)}, ShapeError, "63 names"),
        ({"preprocessed_eeg_data": good["preprocessed_eeg_data"][0]}, ShapeError, "n_conditions, n_repetitions"),
        ({"preprocessed_eeg_data": good["preprocessed_eeg_data"] * np.nan}, DataError, "NaN"),
        ({"times": good["times"][:9]}, DataError, "'times' has 9 values, the data have 250"),
        ({"times": good["times"] ** 2}, DataError, "even steps"),
        ({"ch_names": ["Oz"] * 63}, DataError, "'Oz' more than once"),
        ({"ch_names": None}, DataError, "'ch_names' must be a flat list of text"),
        ({"preprocessed_eeg_data": None}, DataError, "expected 'preprocessed_eeg_data'"),
    ]
    for change, error, match in wrong:
        files.save_pickle(sub / "preprocessed_eeg_training.npy", {**good, **change})
        with pytest.raises(error, match=match):
            ThingsEeg2().load(tmp_path, ("01",))
    files.save_pickle(sub / "preprocessed_eeg_training.npy", good)
    (tmp_path / "sub-02").mkdir()
    shutil.copy(sub / "preprocessed_eeg_test.npy", tmp_path / "sub-02")
    assert ThingsEeg2().subjects(tmp_path) == ("01",)
    assert ThingsEeg2().left_out(tmp_path) == {"sub-02": "preprocessed_eeg_training.npy not there"}
    next((tmp_path / "Image_set").glob("test_images/*/*.jpg")).unlink()
    with pytest.raises(DataError, match="1 test pictures are not there"):
        ThingsEeg2().load(tmp_path, ("01",))


# ---- MSS


@pytest.fixture(scope="module")
def mss(tmp_path_factory):
    root = tmp_path_factory.mktemp("mss")
    write_mss(root, subjects=(2, 3), sessions=3, runs=1, trials=20, rsvp=True, rsvp_trials=40, per_class=3)
    return root


@pytest.fixture(scope="module")
def mss_small(tmp_path_factory):
    root = tmp_path_factory.mktemp("mss-small")
    write_mss(root, subjects=(2,), sessions=1, runs=2, trials=20, per_class=2)
    return root


@pytest.fixture
def mss_copy(mss_small, tmp_path):
    return shutil.copytree(mss_small, tmp_path / "mss")


STEM = "sub-02_ses-01_task-lowSpeed_run-01"
DONE = Path("derivatives/preprocessed_data/sub-02/ses-01")


def test_low_speed_runs_are_read_with_pictures_captions_and_onsets(mss):
    trials, stimuli = Mss().load(mss, ("02", "03"))
    assert Mss().subjects(mss) == ("02", "03")
    assert trials.eeg.shape == (120, 122, 500)
    assert (trials.sfreq, trials.tmin, trials.unit) == (1000.0, 0.0, "V")
    e = trials.events
    stem = "sub-03_ses-02_task-lowSpeed_run-01"
    mine = (e["recording"] == stem).to_numpy()
    npy = np.load(mss / "derivatives/preprocessed_data/sub-03/ses-02" / f"{stem}_1000Hz.npy")
    np.testing.assert_array_equal(trials.eeg[mine], npy)
    labels = json.loads((mss / "derivatives/preprocessed_data/sub-03/ses-02" / f"{stem}_1000Hz.json").read_text())
    assert list(e["label"][mine]) == [CATEGORIES[y] for y in labels]
    lines = (mss / "sub-03/ses-02" / f"{stem}_events.tsv").read_text().split("\n")
    assert e["onset"][mine].iloc[0] == int(lines[1].split("\t")[0]) / 1000
    assert (np.diff(e["onset"][mine]) > 2).all()
    assert e["stimulus_known"].all()
    s = e["stimulus"].iloc[0]
    assert s.startswith(e["label"].iloc[0])
    assert "_resized" not in s
    assert stimuli.image(s).shape == (64, 64, 3)
    assert len(stimuli.captions(s)) == 1
    assert Mss().left_out(mss) == {}
    split = BySession(val=("02",), test=("03",))(trials)[0]
    assert (len(split.train_rows), len(split.val_rows), len(split.test_rows)) == (20, 20, 20)


def test_a_single_run_stays_on_disk(mss_copy):
    assert not isinstance(Mss().load(mss_copy, ("02",))[0].eeg, np.memmap)
    for path in mss_copy.rglob("*_run-02_*"):
        path.unlink()
    assert isinstance(Mss().load(mss_copy, ("02",))[0].eeg, np.memmap)


def test_more_than_fits_into_memory_stays_on_disk_and_is_the_same(mss_copy, monkeypatch):
    whole, _ = Mss().load(mss_copy, ("02",))
    monkeypatch.setattr(ondisk, "IN_MEMORY", 0)
    rows = np.array([30, 3, 19])
    there, _ = Mss().load(mss_copy, ("02",))
    assert isinstance(there.eeg, ondisk.OnDisk)
    np.testing.assert_array_equal(there.eeg[rows], whole.eeg[rows])
    del there
    for path in mss_copy.rglob("*_1000Hz.npy"):
        np.save(path, (1e6 * np.load(path)).astype(np.float32))
    micro, _ = Mss(unit="uV").load(mss_copy, ("02",))
    assert isinstance(micro.eeg, ondisk.OnDisk)
    np.testing.assert_allclose(micro.eeg[rows], whole.eeg[rows], rtol=1e-5)


def test_rsvp_overlaps_and_the_audit_refuses_to_split_it_by_trials(mss):
    trials, stimuli = Mss(task="rsvp").load(mss, ("02",))
    assert np.median(np.diff(trials.events["onset"][:20])) == pytest.approx(0.2, abs=0.01)
    verdict = audit(Shuffled()(trials), trials, stimuli)
    failed = {f.kind for f in verdict.findings if f.level == "FAIL"}
    assert {"overlap", "block-design"} <= failed


def test_several_captions_of_a_picture_are_kept_in_order(mss_copy):
    path = mss_copy / "captions.txt"
    first = path.read_text().splitlines()[1].split("\t")
    path.write_text(path.read_text() + "\t".join([*first[:3], "another one"]) + "\n")
    _, stimuli = Mss().load(mss_copy, ("02",))
    assert stimuli.captions(first[2].removesuffix("_resized.jpg")) == (first[3], "another one")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("short-json", r"1000Hz\.json has 19 rows, .*1000Hz\.npy has 20 trials|20 rows, .*json has 19 labels"),
        ("short-csv", r"image\.csv has 19 rows, .*1000Hz\.json has 20 labels"),
        ("bad-label", "labels from 0 to 19"),
        ("other-class", "column 'FilePath': a picture of '.*', but .* says"),
        ("empty-path", "column 'FilePath': expected a path"),
        ("no-image", "1 of .* stimuli have no image"),
        ("no-caption", "1 of .* stimuli have no caption"),
        ("captions-cells", r"captions\.txt: line 2: expected 4 cells"),
        ("bad-events", r"events\.tsv: line 2: expected an onset in ms"),
        ("twice", "is there twice"),
    ],
)
def test_files_that_disagree_are_named_with_both_numbers(mss_copy, change, match):
    labels, table = mss_copy / DONE / f"{STEM}_1000Hz.json", mss_copy / "sub-02/ses-01" / f"{STEM}_image.csv"
    events, captions = mss_copy / "sub-02/ses-01" / f"{STEM}_events.tsv", mss_copy / "captions.txt"
    lines = table.read_text().splitlines()
    if change == "short-json":
        labels.write_text(json.dumps(json.loads(labels.read_text())[:-1]))
    elif change == "short-csv":
        table.write_text("\n".join(lines[:-1]) + "\n")
    elif change == "bad-label":
        labels.write_text(json.dumps([20, *json.loads(labels.read_text())[1:]]))
    elif change == "other-class":
        table.write_text("\n".join([lines[0], lines[2], lines[1], *lines[3:]]) + "\n")
    elif change == "empty-path":
        table.write_text("\n".join([lines[0], '""', *lines[2:]]) + "\n")
    elif change == "no-image":
        next((mss_copy / "images").rglob("*.jpg")).unlink()
    elif change == "no-caption":
        captions.write_text("\n".join(captions.read_text().splitlines()[:-1]) + "\n")
    elif change == "captions-cells":
        captions.write_text("\n".join([captions.read_text().splitlines()[0], "a\tb"]) + "\n")
    elif change == "bad-events":
        events.write_text("onset\tduration\teventnumber\nsoon\t0\t1\n")
    else:
        shutil.copy(labels, mss_copy / labels.name)
    with pytest.raises(DataError, match=match):
        Mss().load(mss_copy, ("02",))


def test_paths_in_the_csv_are_keys_and_lead_nowhere(mss_copy):
    table = mss_copy / "sub-02/ses-01" / f"{STEM}_image.csv"
    lines = table.read_text().splitlines()
    name = lines[1].rpartition("\\")[2]
    plain, _ = Mss().load(mss_copy, ("02",))
    for path in (f"../../../{name}", f"\\\\server\\share\\{name}", f"file:///{name}", name):
        table.write_text("\n".join([lines[0], path, *lines[2:]]) + "\n")
        assert Mss().load(mss_copy, ("02",))[0].fingerprint() == plain.fingerprint()


def test_microvolts_are_an_error_that_says_so_and_an_option_that_mends_it(mss_copy):
    volts, _ = Mss().load(mss_copy, ("02",))
    for path in (mss_copy / DONE).glob("*.npy"):
        np.save(path, np.load(path) * np.float32(1e6))
    with pytest.raises(UnitError, match="unit='uV'"):
        Mss().load(mss_copy, ("02",))
    np.testing.assert_allclose(Mss(unit="uV").load(mss_copy, ("02",))[0].eeg, volts.eeg, rtol=1e-5)


def test_known_odd_and_missing_runs_are_left_out_by_name(mss_copy):
    odd = ANOMALOUS[-1]
    folder = mss_copy / "derivatives/preprocessed_data/sub-20/ses-03"
    folder.mkdir(parents=True)
    for k in (1, 2, 3, 4):
        stem = odd[:-1] + str(k)
        np.save(folder / f"{stem}_1000Hz.npy", np.random.default_rng(k).normal(0, 1e-5, (40, 122, 20)).astype("f4"))
        (folder / f"{stem}_1000Hz.json").write_text(json.dumps([i % 20 for i in range(40)]))
    (folder / f"{odd[:-1]}2_1000Hz.json").unlink()
    (folder / f"{odd[:-1]}3_1000Hz.npy").write_text("/annex/objects/MD5E-s488000128--0.npy\n")
    trials, _ = Mss(task="rsvp").load(mss_copy, ("20",))
    assert set(trials.events["run"]) == {"01"}
    assert isinstance(trials.eeg, np.memmap)
    assert not trials.events["stimulus_known"].any()
    assert trials.events["onset"].isna().all()
    assert Mss(task="rsvp").left_out(mss_copy) == {
        odd: "known to be odd: 40 trials and 40 labels, 2000 were shown",
        f"{odd[:-1]}2": f"{odd[:-1]}2_1000Hz.json is not there",
        f"{odd[:-1]}3": "not downloaded: a pointer without content (datalad get)",
    }


def test_the_real_labels_and_events_of_mss_fit_together(shared, tmp_path):
    archive = shared / "mss_labels" / "ds005589_text_files.tar.gz"
    if not archive.exists():
        pytest.skip("the labels of MSS are not there")
    wanted = ("sub-03_ses-03_task-", "sub-20_ses-03_task-")
    with tarfile.open(archive) as tar:
        names = [m for m in tar.getmembers() if m.name.rpartition("/")[2].startswith(wanted)]
        # Python 3.11.4 brought the filter
        tar.extractall(tmp_path, names, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    with pytest.raises(MissingFile, match=r"_1000Hz\.npy is not there.*openneuro"):
        Mss().subjects(tmp_path)
    rng = np.random.default_rng(0)
    for path in tmp_path.rglob("*_1000Hz.json"):
        n = len(json.loads(path.read_text()))
        np.save(path.with_suffix(".npy"), rng.normal(0, 1e-5, (n, 3, 8)).astype("f4"))
    slow, _ = Mss().load(tmp_path, ("03", "20"))
    assert len(slow) == 800
    assert slow.events["onset"].notna().all()
    assert slow.events["label"].value_counts().eq(40).all()
    fast, _ = Mss(task="rsvp").load(tmp_path, ("03", "20"))
    assert len(fast) == 12_000
    assert fast.events["onset"].notna().all()
    assert (fast.events["label"] == fast.events["label"].shift()).mean() > 0.9
    assert Mss(task="rsvp").left_out(tmp_path) == {
        "sub-03_ses-03_task-rsvp_run-02": "not there (never published)",
        "sub-20_ses-03_task-rsvp_run-04": "known to be odd: 1340 trials and 1340 labels, 2000 were shown",
    }


# ---- EEGCVPR40


@pytest.fixture(scope="module")
def cvpr(tmp_path_factory):
    root = tmp_path_factory.mktemp("cvpr")
    write_cvpr40(root, subjects=(1, 2), n_classes=5, per_class=18, n_lost=2)
    return root


def test_the_published_split_and_crop_are_read(cvpr):
    dataset = Cvpr40()
    assert dataset.subjects(cvpr) == ("1", "2")
    trials, stimuli = dataset.load(cvpr, ("1", "2"))
    content = load_pickle(cvpr / "eeg_5_95_std.pth")
    splits = load_pickle(cvpr / "block_splits_by_image_all.pth")["splits"][0]
    assert trials.eeg.shape[1:] == (128, 440)
    assert (trials.tmin, trials.unit) == (0.02, "z")
    rows = trials.events["trial"].str.rpartition("_")[2].astype(int).to_numpy()
    for k in (0, 50, len(rows) - 1):
        item = content["dataset"][rows[k]]
        np.testing.assert_array_equal(trials.eeg[k], item["eeg"][:, 20:460])
        assert trials.events["stimulus"][k] == content["images"][item["image"]]
        assert trials.events["label"][k] == content["labels"][item["label"]]
    for part, there in splits.items():
        assert set(rows[trials.events["part"] == part]) <= set(there)
    fit = [450 <= item["eeg"].shape[1] <= 600 for item in content["dataset"]]
    assert len(trials) == sum(fit)
    assert dataset.left_out(cvpr).get("eeg_5_95_std.pth", "0").split()[0] == str(len(fit) - sum(fit))
    assert stimuli.image(stimuli.ids[0]).shape == (64, 64, 3)
    assert Cvpr40(crop=(0, 300)).load(cvpr, ("2",))[0].eeg.shape[2] == 300


def test_the_block_design_fails_the_audit_and_the_docstring_begins_with_it(cvpr):
    assert Cvpr40.__doc__.startswith("WARNING: block design")
    trials, stimuli = Cvpr40().load(cvpr, ("1", "2"))
    verdict = audit(Published()(trials), trials, stimuli, holds_out=Published.holds_out)
    assert verdict.verdict == "FAIL"
    assert "block-design" in {f.kind for f in verdict.findings if f.level == "FAIL"}
    # even when the file is not in the order of presentation: the design is known
    order = np.random.default_rng(0).permutation(len(trials))
    assert audit(Published()(trials[order]), trials[order], stimuli).verdict == "FAIL"


def test_an_order_of_the_file_that_hides_the_blocks_hides_nothing(cvpr, tmp_path):
    content = load_pickle(cvpr / "eeg_5_95_std.pth")
    for item in content["dataset"]:
        item["eeg"] = torch.from_numpy(item["eeg"].copy())
    order = np.random.default_rng(1).permutation(len(content["dataset"]))
    content["dataset"] = [content["dataset"][i] for i in order]
    parts = np.array_split(np.arange(len(order)), 3)
    for new in (True, False):  # the published files are of torch's legacy form
        torch.save(content, tmp_path / "eeg_14_70_std.pth", _use_new_zipfile_serialization=new)
        split = {p: r.tolist() for p, r in zip(("train", "val", "test"), parts, strict=True)}
        torch.save({"splits": [split]}, tmp_path / "block_splits_by_image_all.pth", _use_new_zipfile_serialization=new)
        trials, stimuli = Cvpr40().load(tmp_path, ("1", "2"))
        found = audit(Published()(trials), trials, stimuli).findings
        assert "block-design" in {f.kind for f in found if f.level == "FAIL"}
        assert not {f.kind for f in found} & {"overlap"}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda c, s: c.pop("labels"), "'dataset', 'labels' and 'images'"),
        (lambda c, s: c["dataset"][3].update(label=9), r"dataset\[3\]\['label'\] must be from 0 to 1, got 9"),
        (lambda c, s: c["dataset"][3].update(image="x"), r"dataset\[3\]\['image'\] must be from 0 to 3"),
        (lambda c, s: c["dataset"][2].pop("eeg"), r"dataset\[2\]: expected eeg"),
        (lambda c, s: c["dataset"][2].update(eeg=torch.zeros(3)), r"dataset\[2\]\['eeg'\] must be numbers"),
        (lambda c, s: s[0]["test"].append(99), r"'test' names row 99, the data set has 8"),
        (lambda c, s: s[0]["test"].append(0), "row 0 is in 'train' and in 'test'"),
        (lambda c, s: s[0].pop("val"), "list of train, val and test"),
        (lambda c, s: s.clear(), "holds 0, so fold 0 is not there"),
    ],
)
def test_damaged_fields_are_named(tmp_path, change, match):
    rng = np.random.default_rng(0)
    dataset = [
        {"eeg": torch.from_numpy(rng.normal(size=(3, 500)).astype("f4")), "image": i % 4, "label": i % 2, "subject": 1}
        for i in range(8)
    ]
    content = {"dataset": dataset, "labels": ["n1", "n2"], "images": [f"n_{i}" for i in range(4)]}
    splits = [{"train": [0, 1, 2, 3, 4, 5], "val": [6], "test": [7]}]
    change(content, splits)
    torch.save(content, tmp_path / "eeg_5_95_std.pth")
    torch.save({"splits": splits}, tmp_path / "block_splits_by_image_all.pth")
    with pytest.raises((DataError, ShapeError), match=match):
        Cvpr40().load(tmp_path, ("1",))


def test_which_file_is_asked_when_there_are_two(tmp_path):
    with pytest.raises(MissingFile, match=r"expected eeg_5_95_std\.pth"):
        Cvpr40().subjects(tmp_path)
    for name in ("eeg_5_95_std.pth", "eeg_14_70_std.pth"):
        torch.save({}, tmp_path / name)
    with pytest.raises(DataError, match=r"holds eeg_14_70_std\.pth, eeg_5_95_std\.pth\. Say which"):
        Cvpr40().subjects(tmp_path)
    with pytest.raises(UnknownName, match=r"Did you mean 'eeg_5_95_std\.pth'"):
        Cvpr40(file="eeg_5_59_std.pth").subjects(tmp_path)


# ---- the marker, and the story


RIDGE = Recipe(
    dataset=Cvpr40(),
    split=Published(),
    steps=(Standardise(),),
    targets=(Labels(),),
    encoder=partial(TimeBins, n_bins=8),
    stages=(Solve(spaces=("label",)),),
    tasks=(Classify(),),
)


def test_a_result_from_a_written_phantom_is_called_phantom(mss, tmp_path):
    recipe = replace(RIDGE, dataset=Mss(), split=BySession(test=("03",)), steps=(Standardise(),))
    result = run(recipe, data=mss, out=tmp_path, subjects=("02",), n_permutations=49, n_bootstrap=49)
    assert result.data["phantom"] is True


def test_an_own_folder_is_phantom_only_with_the_marker(tmp_path, make_trials):
    trials = make_trials()
    table = trials.events[["stimulus", "label"]].drop_duplicates().set_index("stimulus")
    write_own(tmp_path / "own", trials, Stimuli(table))
    assert not Own().is_phantom(tmp_path / "own")
    assert not Own().is_phantom(None)
    (tmp_path / "own" / "PHANTOM.txt").write_text("simulated")
    assert Own().is_phantom(tmp_path / "own")


def test_the_block_design_stops_a_run_unless_the_recipe_names_it(cvpr, tmp_path):
    with pytest.raises(LeakError, match="block-design"):
        run(RIDGE, data=cvpr, out=tmp_path)
    result = run(replace(RIDGE, leaks=("block-design",)), data=cvpr, out=tmp_path, n_permutations=49, n_bootstrap=49)
    assert result.audit["verdict"] == "FAIL"
    assert result.data["phantom"] is True


def test_things_eeg2_goes_through_the_story_up_to_the_audit(things):
    recipe = replace(RIDGE, dataset=ThingsEeg2(variant="ubp"), steps=(Average(), Standardise()))
    _, trials, _, splits, verdict = audited(recipe, data=things, subjects=("02",))
    assert verdict.verdict == "PASS"
    assert (len(splits[0].train_rows), len(splits[0].test_rows)) == (48, 32)
    assert trials.eeg.dtype == np.float16
