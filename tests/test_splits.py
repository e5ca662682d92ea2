from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sightwave.errors import DataError, RecipeError, SealError, SightwaveError
from sightwave.split import Sealed, Splitter
from sightwave.splits import (
    AsRecorded,
    ByConcept,
    BySession,
    ByStimulus,
    LeaveOneRunOut,
    LeaveOneSessionOut,
    LeaveOneSubjectOut,
    NewImages,
    Published,
    Shuffled,
)

EVERY_SPLITTER = [
    ByStimulus(test=0.25, val=0.25),
    ByStimulus(test=0.25, joint=True),
    Published(),
    Published(val=0.3, joint=True),
    Published(val=0.4, val_by="label"),
    ByConcept(test=0.34, val=0.34),
    ByConcept(test=0.34, val=0.0, joint=True),
    BySession(test=("2",)),
    BySession(test=("2",), val=("1",)),
    NewImages(ByStimulus(test=0.25, val=0.25, joint=True)),
    LeaveOneRunOut(),
    LeaveOneSessionOut(),
    LeaveOneSubjectOut(),
    LeaveOneSubjectOut(stimuli_too=0.3),
    LeaveOneSubjectOut(published=True, val=0.4),
    LeaveOneSubjectOut(stimuli_too=0.3, val=0.2, val_by="stimulus"),
    Shuffled(),
    AsRecorded(),
]


@pytest.fixture(scope="module")
def trials(make_trials):
    return make_trials(n_subjects=3, n_sessions=3, n_runs=2, n_labels=3, n_per_label=4, part=True)


def ids(part) -> set[str]:
    return set(part.events["trial"])


def values(part, column) -> set[str]:
    if column == "run":  # counts within a session
        return set(part.events["session"] + "/" + part.events["run"])
    return set(part.events[column])


def test_every_splitter_is_in_the_list():
    assert {type(s) for s in EVERY_SPLITTER} == set(Splitter.__subclasses__())


@pytest.mark.parametrize("splitter", EVERY_SPLITTER, ids=str)
def test_parts_are_disjoint_in_what_the_splitter_holds_out(splitter, trials):
    folds = splitter(trials)
    assert len({f.name for f in folds}) == len(folds)
    for fold in folds:
        assert min(len(fold.train), len(fold.test)) > 0
        assert "trial" in splitter.holds_out
        for column in splitter.holds_out:
            test = values(fold.test, column)
            assert not test & values(fold.train, column), column
            assert not test & values(fold.val, column), column
        assert not ids(fold.train) & ids(fold.val)


@pytest.mark.parametrize("splitter", EVERY_SPLITTER, ids=str)
def test_the_parts_hold_their_own_eeg(splitter, trials):
    where = {t: i for i, t in enumerate(trials.events["trial"])}
    for fold in splitter(trials):
        rows = [where[t] for t in fold.train.events["trial"]]
        np.testing.assert_array_equal(fold.train.eeg, trials.eeg[rows])


@pytest.mark.parametrize("splitter", EVERY_SPLITTER, ids=str)
def test_the_same_splitter_splits_the_same_way_twice(splitter, trials):
    for one, two in zip(splitter(trials), splitter(trials), strict=True):
        assert (one.name, ids(one.train), ids(one.val)) == (two.name, ids(two.train), ids(two.val))
        assert ids(one.test) == ids(two.test)


def test_by_stimulus_takes_its_share_of_every_label(make_trials):
    trials = make_trials(n_subjects=2, n_labels=3, n_per_label=10)
    folds = ByStimulus(test=0.2, val=0.1)(trials)
    assert [f.name for f in folds] == ["sub-01", "sub-02"]
    for fold in folds:
        per_label = [p.events.groupby("label")["stimulus"].nunique() for p in (fold.train, fold.val, fold.test)]
        assert [p.tolist() for p in per_label] == [[7, 7, 7], [1, 1, 1], [2, 2, 2]]
        assert len(values(fold.train, "subject")) == 1
    assert values(folds[0].test, "stimulus") == values(folds[1].test, "stimulus")


def test_by_stimulus_never_leaves_a_label_without_test_or_training(make_trials):
    trials = make_trials(n_labels=3, n_per_label=2)
    (fold,) = ByStimulus(test=0.05, val=0.0)(trials)
    assert values(fold.test, "label") == values(fold.train, "label") == {"a", "b", "c"}


def test_by_stimulus_draws_anew_with_another_seed(make_trials):
    trials = make_trials(n_labels=2, n_per_label=10)
    tests = [frozenset(values(ByStimulus(seed=s)(trials)[0].test, "stimulus")) for s in range(5)]
    assert len(set(tests)) > 1


def test_joint_is_one_fold_with_all_subjects(trials):
    (fold,) = ByStimulus(joint=True)(trials)
    assert values(fold.train, "subject") == values(fold.test, "subject") == {"01", "02", "03"}


def test_published_follows_the_column(trials):
    for fold in Published()(trials):
        assert values(fold.train, "part") == {"train"}
        assert values(fold.test, "part") == {"test"}
        assert len(fold.val) == 0


def test_published_takes_validation_from_the_training_stimuli(trials):
    (fold,) = Published(val=0.3, joint=True)(trials)
    assert len(values(fold.val, "stimulus")) == 3  # of 9 training stimuli
    assert values(fold.val, "part") == {"train"}
    assert not values(fold.val, "stimulus") & values(fold.train, "stimulus")


def test_published_keeps_a_validation_part_that_was_published(trials):
    events = trials.events.copy()
    events.loc[events["stimulus"].str.endswith("1"), "part"] = "val"
    (fold,) = Published(val=0.5, joint=True)(replace(trials, events=events))
    assert values(fold.val, "part") == {"val"}


def test_published_needs_its_column(make_trials):
    with pytest.raises(DataError, match="no column 'part'"):
        Published()(make_trials())


def test_by_session_holds_out_the_named_sessions(trials):
    for fold in BySession(test=("3",), val=("2",))(trials):
        assert (values(fold.train, "session"), values(fold.val, "session")) == ({"1"}, {"2"})
        assert values(fold.test, "session") == {"3"}


def test_a_session_that_is_not_there_leaves_an_empty_part_which_is_refused(trials):
    with pytest.raises(RecipeError, match="the test part of fold 'sub-01' is empty"):
        BySession(test=("9",))(trials)


def test_each_run_is_the_test_once(trials):
    folds = LeaveOneRunOut()(trials)
    assert len(folds) == 3 * 3 * 2
    tested = pd.concat([f.test.events for f in folds])
    assert sorted(tested["trial"]) == sorted(trials.events["trial"])
    for fold in folds:
        assert len(values(fold.test, "run")) == 1
        assert values(fold.test, "subject") == values(fold.train, "subject")
        assert len(fold.train) == 5 * len(fold.test)


def test_a_subject_with_one_run_is_left_out(make_trials):
    trials = make_trials(n_subjects=2, n_runs=2)
    keep = (trials.events["subject"] == "01") | (trials.events["run"] == "1")
    assert [f.name for f in LeaveOneRunOut()(trials[keep.to_numpy()])] == ["sub-01 run-1/1", "sub-01 run-1/2"]
    with pytest.raises(RecipeError, match="yields no fold"):
        LeaveOneRunOut()(make_trials())


def test_each_subject_is_the_test_once(trials):
    folds = LeaveOneSubjectOut()(trials)
    assert [values(f.test, "subject") for f in folds] == [{"01"}, {"02"}, {"03"}]
    assert all(len(values(f.train, "subject")) == 2 for f in folds)
    assert values(folds[0].test, "stimulus") == values(folds[0].train, "stimulus")


def test_stimuli_too_leaves_neither_subject_nor_stimulus_shared(trials):
    for fold in LeaveOneSubjectOut(stimuli_too=0.3)(trials):
        assert len(values(fold.test, "stimulus")) == 4  # 0.3 of 12
        assert not values(fold.test, "stimulus") & values(fold.train, "stimulus")
        assert not values(fold.test, "subject") & values(fold.train, "subject")


def test_one_subject_cannot_be_left_out(make_trials):
    with pytest.raises(RecipeError, match="train part of fold 'sub-01' is empty"):
        LeaveOneSubjectOut()(make_trials())


def test_shuffled_shares_stimuli_which_is_what_it_is_for(make_trials):
    trials = make_trials(n_labels=2, n_per_label=5, n_repetitions=20)
    (fold,) = Shuffled(test=0.3)(trials)
    assert len(fold.test) / len(trials) == pytest.approx(0.3, abs=0.1)
    assert values(fold.test, "stimulus") == values(fold.train, "stimulus")


def test_as_recorded_takes_the_strictest_split_that_there_is(make_trials):
    published, runs, neither = make_trials(n_runs=2, part=True), make_trials(n_runs=2), make_trials()
    assert AsRecorded().choose(published) == Published()
    assert AsRecorded().choose(runs) == LeaveOneRunOut()
    assert AsRecorded().choose(neither) == ByStimulus(val=0.0)
    one_run_missing = make_trials(n_subjects=2, n_runs=2)
    keep = (one_run_missing.events["subject"] == "01") | (one_run_missing.events["run"] == "1")
    assert AsRecorded().choose(one_run_missing[keep.to_numpy()]) == ByStimulus(val=0.0)
    for trials in (published, runs, neither):
        names = [f.name for f in AsRecorded()(trials)]
        assert names == [f.name for f in AsRecorded().choose(trials)(trials)]


def test_shares_of_everything_leave_no_training_and_are_refused(trials):
    with pytest.raises(RecipeError, match="train part"):
        ByStimulus(test=0.6, val=0.4)(trials)


@pytest.mark.parametrize("splitter", EVERY_SPLITTER, ids=str)
def test_no_trials_are_an_error_of_ours(splitter, trials):
    with pytest.raises(SightwaveError, match=type(splitter).__name__):
        splitter(trials[:0])


def test_sealed_trials_show_events_and_no_eeg(trials):
    sealed = Sealed(trials, np.array([4, 2]))
    assert len(sealed) == 2
    assert sealed.events["trial"].tolist() == trials.events["trial"].iloc[[4, 2]].tolist()
    with pytest.raises(SealError, match=r"judge\.sealed\.open_test"):
        _ = sealed.eeg


def test_a_seal_breaks_only_after_a_witness_has_seen_what_is_sealed(trials):
    seen = []
    opened = Sealed(trials, np.array([4, 2])).break_seal(seen.append)
    np.testing.assert_array_equal(opened.eeg, trials.eeg[[4, 2]])
    assert seen == [opened]

    def forgetful(trials):
        raise OSError("the ledger cannot be written")

    with pytest.raises(OSError, match="ledger"):
        Sealed(trials, np.array([4, 2])).break_seal(forgetful)


def test_folds_do_not_copy_the_eeg(trials):
    for fold in LeaveOneRunOut()(trials):
        assert fold.trials is trials


def test_a_validation_part_may_be_empty(trials):
    (fold,) = ByStimulus(val=0.0, joint=True)(trials)
    assert len(fold.val) == 0
    assert fold.val.eeg.shape[1:] == trials.eeg.shape[1:]


def test_validation_by_concepts_holds_whole_concepts_out_of_training(trials):
    for splitter in (
        Published(val=0.4, val_by="label"),
        LeaveOneSubjectOut(published=True, val=0.4),
        ByConcept(0.34, 0.34),
    ):
        for fold in splitter(trials):
            assert len(fold.val)
            assert not values(fold.val, "label") & values(fold.train, "label")
    for fold in Published(val=0.3)(trials):  # by stimulus, concepts are shared
        assert values(fold.val, "label") & values(fold.train, "label")


def test_the_published_way_to_leave_a_subject_out_shares_neither_person_nor_picture(trials):
    for fold in LeaveOneSubjectOut(published=True, val=0.4)(trials):
        known = [fold.train, fold.val]
        assert values(fold.test, "part") == {"test"}
        assert all(values(p, "part") == {"train"} for p in known)  # the test pictures of other people choose nothing
        for column in ("subject", "stimulus"):
            assert not values(fold.test, column) & set.union(*(values(p, column) for p in known))
        assert len(values(fold.train, "subject")) == 2


def test_concepts_that_are_held_out_are_seen_in_no_picture(trials):
    for fold in ByConcept(test=0.34, val=0.34)(trials):
        assert not values(fold.test, "label") & (values(fold.train, "label") | values(fold.val, "label"))


def test_splitters_refuse_what_they_cannot_hold_out(make_trials):
    with pytest.raises(RecipeError, match="whole concepts"):
        Published(val=0.1, val_by="concept")(make_trials(part=True))
    with pytest.raises(RecipeError, match="not both"):
        LeaveOneSubjectOut(stimuli_too=0.1, published=True)
    with pytest.raises(DataError, match="no column 'part'"):
        LeaveOneSubjectOut(published=True)(make_trials(n_subjects=2))
