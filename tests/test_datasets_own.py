import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sightwave.datasets.own import Own, from_arrays, from_epochs, write_own
from sightwave.errors import DataError, MissingFile, ShapeError, UnitError, UnknownName
from sightwave.preprocess import Standardise
from sightwave.stimuli import Stimuli


@pytest.fixture
def folder(tmp_path, make_trials):
    """A folder as `write_own` makes it: two subjects, six pictures with two captions each."""
    trials = make_trials(n_subjects=2, part=True)
    table = trials.events[["stimulus", "label"]].drop_duplicates().set_index("stimulus")
    table["captions"] = [(f"a picture of {s}, with a comma", s) for s in table.index]
    pictures = {s: np.full((4, 5, 3), 10 * i, np.uint8) for i, s in enumerate(table.index)}
    write_own(tmp_path / "mine", trials, Stimuli(table, pictures.__getitem__, "k"))
    return tmp_path / "mine"


def load(folder):
    return Own().load(folder, Own().subjects(folder))


def edit(path: Path, change):
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    changed = change(table)
    (table if changed is None else changed).to_csv(path, index=False)


# ---- there and back


def test_what_is_written_is_read_back(tmp_path, folder, make_trials):
    trials, stimuli = load(folder)
    original = make_trials(n_subjects=2, part=True)
    assert (trials.eeg == original.eeg).all()
    assert trials.fingerprint() == original.fingerprint()
    assert stimuli.captions("a0") == ("a picture of a0, with a comma", "a0")
    assert (stimuli.image("b2") == stimuli.image("b2")[0, 0]).all()
    write_own(tmp_path / "again", trials, stimuli)
    again, same = load(tmp_path / "again")
    assert again.fingerprint() == trials.fingerprint()
    assert same.key == stimuli.key
    assert (same.image("a1") == stimuli.image("a1")).all()


def test_float32_volts_stay_on_disk(folder):
    assert isinstance(load(folder)[0].eeg, np.memmap)


def test_fitted_steps_and_columns_of_ones_own_travel_too(tmp_path, make_trials):
    trials = make_trials()
    trials = replace(trials, events=trials.events.assign(onset=np.random.default_rng(0).random(12), mood="fine"))
    z = Standardise().fit(trials[:6])(trials)
    write_own(tmp_path / "z", z, Stimuli(z.events[["stimulus", "label"]].drop_duplicates().set_index("stimulus")))
    back, stimuli = load(tmp_path / "z")
    assert back.unit == "z"
    assert back.history[0].fitted_on.tolist() == trials.events["trial"][:6].tolist()
    assert (back.events["x_mood"] == "fine").all()
    assert (back.events["onset"] == trials.events["onset"]).all()
    assert stimuli.read is None


def test_strange_stimulus_names_cannot_leave_the_folder(tmp_path):
    ids = ["../../up", "a/b", "ä ö", "", "x" * 200, "000000!"]
    events = pd.DataFrame({"stimulus": ids[:3] + ids[4:], "label": "cat"})
    eeg = np.random.default_rng(0).normal(0, 1e-5, (5, 2, 9))
    pictures = {s: np.full((2, 2, 3), i, np.uint8) for i, s in enumerate(events["stimulus"])}
    write_own(tmp_path / "f", *from_arrays(eeg, events, ("Oz", "Cz"), 100.0, images=pictures))
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    _, stimuli = load(tmp_path / "f")
    assert [int(stimuli.image(s)[0, 0, 0]) for s in events["stimulus"]] == [0, 1, 2, 3, 4]


def test_a_folder_is_written_whole_or_not_at_all(tmp_path, folder):
    trials, stimuli = load(folder)

    def broken(stimulus):
        raise OSError("disk is full")

    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    for target in (folder, tmp_path / "new"):
        with pytest.raises(OSError, match="disk is full"):
            write_own(target, trials, replace(stimuli, read=broken))
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before
    assert load(folder)[0].fingerprint() == trials.fingerprint()


def test_a_folder_that_holds_something_else_is_not_replaced(tmp_path, folder):
    (folder / "thesis.docx").touch()
    with pytest.raises(DataError, match=r"holds thesis.docx, which would be lost"):
        write_own(folder, *load(folder))


# ---- what a folder may say


def test_the_least_that_is_needed_is_a_label(tmp_path):
    np.save(tmp_path / "eeg.npy", np.random.default_rng(0).normal(0, 12, (4, 2, 9)))
    (tmp_path / "trials.csv").write_text("label\ncat\ndog\ncat\ndog\n")
    (tmp_path / "info.json").write_text('{"sfreq": 250, "unit": "uV", "ch_names": ["Oz", "Cz"]}')
    trials, stimuli = load(tmp_path)
    assert trials.describe()["unit"] == "V"
    assert 5e-6 < trials.eeg.std() < 2e-5
    assert trials.events[["subject", "session", "run"]].drop_duplicates().to_numpy().tolist() == [["01", "01", "01"]]
    assert trials.events["stimulus"].is_unique
    assert not trials.events["stimulus_known"].any()
    assert len(stimuli) == 4


def test_subjects_are_chosen_by_name(folder):
    trials, _ = Own().load(folder, ("02",))
    assert set(trials.events["subject"]) == {"02"}
    with pytest.raises(UnknownName, match=r"No subject named '2'\. Did you mean '02'"):
        Own().load(folder, ("2",))


def test_pictures_are_found_by_name_without_a_column(folder):
    by_column = load(folder)[1]
    edit(folder / "trials.csv", lambda t: t.drop(columns="image"))
    by_name = load(folder)[1]
    assert by_name.key == by_column.key


def test_captions_may_stand_in_columns(folder):
    (folder / "captions.csv").unlink()
    edit(folder / "trials.csv", lambda t: t.assign(caption="first", caption_2="second"))
    trials, stimuli = load(folder)
    assert stimuli.captions("a0") == ("first", "second")
    assert "caption" not in trials.events


# ---- what is refused, by file and field


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.rename(columns={"stimulus": "stimulis"}), r"unknown column 'stimulis'. Did you mean 'stimulus'\?"),
        (lambda t: t.assign(mood=1), r"line 1: unknown column 'mood'.*Known: subject, .*name columns.* x_mood"),
        (lambda t: t.drop(columns="label"), "line 1: no column 'label'"),
        (lambda t: t.assign(label=["cat"] * 20 + [""] * 4), "line 22, column 'label': the cell is empty"),
        (lambda t: t.assign(onset=["1.5"] * 23 + ["later"]), "line 25, column 'onset': expected a number, got 'later'"),
        (lambda t: t.assign(part=["train"] * 23 + ["tset"]), "line 25, column 'part': expected train, .*got 'tset'"),
        (lambda t: t[:-1], r"trials.csv has 23 rows, .*eeg.npy has 24 trials"),
        (
            lambda t: t.assign(image="images/no.png"),
            r"column 'image': \d of \d files are not there, e.g. images/no.png",
        ),
        (lambda t: t.assign(image="../../secret.png"), "leads out of"),
        (lambda t: t.assign(label=t["subject"]), "has the labels 01, 02. Give it one"),
        (lambda t: t.assign(trial="same"), "column 'trial': 'same' occurs more than once"),
    ],
)
def test_a_wrong_table_is_refused(folder, change, words):
    edit(folder / "trials.csv", change)
    with pytest.raises(DataError, match=words) as e:
        load(folder)
    assert "trials.csv" in str(e.value) or words.startswith(("has the", "leads", "trial 'same'"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sfreq": None}, "field 'sfreq' must be a number of Hz; got 'None'"),
        ({"sfreq": -1}, "field 'sfreq' must be a number of Hz; got '-1'"),
        ({"unit": "volt"}, "field 'unit' must be V, mV, uV, nV or z; got 'volt'"),
        ({"ch_names": "Oz"}, "field 'ch_names' must be a list of names"),
        ({"sfrq": 250}, "No field named 'sfrq'. Did you mean 'sfreq'"),
        ({"tmin": "0"}, "field 'tmin' must be seconds"),
    ],
)
def test_a_wrong_info_file_is_refused(folder, change, words):
    path = folder / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=rf"info.json: {words}"):
        load(folder)


def test_json_that_is_cut_is_refused_with_its_line(folder):
    (folder / "info.json").write_text('{"sfreq": 250,\n "unit"')
    with pytest.raises(DataError, match=r"info.json: not JSON at line 2"):
        load(folder)


def put(folder, eeg):
    np.save(folder / "eeg.npy", eeg)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda x: x * 1e6, UnitError, r"they look like microvolts: multiply by 1e-6 \(unit='uV'\)"),
        (lambda x: np.where(np.arange(24)[:, None, None] == 5, np.nan, x), DataError, "NaN or infinity in 1 of 24 tri"),
        (lambda x: x * np.array([1, 0, 1])[:, None], DataError, r"channel\(s\) E2 are flat in every trial"),
        (lambda x: x.transpose(0, 2, 1), ShapeError, r"Axis 2 matches: save eeg.transpose\(0, 2, 1\)"),
        (lambda x: x[:-1], DataError, "trials.csv has 24 rows, .*eeg.npy has 23 trials"),
        (lambda x: x.astype(str), DataError, "holds <U.*; expected real numbers"),
    ],
)
def test_a_wrong_array_is_refused(folder, change, error, words):
    put(folder, change(np.load(folder / "eeg.npy")))
    with pytest.raises(error, match=words) as e:
        load(folder)
    assert "eeg.npy" in str(e.value)


def test_an_array_of_objects_or_a_cut_one_is_refused(folder):
    content = (folder / "eeg.npy").read_bytes()
    np.save(folder / "eeg.npy", np.array([{}, None]), allow_pickle=True)
    with pytest.raises(DataError, match=r"eeg.npy: not a whole .npy array of numbers"):
        load(folder)
    (folder / "eeg.npy").write_bytes(content[:-100])
    with pytest.raises(DataError, match=r"eeg.npy: not a whole .npy array of numbers"):
        load(folder)


def test_missing_pictures_are_counted_and_named(folder):
    edit(folder / "trials.csv", lambda t: t.drop(columns="image"))
    for name in ("a1", "b0"):
        (folder / "images" / f"{name}.png").unlink()
    with pytest.raises(DataError, match=r"2 of 6 stimuli have no image, e\.g\. ") as e:
        load(folder)
    assert {"a1", "b0"} == set(str(e.value).partition("e.g. ")[2].partition(".")[0].split(", "))


def test_missing_captions_are_counted_and_named(folder):
    edit(folder / "captions.csv", lambda t: t[t["stimulus"] != "b1"])
    with pytest.raises(DataError, match=r"1 of 6 stimuli have no caption, e\.g\. b1"):
        load(folder)


def test_an_empty_folder_says_what_belongs_there(tmp_path):
    with pytest.raises(MissingFile, match=r"holds nothing; expected eeg.npy, trials.csv and info.json, or a NAME-epo"):
        load(tmp_path)
    with pytest.raises(MissingFile, match="--data DIR"):
        Own().subjects(None)
    (tmp_path / "trials.csv").write_text("label\ncat\n")
    with pytest.raises(MissingFile, match=r"No file at .*info.json"):
        Own().load(tmp_path, ("01",))


# ---- arrays and mne.Epochs


def test_arrays_in_microvolts_become_volts():
    eeg = np.random.default_rng(0).integers(-30, 30, (3, 2, 50))
    trials, _ = from_arrays(eeg, pd.DataFrame({"label": list("aba")}), ("Oz", "Cz"), 250.0, -0.1, unit="uV")
    np.testing.assert_allclose(trials.eeg, eeg * 1e-6, rtol=1e-6)
    with pytest.raises(DataError, match="unit must be one of V, mV, uV, nV or z, got 'µV'"):
        from_arrays(eeg, pd.DataFrame({"label": list("aba")}), ("Oz", "Cz"), 250.0, unit="µV")
    with pytest.raises(DataError, match="events has 2 rows, eeg has 3 trials"):
        from_arrays(eeg, pd.DataFrame({"label": list("ab")}), ("Oz", "Cz"), 250.0)


def test_epochs_and_back_lose_nothing(make_trials):
    trials = make_trials(n_subjects=2, n_runs=2, tmin=-0.02)
    epochs = trials.to_epochs()
    assert epochs.event_id == {"a": 1, "b": 2}
    back, _ = from_epochs(epochs)
    assert (back.eeg == trials.eeg).all()
    pd.testing.assert_frame_equal(back.events, trials.events, check_dtype=False)
    assert (back.ch_names, back.sfreq, back.tmin) == (trials.ch_names, trials.sfreq, trials.tmin)


def bare_epochs(n=6, **kw):
    import mne

    info = mne.create_info(["Oz", "Cz", "EOG", "bad"], 100.0, ["eeg", "eeg", "eog", "eeg"], verbose="error")
    info["bads"] = ["bad"]
    data = np.random.default_rng(0).normal(0, 1e-5, (n, 4, 20))
    events = np.column_stack([np.arange(n) * 50 + 300, np.zeros(n, int), np.arange(n) % 2 + 1])
    return mne.EpochsArray(data, info, events, -0.05, {"face": 1, "house": 2}, verbose="error", **kw)


def test_epochs_without_metadata_take_labels_from_event_names_and_only_good_eeg():
    trials, stimuli = from_epochs(bare_epochs())
    assert trials.ch_names == ("Oz", "Cz")
    assert trials.events["label"].tolist() == ["face", "house"] * 3
    assert trials.events["onset"].tolist() == [3.0, 3.5, 4.0, 4.5, 5.0, 5.5]
    assert len(stimuli) == 6
    assert trials.tmin == -0.05


def test_another_column_may_be_the_label():
    epochs = bare_epochs(metadata=pd.DataFrame({"kind": list("xyxyxy"), "stimulus": list("abcdef"), "run": 3}))
    trials, _ = from_epochs(epochs, label="kind", captions={s: f"caption {s}" for s in "abcdef"})
    assert trials.events["label"].tolist() == list("xyxyxy")
    assert trials.events["run"].tolist() == ["3"] * 6
    with pytest.raises(DataError, match="metadata have no column 'sort'; they have kind, stimulus, run"):
        from_epochs(epochs, label="sort")


def test_epochs_in_microvolts_are_refused():
    epochs = bare_epochs()
    epochs._data *= 1e6
    with pytest.raises(UnitError, match=r"^epochs: eeg has a typical standard deviation of 9.57 V.*1e-6"):
        from_epochs(epochs)


def test_epochs_files_are_read_and_their_names_say_whose_they_are(tmp_path):
    for s in ("07", "08"):
        bare_epochs().save(tmp_path / f"sub-{s}_run-2_task-n170-epo.fif", verbose="error")
    trials, _ = load(tmp_path)
    assert Own().subjects(tmp_path) == ("07", "08")
    assert trials.events.groupby(["subject", "run"]).size().to_dict() == {("07", "2"): 6, ("08", "2"): 6}
    assert trials.events["recording"].iloc[0] == "sub-07_run-2_task-n170-epo.fif"


def test_a_damaged_epochs_file_is_refused_by_name(tmp_path):
    (tmp_path / "x-epo.fif").write_bytes(b"\0" * 1000)
    with pytest.raises(DataError, match=r"x-epo.fif: MNE cannot read these epochs"):
        load(tmp_path)


def test_a_real_recording_comes_in_through_mne(shared, tmp_path):
    import mne

    path = shared / "eeg_format_samples" / "eeguana_faces_segment" / "bv_export_bv_txt_bin_multi.vhdr"
    if not path.exists():
        pytest.skip("the format samples are not there")
    raw = mne.io.read_raw_brainvision(path, eog=("HEOG", "VEOG"), preload=True, verbose="error")
    events, codes = mne.events_from_annotations(raw, verbose="error")
    raw.info["bads"] = ["Fp1"]
    epochs = mne.Epochs(raw, events, codes, -0.1, 0.5, baseline=None, preload=True, verbose="error")
    trials, stimuli = from_epochs(epochs)
    assert trials.eeg.shape[:2] == (12, 29)  # 34 without two eyes, two mastoids and the bad one
    assert trials.events["label"].value_counts().to_dict() == {f"Stimulus/s{i}": 4 for i in (10, 11, 12)}
    write_own(tmp_path / "faces", trials, stimuli)
    assert load(tmp_path / "faces")[0].fingerprint() == trials.fingerprint()
