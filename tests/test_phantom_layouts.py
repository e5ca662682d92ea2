"""Written phantoms are opened here as the loaders of others open the real files: numpy, pickle and torch, unguarded."""

import csv
import hashlib
import json
import pickle
import warnings
from collections import Counter
from itertools import pairwise
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
import torch
from PIL import Image

from sightwave.errors import DataError, RecipeError, UnknownName
from sightwave.phantom.brain import Brain
from sightwave.phantom.concepts import CATEGORIES, imagine
from sightwave.phantom.confounds import add_neighbours
from sightwave.phantom.features import N_FEATURES
from sightwave.phantom.head import MSS122, POSTERIOR17, THINGS63
from sightwave.phantom.layouts import LAYOUTS, MARKER, write_cvpr40, write_mss, write_things_eeg2
from sightwave.phantom.layouts.things_eeg2 import VARIANTS

N_TRAIN, N_TEST, CHANCE = 24, 5, 0.2


def digests(folder: Path) -> dict[str, str]:
    found = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    out = tmp_path_factory.mktemp("things")
    write_things_eeg2(
        out, subjects=(1, 2), n_concepts=12, per_concept=2, n_test=N_TEST, test_repetitions=16, variants=VARIANTS
    )
    return out


@pytest.fixture(scope="module")
def mss(tmp_path_factory):
    out = tmp_path_factory.mktemp("mss")
    write_mss(out, subjects=(2, 14), sessions=1, runs=1, rsvp=True, rsvp_trials=40, per_class=12)
    return out


@pytest.fixture(scope="module")
def cvpr40(tmp_path_factory):
    out = tmp_path_factory.mktemp("cvpr40")
    write_cvpr40(out, n_classes=4, per_class=14, n_lost=3)
    return out


def trials(cvpr40: Path) -> dict:
    return torch.load(cvpr40 / "eeg_5_95_std.pth", weights_only=False)


# --- all three ----------------------------------------------------------------------------------------------------


def test_every_layout_says_that_it_is_simulated(things, mss, cvpr40):
    for out in (things, mss, cvpr40):
        assert "simulated" in (out / MARKER).read_text()
    assert set(LAYOUTS) == {"things-eeg2", "things-eeg2-raw", "mss", "cvpr40"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("things-eeg2", {"n_concepts": 2, "per_concept": 1, "n_test": 1, "test_repetitions": 8, "variants": VARIANTS}),
        ("mss", {"subjects": (3,), "sessions": 1, "runs": 1, "trials": 4, "rsvp": True, "rsvp_trials": 20}),
        ("cvpr40", {"subjects": (1,), "n_classes": 2, "per_class": 4, "n_lost": 1}),
    ],
)
def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(tmp_path, name, options):
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        LAYOUTS[name](tmp_path / folder, seed=seed, **options)
    first, again, other = (digests(tmp_path / f) for f in "abc")
    assert first == again
    recordings = [n for n in first if n.endswith((".npy", ".pt", "_std.pth")) and "metadata" not in n]
    assert recordings
    assert all(first[n] != other[n] for n in recordings)


def test_no_staging_file_is_left(things, mss, cvpr40):
    for out in (things, mss, cvpr40):
        assert [p for p in out.rglob("*") if p.name.startswith(".")] == []


def test_numbers_outside_the_design_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="multiple of 4"):
        write_things_eeg2(tmp_path, test_repetitions=6)
    with pytest.raises(RecipeError, match="at least 4"):
        write_things_eeg2(tmp_path, repetitions=2, variants=("official",))
    with pytest.raises(UnknownName, match="Did you mean 'nice'"):
        write_things_eeg2(tmp_path, variants=("nicee",))
    with pytest.raises(RecipeError, match="multiple of 20"):
        write_mss(tmp_path, rsvp_trials=30)
    with pytest.raises(RecipeError, match="n_lost"):
        write_cvpr40(tmp_path, n_classes=1, per_class=4, n_lost=2)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "sub-01").mkdir()
    for write in LAYOUTS.values():
        with pytest.raises(DataError, match="no phantom"):
            write(tmp_path)
    assert [p.name for p in tmp_path.rglob("*")] == ["sub-01"]


def test_neighbours_of_a_sequence_reach_into_a_trial_and_others_do_not():
    brain = Brain(ch_names=POSTERIOR17, n_times=100)
    z = np.random.default_rng(0).normal(size=(3, N_FEATURES)).astype(np.float32)
    x = np.zeros((3, 17, 100), np.float32)
    add_neighbours(x, brain, z, np.array([0, 0, 1]), soa_s=0.2, session=0, before=10)
    w, common = brain.sources
    own = np.fft.irfft(np.einsum("nk,kcf->ncf", z, w) + common, n=100)
    # 50 samples from onset to onset, and the own onset at 10: the second picture comes on at sample 60 of the first
    np.testing.assert_allclose(x[0, :, 60:], own[1][:, :40], atol=1e-3)
    np.testing.assert_allclose(x[1, :, :60], own[0][:, 40:], atol=1e-3)
    assert not x[0, :, :60].any()
    assert not x[2].any()
    assert np.abs(x[0]).max() > 1


# --- THINGS-EEG2 --------------------------------------------------------------------------------------------------


def test_official_files_hold_one_object_of_17_channels_at_100_hz(things):
    for name, shape in (("training", (N_TRAIN, 4, 17, 100)), ("test", (N_TEST, 16, 17, 100))):
        path = things / "Preprocessed_data" / "sub-01" / f"preprocessed_eeg_{name}.npy"
        content = np.load(path, allow_pickle=True).item()
        assert list(content) == ["preprocessed_eeg_data", "ch_names", "times"]
        assert content["preprocessed_eeg_data"].shape == shape
        assert content["ch_names"] == list(POSTERIOR17)
        assert (content["times"][0], content["times"][-1], len(content["times"])) == (-0.2, 0.79, 100)


def test_nice_files_are_bare_pickles_with_more_times_than_samples(things):
    for name, shape in (("training", (N_TRAIN, 4, 63, 250)), ("test", (N_TEST, 16, 63, 250))):
        path = things / "Preprocessed_data_250Hz" / "sub-02" / f"preprocessed_eeg_{name}.npy"
        with warnings.catch_warnings(action="ignore"):  # numpy tells that it falls back on pickle
            content = np.load(path, allow_pickle=True)
        assert isinstance(content, dict)
        assert path.read_bytes()[:2] == b"\x80\x04"
        assert content["preprocessed_eeg_data"].shape == shape
        assert content["preprocessed_eeg_data"].dtype == np.float32
        assert content["ch_names"] == list(THINGS63)
        assert (len(content["times"]), content["times"][0], content["times"][50]) == (300, -0.2, 0)


def test_ubp_files_hold_half_precision_and_what_belongs_to_each_trial(things):
    for part, n, reps in (("train", N_TRAIN, 4), ("test", N_TEST, 16)):
        path = things / "Preprocessed_data_250Hz_whiten" / "sub-01" / f"{part}.pt"
        content = torch.load(path, weights_only=False)
        assert list(content) == ["eeg", "label", "img", "text", "session", "ch_names", "times"]
        assert (content["eeg"].shape, content["eeg"].dtype) == ((n, reps, 63, 250), np.float16)
        assert all(content[k].shape == (n, reps) for k in ("label", "img", "text", "session"))
        per_concept = n // (content["label"].max() + 1)
        assert content["label"][:, 0].tolist() == [i // per_concept for i in range(n)]
        for img, text in zip(content["img"][:, 0], content["text"][:, 0], strict=True):
            root, folder, name = img.split("/")
            assert root == f"{part}_images"  # the resized copies have this folder, the originals training_images
            assert (things / "Image_set" / root.replace("train_", "training_") / folder / name).is_file()
            assert text == f"This is a {folder[6:]}."


def test_neurobridge_files_are_plain_arrays_by_concept(things):
    folder = things / "preprocessed_eeg"
    info = json.loads((folder / "info.json").read_text())
    assert (info["ch_names"], len(info["times"]), info["sfreq"]) == (list(THINGS63), 300, 250.0)
    for part, shape in (("train", (12, 2, 4, 63, 250)), ("test", (5, 1, 16, 63, 250))):
        array = np.load(folder / "sub-01" / f"{part}.npy")
        assert (array.shape, array.dtype) == (shape, np.float32)
        assert (folder / "sub-01" / f"{part}.npy").stat().st_size == 128 + 4 * np.prod(shape)
        ubp = torch.load(things / "Preprocessed_data_250Hz_whiten" / "sub-01" / f"{part}.pt", weights_only=False)
        np.testing.assert_array_equal(array.reshape(ubp["eeg"].shape).astype(np.float16), ubp["eeg"])
        name = {"train": "training"}.get(part, part)
        nice = pickle.loads((things / f"Preprocessed_data_250Hz/sub-01/preprocessed_eeg_{name}.npy").read_bytes())
        mixed = nice["preprocessed_eeg_data"]
        assert not np.array_equal(mixed, array.reshape(mixed.shape))  # the same repetitions in another order
        np.testing.assert_allclose(mixed.sum(1), array.reshape(mixed.shape).sum(1), atol=1e-3)


def test_half_of_the_training_pictures_are_shown_twice_in_a_session_and_test_pictures_in_all(things):
    halves = []
    for subject in ("sub-01", "sub-02"):
        folder = things / "Preprocessed_data_250Hz_whiten" / subject
        session = torch.load(folder / "train.pt", weights_only=False)["session"]
        assert session.dtype == np.float64
        for s in range(4):
            shown = (session == s).sum(1)
            assert Counter(shown.tolist()) == {0: N_TRAIN // 2, 2: N_TRAIN // 2}
        assert {tuple(row) for row in session.tolist()} == {(0, 0, 2, 2), (1, 1, 3, 3)}
        halves.append(session[:, 0])
        test = torch.load(folder / "test.pt", weights_only=False)["session"]
        assert test.tolist() == [sorted([0, 1, 2, 3] * 4)] * N_TEST
    assert not np.array_equal(*halves)


def test_metadata_names_the_pictures_in_the_order_of_the_conditions(things):
    meta = np.load(things / "Image_set" / "image_metadata.npy", allow_pickle=True).item()
    assert set(meta) == {f"{p}_img_{k}" for p in ("train", "test") for k in ("concepts", "concepts_THINGS", "files")}
    whole = meta["train_img_concepts_THINGS"] + meta["test_img_concepts_THINGS"]
    assert sorted({int(name[:5]) for name in whole}) == list(range(1, 12 + N_TEST + 1))
    for part, n in (("train", N_TRAIN), ("test", N_TEST)):
        concepts, names = meta[f"{part}_img_concepts"], meta[f"{part}_img_files"]
        assert [len(meta[f"{part}_img_{k}"]) for k in ("concepts", "concepts_THINGS", "files")] == [n] * 3
        folder = things / "Image_set" / ("training_images" if part == "train" else "test_images")
        on_disk = [f"{p.parent.name}/{p.name}" for p in sorted(folder.rglob("*.jpg"))]
        assert on_disk == [f"{c}/{f}" for c, f in zip(concepts, names, strict=True)]
        assert all(c[6:] == w[6:] for c, w in zip(concepts, meta[f"{part}_img_concepts_THINGS"], strict=True))
        with Image.open(folder / on_disk[0]) as image:
            assert (image.size, image.format) == ((64, 64), "JPEG")
    assert meta["test_img_concepts"] != meta["test_img_concepts_THINGS"]  # the numbers are not the same numbers
    assert not {c[6:] for c in meta["train_img_concepts"]} & {c[6:] for c in meta["test_img_concepts"]}


def test_trials_are_white_and_the_time_before_the_picture_tells_nothing(things):
    eeg = np.load(things / "preprocessed_eeg" / "sub-01" / "train.npy").reshape(-1, 63, 250)
    eeg = eeg - eeg.mean(2, keepdims=True)
    cov = np.einsum("nct,ndt->cd", eeg, eeg) / (len(eeg) * 250)
    assert np.diag(cov) == pytest.approx(np.ones(63), abs=0.12)
    assert np.abs(cov - np.diag(np.diag(cov))).max() < 0.1
    path = things / "Preprocessed_data" / "sub-01" / "preprocessed_eeg_test.npy"
    test = np.load(path, allow_pickle=True).item()["preprocessed_eeg_data"]
    # what tells the picture, beyond what all pictures and their random neighbours share
    halves = [h - h.mean(0) for h in (test[:, ::2].mean(1), test[:, 1::2].mean(1))]
    before, after = (
        np.mean([np.corrcoef(a[:, t].ravel(), b[:, t].ravel())[0, 1] for a, b in zip(*halves, strict=True)])
        for t in (slice(0, 20), slice(30, 50))
    )
    assert after > 0.2
    assert abs(before) < 0.1


# --- MSS ----------------------------------------------------------------------------------------------------------


def stems(mss: Path, task: str) -> list[tuple[str, str]]:
    return [(f"sub-{s}/ses-01", f"sub-{s}_ses-01_task-{task}_run-01") for s in ("02", "14")]


def test_a_low_speed_run_has_the_size_of_the_original_to_the_byte(mss):
    for folder, stem in stems(mss, "lowSpeed"):
        path = mss / "derivatives" / "preprocessed_data" / folder / f"{stem}_1000Hz.npy"
        assert path.stat().st_size == 24_400_128
        eeg = np.load(path)
        assert (eeg.shape, eeg.dtype) == ((100, 122, 500), np.float32)
        assert 1e-6 < eeg.std(2).mean() < 1e-4  # volts
    assert len(MSS122) == 122


@pytest.mark.parametrize("task", ["lowSpeed", "rsvp"])
def test_labels_agree_with_windows_paths_pictures_and_captions(mss, task):
    lines = [line.split("\t") for line in (mss / "captions.txt").read_text().splitlines()]
    assert lines[0] == ["dataset", "category", "image name", "caption"]
    captions = {name: (category, caption) for _, category, name, caption in lines[1:]}
    assert len(captions) == len(lines) - 1
    for folder, stem in stems(mss, task):
        labels = json.loads((mss / "derivatives/preprocessed_data" / folder / f"{stem}_1000Hz.json").read_text())
        with (mss / folder / f"{stem}_image.csv").open(newline="") as f:
            paths = [PureWindowsPath(row["FilePath"]) for row in csv.DictReader(f)]
        assert len(labels) == len(paths)
        for label, path in zip(labels, paths, strict=True):
            assert path.drive == "C:"
            assert path.parts[-3:-1] == ("pic_10000_resized", CATEGORIES[label])
            assert (mss / "images" / path.parts[-2] / path.name).is_file()
            category, caption = captions[path.name]
            exemplar = int(path.stem.split("_")[1])
            assert (category, caption) == (CATEGORIES[label], imagine(category, exemplar).captions[0])


def test_low_speed_categories_are_intermixed_and_rapid_ones_come_twenty_in_a_row(mss):
    for task in ("lowSpeed", "rsvp"):
        for folder, stem in stems(mss, task):
            path = mss / "derivatives/preprocessed_data" / folder / f"{stem}_1000Hz.json"
            labels = np.array(json.loads(path.read_text()))
            if task == "lowSpeed":
                assert np.bincount(labels).tolist() == [5] * 20
                assert (np.diff(labels) == 0).mean() < 0.15
            else:
                assert [len(set(block)) for block in labels.reshape(-1, 20).tolist()] == [1, 1]


def test_onsets_are_milliseconds_with_windows_line_ends(mss):
    for task, last in (("lowSpeed", 100), ("rsvp", 20)):
        folder, stem = stems(mss, task)[0]
        text = (mss / folder / f"{stem}_events.tsv").read_bytes().decode()
        rows = [line.split("\t") for line in text.split("\r\n") if line]
        assert rows[0] == ["onset", "duration", "eventnumber"]
        onset, _, number = np.array(rows[1:], int).T
        shown = onset[number <= last]
        assert (np.diff(onset) > 0).all()
        assert len(shown) == (100 if task == "lowSpeed" else 40)
        assert (number == 252).sum() == (100 if task == "lowSpeed" else 2)
        gap = np.median(np.diff(shown))
        assert (195 < gap < 205) if task == "rsvp" else gap > 2000


# --- EEGCVPR40 ----------------------------------------------------------------------------------------------------


def test_a_cvpr40_trial_is_a_float_tensor_with_a_picture_a_label_and_a_subject(cvpr40):
    content = trials(cvpr40)
    assert set(content) == {"dataset", "labels", "images"}
    assert len(content["images"]) == 4 * 14 - 3
    for trial in content["dataset"]:
        assert set(trial) == {"eeg", "image", "label", "subject"}
        assert isinstance(trial["eeg"], torch.FloatTensor)
        assert trial["eeg"].shape[0] == 128
        assert content["images"][trial["image"]].startswith(content["labels"][trial["label"]] + "_")
        name = content["images"][trial["image"]]
        assert (cvpr40 / "images" / name.split("_")[0] / f"{name}.JPEG").is_file()
    lengths = {t["eeg"].shape[1] for t in content["dataset"]}
    assert len(lengths) > 10
    assert 400 < min(lengths) < max(lengths) < 700
    # no trial drags its neighbours along
    size = sum(t["eeg"].numel() for t in content["dataset"]) * 4
    assert size < (cvpr40 / "eeg_5_95_std.pth").stat().st_size < 1.2 * size + 1e6


def test_all_trials_of_a_class_lie_in_one_block_per_subject(cvpr40):
    dataset, orders = trials(cvpr40)["dataset"], []
    for subject in (1, 2):
        labels = [t["label"] for t in dataset if t["subject"] == subject]
        blocks = [labels[0], *(b for a, b in pairwise(labels) if a != b)]
        assert sorted(blocks) == [0, 1, 2, 3]
        orders.append(blocks)
    assert orders[0] == orders[1]


def test_the_published_kind_of_split_parts_pictures_and_not_blocks(cvpr40):
    dataset = trials(cvpr40)["dataset"]
    content = torch.load(cvpr40 / "block_splits_by_image_all.pth", weights_only=False)
    (split,) = content["splits"]
    assert list(split) == ["train", "val", "test"]
    assert sorted(i for rows in split.values() for i in rows) == list(range(len(dataset)))
    pictures = [{dataset[i]["image"] for i in rows} for rows in split.values()]
    assert not pictures[0] & pictures[1] | pictures[0] & pictures[2] | pictures[1] & pictures[2]
    assert len(split["train"]) > 3 * len(split["test"]) > 0
    for rows in split.values():
        assert {dataset[i]["label"] for i in rows} == {0, 1, 2, 3}


def test_drift_alone_tells_the_class_of_a_blocked_trial(tmp_path):
    right = {}
    for wander in (0.0, 12.0):
        write_cvpr40(tmp_path, subjects=(1,), n_classes=5, per_class=12, n_lost=0, signal=0.0, wander_uv=wander)
        dataset = trials(tmp_path)["dataset"]
        x = np.stack([t["eeg"][:, :400].mean(1).numpy() for t in dataset])
        y = np.array([t["label"] for t in dataset])
        (split,) = torch.load(tmp_path / "block_splits_by_image_all.pth", weights_only=False)["splits"]
        train, test = split["train"], split["val"] + split["test"]
        near = ((x[test][:, None] - x[train][None]) ** 2).sum(2).argmin(1)
        right[wander] = (y[train][near] == y[test]).mean()
    assert right[12.0] > 0.7
    assert right[0.0] < 2.5 * CHANCE
