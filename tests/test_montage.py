"""Channel names of every cap: mapped where known, left alone where not, and never given a place that is not theirs."""

from pathlib import Path

import mne
import numpy as np
import pytest

from sightwave.errors import DataError, MissingFile, UnknownName
from sightwave.phantom.head import CVPR128, MSS122, THINGS63
from sightwave.reading.montage import EMOTIV14, is_eeg, positions, read_electrodes, recognise


def built_in(name: str) -> list[str]:
    return list(mne.channels.make_standard_montage(name).ch_names)


TEN_FIVE = "colin27_1005" if "colin27_1005" in mne.channels.get_builtin_montages() else "standard_1005"


@pytest.mark.parametrize("spell", [str, str.upper, str.lower, "EEG {}-Ref".format, "EEG.{}".format, " {}.. ".format])
def test_every_10_05_name_is_known_however_it_is_spelt(spell):
    old = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
    for name in built_in(TEN_FIVE):
        assert recognise([spell(name)]).names == (old.get(name, name),), name


def test_names_of_our_own_data_sets_stay():
    for names in (THINGS63, MSS122, CVPR128, EMOTIV14):
        assert recognise(names).names == names
        assert recognise(names).unknown == ()
        assert np.isfinite(positions(names)).all()


def test_two_names_never_become_one():
    found = recognise(["T3", "T7", "Oz", "OZ.", "Pz"])
    assert found.names == ("T3", "T7", "Oz", "OZ.", "Pz")
    assert recognise(["EEG C3-A1", "EEG C3-A2"]).names == ("EEG C3-A1", "EEG C3-A2")
    where = positions(["EEG C3-A1", "EEG C3-A2"])
    assert np.isnan(where).all()


@pytest.mark.parametrize("name", ["Fp1-F7", "EEG Fp1-F7", "EEG 001", "17", "CB1", "ch3", "X7", "Fp3z", "Oz2", ""])
def test_what_is_not_known_keeps_its_name_and_has_no_position(name):
    found = recognise([name, "Oz"])
    assert found.names == (name, "Oz")
    assert found.unknown == (name,)
    assert np.isfinite(positions([name, "Oz"])).tolist() == [[False] * 3, [True] * 3]
    assert recognise([name]).builtin is None


@pytest.mark.parametrize(("n", "cap"), [(64, "biosemi64"), (32, "biosemi32")])
def test_biosemi_caps_by_letter_and_number_get_their_names(n, cap):
    numbered = [f"{letter}{i}" for letter in "AB" for i in range(1, 33)][:n]
    found = recognise([*numbered, "EXG1", "Status"])
    assert found.names[:n] == tuple(built_in(cap))
    assert found.unknown == ("EXG1", "Status")
    theirs = mne.channels.make_standard_montage(cap).get_positions()["ch_pos"]
    np.testing.assert_allclose(positions(numbered), [theirs[c] for c in found.names[:n]])


@pytest.mark.parametrize(
    ("letters", "cap"), [("ABCD", "biosemi128"), ("ABCDE", "biosemi160"), ("ABCDEFGH", "biosemi256")]
)
def test_a_larger_grid_keeps_its_names_and_has_its_own_places(letters, cap):
    numbered = [f"{letter}{i}" for letter in letters for i in range(1, 33)]
    found = recognise(numbered)
    assert (found.names, found.system, found.builtin) == (tuple(numbered), "biosemi", cap)
    c3 = positions(numbered)[numbered.index("C3")]
    assert np.linalg.norm(c3 - positions(["C3"])[0]) > 0.02  # another place than that of 10-20


def test_a_grid_that_is_not_known_is_not_taken_for_10_20():
    odd = [f"{letter}{i}" for letter in "ABCI" for i in range(1, 33)]  # 'C3', 'I1' and 'A1' among them
    assert recognise(odd).system == "unknown"
    assert np.isnan(positions(odd)).all()
    assert recognise(["A1", "C3", "C4", "A2"]).system == "10-05"


@pytest.mark.parametrize(
    ("names", "cap", "vertex"),
    [
        ([f"E{i}" for i in range(1, 129)], "GSN-HydroCel-128", None),
        ([f"E{i}" for i in range(1, 130)], "GSN-HydroCel-129", 128),
        ([f"E{i:03d}" for i in range(1, 129)] + ["VREF"], "GSN-HydroCel-129", 128),
        ([f"E{i}" for i in range(1, 125)], "GSN-HydroCel-128", None),
        ([f"e{i}" for i in range(1, 258)], "GSN-HydroCel-257", 256),
    ],
)
def test_egi_nets_are_known_by_their_numbers(names, cap, vertex):
    found = recognise(names)
    assert (found.system, found.builtin, found.unknown) == ("egi", cap, ())
    assert found.names[0] == "E1"
    assert vertex is None or found.names[vertex] == "Cz"
    assert np.isfinite(positions(names)).all()
    assert set(found.names) <= set(built_in(cap))


def test_a_few_numbered_channels_are_no_net():
    assert recognise([f"E{i}" for i in range(1, 33)]).system == "unknown"
    assert recognise([f"E{i}" for i in range(1, 400)]).system == "unknown"


def test_positions_come_from_the_montage_that_is_named():
    assert np.isfinite(positions(["1", "61"], "easycap-M10")).all()
    assert np.isnan(positions(["1", "61"])).all()
    easycap = positions(["Oz"], "easycap-M1")
    assert np.linalg.norm(easycap - positions(["Oz"])) < 0.05
    right, front, up = positions(["C4", "Fpz", "Cz"])
    assert right[0] > 0.05
    assert front[1] > 0.05
    assert up[2] > 0.05
    with pytest.raises(UnknownName, match=r"No montage named 'biosemi63'\. Did you mean 'biosemi64'"):
        positions(["Oz"], "biosemi63")


def test_eyes_hearts_and_triggers_are_no_eeg():
    for name in (
        "VEOG",
        "HEOGL",
        "EOG1",
        "EOG left",
        "ECG",
        "EMG1",
        "Status",
        "STI 014",
        "EXG8",
        "GSR1",
        "Resp",
        "veo",
    ):
        assert not is_eeg(name), name
    for name in ("Oz", "EEG 001", "E7", "A1", "FT9", "EEG Fp1-Ref", "TP10", "17"):
        assert is_eeg(name), name


def test_measured_positions_are_read_in_metres(tmp_path):
    path = tmp_path / "electrodes.tsv"
    path.write_text("name\tx\ty\tz\ttype\nFp1\t-2.5\t8\t1e0\tcup\nREF\tn/a\tn/a\tn/a\tcup\n")
    found = read_electrodes(path, "cm")
    assert list(found) == ["Fp1"]
    np.testing.assert_allclose(found["Fp1"], [-0.025, 0.08, 0.01])
    path.write_text("name\tx\ty\nFp1\t1\t2\n")
    with pytest.raises(DataError, match=r"electrodes\.tsv: line 1: no column 'z'"):
        read_electrodes(path)
    path.write_text("name\tx\ty\tz\nFp1\t1\tleft\t2\n")
    with pytest.raises(DataError, match=r"electrodes\.tsv: line 2, column 'y': expected a number, got 'left'"):
        read_electrodes(path)
    with pytest.raises(DataError, match="positions are in 'inch'"):
        read_electrodes(path, "inch")
    with pytest.raises(MissingFile):
        read_electrodes(Path(tmp_path / "no.tsv"))


def test_real_electrodes_lie_near_those_of_the_montage(shared):
    path = shared / "things_test_images/events/sub-01_ses-01_space-CapTrak_electrodes.tsv"
    found = read_electrodes(path)
    assert set(found) == set(THINGS63)
    measured, usual = np.stack([found[c] for c in THINGS63]), positions(THINGS63)
    # the origins differ: there between the ears, here that of the head's picture
    distance = np.linalg.norm((measured - measured.mean(0)) - (usual - usual.mean(0)), axis=1)
    assert distance.max() < 0.025


def test_names_in_real_files_become_the_usual_ones(shared):
    folder = shared / "eeg_format_samples"
    edf = mne.io.read_raw(next(folder.rglob("sub-S1*.edf")), verbose="error")
    assert recognise(edf.ch_names).names[:5] == ("Fp1", "Fp2", "T7", "T8", "P7")
    set_ = mne.io.read_raw(folder / "eeglab/eeglab_data.set", verbose="error")
    eeg = [c for c in set_.ch_names if is_eeg(c)]
    assert len(eeg) == 30
    assert recognise(eeg).unknown == ()
    grid = mne.io.read_raw(folder / "edf_bdf/test.edf", verbose="error")
    assert recognise(grid.ch_names).system == "unknown"
