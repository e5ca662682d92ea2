"""Trials that do not fit into memory: gathered from files, put through steps a few at a time, the same numbers."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import build_trials
from sightwave import cache as cache_module
from sightwave import files, ondisk
from sightwave import trials as trials_module
from sightwave.datasets import things_eeg2
from sightwave.datasets.things_eeg2 import ThingsEeg2
from sightwave.decode.classify import Classify
from sightwave.encoders.time_bins import TimeBins
from sightwave.errors import DataError, RecipeError
from sightwave.losses.labels import CrossEntropy
from sightwave.ondisk import OnDisk
from sightwave.phantom.layouts import write_things_eeg2
from sightwave.preprocess import Average, Bandpass, Baseline, Crop, PickChannels, Resample, Standardise, Whiten
from sightwave.reading import prepared as prepared_module
from sightwave.reading.unpickle import load_pickle
from sightwave.recipe import Recipe
from sightwave.splits import LeaveOneSubjectOut, Published
from sightwave.story import run
from sightwave.targets.labels import Labels
from sightwave.train import Stage, TrialSet
from sightwave.trials import Trials

RNG = np.random.default_rng(0)


@pytest.fixture
def no_memory(monkeypatch, cache):
    """As on a machine where nothing fits: every array counts as large, every chunk is a few trials."""
    monkeypatch.setattr(ondisk, "IN_MEMORY", 0)
    monkeypatch.setattr(ondisk, "CHUNK", 200)
    monkeypatch.setattr(prepared_module, "SMALL", 0)
    return cache


def on_disk(trials, folder, n_parts=1):
    """The same trials in files, and not in memory."""
    parts = []
    for i, rows in enumerate(np.array_split(np.arange(len(trials)), n_parts)):
        np.save(folder / f"part-{i}.npy", trials.eeg[rows])
        parts.append(np.load(folder / f"part-{i}.npy", mmap_mode="r"))
    return replace(trials, eeg=OnDisk.of(parts, f"{folder}").as_eeg())


@pytest.mark.parametrize(
    "at",
    [3, -1, slice(2, 9), slice(None, None, -3), np.array([5, 5, 0]), np.arange(12) % 2 == 0, (4, 1),
     (slice(0, 6), slice(None), slice(2, 5)), (np.array([7, 2]), 0)],
)  # fmt: skip
def test_trials_on_disk_are_indexed_like_an_array(at, tmp_path):
    t = build_trials()
    eeg = on_disk(t, tmp_path, n_parts=3).eeg
    np.testing.assert_array_equal(eeg[at], t.eeg[at])
    assert (eeg.shape, eeg.ndim, eeg.size, eeg.nbytes, len(eeg)) == (t.eeg.shape, 3, t.eeg.size, t.eeg.nbytes, 12)
    np.testing.assert_array_equal(np.asarray(eeg, np.float64), t.eeg.astype(np.float64))


def test_a_trial_that_is_not_there_is_an_index_error(tmp_path):
    with pytest.raises(IndexError):
        on_disk(build_trials(), tmp_path).eeg[12]


def test_a_selection_of_a_selection_reads_nothing_and_keeps_the_order(tmp_path):
    t = build_trials(n_subjects=2)
    there = on_disk(t, tmp_path, n_parts=2)
    keep = RNG.permutation(len(t))[:9]
    kept = there[keep][::-2]
    assert isinstance(kept.eeg, OnDisk)
    np.testing.assert_array_equal(kept.eeg[:], t.eeg[keep][::-2])
    assert kept.events["trial"].tolist() == t.events["trial"][keep].tolist()[::-2]
    assert kept.eeg.key != there[keep].eeg.key
    assert there[keep].eeg.key == there[keep].eeg.key


def test_pages_are_let_go_and_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(ondisk, "RELEASE", 1)
    t = build_trials(n_labels=20, n_times=100)
    eeg = on_disk(t, tmp_path).eeg
    for _ in range(3):
        np.testing.assert_array_equal(eeg[::-1], t.eeg[::-1])


@pytest.mark.parametrize("at_most", [None, 2])
def test_averages_of_trials_on_disk_are_those_of_an_array(tmp_path, at_most):
    t = build_trials(n_subjects=2, n_repetitions=3)
    t = t[RNG.permutation(len(t))][:-1]  # uneven, and in disorder
    late, at_once = on_disk(t, tmp_path).average(at_most=at_most), t.average(at_most=at_most)
    assert isinstance(late.eeg, OnDisk)
    np.testing.assert_array_equal(late.eeg[:], at_once.eeg)
    np.testing.assert_array_equal(late.eeg[[5, 1]], at_once.eeg[[5, 1]])
    assert late.events.equals(at_once.events)


@pytest.mark.parametrize(
    "steps",
    [(Standardise(),), (Whiten(), Standardise()), (Whiten(over="epochs", per=("subject",)),),
     (Average(), Standardise()), (Bandpass(None, 20.0), Baseline(), Crop(0.0, 0.2), PickChannels(("Oz",))),
     (Resample(50.0), Average())],
    ids=lambda steps: "-".join(type(s).__name__ for s in steps),
)  # fmt: skip
def test_steps_on_disk_give_the_numbers_that_they_give_in_memory(steps, tmp_path, no_memory):
    t = build_trials(n_subjects=2, n_labels=3, n_repetitions=3, n_times=60, tmin=-0.2)
    t = replace(t, ch_names=("Oz", "Pz", "Cz"))
    train, test = t[: len(t) // 2 * 2 - 4], t[3:17]
    far = on_disk(train, tmp_path)
    (tmp_path / "test").mkdir()
    far_test = on_disk(test, tmp_path / "test")
    for step in steps:
        near_step, far_step = step.fit(train), step.fit_once(far)
        train, far = near_step(train), far_step(far)
        if not step.train_only:
            test, far_test = near_step(test), far_step(far_test)
    for near, there in ((train, far), (test, far_test)):
        assert isinstance(there.eeg, OnDisk)
        np.testing.assert_array_equal(there.eeg[:], near.eeg)
        assert (there.ch_names, there.sfreq, there.tmin, there.unit) == (
            near.ch_names,
            near.sfreq,
            near.tmin,
            near.unit,
        )
        assert there.events.equals(near.events)
        for a, b in zip(there.history, near.history, strict=True):
            assert a.step == b.step
            np.testing.assert_array_equal(a.fitted_on, b.fitted_on)


def test_what_a_step_learnt_on_disk_is_learnt_once(tmp_path, no_memory, monkeypatch):
    far = on_disk(build_trials(n_subjects=2, n_times=60), tmp_path)
    first = Whiten(per=("subject",)).fit_once(far)
    monkeypatch.setattr(Whiten, "_groups", None)  # whoever learns again must call it
    again = Whiten(per=("subject",)).fit_once(far)
    assert list(again._matrices) == [("01",), ("02",)]
    for group, matrix in first._matrices.items():
        np.testing.assert_array_equal(again._matrices[group], matrix)
    assert again._fitted_on.tolist() == far.events["trial"].tolist()
    with pytest.raises(TypeError, match="not callable"):
        Whiten(per=("subject",)).fit_once(replace(far, sfreq=1.0))


def test_other_events_are_other_trials(tmp_path):
    far = on_disk(build_trials(), tmp_path)
    assert far.key == replace(far, eeg=far.eeg).key
    assert far.key != replace(far, events=far.events.assign(stimulus="s")).key
    assert far.key != replace(far, tmin=1.0).key
    with pytest.raises(DataError, match="lie in memory"):
        _ = build_trials().key


@dataclass(frozen=True)
class EverySecond(Baseline):  # not of Step itself, of which another test lists all
    def apply(self, trials):
        return trials[::2] if len(trials) > 1 else trials[:0]


def test_a_step_that_drops_trials_says_that_it_cannot_do_so_on_disk(tmp_path):
    with pytest.raises(RecipeError, match="EverySecond makes 0 trials of 1"):
        EverySecond()(on_disk(build_trials(), tmp_path))


def test_computed_trials_are_written_once_and_opened_afterwards(tmp_path, no_memory):
    calls = []

    def gather(rows):
        calls.append(len(rows))
        return np.ones((len(rows), 3, 10), np.float32) * rows[:, None, None]

    for _ in range(2):
        eeg = cache_module.stored("trials", OnDisk((40, 3, 10), np.float32, gather, "k"), np.float16)
        assert eeg.dtype == np.float16
        np.testing.assert_array_equal(eeg[:, 0, 0], np.arange(40))
    assert sum(calls) == 40
    assert max(calls) == 6  # CHUNK holds 200 numbers
    (file,) = no_memory.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    eeg = cache_module.stored("trials", OnDisk((40, 3, 10), np.float32, gather, "k"), np.float16)
    np.testing.assert_array_equal(eeg[:, 0, 0], np.arange(40))


def test_a_disk_without_room_is_told_and_costs_only_time(no_memory, monkeypatch):
    monkeypatch.setattr(cache_module, "SPARE", 10**18)
    late = OnDisk((4, 3, 10), np.float32, lambda rows: np.ones((len(rows), 3, 10), np.float32), "k")
    with pytest.warns(UserWarning, match="Set SIGHTWAVE_CACHE"):
        assert cache_module.stored("trials", late) is late
    assert not list(no_memory.glob("*.npy"))


def test_a_fingerprint_is_that_of_the_array_and_computed_once(tmp_path, no_memory, monkeypatch):
    t = build_trials()
    far = on_disk(t, tmp_path, n_parts=2)
    known = t.fingerprint()
    assert far.fingerprint() == known
    monkeypatch.setattr(Trials, "_digest", None)  # whoever computes it again must call it
    assert far.fingerprint() == known


def test_a_large_memory_map_is_not_read_by_selecting(tmp_path, no_memory):
    t = build_trials()
    np.save(tmp_path / "eeg.npy", t.eeg)
    mapped = replace(t, eeg=np.load(tmp_path / "eeg.npy", mmap_mode="r"))
    assert isinstance(mapped[::2].eeg, OnDisk)
    np.testing.assert_array_equal(mapped[::2].eeg[:], t.eeg[::2])


def test_batches_in_half_precision_are_the_same_numbers(tmp_path):
    t = build_trials()
    half = replace(t, eeg=(t.eeg / t.eeg.std()).astype(np.float16))
    rows, zero = torch.tensor([4, 0, 7]), torch.zeros(12, dtype=torch.long)
    for eeg in (half.eeg, on_disk(half, tmp_path, n_parts=3).eeg):
        batch = TrialSet(eeg, zero, zero).batch(rows, "cpu")[0]
        assert batch.dtype == torch.float32
        np.testing.assert_array_equal(batch.numpy(), half.eeg[rows.numpy()].astype(np.float32))


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """Two phantom subjects in the four layouts of THINGS-EEG2."""
    root = tmp_path_factory.mktemp("things")
    write_things_eeg2(
        root, subjects=(1, 2), n_concepts=4, per_concept=2, n_test=4, test_repetitions=4,
        variants=("official", "nice", "ubp", "neurobridge"), signal=6.0,
    )  # fmt: skip
    return root


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("variant", ["official", "nice", "ubp", "neurobridge"])
def test_things_eeg2_from_disk_is_what_it_is_in_memory(things, variant, average, request, monkeypatch):
    data = ThingsEeg2(variant, average)
    near, _ = data.load(things, ("01", "02"))
    assert not isinstance(near.eeg, OnDisk)
    cache = request.getfixturevalue("no_memory")
    for again in (False, True):
        far, _ = data.load(things, ("01", "02"))
        assert isinstance(far.eeg, OnDisk)
        np.testing.assert_array_equal(far.eeg[:], near.eeg)
        assert far.eeg.dtype == near.eeg.dtype
        assert far.events.equals(near.events)
        assert (far.ch_names, far.sfreq, far.tmin, far.unit) == (near.ch_names, near.sfreq, near.tmin, near.unit)
        assert [a.step for a in far.history] == [a.step for a in near.history]
        if not again:
            monkeypatch.setattr(things_eeg2, "_read", None)  # whoever reads a part again must call it
    copied = len(list(cache.glob("*.npy")))
    assert copied == (4 if average or variant != "neurobridge" else 0)  # two subjects, two parts


def test_prepared_trials_are_named_by_their_files_and_pictures_without_a_look_at_the_rows(
    things, tmp_path, no_memory, monkeypatch
):
    data = ThingsEeg2("neurobridge")
    before = data.load(things, ("01", "02"))[0].key
    monkeypatch.setattr(trials_module, "hashlib", None)  # by which rows are read
    assert data.load(things, ("01", "02"))[0].key == before
    others = [data.load(things, s)[0].key for s in (("02", "01"), ("01",))]
    shutil.copytree(things / "preprocessed_eeg", tmp_path / "preprocessed_eeg", copy_function=os.link)
    meta = load_pickle(things / "Image_set" / "image_metadata.npy")
    meta["test_img_files"] = meta["test_img_files"][::-1]
    files.save_pickle(tmp_path / "image_metadata.npy", meta, wrapped=True)
    others.append(data.load(tmp_path, ("01", "02"))[0].key)
    assert len({before, *others}) == 4


def test_a_subject_that_is_asked_for_twice_is_refused(things):
    with pytest.raises(DataError, match="occurs more than once"):
        ThingsEeg2("neurobridge").load(things, ("01", "01"))


def test_a_long_list_is_noted_until_its_file_changes(tmp_path, cache, monkeypatch):
    path, asked = tmp_path / "list.npy", []

    def read():
        asked.append(path)
        return {"names": list(path.read_text())}

    path.write_text("ab")
    assert [prepared_module.noted(path, read) for _ in range(2)] == [{"names": ["a", "b"]}] * 2
    assert len(asked) == 2  # a short list is read each time
    monkeypatch.setattr(prepared_module, "NOTED", 0)
    assert [prepared_module.noted(path, read) for _ in range(3)] == [{"names": ["a", "b"]}] * 3
    assert len(asked) == 3
    path.write_text("abc")
    assert prepared_module.noted(path, read) == {"names": ["a", "b", "c"]}
    for note in cache.glob("noted-*"):
        note.write_text("{")
    assert prepared_module.noted(path, read) == {"names": ["a", "b", "c"]}
    path.write_text("abcd")
    assert [prepared_module.noted(path, lambda: {"no JSON": {1}}) for _ in range(2)] == [{"no JSON": {1}}] * 2


def test_an_emptied_cache_is_filled_again(things, no_memory):
    data = ThingsEeg2("nice")
    first = data.load(things, ("01",))[0].eeg[:]
    for file in no_memory.glob("*.npy"):
        file.unlink()
    np.testing.assert_array_equal(data.load(things, ("01",))[0].eeg[:], first)
    assert len(list(no_memory.glob("*.npy"))) == 2


@pytest.mark.parametrize("split", [Published(joint=True), LeaveOneSubjectOut()], ids=["published", "loso"])
def test_a_run_from_disk_says_what_a_run_in_memory_says(things, tmp_path, split, request):
    recipe = Recipe(
        dataset=ThingsEeg2("neurobridge"),
        split=split,
        steps=(Whiten(), Average(), Standardise()),
        targets=(Labels(),),
        encoder=partial(TimeBins, n_bins=10),
        stages=(Stage(losses=(CrossEntropy,), epochs=2, batch_size=8),),
        tasks=(Classify(),),
        repetitions=(1, None),
        leaks=("stimulus", "run"),
    )
    quick = {"n_permutations": 9, "n_bootstrap": 9, "data": things}
    near = run(recipe, out=tmp_path / "near", **quick)
    cache = request.getfixturevalue("no_memory")
    far = run(recipe, out=tmp_path / "far", **quick)
    assert near.data["fingerprint"] == far.data["fingerprint"]
    assert list(cache.glob("trials-*.npy"))
    for a, b in zip(near.predictions, far.predictions, strict=True):
        np.testing.assert_allclose(b.scores, a.scores, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the peak of a process of its own is read from /proc"
)
def test_training_from_disk_takes_a_fraction_of_the_memory_of_the_data(tmp_path):
    n, shape = 6144, (63, 250)  # 194 MB in half precision, 387 MB in single
    with (tmp_path / "eeg.npy").open("wb") as f:
        head = {"descr": "<f2", "fortran_order": False, "shape": (n, *shape)}
        np.lib.format.write_array_header_2_0(f, head)
        for _ in range(n // 256):
            f.write(RNG.standard_normal((256, *shape), np.float32).astype(np.float16).data)
    script = """
import sys
import numpy as np, pandas as pd, torch
from sightwave import files, ondisk
from sightwave import trials as trials_module
from sightwave.preprocess import Standardise
from sightwave.cache import stored
from sightwave.train import TrialSet
from sightwave.trials import Trials
ondisk.IN_MEMORY, ondisk.RELEASE, ondisk.CHUNK = 0, 1 << 22, 1 << 19
def peak():  # of this process alone; ru_maxrss begins at its parent's
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1000
eeg = np.load(sys.argv[1], mmap_mode="r")
n = len(eeg)
events = pd.DataFrame({c: [str(i) for i in range(n)] for c in ("subject", "session", "run", "stimulus", "label")})
trials = Trials(eeg, events, tuple(map(str, range(63))), 250.0)
before = peak()
step = Standardise().fit_once(trials)
ready = stored("trials", step(trials).eeg, np.float16)
zero = torch.zeros(n, dtype=torch.long)
data = TrialSet(ready, zero, zero)
total = sum(float(data.batch(rows, "cpu")[0].square().mean()) for rows in torch.randperm(n).split(256))
grown = peak() - before
whole = np.asarray(ready, np.float32)
print(round(total / (n / 256), 3), grown, peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "eeg.npy"], capture_output=True, text=True, check=False,
        env=os.environ | {"SIGHTWAVE_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    variance, grown, whole = map(float, done.stdout.split())
    assert variance == pytest.approx(1, abs=0.01)
    # MB, beyond the peak of the imports; a batch in its making takes 50, and a busy machine maps 30 more or less
    assert grown < 220 < 380 < whole
