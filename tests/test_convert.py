"""Trials go to mne.Epochs, to arrays and to a tree of FIF, and come back number for number."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sightwave.convert import convert
from sightwave.datasets.own import Own, write_own
from sightwave.errors import DataError, UnknownName
from sightwave.reading.export import write_derivatives, write_npy
from sightwave.stimuli import Stimuli
from sightwave.trials import Applied, Trials


def stimuli_of(trials, *, pictures=True):
    table = trials.events[["stimulus", "label"]].drop_duplicates().set_index("stimulus")
    table["captions"] = [(f"a {s}", f"one {s}, of {la}") for s, la in table["label"].items()]

    def read(s):
        return np.full((4, 5, 3), sum(s.encode()) % 256, np.uint8)

    return Stimuli(table, read if pictures else None, "k")


def same(a, b, *, columns=None):
    assert (a.ch_names, a.sfreq, a.unit) == (b.ch_names, b.sfreq, b.unit)
    assert a.tmin == pytest.approx(b.tmin, abs=1e-12)
    assert a.eeg.dtype == b.eeg.dtype
    np.testing.assert_array_equal(a.eeg, b.eeg)
    columns = columns or list(b.events)
    pd.testing.assert_frame_equal(a.events[columns], b.events[columns], check_dtype=False)
    assert [h.step for h in a.history] == [h.step for h in b.history]
    for mine, yours in zip(a.history, b.history, strict=True):
        assert (mine.fitted_on is None) == (yours.fitted_on is None)
        assert mine.fitted_on is None or list(mine.fitted_on) == list(yours.fitted_on)


@pytest.fixture
def rich(make_trials):
    trials = make_trials(n_subjects=2, n_sessions=2, tmin=-0.02, part=True)
    n = len(trials)
    onset = np.where(np.arange(n) % 5 == 0, np.nan, np.arange(n) / 3)
    extra = {"onset": onset, "repetition": np.arange(n) % 2, "x_mood": ["up", "a,b"] * (n // 2)}
    return replace(trials, events=trials.events.assign(**extra))


@pytest.mark.parametrize("unit", ["V", "z"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_trials_come_back_from_epochs_as_they_were(rich, unit, dtype):
    history = (Applied("Standardise", rich.events["trial"].to_numpy()[:3]), Applied("Crop"))
    scale = 1 if unit == "V" else 1e5
    trials = replace(rich, unit=unit, eeg=(rich.eeg * scale).astype(dtype), history=history)
    epochs = trials.to_epochs()
    assert epochs.get_data(copy=False).dtype == np.float64
    assert epochs.get_channel_types() == ["eeg"] * 3
    same(Trials.from_epochs(epochs), trials)


def test_trials_come_back_from_a_saved_file(rich, tmp_path):
    import mne

    trials = replace(rich, unit="z", eeg=rich.eeg * 1e5, history=(Applied("Standardise"),))
    trials.to_epochs().save(tmp_path / "a_epo.fif", verbose="error")
    with warnings.catch_warnings(action="ignore"):  # of MNE, which uses what pandas gives up
        epochs = mne.read_epochs(tmp_path / "a_epo.fif", verbose="error")
    same(Trials.from_epochs(epochs), trials)


def test_epochs_that_were_dropped_take_their_rows_along(rich):
    epochs = rich.to_epochs()[::3]
    same(Trials.from_epochs(epochs), rich[::3])


@pytest.mark.parametrize("text", [None, "resting state", "{}", '{"sightwave trials": {"unit": "V"}}', "[1]"])
def test_a_description_of_somebody_else_is_left_alone(rich, text):
    epochs = rich.to_epochs()
    epochs.info["description"] = text
    back = Trials.from_epochs(epochs)
    assert (back.unit, back.history, back.eeg.dtype) == ("V", (), np.float32)


@pytest.mark.parametrize("writer", ["npy", "tree"])
def test_a_folder_that_was_written_reads_back_number_for_number(rich, tmp_path, writer):
    stimuli, parts = stimuli_of(rich), [rich.where(subject=s) for s in ("01", "02")]
    pairs = ((p, stimuli) for p in parts)
    if writer == "npy":
        write_npy(tmp_path / "out", pairs, about="from here")
    else:
        write_derivatives(tmp_path / "out", pairs, task="seen", about="from here")
    back, shown = Own().load(tmp_path / "out", ("01", "02"))
    same(back, rich)
    assert (shown.image("a0") == stimuli.image("a0")).all()
    assert shown.captions("b1") == stimuli.captions("b1")
    assert (tmp_path / "out" / "SOURCE.txt").read_text() == "from here\n"
    assert not Own().is_phantom(tmp_path / "out")


def test_the_header_that_grew_is_one_that_numpy_wrote(make_trials, tmp_path):
    parts = [make_trials(n_runs=r) for r in (1, 30)]
    write_npy(tmp_path / "out", ((replace(t, events=t.events.assign(trial=[f"{i}-{k}" for k in range(len(t))])),
                                  stimuli_of(t, pictures=False)) for i, t in enumerate(parts)))  # fmt: skip
    eeg = np.load(tmp_path / "out" / "eeg.npy", mmap_mode="r")
    np.testing.assert_array_equal(eeg, np.concatenate([t.eeg for t in parts]))
    assert (tmp_path / "out" / "eeg.npy").stat().st_size == eeg.offset + eeg.nbytes


def test_a_long_run_is_cut_into_chunks_and_joined_again(rich, tmp_path, monkeypatch):
    monkeypatch.setattr("sightwave.reading.export.FILE_BYTES", 5 * 4 * 3 * 10)
    write_derivatives(tmp_path / "out", [(rich, stimuli_of(rich, pictures=False))], task="seen")
    names = sorted(p.name for p in (tmp_path / "out" / "sub-01" / "ses-1" / "eeg").glob("*.fif"))
    assert names[0] == "sub-01_ses-1_task-seen_run-1_chunk-01_desc-sightwave_epo.fif"
    assert len(names) == 3
    same(Own().load(tmp_path / "out", ("01", "02"))[0], rich)


def test_names_that_differ_in_signs_alone_are_refused(rich, tmp_path):
    trials = replace(rich, events=rich.events.assign(session=rich.events["session"].replace({"1": "a-b", "2": "ab"})))
    with pytest.raises(DataError, match="Rename one"):
        write_derivatives(tmp_path / "out", [(trials, stimuli_of(trials))], task="seen")
    assert not (tmp_path / "out").exists()


def test_parts_that_differ_are_refused_by_name(rich, tmp_path):
    other = replace(rich.where(subject="02"), sfreq=200.0)
    with pytest.raises(DataError, match="Subject 02 differs from those before in sfreq"):
        write_npy(tmp_path / "out", [(t, stimuli_of(rich)) for t in (rich.where(subject="01"), other)])


@pytest.mark.parametrize("form", ["npy", "bids-derivatives"])
def test_what_is_simulated_stays_marked_through_a_conversion(rich, tmp_path, form):
    write_own(tmp_path / "a", rich, stimuli_of(rich), phantom=True)
    convert(tmp_path / "a", tmp_path / "b", to=form)
    assert (tmp_path / "b" / "PHANTOM.txt").exists()
    assert Own().is_phantom(tmp_path / "b")
    assert "data set own" in (tmp_path / "b" / "SOURCE.txt").read_text()
    same(Own().load(tmp_path / "b", ("01", "02"))[0], rich)


def test_a_conversion_of_some_subjects_without_pictures_holds_just_that(rich, tmp_path):
    write_own(tmp_path / "a", rich, stimuli_of(rich))
    convert(tmp_path / "a", tmp_path / "b", subjects=("02",), pictures=False)
    back, shown = Own().load(tmp_path / "b", ("02",))
    assert set(back.events["subject"]) == {"02"}
    assert shown.read is None
    assert not (tmp_path / "b" / "images").exists()


def test_a_conversion_into_itself_or_over_other_files_is_refused(rich, tmp_path):
    write_own(tmp_path / "a", rich, stimuli_of(rich))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for out, words in (("a", "Give a folder elsewhere"), ("a/b", "Give a folder elsewhere"), ("mine", "thesis.txt")):
        for form in ("npy", "bids-derivatives"):
            with pytest.raises(DataError, match=words):
                convert(tmp_path / "a", tmp_path / out, to=form)
    with pytest.raises(UnknownName, match=r"No form named 'nyp'\. Did you mean 'npy'"):
        convert(tmp_path / "a", tmp_path / "c", to="nyp")
    assert (tmp_path / "mine" / "thesis.txt").exists()
