import numpy as np
import pandas as pd
import pytest

from sightwave.errors import DataError, ShapeError
from sightwave.recordings import Recording, concatenate
from sightwave.trials import COLUMNS


def recording(eeg=None, onsets=(0.05, 0.5, 0.95), name="run-1", **kw):
    eeg = np.arange(200.0).reshape(2, 100) * 1e-6 if eeg is None else eeg
    table = pd.DataFrame({"onset": onsets, "label": "cat", "stimulus": [f"{name}{i}" for i in range(len(onsets))]})
    return Recording(eeg, table, ("Oz", "Cz"), 100.0, name, **kw)


def test_an_epoch_holds_the_samples_around_its_onset():
    trials = recording(onsets=(0.5,)).epoch(-0.02, 0.03)
    np.testing.assert_allclose(trials.eeg[0, 0] * 1e6, [48, 49, 50, 51, 52, 53], rtol=1e-6)
    np.testing.assert_allclose(trials.times, [-0.02, -0.01, 0, 0.01, 0.02, 0.03], atol=1e-12)


def test_epochs_equal_those_of_mne():
    import mne

    r = recording(np.random.default_rng(0).normal(0, 1e-5, (2, 100)), onsets=(0.3, 0.41, 0.6))
    raw = mne.io.RawArray(r.eeg, mne.create_info(list(r.ch_names), r.sfreq, "eeg"), verbose="error")
    at = np.rint(r.onsets["onset"].to_numpy() * r.sfreq).astype(int)
    events = np.column_stack([at, np.zeros(3, int), np.ones(3, int)])
    theirs = mne.Epochs(raw, events, tmin=-0.1, tmax=0.2, baseline=(-0.1, 0), preload=True, verbose="error")
    ours = r.epoch(-0.1, 0.2, baseline=(-0.1, 0.0))
    np.testing.assert_allclose(ours.eeg, theirs.get_data(copy=False), atol=1e-11)
    np.testing.assert_allclose(ours.times, theirs.times)


def test_epochs_that_leave_the_recording_are_dropped_and_told():
    r = recording()
    assert r.inside(-0.1, 0.1).tolist() == [False, True, False]
    trials = r.epoch(-0.1, 0.1)
    assert trials.events["trial"].tolist() == ["run-1#0001"]


def test_the_last_sample_still_counts_as_inside():
    assert recording(onsets=(0.1, 0.89, 0.9)).inside(-0.1, 0.1).tolist() == [True, True, False]


def test_events_tell_onset_and_recording_so_that_overlap_can_be_found():
    events = recording(subject="07", session="2", run="x").epoch(0, 0.01).events
    assert set(COLUMNS) <= set(events)
    assert events.loc[1, ["subject", "session", "run", "recording", "onset"]].tolist() == ["07", "2", "x", "run-1", 0.5]


def test_the_baseline_mean_is_zero():
    trials = recording().epoch(-0.03, 0.02, baseline=(-0.03, 0.0))
    assert np.abs(trials.eeg[:, :, :4].mean(2)).max() < 1e-12


def test_a_filter_keeps_the_band_and_drops_the_rest():
    t = np.arange(2000) / 100
    eeg = np.stack([np.sin(2 * np.pi * 10 * t), np.sin(2 * np.pi * 0.2 * t)])
    kept = recording(eeg).filter(2.0, 30.0).eeg[:, 500:1500].std(1)
    assert kept[0] == pytest.approx(2**-0.5, rel=0.01)
    assert kept[1] < 0.03


def test_no_epoch_inside_is_an_error_that_names_the_recording():
    with pytest.raises(DataError, match=r"run-1: none of 3 epochs from -5 to 5 s .* recording of 1.0 s"):
        recording().epoch(-5, 5)


def test_swapped_axes_are_named():
    with pytest.raises(ShapeError, match=r"run-1: .* \(2, n_samples\), got \(100, 2\). The axes are swapped"):
        recording(np.zeros((100, 2)))


def test_a_sample_that_is_nan_is_named_with_channel_and_time():
    eeg = np.zeros((2, 100))
    eeg[1, [20, 30]] = np.nan, np.inf
    with pytest.raises(DataError, match=r"run-1: channel 'Cz' holds 2 sample.*first at 0.200 s"):
        recording(eeg)


def test_onsets_without_a_label_are_refused():
    with pytest.raises(DataError, match=r"run-1: Recording.onsets lacks the column\(s\) label; it has onset, stimulus"):
        Recording(np.zeros((1, 9)), pd.DataFrame({"onset": [0], "stimulus": "a"}), ("Oz",), 1.0, "run-1")


def test_joined_trials_keep_order_and_ids():
    both = concatenate([recording(name="a").epoch(0, 0.01), recording(name="b").epoch(0, 0.01)])
    assert both.events["trial"].tolist() == [f"{n}#000{i}" for n in "ab" for i in range(3)]


def test_recordings_that_differ_are_not_joined():
    with pytest.raises(DataError, match=r"n_times differs: 2 in a, 3 in b"):
        concatenate([recording(name="a").epoch(0, 0.01), recording(name="b").epoch(0, 0.02)])
    with pytest.raises(DataError, match="no recording has any left"):
        concatenate([])
