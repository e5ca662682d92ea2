"""BIDS trees as the standard says and as they are found: written here, and real files of other projects."""

import json
import os
import shutil
from pathlib import Path

import mne
import numpy as np
import pytest
from PIL import Image

from sightwave.convert import convert
from sightwave.datasets.bids import Bids
from sightwave.errors import DataError, MissingFile, RecipeError, UnitError, UnknownName
from sightwave.house import recognise
from sightwave.reading.tree import runs_in
from sightwave.report.survey import lines
from sightwave.survey import survey

SFREQ, N_SAMPLES, NAMES = 200.0, 4000, ("FP1", "Oz", "T3", "EOG1")  # 20 s
EVENTS = (
    "onset\tduration\ttrial_type\n1.0\t0.5\tface\n2.5\t0.5\thouse\n4.0\t0.1\tbutton\n6.0\t0.5\tface\n8.0\t0.5\thouse\n"
)


def signal(seed: int = 0) -> np.ndarray:
    """Microvolts, shape (n_channels, n_samples), in steps of the file's resolution."""
    return np.random.default_rng(seed).normal(0, 10, (len(NAMES), N_SAMPLES)).astype(np.float32)


def write_brainvision(path: Path, eeg: np.ndarray, markers: str = "", names: tuple[str, ...] = NAMES) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stem = path.with_suffix("")
    eeg.T.astype("<f4").tofile(f"{stem}.eeg")
    channels = "\n".join(f"Ch{i + 1}={name},,1,µV" for i, name in enumerate(names))
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={stem.name}.eeg\nMarkerFile={stem.name}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels={len(names)}\nSamplingInterval={1e6 / SFREQ:g}\n\n"
        "[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n\n"
        f"[Channel Infos]\n{channels}\n",
        encoding="utf-8",
    )
    Path(f"{stem}.vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={stem.name}.eeg\n\n[Marker Infos]\n{markers}",
        encoding="utf-8",
    )


def write_tree(root: Path, *, subjects=("01", "02"), runs=("1",), folder: str = "eeg", events: str = EVENTS) -> Path:
    for s in subjects:
        for r in runs:
            stem = root / f"sub-{s}" / "ses-a" / folder / f"sub-{s}_ses-a_task-look_run-{r}"
            write_brainvision(Path(f"{stem}_eeg.vhdr"), signal(int(s) * 10 + int(r)))
            Path(f"{stem}_events.tsv").write_text(events)
    return root


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "tree", runs=("1", "2"))


ONLY = Bids(events=("face", "house"))


def test_trials_are_the_samples_around_each_event(tree):
    trials, stimuli = ONLY.load(tree, ("01", "02"))
    assert ONLY.subjects(tree) == ("01", "02")
    assert trials.eeg.shape == (16, 3, 181)
    assert trials.ch_names == ("Fp1", "Oz", "T7")
    assert trials.events["label"].tolist() == ["face", "house", "face", "house"] * 4
    assert list(trials.events[["subject", "session", "run"]].iloc[4]) == ["01", "a", "2"]
    assert not trials.events["stimulus_known"].any()
    assert len(stimuli) == 16
    second = signal(11)[:3, round(2.4 * SFREQ) : round(2.4 * SFREQ) + 181] * 1e-6
    np.testing.assert_allclose(trials.eeg[1], second, atol=1e-11)
    assert trials.events["onset"].tolist()[:4] == [1.0, 2.5, 6.0, 8.0]
    assert trials.events["trial"].is_unique


def test_it_says_what_it_leaves_out(tree):
    (tree / "sub-01/ses-a/eeg/sub-01_ses-a_task-rest_eeg.vhdr").write_text("not read")
    path = tree / "sub-01/ses-a/eeg/sub-01_ses-a_task-look_run-1_events.tsv"
    path.write_text(EVENTS + "19.9\t0.5\tface\nn/a\t0\tface\n9\t0\tn/a\n")
    told = Bids(task="look", events=("face", "house")).left_out(tree)
    assert told["sub-01/ses-a/eeg/sub-01_ses-a_task-rest_eeg.vhdr"] == "task rest"
    text = told["sub-01/ses-a/eeg/sub-01_ses-a_task-look_run-1_eeg.vhdr"]
    for part in (
        "EOG1",
        "1 of 8 events have no onset",
        "2 of 7 events are not asked for: button",
        "1 of 5 trials leave",
    ):
        assert part in text
    assert Bids(task="look", events=("face", "house")).load(tree, ("01",))[0].eeg.shape[0] == 8
    with pytest.raises(DataError, match=r"the tasks look, rest\. Say which: Bids\(task='look'\)"):
        Bids().subjects(tree)


@pytest.mark.parametrize("folder", ["eeg", "."])
def test_the_folder_eeg_may_be_missing(tmp_path, folder):
    root = write_tree(tmp_path / "tree", subjects=("07",), folder=folder)
    trials, _ = ONLY.load(root, ("07",))
    assert len(trials) == 4


def test_a_tree_is_recognised_task_by_task(tree, tmp_path):
    assert Bids.recognise(tree) == (Bids("look"),)
    for task in ("rest", "words"):
        (tree / f"sub-01/ses-a/eeg/sub-01_ses-a_task-{task}_eeg.bdf").touch()
    assert Bids.recognise(tree) == (Bids("look"), Bids("words"), Bids("rest"))
    assert Bids.recognise(tmp_path) == ()


def test_onsets_in_milliseconds_are_read_as_such_and_told_loudly(tmp_path):
    rows = [line.split("\t") for line in EVENTS.splitlines()[1:]]
    late = "".join(f"{float(o) * 2000:g}\t{d}\t{t}\n" for o, d, t in rows)
    root = write_tree(tmp_path / "tree", subjects=("01",), events="onset\tduration\ttrial_type\n" + late)
    trials, _ = ONLY.load(root, ("01",))
    assert trials.events["onset"].tolist() == [2.0, 5.0, 12.0, 16.0]
    told = ONLY.left_out(root)["sub-01/ses-a/eeg/sub-01_ses-a_task-look_run-1_eeg.vhdr"]
    assert "ONSETS ARE MILLISECONDS" in told
    assert "the last onset is 16000, and the recording lasts 20.0 s" in told
    trials, _ = Bids(events=("face", "house"), onset_unit="ms").load(root, ("01",))
    assert len(trials) == 4


def test_onsets_that_may_be_samples_are_asked_about(tmp_path):
    header = "onset\tduration\ttrial_type\n"
    root = write_tree(tmp_path / "tree", subjects=("01",), events=header + "300\t0\tface\n3000\t0\thouse\n")
    with pytest.raises(DataError, match=r"run-1_events\.tsv: column 'onset': .* may be ms or samples\. Say which"):
        ONLY.load(root, ("01",))
    trials, _ = Bids(events=("face", "house"), onset_unit="samples").load(root, ("01",))
    assert trials.events["onset"].tolist() == [1.5, 15.0]
    write_tree(root, subjects=("01",), events=header + "300000\t0\tface\n3000000\t0\thouse\n")
    with pytest.raises(DataError, match="neither seconds, milliseconds nor samples fit"):
        ONLY.load(root, ("01",))


def test_tables_higher_up_apply_and_nearer_ones_win(tree):
    near = tree / "sub-02/ses-a/eeg/sub-02_ses-a_task-look_run-1_events.tsv"
    for path in (near, tree / "sub-01/ses-a/eeg/sub-01_ses-a_task-look_run-1_events.tsv"):
        path.unlink()
    (tree / "task-look_events.tsv").write_text(EVENTS.replace("face", "cat").replace("house", "dog"))
    (tree / "task-other_events.tsv").write_text("nonsense")
    (tree / "sub-02/ses-a/sub-02_task-look_events.tsv").write_text(EVENTS.replace("face", "cup"))
    labels = Bids().load(tree, ("01", "02"))[0].events
    assert set(labels[(labels.subject == "01") & (labels.run == "1")]["label"]) == {"cat", "dog", "button"}
    assert set(labels[(labels.subject == "02") & (labels.run == "1")]["label"]) == {"cup", "house", "button"}
    assert set(labels[labels.run == "2"]["label"]) == {"face", "house", "button"}


def test_pictures_are_those_that_stim_file_names(tmp_path):
    events = "onset\ttrial_type\tvalue\tstim_file\n" + "".join(
        f"{1 + i}\tface\t{7 + i % 2}\t{name}\n" for i, name in enumerate(["a.png", "b/c.png", "a.png", "n/a"])
    )
    root = write_tree(tmp_path / "tree", subjects=("01",), events=events)
    (root / "stimuli/b").mkdir(parents=True)
    Image.new("RGB", (4, 3), (255, 0, 0)).save(root / "stimuli/a.png")
    with pytest.raises(DataError, match=r"1 of 2 stimuli have no image, e\.g\. b/c\.png"):
        Bids().load(root, ("01",))
    Image.new("RGB", (4, 3), (0, 255, 0)).save(root / "stimuli/b/c.png")
    trials, stimuli = Bids().load(root, ("01",))
    assert trials.events["stimulus"].tolist() == ["a.png", "b/c.png", "a.png"]
    assert trials.events["stimulus_known"].all()
    assert stimuli.image("b/c.png")[0, 0].tolist() == [0, 255, 0]
    assert "1 of 4 events have no stim_file" in next(iter(Bids().left_out(root).values()))
    trials, _ = Bids(label="value", stimulus="value").load(root, ("01",))
    assert trials.events["label"].tolist() == trials.events["stimulus"].tolist() == ["7", "8", "7", "8"]
    (root / "sub-01/ses-a/eeg/sub-01_ses-a_task-look_run-1_events.tsv").write_text(
        events.replace("a.png", "../../x.png")
    )
    with pytest.raises(DataError, match=r"leads out of"):
        Bids().load(root, ("01",))


def test_channels_tsv_says_which_are_eeg_and_which_are_bad(tree):
    folder = tree / "sub-01/ses-a/eeg"
    kinds = "name\ttype\tunits\tstatus\nFP1\tEEG\tuV\tgood\nOz\tEEG\tuV\tgood\nT3\tEEG\tuV\tbad\nEOG1\tEEG\tuV\tgood\n"
    (folder / "sub-01_ses-a_task-look_run-2_channels.tsv").write_text(kinds)
    (folder / "sub-01_ses-a_task-look_run-1_channels.tsv").write_text(kinds.replace("bad", "good"))
    assert ONLY.load(tree, ("01",))[0].ch_names == ("Fp1", "Oz", "EOG1")
    assert Bids(events=("face",), bads="keep").load(tree, ("01",))[0].ch_names == ("Fp1", "Oz", "T7", "EOG1")
    assert Bids(events=("face",), channels=("Oz",)).load(tree, ("01", "02"))[0].ch_names == ("Oz",)
    told = ONLY.left_out(tree)["sub-01/ses-a/eeg/sub-01_ses-a_task-look_run-2_eeg.vhdr"]
    assert "channel(s) T7 are bad in channels.tsv: left out of all" in told
    with pytest.raises(UnknownName, match="No channel named 'T7'"):
        Bids(events=("face",), channels=("T7",)).load(tree, ("01",))
    with pytest.raises(DataError, match="ch_names differs"):
        ONLY.load(tree, ("01", "02"))
    (folder / "sub-01_ses-a_task-look_run-2_channels.tsv").write_text("name\ttype\nX1\tEEG\nX2\tEEG\n")
    assert (
        "is not used: of its 2 channels the recording has 0"
        in ONLY.left_out(tree)["sub-01/ses-a/eeg/sub-01_ses-a_task-look_run-2_eeg.vhdr"]
    )


def test_positions_are_the_measured_ones_else_those_of_the_cap(tree):
    of_cap = Bids().positions(tree, "01")
    assert set(of_cap) == {"Fp1", "Oz", "T7"}
    assert of_cap["Fp1"][1] > 0.05 > of_cap["T7"][1] > of_cap["Oz"][1]
    folder = tree / "sub-01/ses-a/eeg"
    (folder / "sub-01_ses-a_space-CapTrak_electrodes.tsv").write_text(
        "name\tx\ty\tz\nFP1\t-30\t110\t20\nT3\tn/a\tn/a\tn/a\n"
    )
    (folder / "sub-01_ses-a_space-CapTrak_coordsystem.json").write_text(json.dumps({"EEGCoordinateUnits": "mm"}))
    measured = Bids().positions(tree, "01")
    assert set(measured) == {"Fp1"}
    np.testing.assert_allclose(measured["Fp1"], [-0.03, 0.11, 0.02])
    assert set(Bids().positions(tree, "02")) == {"Fp1", "Oz", "T7"}
    (folder / "sub-01_ses-a_space-CapTrak_coordsystem.json").write_text(json.dumps({"EEGCoordinateUnits": "pixels"}))
    with pytest.raises(DataError, match=r"electrodes\.tsv: positions are in 'pixels'"):
        Bids().positions(tree, "01")


def test_without_a_table_the_markers_in_the_recording_are_used(tmp_path):
    path = tmp_path / "sub-01/sub-01_task-look_eeg.vhdr"
    write_brainvision(
        path, signal(), "Mk1=Stimulus,S  1,401,1,0\nMk2=Stimulus,S  2,1001,1,0\nMk3=Response,R  1,1201,1,0\n"
    )
    trials, _ = Bids(events=("Stimulus/S  1", "Stimulus/S  2")).load(tmp_path, ("01",))
    assert trials.events["onset"].tolist() == [2.0, 5.0]
    assert (
        "no events.tsv, so its own 3 markers are used" in Bids().left_out(tmp_path)["sub-01/sub-01_task-look_eeg.vhdr"]
    )
    write_brainvision(path, signal())
    with pytest.raises(DataError, match=r"no usable trial of subject\(s\) 01\. .*its own 0 markers"):
        Bids().load(tmp_path, ("01",))


def test_the_filter_is_of_the_whole_recording(tree):
    slow, _ = Bids(events=("face",), h_freq=5.0).load(tree, ("01",))
    raw, _ = Bids(events=("face",)).load(tree, ("01",))
    assert slow.eeg.std() < 0.4 * raw.eeg.std()


# ---- refusals


def test_refusals_name_the_file_and_the_field(tree, tmp_path):
    with pytest.raises(MissingFile, match="--data DIR"):
        Bids().subjects(None)
    with pytest.raises(MissingFile, match=r"No EEG recording below .*expected sub-"):
        Bids().subjects(tmp_path / "tree/sub-01")
    with pytest.raises(UnknownName, match="No subject named '03'"):
        ONLY.load(tree, ("03",))
    with pytest.raises(UnknownName, match=r"No task named 'lok'\. Did you mean 'look'"):
        Bids(task="lok").subjects(tree)
    with pytest.raises(RecipeError, match=r"Bids\.bads must be one of"):
        Bids(bads="maybe")
    events = tree / "sub-01/ses-a/eeg/sub-01_ses-a_task-look_run-1_events.tsv"
    with pytest.raises(
        DataError, match=r"events\.tsv: no column category for the label .* has onset, duration, trial_type"
    ):
        Bids(label="category").load(tree, ("01",))
    events.write_text("onset\tduration\n1\t0\n")
    with pytest.raises(DataError, match=r"no column trial_type or value for the label"):
        ONLY.load(tree, ("01",))
    events.write_text("duration\ttrial_type\n1\tface\n")
    with pytest.raises(DataError, match=r"events\.tsv: line 1: no column 'onset'"):
        ONLY.load(tree, ("01",))
    events.write_text("onset\ttrial_type\nn/a\tface\n1,5\tface\n")
    with pytest.raises(DataError, match=r"events\.tsv: line 3, column 'onset': expected a number, got '1,5'"):
        ONLY.load(tree, ("01",))
    events.write_text("onset\ttrial_type\n")
    assert "holds no event" in ONLY.left_out(tree)["sub-01/ses-a/eeg/sub-01_ses-a_task-look_run-1_eeg.vhdr"]


def test_a_damaged_recording_is_refused_by_name(tree):
    head = tree / "sub-01/ses-a/eeg/sub-01_ses-a_task-look_run-1_eeg.vhdr"
    text = head.read_text(encoding="utf-8")
    head.write_text(text.replace("NumberOfChannels=4", "NumberOfChannels=four"))
    with pytest.raises(DataError, match=r"run-1_eeg\.vhdr: cannot be read, ValueError: .*'four'"):
        ONLY.load(tree, ("01",))
    head.write_text(text)
    signal(11).T.astype("<f4").tofile(head.with_suffix(".eeg"))
    bad = signal(11)
    bad[1, 900] = np.nan
    bad.T.astype("<f4").tofile(head.with_suffix(".eeg"))
    with pytest.raises(DataError, match=r"run-1_eeg\.vhdr: channel 'Oz' holds 1 sample"):
        ONLY.load(tree, ("01",))
    (signal(11) * 1e6).T.astype("<f4").tofile(head.with_suffix(".eeg"))
    with pytest.raises(UnitError, match="look like microvolts"):
        ONLY.load(tree, ("01",))


def test_a_header_cannot_point_out_of_the_tree(tree, tmp_path):
    shutil.copy(tree / "sub-01/ses-a/eeg/sub-01_ses-a_task-look_run-1_eeg.eeg", tmp_path / "secret.eeg")
    head = tree / "sub-01/ses-a/eeg/sub-01_ses-a_task-look_run-1_eeg.vhdr"
    text = head.read_text(encoding="utf-8")
    head.write_text(text.replace("DataFile=sub-01_ses-a_task-look_run-1_eeg.eeg", "DataFile=../../../../secret.eeg"))
    with pytest.raises(DataError, match=r"secret\.eeg' leads out of"):
        ONLY.load(tree, ("01",))


def test_links_to_absent_content_and_out_of_the_tree_are_refused(tree, tmp_path):
    head = tree / "sub-02/ses-a/eeg/sub-02_ses-a_task-look_run-2_eeg.vhdr"
    shutil.move(head, tmp_path / "elsewhere.vhdr")
    head.symlink_to(tmp_path / "elsewhere.vhdr")
    with pytest.raises(DataError, match="leads out of"):
        ONLY.subjects(tree)
    os.remove(tmp_path / "elsewhere.vhdr")
    with pytest.raises(DataError, match=r"run-2_eeg\.vhdr: a link to content that is not here.*datalad get"):
        ONLY.subjects(tree)


def test_one_recording_in_two_formats_is_refused(tree):
    (tree / "sub-01/ses-a/eeg/sub-01_ses-a_task-look_run-1_eeg.edf").write_bytes(b"")
    with pytest.raises(DataError, match="are one recording in two formats"):
        ONLY.subjects(tree)


# ---- real files of other projects, and mne-bids beside ours

REAL = {
    "set": ("eeglab/eeglab_data.set", ("eeglab/eeglab_data.fdt",), 128.0, ("square",), 80),
    "vhdr": ("brainvision/test.vhdr", ("brainvision/test.eeg", "brainvision/test.vmrk"), 1000.0, ("Stimulus/S253",), 2),
    "edf": ("edf_bdf/test.edf", (), 512.0, ("type A", "type B"), 4),
}


@pytest.mark.parametrize("kind", REAL)
def test_real_recordings_are_cut_at_their_markers(shared, tmp_path, kind):
    import mne

    name, beside, sfreq, events, n = REAL[kind]
    folder = tmp_path / "sub-01/eeg"
    folder.mkdir(parents=True)
    source = shared / "eeg_format_samples"
    for other in beside:  # a header names its companions, so these keep their names
        shutil.copy(source / other, folder)
    path = folder / f"sub-01_task-x_eeg.{kind}"
    shutil.copy(source / name, path)
    dataset = Bids(events=events, tmin=-0.1, tmax=0.3)
    trials, _ = dataset.load(tmp_path, ("01",))
    assert (trials.sfreq, len(trials)) == (sfreq, n)
    assert "no events.tsv, so its own" in dataset.left_out(tmp_path)["sub-01/eeg/" + path.name]
    raw = mne.io.read_raw(path, preload=True, verbose="error")
    row = trials.events.iloc[0]
    first = round(row["onset"] * sfreq) + round(-0.1 * sfreq)
    written = {c.upper().removeprefix("EEG "): c for c in raw.ch_names}
    own = raw.get_data(picks=[written[trials.ch_names[0].upper()]])[0, first : first + trials.eeg.shape[2]]
    np.testing.assert_allclose(trials.eeg[0, 0], own, rtol=1e-5, atol=1e-12)


def test_a_real_tree_whose_tables_do_not_fit(shared, tmp_path):
    """EEGLAB's example: names decorated by EDF, 15 rows of channels for 16 others, and no events."""
    root = shared / "eeg_format_samples/BIDS_test"
    assert Bids().subjects(root) == ("S1",)
    told = next(iter(Bids().left_out(root).values()))
    assert "is not used: of its 15 channels the recording has 0" in told
    copy = tmp_path / "tree"
    shutil.copytree(root, copy)
    run = runs_in(copy)[0]
    run.path.with_name(run.path.name.replace("_eeg.edf", "_events.tsv")).write_text(
        "onset\ttrial_type\n5000\ta\n20000\tb\n59000\ta\n"
    )
    trials, _ = Bids().load(copy, ("S1",))
    assert trials.ch_names[:5] == ("Fp1", "Fp2", "T7", "T8", "P7")
    assert (trials.events["session"].iloc[0], trials.events["run"].iloc[0]) == ("01", "01")
    assert trials.events["onset"].tolist() == [5.0, 20.0, 59.0]


def test_epochs_in_an_eeglab_file_are_refused_with_the_way_out(shared, tmp_path):
    folder = tmp_path / "sub-01/eeg"
    folder.mkdir(parents=True)
    for ending in (".set", ".fdt"):
        shutil.copy(shared / f"eeg_format_samples/eeglab/eeglab_data_epochs_ica{ending}", folder)
    (folder / "eeglab_data_epochs_ica.set").rename(folder / "sub-01_task-x_eeg.set")
    with pytest.raises(DataError, match=r"sub-01_task-x_eeg\.set: holds epochs, not a recording\. Read it with mne"):
        Bids().load(tmp_path, ("01",))


@pytest.mark.parametrize("kind", ["BrainVision", "EDF", "EEGLAB", "FIF"])
def test_trees_that_mne_bids_writes_give_the_trials_that_it_reads(tmp_path, kind):
    """An independent writer and reader: same samples at the same events, in every format."""
    import mne

    mne_bids = pytest.importorskip("mne_bids")
    pytest.importorskip({"BrainVision": "pybv", "EDF": "edfio", "EEGLAB": "eeglabio", "FIF": "mne"}[kind])
    info = mne.create_info(["Fp1", "Oz", "Pz"], SFREQ, "eeg", verbose="error")
    raw = mne.io.RawArray(signal()[:3] * 1e-6, info, verbose="error")
    raw.set_annotations(mne.Annotations([1.0, 2.5, 6.0, 8.0], 0.5, ["face", "house"] * 2))
    raw.info["line_freq"] = 50
    where = mne_bids.BIDSPath(subject="01", session="a", task="look", run="1", datatype="eeg", root=tmp_path)
    import warnings

    with warnings.catch_warnings(action="ignore"):
        if kind == "FIF":  # the standard has no FIF of EEG, and yet there are
            where.mkdir()
            raw.save(where.directory / f"{where.basename}_eeg.fif", verbose="error")
            (where.directory / f"{where.basename}_events.tsv").write_text(
                "onset\ttrial_type\n1\tface\n2.5\thouse\n6\tface\n8\thouse\n"
            )
            theirs = raw
        else:
            mne_bids.write_raw_bids(raw, where, format=kind, allow_preload=True, verbose="error")
            theirs = mne_bids.read_raw_bids(where, verbose="error")
        at, codes = mne.events_from_annotations(theirs, verbose="error")
        wanted = {k: v for k, v in codes.items() if k in ("face", "house")}
        epochs = mne.Epochs(theirs, at, wanted, -0.1, 0.8, baseline=None, preload=True, verbose="error")
    trials, _ = ONLY.load(tmp_path, ("01",))
    np.testing.assert_allclose(trials.eeg, epochs.get_data(copy=False), rtol=1e-5, atol=2e-11)
    assert trials.events["label"].tolist() == ["face", "house"] * 2


# ---- recordings side by side, without a tree


def loose(folder, name, markers, n=1000):
    rng, names = np.random.default_rng(len(name)), ["Oz", "Pz", "O1", "O2"]
    raw = mne.io.RawArray(rng.normal(0, 1e-5, (4, n)), mne.create_info(names, 100.0, "eeg"), verbose="error")
    raw.set_annotations(mne.Annotations([1.0 + i for i in range(len(markers))], 0.1, markers))
    mne.export.export_raw(folder / name, raw, verbose="error")


def test_recordings_side_by_side_are_a_subject_each(tmp_path):
    loose(tmp_path, "anna.set", ["face", "boundary", "house", "BAD blink"])
    loose(tmp_path, "ben.vhdr", ["face", "house", "face"])
    (tmp_path / "ben_events.tsv").write_text("onset\ttrial_type\n2.5\tcar\n4\tface\n")
    found = recognise(tmp_path)
    assert [type(d) for d in found] == [Bids]
    assert found[0].subjects(tmp_path) == ("anna", "ben")
    events = found[0].load(tmp_path, ("anna", "ben"))[0].events
    with pytest.raises(DataError, match="tell no task, so leave it out instead of 'faces'"):
        Bids("faces").subjects(tmp_path)
    assert list(zip(events["subject"], events["label"], strict=True)) == [
        ("anna", "face"), ("anna", "house"), ("ben", "car"), ("ben", "face"),
    ]  # fmt: skip


def test_a_subject_without_trials_is_told_and_the_others_are_looked_at(tmp_path):
    loose(tmp_path, "anna.set", ["face", "house"])
    loose(tmp_path, "ben.vhdr", [])
    seen = survey(tmp_path)
    assert seen.read == ("anna",)
    assert list(seen.wrong) == ["ben"]
    assert "no events.tsv, so its own 0 markers are used" in seen.left_out["ben.vhdr"]
    assert "--all" not in dict(lines(seen))["read"]
    with pytest.raises(DataError, match=r"ben\.vhdr: 0 trials.*Put a table beside it, NAME_events.tsv"):
        Bids().load(tmp_path, ("ben",))


def test_what_is_no_recording_does_not_make_a_folder_one(tmp_path):
    for name in ("blink-ica.fif", "x-ave.fif", "notes.txt", "sub-01"):
        (tmp_path / name).touch()
    with pytest.raises(MissingFile, match="No data set was recognised"):
        recognise(tmp_path)


SIDE_BY_SIDE = {"brainvision": 11, "eeglab": 154, "eeguana_faces_segment": 32, "BIDS_test/derivatives/eeglab": 54}


@pytest.mark.parametrize("name", SIDE_BY_SIDE)
def test_real_recordings_are_recognised_and_looked_through(shared, name, cache):
    seen = survey(shared / "eeg_format_samples" / name)
    assert seen.recognised.startswith("bids")
    assert len(seen.events) == SIDE_BY_SIDE[name]
    assert all("holds epochs" in why or "no trial" in why for why in seen.wrong.values())


def test_a_real_recording_without_events_says_what_to_add(shared):
    with pytest.raises(DataError, match=r"run-01_eeg.edf: 0 trials.*Put a table beside it, NAME_events.tsv"):
        survey(shared / "eeg_format_samples" / "BIDS_test")


def test_a_real_recording_is_converted_and_looks_the_same(shared, tmp_path):
    source = shared / "eeg_format_samples" / "BIDS_test" / "derivatives" / "eeglab"
    first = survey(source)
    for form in ("npy", "bids-derivatives"):
        again = survey(convert(source, tmp_path / form, to=form))
        assert again.recognised == "own"
        assert (again.ch_names, again.sfreq, len(again.events)) == (first.ch_names, first.sfreq, len(first.events))
        np.testing.assert_allclose(again.evoked["S1"], first.evoked["S1"], rtol=1e-5, atol=1e-12)
