"""THINGS-EEG2 from raw files, against the plainest way to do it: MNE's epochs and scikit-learn's covariances."""

import pickle
import shutil
from functools import cache
from pathlib import Path

import mne
import numpy as np
import pytest
import scipy.linalg
from sklearn.discriminant_analysis import _cov
from sklearn.utils import shuffle

from sightwave import files
from sightwave.datasets.things_eeg2 import ThingsEeg2
from sightwave.errors import DataError, LeakError, MissingFile, RecipeError, UnitError, UnknownName
from sightwave.judge.audit import audit
from sightwave.phantom.head import THINGS63
from sightwave.phantom.layouts.common import MARKER
from sightwave.phantom.layouts.things_raw import RAW63, write_things_raw
from sightwave.preprocess import prepare_things_eeg2
from sightwave.preprocess.things_eeg2 import PLANS
from sightwave.reading.unpickle import load_pickle
from sightwave.splits import Published

KEPT = (2, 2)  # of 2 and of 3 that were shown in a session
WINDOW = {"official": (-0.2, 0.8, 100.0, 0), "nice": (-0.2, 1.0, 250.0, 50)}
OVER = {"official": "time", "nice": "epochs"}


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("raw")
    write_things_raw(out, n_concepts=4, per_concept=1, n_test=2, test_repetitions=12)
    return out


def prepared(raw: Path, out: Path, **options: object) -> dict[str, dict]:
    """Prepare and open both parts by plain unpickling: the files are our own."""
    train, test = prepare_things_eeg2(raw, out, **({"repetitions": KEPT} | options))
    if options.get("like") == "nice":
        return {"train": pickle.loads(train.read_bytes()), "test": pickle.loads(test.read_bytes())}
    return {"train": np.load(train, allow_pickle=True).item(), "test": np.load(test, allow_pickle=True).item()}


def session_by_mne(path: Path, like: str, n_kept: int) -> tuple[np.ndarray, list[int], np.ndarray, list[str]]:
    """Epochs sorted by picture, (picture, repetition, channel, time)."""
    tmin, tmax, sfreq, skip = WINDOW[like]
    content = np.load(path, allow_pickle=True).item()
    info = mne.create_info(content["ch_names"], content["sfreq"], content["ch_types"])
    recording = mne.io.RawArray(content["raw_eeg_data"], info, verbose="error")
    events = mne.find_events(recording, "stim", verbose="error")
    events = events[events[:, 2] != 99999]
    if like == "official":
        recording.pick([c for c in recording.ch_names if c[0] in "PO"])
    else:
        recording.pick([*THINGS63]).reorder_channels([*THINGS63])
    epochs = mne.Epochs(recording, events, tmin=tmin, tmax=tmax, baseline=(None, 0), preload=True, verbose="error")
    epochs.resample(sfreq, verbose="error")
    eeg, code = epochs.get_data(copy=False)[..., skip:], epochs.events[:, 2]
    pictures = sorted(set(code))
    drawn = [shuffle(np.flatnonzero(code == c), random_state=20200220, n_samples=n_kept) for c in pictures]
    return np.stack([eeg[d] for d in drawn]), pictures, epochs.times, epochs.ch_names


@cache
def covariance(path: Path, like: str, n_kept: int) -> np.ndarray:
    of_pictures = []
    for picture in session_by_mne(path, like, n_kept)[0]:  # (repetition, channel, time)
        if OVER[like] == "time":
            sets = [picture[:, :, t] for t in range(picture.shape[2])]
        else:
            sets = [trial.T for trial in picture]
        of_pictures.append(np.mean([_cov(s, shrinkage="auto") for s in sets], axis=0))
    return np.mean(of_pictures, axis=0)


def published(raw: Path, like: str, mvnn: str) -> dict[str, np.ndarray]:
    """Both parts, step by step."""
    by_picture: dict[str, dict[int, list[np.ndarray]]] = {"train": {}, "test": {}}
    for folder in sorted((raw / "raw_data/sub-01").iterdir()):
        paths = {"train": folder / "raw_eeg_training.npy", "test": folder / "raw_eeg_test.npy"}
        train, train_pictures, *_ = session_by_mne(paths["train"], like, KEPT[0])
        test, test_pictures, *_ = session_by_mne(paths["test"], like, KEPT[1])
        if mvnn != "none":
            sigma = np.mean([covariance(paths[p], like, 2) for p in mvnn.split("+")], axis=0)
            white = scipy.linalg.fractional_matrix_power(sigma, -0.5)
            train, test = (np.einsum("cd,prdt->prct", white, x) for x in (train, test))
        for part, eeg, pictures in (("train", train, train_pictures), ("test", test, test_pictures)):
            for picture, own in zip(pictures, eeg, strict=True):
                by_picture[part].setdefault(picture, []).append(own)
    merged = {p: np.stack([np.concatenate(x[c]) for c in sorted(x)]) for p, x in by_picture.items()}
    return {p: x[:, shuffle(np.arange(x.shape[1]), random_state=20200220)] for p, x in merged.items()}


@pytest.mark.parametrize(
    ("like", "mvnn"),
    [
        ("official", "train+test"),
        ("official", "train"),
        ("official", "none"),
        ("nice", "train"),
        ("nice", "train+test"),
    ],
)
def test_every_value_is_that_of_the_plain_way(raw, tmp_path, like, mvnn):
    ours, theirs = prepared(raw, tmp_path, like=like, mvnn=mvnn), published(raw, like, mvnn)
    n_channels, n_times = (17, 100) if like == "official" else (63, 250)
    assert ours["train"]["preprocessed_eeg_data"].shape == (4, 4, n_channels, n_times)
    assert ours["test"]["preprocessed_eeg_data"].shape == (2, 8, n_channels, n_times)
    for part, expected in theirs.items():
        got = ours[part]["preprocessed_eeg_data"]
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, atol=2e-5 * expected.std(), rtol=2e-5)
    assert list(ours["test"]) == ["preprocessed_eeg_data", "ch_names", "times", "whitened_on"]
    assert ours["test"]["whitened_on"] == mvnn


@pytest.mark.parametrize("like", ["official", "nice"])
def test_names_and_times_are_those_of_mne(raw, tmp_path, like):
    ours = prepared(raw, tmp_path, like=like)["train"]
    path = raw / "raw_data/sub-01/ses-01/raw_eeg_test.npy"
    *_, times, names = session_by_mne(path, like, 2)
    assert ours["ch_names"] == names
    np.testing.assert_allclose(ours["times"], times, atol=1e-9)  # of all samples, before 50 are dropped in "nice"
    assert len(times) == (100 if like == "official" else 300)
    assert PLANS["nice"].names == THINGS63


def test_the_reader_reads_what_was_prepared(raw, tmp_path):
    shutil.copytree(raw / "Image_set", tmp_path / "Image_set")
    prepare_things_eeg2(raw / "raw_data", tmp_path / "prepared", repetitions=KEPT)
    trials, stimuli = ThingsEeg2().load(tmp_path, ("01",))
    assert trials.describe() | {"n_labels": 0} == trials.describe() | {
        "n_trials": 4 * 4 + 2 * 8, "n_channels": 17, "n_times": 100, "sfreq": 100.0, "tmin": -0.2, "unit": "z",
        "n_subjects": 1, "n_runs": 2, "n_stimuli": 6, "n_labels": 0,
    }  # fmt: skip
    assert stimuli.image(trials.events["stimulus"].iloc[0]).ndim == 3


@pytest.mark.parametrize(("mvnn", "found"), [("train", False), ("train+test", True)])
def test_files_whitened_with_the_test_part_carry_the_mark(mvnn, found, raw, tmp_path):
    shutil.copytree(raw / "Image_set", tmp_path / "Image_set")
    prepare_things_eeg2(raw, tmp_path / "prepared", repetitions=KEPT, mvnn=mvnn)
    trials, stimuli = ThingsEeg2().load(tmp_path, ("01",))
    verdict = audit(Published()(trials), trials, stimuli, holds_out=Published.holds_out, stimulus_bound=True)
    assert ("fitted" in {f.kind for f in verdict.findings}) == found
    if found:
        with pytest.raises(LeakError, match="fitted on test trials"):
            verdict.raise_if_failed()


def test_unwhitened_files_are_volts(raw, tmp_path):
    shutil.copytree(raw / "Image_set", tmp_path / "Image_set")
    prepare_things_eeg2(raw, tmp_path / "prepared", repetitions=KEPT, mvnn="none")
    trials, _ = ThingsEeg2().load(tmp_path, ("01",))
    assert (trials.unit, trials.history) == ("V", ())
    assert 5e-6 < trials.eeg.std() < 2e-5


def test_the_test_part_does_not_reach_the_training_part_unless_asked(raw, tmp_path):
    loud = tmp_path / "loud"
    shutil.copytree(raw, loud)
    for path in loud.glob("raw_data/sub-01/*/raw_eeg_test.npy"):
        content = load_pickle(path)
        eeg = np.array(content["raw_eeg_data"])
        eeg[:-1] *= np.linspace(1, 4, 63)[:, None]
        files.save_pickle(path, {**content, "raw_eeg_data": eeg}, wrapped=True)
    for mvnn, same in (("train", True), ("train+test", False)):
        quiet = prepared(raw, tmp_path / f"a {mvnn}", mvnn=mvnn)["train"]["preprocessed_eeg_data"]
        other = prepared(loud, tmp_path / f"b {mvnn}", mvnn=mvnn)["train"]["preprocessed_eeg_data"]
        assert np.array_equal(quiet, other) == same


def test_progress_is_told_session_by_session(raw, tmp_path):
    told = []
    prepare_things_eeg2(raw, tmp_path, repetitions=KEPT, progress=lambda *x: told.append(x))
    assert told == [("sub-01", k, 4) for k in (1, 2, 3, 4)]


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(raw, tmp_path) -> Path:
    """A copy whose first session's test file can be damaged."""
    shutil.copytree(raw / "raw_data", tmp_path / "raw")
    return tmp_path / "raw/sub-01/ses-01/raw_eeg_test.npy"


def change(path: Path, **fields: object) -> None:
    files.save_pickle(path, {**load_pickle(path), **fields}, wrapped=True)


def refused(path: Path, error: type[Exception], message: str, **options: object) -> None:
    with pytest.raises(error, match=message):
        prepare_things_eeg2(path.parents[2], path.parents[3] / "out", **({"repetitions": KEPT} | options))
    assert not (path.parents[3] / "out").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"raw_eeg_data": np.zeros((3, 9))}, r"raw_eeg_test.npy: 'raw_eeg_data' must be real numbers \(64"),
        ({"raw_eeg_data": [1, 2]}, "got list"),
        ({"ch_types": ["eeg"] * 64}, "one type 'stim'"),
        ({"ch_names": None}, "must be lists of text"),
        ({"sfreq": "fast"}, "'sfreq' must be a number of Hz"),
        ({"ch_names": [f"E{i}" for i in range(63)] + ["stim"]}, "holds no parietal or occipital channel"),
    ],
)
def test_a_field_that_is_not_as_published_is_named(broken, fields, message):
    change(broken, **fields)
    refused(broken, DataError, message)


def test_samples_that_no_electrode_gives_are_named(broken):
    eeg = np.array(load_pickle(broken)["raw_eeg_data"])
    change(broken, raw_eeg_data=np.vstack([eeg[:-1] * 1e6, eeg[-1:]]))
    refused(broken, UnitError, r"raw_eeg_test.npy: 'raw_eeg_data'.*microvolts")
    hole = eeg.copy()
    hole[RAW63.index("Oz"), 2000:2010] = np.nan
    change(broken, raw_eeg_data=hole)
    refused(broken, DataError, "channel 'Oz' holds NaN")
    odd = eeg.copy()
    odd[-1, 5] = 0.5
    change(broken, raw_eeg_data=odd)
    refused(broken, DataError, "channel 'stim' must hold whole numbers")
    odd[-1] = 0
    change(broken, raw_eeg_data=odd)
    refused(broken, DataError, "holds no codes of pictures")
    far = eeg.copy()
    far[-1, far[-1] == 2] = 30000
    change(broken, raw_eeg_data=far)
    refused(broken, DataError, "2 codes of pictures, up to 30000")


def test_pictures_that_were_shown_too_rarely_are_named(broken, raw):
    refused(broken, DataError, r"picture 1 was shown 3 times, expected at least 20", repetitions=(2, 20))
    refused(broken, RecipeError, "must be at least 1, and 2", repetitions=(1, 3))
    shutil.rmtree(broken.parent)
    refused(broken, DataError, r"train picture \d was shown in 1 sessions, expected 2")


def test_files_that_are_not_there_are_named_before_anything_is_read(broken):
    refused(broken, UnknownName, "No subject named '07'", subjects=("07",))
    refused(broken, UnknownName, "Did you mean 'nice'", like="nicee")
    refused(broken, UnknownName, "No mvnn named 'test'", mvnn="test")
    broken.unlink()
    refused(broken, MissingFile, "No part of a session at .*ses-01/raw_eeg_test.npy")
    with pytest.raises(MissingFile, match=r"expected sub-01/ses-01/raw_eeg_training\.npy"):
        prepare_things_eeg2(broken.parent, broken.parent)


def test_nothing_is_written_over(raw, tmp_path):
    first = prepare_things_eeg2(raw, tmp_path, repetitions=KEPT)[0].read_bytes()
    with pytest.raises(DataError, match="is there already"):
        prepare_things_eeg2(raw, tmp_path, repetitions=KEPT, like="nice")
    assert (tmp_path / "sub-01/preprocessed_eeg_training.npy").read_bytes() == first


# --- the phantom's raw files --------------------------------------------------------------------------------------


def test_the_phantom_writes_the_raw_layout(raw):
    assert "simulated" in (raw / MARKER).read_text()
    content = load_pickle(raw / "raw_data/sub-01/ses-03/raw_eeg_training.npy")
    assert list(content) == ["raw_eeg_data", "ch_names", "ch_types", "sfreq", "highpass", "lowpass"]
    assert content["ch_names"] == [*RAW63, "stim"]
    assert set(RAW63) == set(THINGS63)
    assert content["ch_types"] == ["eeg"] * 63 + ["stim"]
    eeg = content["raw_eeg_data"]
    codes, count = np.unique(eeg[-1], return_counts=True)
    assert eeg.dtype == np.float64
    assert (codes[0], codes[-1]) == (0, 99999)
    assert count[1:-1].tolist() == [2] * 2  # half of the pictures, each twice
    # from window to window the noise is of one power, without seams
    still = eeg[:-1] - eeg[:-1].mean(1, keepdims=True)
    steps = np.abs(np.diff(still, axis=1)).max(0)
    assert steps.max() < 6 * steps.mean()
    assert 5e-6 < still.std() < 3e-5


def test_a_phantom_whose_sessions_do_not_divide_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="test_repetitions a multiple of 4"):
        write_things_raw(tmp_path, test_repetitions=10)
    assert list(tmp_path.iterdir()) == []
