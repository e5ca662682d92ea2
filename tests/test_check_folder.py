"""`sightwave check`: which data set a folder holds, what is told of it, and the picture."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sightwave import house
from sightwave.datasets import mss
from sightwave.datasets.base import Dataset
from sightwave.datasets.own import write_own
from sightwave.errors import DataError, MissingFile, RecipeError, UnknownName
from sightwave.report.survey import draw, lines
from sightwave.stimuli import Stimuli
from sightwave.survey import survey

NAMES = ("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "Cz", "Pz")


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


@pytest.fixture
def own(make_trials, tmp_path):
    """Write a folder of one's own; ``change`` gets the trials first."""

    def write(name="own", change=lambda t: t, **kw):
        trials = make_trials(**({"n_subjects": 2, "n_runs": 2, "n_channels": 12, "n_times": 40, "tmin": -0.1} | kw))
        trials = change(replace(trials, ch_names=NAMES))
        table = trials.events[["stimulus", "label"]].drop_duplicates().set_index("stimulus")
        write_own(tmp_path / name, trials, Stimuli(table))
        return tmp_path / name

    return write


def small_mss(folder, task="lowSpeed", n=8, runs=("01", "02")):
    rng = np.random.default_rng(0)
    for run in runs:
        stem = folder / "derivatives/preprocessed_data/sub-02/ses-01" / f"sub-02_ses-01_task-{task}_run-{run}_1000Hz"
        stem.parent.mkdir(parents=True, exist_ok=True)
        np.save(f"{stem}.npy", rng.normal(0, 1e-5, (n, 122, 500)).astype(np.float32))
        stem.with_suffix(".json").write_text(json.dumps(rng.integers(0, 20, n).tolist()))
    return folder


def told(found):
    return "\n".join(f"{k}: {v}" for k, v in lines(found))


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["eeg.npy", "trials.csv", "info.json"], "own"),
        (["trials.csv"], "own"),
        (["faces-epo.fif"], "own"),
        (["sub-01/train.pt", "sub-01/test.pt"], "things_eeg2"),
        (["a/b/sub-01/train.npy", "a/b/sub-01/test.npy"], "things_eeg2"),
        (["eeg_5_95_std.pth"], "cvpr40"),
        (["derivatives/preprocessed_data/sub-02/ses-01/sub-02_ses-01_task-rsvp_run-01_1000Hz.npy"], "mss"),
        (["sub-02_ses-01_task-lowSpeed_run-01_1000Hz.npy"], "mss"),
        (["data/visual/N170/subject1/session1/a.csv"], "n170"),
        (["subject1/session1/a.csv.gz"], "n170"),
        (["S1.mat"], "stanford"),
        (["eeg/image/data.pkl"], "thoughtviz"),
        (["sub-01/eeg/sub-01_task-faces_eeg.set"], "bids"),
        # a tree that some other reader knows better
        (["sub-01/eeg/sub-01_task-a_eeg.set", "sub-02/ses-01/sub-02_ses-01_task-rsvp_run-01_1000Hz.npy"], "mss"),
    ],
)
def test_a_folder_is_recognised_by_the_names_of_its_files(files, name, tmp_path):
    assert house.name_of(house.recognise(touch(tmp_path, *files))[0]) == name


def test_every_data_set_that_needs_a_folder_says_what_it_looks_for(tmp_path):
    for kind in house.members("datasets", Dataset):
        if kind.__name__ not in ("InMemory", "MorePictures", "Phantom"):
            assert kind.looks_for
            assert kind.recognise(tmp_path) == ()


def test_an_unknown_folder_says_what_was_looked_for_and_what_lies_below(tmp_path):
    touch(tmp_path, "notes.txt", "study/eeg.npy", "study/trials.csv")
    with pytest.raises(MissingFile) as e:
        house.recognise(tmp_path)
    for words in ("holds notes.txt, study", f"Did you mean {tmp_path / 'study'} (own)?", "--like NAME", "write_own",
                  "sub-01/preprocessed_eeg_training.npy", "S1.mat"):  # fmt: skip
        assert words in str(e.value)


def test_two_data_sets_in_one_folder_ask_which(tmp_path):
    touch(tmp_path, "eeg.npy", "eeg_5_95_std.pth")
    with pytest.raises(DataError, match=r"2 data sets: cvpr40, own\. Say which with --like"):
        house.recognise(tmp_path)
    assert house.name_of(house.recognise(tmp_path, like="own")[0]) == "own"


def test_what_recognition_is_told_is_checked(tmp_path):
    touch(tmp_path, "eeg.npy")
    with pytest.raises(UnknownName, match="Did you mean 'own'"):
        house.recognise(tmp_path, like="onw")
    with pytest.raises(RecipeError, match="needs no folder"):
        house.recognise(tmp_path, like="phantom")
    with pytest.raises(DataError, match="is a file"):
        house.recognise(tmp_path / "eeg.npy")
    with pytest.raises(UnknownName, match="Did you mean 'task'"):
        house.recognise(tmp_path, like="mss", settings={"tsk": "rsvp"})


def test_settings_come_as_text_and_become_what_the_field_holds(tmp_path):
    touch(tmp_path, "eeg_5_95_std.pth", "sub-01/eeg/sub-01_task-1_eeg.set")
    (cvpr,) = house.recognise(tmp_path, like="cvpr40", settings={"fold": "2", "crop": "[0, 400]"})
    assert (cvpr.fold, cvpr.crop) == (2, (0, 400))
    bids = house.recognise(tmp_path, like="bids", settings={"task": "1", "events": "face,house", "l_freq": "0.5"})[0]
    assert (bids.task, bids.events, bids.l_freq) == ("1", ("face", "house"), 0.5)


def test_an_own_folder_is_told_in_full(own):
    found = survey(own())
    text = told(found)
    for words in ("recognised: own", "subjects: 2: 01, 02", "sessions: 2 (1 a subject)", "runs: 4 (2 a session)",
                  "trials: 48 (24 a subject)", "channels: 12: Fp1, Fp2", "100 Hz, 40 samples from -100 to 290 ms",
                  "unit: V; a channel's typical standard deviation is 9.", "categories: 2: a, b; 24 trials each",
                  "pictures: 6, each 4 times to a subject", "images: none", "label order: intermixed"):  # fmt: skip
        assert words in text
    assert not found.wrong
    assert found.read == ("01", "02")


def test_the_fingerprint_is_the_one_that_results_carry(own):
    from sightwave.datasets.own import Own

    folder = own()
    assert survey(folder).fingerprint == Own().load(folder, ("01", "02"))[0].fingerprint()


def test_blocks_of_a_category_are_told(own):
    def sort(trials):
        return trials[np.argsort(trials.events["label"].to_numpy(), kind="stable")]

    found = survey(own(change=sort, n_subjects=1, n_runs=1, n_per_label=20))
    assert found.blocked
    assert "BLOCKED" in told(found)
    assert "hold out whole blocks" in found.order


def test_an_order_that_is_not_known_is_not_judged(own):
    found = survey(own(change=lambda t: replace(t, events=t.events.assign(onset=np.nan))))
    assert not found.timed
    assert "label order: not known" in told(found)


def test_flat_and_noisy_channels_are_named_with_their_subject(own):
    def spoil(trials):
        eeg, second = trials.eeg.copy(), (trials.events["subject"] == "02").to_numpy()
        eeg[second, 2] *= 0.001
        eeg[:, 5] *= 20
        return replace(trials, eeg=eeg)

    text = told(survey(own(change=spoil)))
    assert "flat channels: F3 (02)" in text
    assert "noisy channels: C4 (01), C4 (02)" in text


def test_one_bad_subject_does_not_hide_the_others(own):
    folder = own()
    eeg = np.load(folder / "eeg.npy")
    table = pd.read_csv(folder / "trials.csv", dtype=str)
    eeg[np.flatnonzero(table["subject"] == "02")[0], 3, 5] = np.nan
    np.save(folder / "eeg.npy", eeg)
    found = survey(folder)
    assert found.read == ("01",)
    assert "channel(s) F4" in found.wrong["02"]
    with pytest.raises(DataError, match="NaN"):
        survey(folder_of_one(folder, "02"))


def folder_of_one(folder, subject):
    """The same folder with the other subjects taken out."""
    copy = folder.with_name("one")
    shutil.copytree(folder, copy)
    table = pd.read_csv(folder / "trials.csv", dtype=str)
    keep = (table["subject"] == subject).to_numpy()
    np.save(copy / "eeg.npy", np.load(folder / "eeg.npy")[keep])
    table[keep].to_csv(copy / "trials.csv", index=False)
    return copy


def test_a_large_folder_is_read_in_part_and_says_so(own, monkeypatch):
    folder = own(n_subjects=3)
    whole = survey(folder)
    monkeypatch.setattr("sightwave.survey.ENOUGH", 10_000)
    part = survey(folder)
    assert part.read == ("01",)
    assert "read: 1 of 3 subjects: 01. What follows is of these alone; --all reads the others too" in told(part)
    every = survey(folder, every=True)
    assert every.read == ("01", "02", "03")
    np.testing.assert_allclose(every.evoked["03"], whole.evoked["03"])
    assert every.fingerprint != whole.fingerprint  # three, joined: not the one of everything in one array


def test_known_oddities_of_mss_are_told_by_name(tmp_path):
    small_mss(tmp_path)
    small_mss(tmp_path, "rsvp", runs=("01", "02"))
    odd = "sub-05_ses-05_task-rsvp_run-01"
    assert odd in mss.ANOMALOUS
    stem = tmp_path / "derivatives/preprocessed_data/sub-05/ses-05" / f"{odd}_1000Hz"
    stem.parent.mkdir(parents=True)
    np.save(f"{stem}.npy", np.zeros((3, 122, 500), np.float32))
    stem.with_suffix(".json").write_text("[1, 2, 3]")
    found = survey(tmp_path)
    assert found.recognised == "mss"
    assert found.also == ("mss (task='rsvp'), with --set task=rsvp",)
    assert found.left_out[odd] == "known to be odd: 3 trials and 3 labels, 2000 were shown"
    assert "122, not named in the publication" in told(found)
    assert not np.isfinite(found.places).any()  # E1 to E122 are ours, and no places of a net


@pytest.mark.parametrize("places", ["head", "bars"])
def test_the_picture_is_one_page_of_png(own, tmp_path, places):
    def rename(trials):
        return trials if places == "head" else replace(trials, ch_names=tuple(f"X{i}" for i in range(12)))

    folder = own(change=rename)
    (folder / "PHANTOM.txt").write_text("")
    found = survey(folder)
    assert found.phantom
    assert np.isfinite(found.places).all() == (places == "head")
    draw(found, tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as page:
        assert page.format == "PNG"
        assert page.size == (1680, 1190)
        assert np.asarray(page.convert("L")).std() > 10


def test_electrodes_lie_where_they_are_seen_from_above(own):
    at = dict(zip(NAMES, survey(own()).places, strict=True))
    assert at["C3"][0] < 0 < at["C4"][0]
    assert at["O1"][1] < at["P3"][1] < at["C3"][1] < at["F3"][1] < at["Fp1"][1]
    assert np.hypot(*at["Cz"]) < 0.02
    assert max(np.hypot(*p) for p in at.values()) <= 0.0951


def test_real_recordings_are_told_with_their_traps(shared):
    found = survey(shared / "n170_muse")
    assert found.recognised == "n170"
    assert len(found.subjects) == 5
    assert any("the same recording under two names" in why for why in found.left_out.values())
    assert "which picture a trial showed is not known" in told(found)


def test_the_command_prints_what_was_found_and_fails_when_something_is_wrong(own, tmp_path):
    import subprocess
    import sys

    def check(*args):
        return subprocess.run([sys.executable, "-m", "sightwave", "check", *map(str, args)], capture_output=True,
                              text=True, check=False)  # fmt: skip

    folder = own()
    done = check(folder, "--picture", tmp_path / "page.png")
    assert done.returncode == 0, done.stderr
    assert "recognised   own\n" in done.stdout
    assert (tmp_path / "page.png").exists()
    eeg = np.load(folder / "eeg.npy")
    eeg[0, 3, 5] = np.nan
    np.save(folder / "eeg.npy", eeg)
    done = check(folder)
    assert done.returncode == 65
    assert "1 of 2 subjects cannot be read" in done.stderr
    assert "subjects" in done.stdout


def test_a_setting_without_a_value_is_answered_in_words():
    from sightwave import cli

    assert cli._pairs(["task=rsvp", "label = a=b"]) == {"task": "rsvp", "label": "a=b"}
    with pytest.raises(RecipeError, match="--set takes a name and a value, such as task=rsvp; got 'task'"):
        cli._pairs(["task"])
