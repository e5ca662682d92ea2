import numpy as np
import pandas as pd
import pytest

from sightwave.embeddings import Embeddings
from sightwave.errors import DataError, ShapeError, SpaceError, UnknownName
from sightwave.stimuli import Stimuli
from sightwave.trials import COLUMNS, Trials


def test_a_time_axis_that_is_not_last_is_refused(make_trials):
    t = make_trials(n_channels=3, n_times=10)
    with pytest.raises(ShapeError, match=r"= \(12, 3, n_times\), got \(12, 10, 3\)\. Is the time axis last"):
        Trials(t.eeg.transpose(0, 2, 1), t.events, t.ch_names, t.sfreq)


@pytest.mark.parametrize("shape", [(12, 30), (11, 3, 10), (12, 4, 10), (12, 3, 10, 1)])
def test_arrays_that_disagree_with_the_events_are_refused(shape, make_trials):
    t = make_trials()
    with pytest.raises(ShapeError, match="got"):
        Trials(np.zeros(shape, np.float32), t.events, t.ch_names, t.sfreq)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_missing_column_is_named(column, make_trials):
    t = make_trials()
    with pytest.raises(DataError, match=rf"lacks the column\(s\) {column}"):
        Trials(t.eeg, t.events.drop(columns=column), t.ch_names, t.sfreq)


def test_microvolts_are_refused(make_trials):
    t = make_trials()
    with pytest.raises(DataError, match=r"got 'uV'\. Convert microvolts"):
        Trials(t.eeg, t.events, t.ch_names, t.sfreq, unit="uV")


def test_a_trial_id_that_occurs_twice_is_named(make_trials):
    t = make_trials()
    with pytest.raises(DataError, match="trial 'a' occurs more than once"):
        Trials(t.eeg, t.events.assign(trial="a"), t.ch_names, t.sfreq)


def test_ids_are_text_whatever_they_were(make_trials):
    t = make_trials()
    t = Trials(t.eeg, t.events.assign(subject=1, run=2), t.ch_names, t.sfreq)
    assert set(t.events["subject"]) == {"1"}
    assert set(t.events["run"]) == {"2"}


def test_the_table_that_was_given_is_left_alone(make_trials):
    t = make_trials()
    table = t.events.drop(columns="trial").assign(subject=1)
    Trials(t.eeg, table, t.ch_names, t.sfreq)
    assert "trial" not in table
    assert set(table["subject"]) == {1}


def test_trial_ids_survive_selection(make_trials):
    t = make_trials(n_labels=2, n_per_label=2)
    kept = t[::-2]
    assert kept.events["trial"].tolist() == t.events["trial"].tolist()[::-2]
    np.testing.assert_array_equal(kept.eeg, t.eeg[::-2])
    assert kept.events.index.tolist() == list(range(len(kept)))


@pytest.mark.parametrize(
    "keep", [np.array([3, 0]), np.array([True, False] * 4), slice(1, 3), np.array([], int), np.zeros(8, bool)]
)
def test_selection_keeps_eeg_and_events_together(keep, make_trials):
    t = make_trials(n_labels=2, n_per_label=2)
    kept = t[keep]
    assert len(kept) == len(kept.events) == len(np.arange(8)[keep])
    assert kept.events["trial"].tolist() == np.array(t.events["trial"])[keep].tolist()


def test_where_keeps_what_equals(make_trials):
    t = make_trials(n_subjects=2, n_runs=2)
    kept = t.where(subject="02", run="1")
    assert len(kept) == len(t) // 4
    assert set(kept.events["subject"]) == {"02"}
    assert len(t.where(subject="99")) == 0


def test_times_start_at_tmin(make_trials):
    t = make_trials(sfreq=50.0, tmin=-0.1, n_times=6)
    np.testing.assert_allclose(t.times, [-0.1, -0.08, -0.06, -0.04, -0.02, 0.0], atol=1e-12)


def test_an_average_is_the_mean_of_its_repetitions(make_trials):
    t = make_trials(n_subjects=2, n_repetitions=3)
    average = t.average()
    assert len(average) == len(t) // 3
    assert set(average.events["n_averaged"]) == {3}
    for i, row in average.events.iterrows():
        own = t.where(subject=row["subject"], stimulus=row["stimulus"])
        np.testing.assert_allclose(average.eeg[i], own.eeg.mean(0), rtol=1e-5, atol=1e-12)
        assert row["trial"] == own.events["trial"].iloc[0]
        assert row["label"] == own.events["label"].iloc[0]


def test_averages_come_in_the_order_in_which_groups_first_appear(make_trials):
    t = make_trials(n_repetitions=3)
    assert t.average().events["stimulus"].tolist() == t.events["stimulus"].drop_duplicates().tolist()


def test_at_most_takes_the_first_repetitions(make_trials):
    t = make_trials(n_repetitions=4)
    average = t.average(at_most=2)
    assert set(average.events["n_averaged"]) == {2}
    for i, row in average.events.iterrows():
        own = t.where(stimulus=row["stimulus"])
        np.testing.assert_allclose(average.eeg[i], own.eeg[:2].mean(0), rtol=1e-5, atol=1e-12)
    np.testing.assert_array_equal(t.average(at_most=99).eeg, t.average().eeg)


def test_uneven_groups_count_their_own(make_trials):
    t = make_trials(n_labels=1, n_per_label=2, n_repetitions=3)
    first = t.events["stimulus"].iloc[0]
    uneven = t[~((t.events["stimulus"] == first) & t.events["stimulus"].duplicated()).to_numpy()]
    average = uneven.average()
    assert average.events.set_index("stimulus")["n_averaged"][first] == 1
    assert sorted(average.events["n_averaged"]) == [1, 3]
    assert sorted(uneven.average(at_most=2).events["n_averaged"]) == [1, 2]


def test_averaging_leaves_the_single_trials_alone_and_is_written_down(make_trials):
    t = make_trials()
    before = t.eeg.copy()
    average = t.average()
    np.testing.assert_array_equal(t.eeg, before)
    assert [a.step for a in average.history] == ["Average"]
    assert average.history[0].fitted_on is None
    assert t.history == ()


def test_averages_are_not_averaged_again(make_trials):
    with pytest.raises(DataError, match="averages already"):
        make_trials().average().average()


def test_averaging_nothing_gives_nothing(make_trials):
    assert len(make_trials()[:0].average()) == 0


def test_averaging_raises_the_signal_to_noise_ratio_by_the_root_of_n(make_trials):
    t = make_trials(n_labels=4, n_per_label=10, n_repetitions=16, n_times=50)
    assert t.average().eeg.std() / t.eeg.std() == pytest.approx(1 / 4, rel=0.03)


def test_a_memory_map_is_averaged_and_fingerprinted_as_an_array(make_trials, tmp_path):
    t = make_trials()
    np.save(tmp_path / "eeg.npy", t.eeg)
    mapped = Trials(np.load(tmp_path / "eeg.npy", mmap_mode="r"), t.events, t.ch_names, t.sfreq)
    np.testing.assert_array_equal(mapped.average().eeg, t.average().eeg)
    assert mapped.fingerprint() == t.fingerprint()


def test_half_precision_is_averaged_in_single(make_trials):
    t = make_trials(n_repetitions=4)
    half = Trials((t.eeg * 1e5).astype(np.float16), t.events, t.ch_names, t.sfreq, unit="z")
    assert half.average().eeg.dtype == np.float32


def test_the_fingerprint_changes_with_every_field(make_trials):
    from dataclasses import replace

    t = make_trials()
    other = t.eeg.copy()
    other[-1, -1, -1] = np.nextafter(other[-1, -1, -1], 1)
    variants = [
        t,
        replace(t, eeg=other),
        replace(t, eeg=t.eeg.astype(np.float64)),
        replace(t, events=t.events.assign(label="same")),
        replace(t, events=t.events.assign(onset=1.0)),
        replace(t, ch_names=("E1", "E3", "E2")),
        replace(t, sfreq=99.0),
        replace(t, tmin=0.01),
        replace(t, unit="z"),
        t[::-1],
        t[:-1],
    ]
    assert len({v.fingerprint() for v in variants}) == len(variants)
    assert t.fingerprint() == make_trials().fingerprint()


def test_the_description_counts(make_trials):
    d = make_trials(n_subjects=2, n_runs=3, n_labels=2, n_per_label=4).describe()
    assert (d["n_trials"], d["n_channels"], d["n_times"], d["sfreq"]) == (96, 3, 10, 100.0)
    assert (d["n_subjects"], d["n_runs"], d["n_stimuli"], d["n_labels"]) == (2, 3, 8, 2)


def stimuli(**columns) -> Stimuli:
    table = pd.DataFrame({"label": ["x", "y", "x"]} | columns, index=["s1", "s2", "s3"])
    return Stimuli(table, lambda s: np.full((2, 2, 3), int(s[1]), np.uint8), "k")


def test_stimuli_are_looked_up_by_id_in_the_order_asked():
    s = stimuli().at(np.array(["s3", "s1"]))
    assert s.ids.tolist() == ["s3", "s1"]
    assert s.image("s3")[0, 0, 0] == 3
    assert s.key == "k"
    assert len(s) == 2


def test_stimuli_that_occur_twice_are_refused():
    with pytest.raises(DataError, match="one row per stimulus id"):
        Stimuli(pd.DataFrame({"label": ["x", "y"]}, index=["s1", "s1"]))
    with pytest.raises(DataError, match="column 'label'"):
        Stimuli(pd.DataFrame({"category": ["x"]}, index=["s1"]))


def test_stimuli_without_pictures_or_captions_say_so():
    bare = Stimuli(stimuli().table)
    with pytest.raises(DataError, match="without pictures"):
        bare.image("s1")
    with pytest.raises(DataError, match="without captions"):
        bare.captions("s1")
    assert stimuli(captions=[("a cat", "cat"), ("b",), ("c",)]).captions("s1") == ("a cat", "cat")


def test_a_stimulus_that_is_not_there_is_named():
    with pytest.raises(UnknownName, match="No stimulus named 's9'"):
        stimuli().at(np.array(["s1", "s9"]))


def vectors(n=3, d=4, space="toy", seed=0) -> Embeddings:
    x = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return Embeddings(x, np.array([f"s{i}" for i in range(n)]), space)


def test_cosine_is_that_of_numpy_and_blind_to_length():
    a, b = vectors(), vectors(n=2, seed=1)
    expected = a.vectors @ b.vectors.T / np.outer(np.linalg.norm(a.vectors, axis=1), np.linalg.norm(b.vectors, axis=1))
    np.testing.assert_allclose(a.cosine(b), expected, rtol=1e-5)
    longer = Embeddings(a.vectors * 1e3, a.ids, a.space)
    np.testing.assert_allclose(longer.cosine(b), expected, rtol=1e-5)
    assert a.cosine(b).dtype == np.float32


def test_a_vector_of_length_zero_is_similar_to_nothing():
    zero = Embeddings(np.zeros((1, 4), np.float32), np.array(["s0"]), "toy")
    np.testing.assert_array_equal(zero.cosine(vectors()), np.zeros((1, 3)))


def test_two_spaces_are_not_compared():
    with pytest.raises(SpaceError, match="'clip-image' with 'clip-text'"):
        vectors(space="clip-image").cosine(vectors(space="clip-text"))


def test_embeddings_are_looked_up_by_id():
    e = vectors()
    picked = e.at(np.array(["s2", "s0", "s2"]))
    np.testing.assert_array_equal(picked.vectors, e.vectors[[2, 0, 2]])
    assert picked.ids.tolist() == ["s2", "s0", "s2"]
    with pytest.raises(UnknownName, match="No item in space 'toy' named 's9'"):
        e.at(np.array(["s9"]))


@pytest.mark.parametrize("shape", [(4,), (2, 4), (3, 4, 1)])
def test_embeddings_that_disagree_with_their_ids_are_refused(shape):
    with pytest.raises(ShapeError, match="got"):
        Embeddings(np.zeros(shape, np.float32), np.array(["a", "b", "c"]), "toy")
