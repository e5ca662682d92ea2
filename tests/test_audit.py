"""The audit: each planted leak is found, clean splits pass, and an allowed leak keeps its mark."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from sightwave.errors import LeakError, UnknownName
from sightwave.judge.audit import KINDS, audit
from sightwave.split import Split
from sightwave.splits import BySession, ByStimulus, LeaveOneRunOut, LeaveOneSubjectOut, NewImages, Shuffled
from sightwave.stimuli import Stimuli
from sightwave.trials import Applied, Trials


def experiment(*, n_stimuli=40, repeats=1, n_runs=4, subjects=("01", "02"), blocked=False, seed=0, fields=None):
    """A clean experiment: onsets 2 s apart, epochs of 1 s, four classes in random order, new pictures in each run."""
    rng, tables = np.random.default_rng(seed), []
    for subject in subjects:
        stimulus = np.concatenate([rng.permutation(n_stimuli) for _ in range(repeats)])
        run = np.sort(np.arange(len(stimulus)) % n_runs)
        if blocked:
            stimulus = stimulus[np.lexsort((stimulus % 4, run))]
        table = pd.DataFrame({"subject": subject, "session": "1", "run": run.astype(str)})
        table["stimulus"] = [f"s{s:03d}" for s in stimulus]
        table["label"] = [("cat", "dog", "car", "cup")[s % 4] for s in stimulus]
        table["onset"] = 2.0 * np.arange(len(stimulus))
        tables.append(table)
    events = pd.concat(tables, ignore_index=True).assign(**(fields or {}))
    eeg = rng.normal(size=(len(events), 3, 20)).astype(np.float32)
    return Trials(eeg, events, ("Oz", "O1", "O2"), sfreq=20.0)


def pictures(trials, *, captions=None, same=()):
    """Stimuli of an experiment: every picture is its own, but those in ``same`` look alike."""
    ids = sorted(set(trials.events["stimulus"]))
    table = pd.DataFrame({"label": "x", "captions": [(f"picture {i}",) for i in ids]}, index=ids)
    for i, text in (captions or {}).items():
        table.at[i, "captions"] = (text,)
    paint = {s: np.full((2, 2, 3), 255 if s in same else i, np.uint8) for i, s in enumerate(ids)}
    return Stimuli(table, paint.__getitem__)


def halves(trials, test):
    """One fold by mask."""
    return [Split("fold", trials, np.flatnonzero(~test), np.array([], int), np.flatnonzero(test))]


def levels(found):
    return {f.kind: f.level for f in found.findings if f.level != "INFO"}


def half_of_the_stimuli(trials):
    return (trials.events["stimulus"] < "s020").to_numpy()


def two_runs(trials):
    return trials.events["run"].isin(["2", "3"]).to_numpy()


@pytest.mark.parametrize(
    "splitter",
    [ByStimulus(joint=True), ByStimulus(), LeaveOneRunOut(), LeaveOneSubjectOut(stimuli_too=0.3)],
    ids=lambda s: type(s).__name__,
)
@pytest.mark.parametrize("seed", range(10))
def test_clean_splits_pass(splitter, seed):
    trials = experiment(seed=seed)
    found = audit(splitter(trials), trials, pictures(trials), holds_out=splitter.holds_out, stimulus_bound=True)
    assert levels(found) == {}
    assert found.verdict == "PASS"
    found.raise_if_failed()


def test_the_same_trial_on_both_sides_fails():
    trials = experiment()
    fold = Split("fold", trials, np.arange(50), np.array([], int), np.arange(40, len(trials)))
    found = audit([fold], trials, pictures(trials))
    assert next(f for f in found.findings if f.kind == "trial").count == 10
    assert found.verdict == "FAIL"


def test_a_test_trial_in_the_validation_part_fails_too():
    trials = experiment()
    fold = Split("fold", trials, np.arange(30), np.arange(30, 45), np.arange(40, len(trials)))
    assert levels(audit([fold], trials, pictures(trials)))["trial"] == "FAIL"


@pytest.mark.parametrize(("soa_s", "overlap"), [(0.99, True), (1.0, False)])
def test_epochs_that_share_samples_fail(soa_s, overlap):
    trials = experiment(subjects=("01",))
    trials.events["onset"] = soa_s * np.arange(40)
    found = audit(halves(trials, np.arange(40) % 2 == 0), trials, pictures(trials))
    assert ("overlap" in levels(found)) == overlap


def test_epochs_of_different_runs_or_unknown_onset_do_not_overlap():
    trials = experiment(subjects=("01",))
    trials.events["onset"] = 0.1 * (np.arange(40) % 10)
    assert "overlap" not in levels(audit(halves(trials, two_runs(trials)), trials, pictures(trials)))
    trials.events["onset"] = np.nan
    assert "overlap" not in levels(audit(halves(trials, np.arange(40) % 2 == 0), trials, pictures(trials)))


def test_one_recording_under_two_run_names_is_found_and_named():
    trials = experiment()
    run = trials.events["run"].to_numpy() + trials.events["subject"].to_numpy()
    trials.eeg[run == "301"] = trials.eeg[run == "101"]
    found = audit(halves(trials, two_runs(trials)), trials, pictures(trials))
    duplicate = next(f for f in found.findings if f.kind == "duplicate")
    assert (duplicate.level, duplicate.count) == ("FAIL", 10)
    assert "01/1/1 = 01/1/3" in duplicate.message


def test_a_duplicate_on_one_side_is_a_warning():
    trials = experiment(subjects=("01",))
    trials.eeg[1] = trials.eeg[0]
    found = audit(halves(trials, two_runs(trials)), trials, pictures(trials))
    assert levels(found) == {"duplicate": "WARN"}


def test_a_constant_first_channel_is_no_duplicate():
    trials = experiment()
    trials.eeg[:, 0] = 0
    assert "duplicate" not in levels(audit(halves(trials, two_runs(trials)), trials, pictures(trials)))


@pytest.mark.parametrize(
    ("promise", "level"),
    [({"stimulus_bound": True}, "FAIL"), ({"holds_out": ("trial", "stimulus")}, "FAIL"), ({}, "WARN")],
)
def test_a_picture_on_both_sides_fails_where_it_decides_and_warns_elsewhere(promise, level):
    trials = experiment(repeats=2)
    found = audit(halves(trials, two_runs(trials)), trials, pictures(trials), **promise)
    assert levels(found) == {"stimulus": level}
    assert found.findings[0].count == 40


def test_one_picture_under_two_ids_is_found():
    trials = experiment()
    stimuli = pictures(trials, same=("s001", "s030"))
    found = audit(halves(trials, half_of_the_stimuli(trials)), trials, stimuli, stimulus_bound=True)
    assert levels(found) == {"image": "FAIL"}
    assert found.findings[0].example == "s001"


def test_pictures_that_cannot_be_read_do_not_stop_a_classifier():
    trials = experiment()
    stimuli = dataclasses.replace(pictures(trials), read={}.__getitem__)
    assert audit(halves(trials, half_of_the_stimuli(trials)), trials, stimuli).verdict == "PASS"


def test_one_caption_for_two_pictures_warns_in_any_spelling():
    trials = experiment()
    stimuli = pictures(trials, captions={"s001": "A dog  runs", "s030": "a dog runs"})
    assert levels(audit(halves(trials, half_of_the_stimuli(trials)), trials, stimuli)) == {"caption": "WARN"}
    assert levels(audit(halves(trials, ~half_of_the_stimuli(trials)), trials, pictures(trials))) == {}


def test_a_few_common_captions_in_a_large_test_are_no_news():
    trials = experiment(n_stimuli=240)
    stimuli = pictures(trials, captions={"s001": "a dog", "s230": "a dog"})
    found = audit(halves(trials, (trials.events["stimulus"] < "s120").to_numpy()), trials, stimuli)
    assert found.verdict == "PASS"
    assert next(f for f in found.findings if f.kind == "caption").level == "INFO"


@pytest.mark.parametrize("column", ["recording", "run", "session", "subject"])
def test_what_the_splitter_promised_to_hold_out_fails_when_shared(column):
    trials = experiment(fields={"recording": "rec-1"})
    fold = halves(trials, half_of_the_stimuli(trials))
    assert levels(audit(fold, trials, pictures(trials), holds_out=("trial", column))) == {column: "FAIL"}
    assert audit(fold, trials, pictures(trials)).verdict == "PASS"


def test_runs_of_the_same_name_in_two_subjects_are_two_runs():
    trials = experiment()
    fold = halves(trials, (trials.events["subject"] == "02").to_numpy())
    found = audit(fold, trials, pictures(trials), holds_out=("trial", "subject", "session", "run"))
    assert levels(found) == {"stimulus": "WARN"}


def test_a_step_fitted_before_the_split_fails():
    trials = experiment(subjects=("01",))
    whole = dataclasses.replace(trials, history=(Applied("Whiten", trials.events["trial"].to_numpy()),))
    found = audit(halves(whole, two_runs(whole)), whole, pictures(whole))
    assert levels(found) == {"fitted": "FAIL"}
    assert found.findings[0].example == "Whiten"
    train_only = dataclasses.replace(
        trials, history=(Applied("Whiten", trials.events["trial"].to_numpy()[~two_runs(trials)]),)
    )
    assert audit(halves(train_only, two_runs(trials)), trials, pictures(trials)).verdict == "PASS"


def test_classes_in_blocks_fail_inside_runs_and_warn_when_whole_runs_are_held_out():
    trials = experiment(blocked=True, n_stimuli=80)
    inside = audit(Shuffled()(trials), trials, pictures(trials))
    assert levels(inside) == {"block-design": "FAIL"}
    assert "2 subject(s) saw classes in blocks" in inside.findings[0].message
    splitter = LeaveOneRunOut()
    apart = audit(splitter(trials), trials, pictures(trials), holds_out=splitter.holds_out)
    assert levels(apart) == {"block-design": "WARN"}


def test_blocks_are_found_whatever_the_order_of_the_rows_and_not_judged_without_an_order():
    trials = experiment(blocked=True, n_stimuli=80)
    shuffled = trials[np.random.default_rng(0).permutation(len(trials))]
    assert levels(audit(Shuffled()(shuffled), shuffled, pictures(trials))) == {"block-design": "FAIL"}
    trials.events["onset"] = np.nan
    assert audit(Shuffled()(trials), trials, pictures(trials)).verdict == "PASS"


def test_a_test_part_of_one_class_warns():
    trials = experiment()
    fold = halves(trials, (trials.events["label"] == "cat").to_numpy())
    assert levels(audit(fold, trials, pictures(trials))) == {"one-class": "WARN"}


def test_pictures_of_unknown_identity_warn_and_are_not_taken_for_shared():
    trials = experiment(repeats=2, fields={"stimulus_known": False})
    found = audit(halves(trials, two_runs(trials)), trials, pictures(trials), stimulus_bound=True)
    assert levels(found) == {"unknown-stimulus": "WARN"}


def test_a_failure_stops_with_the_words_that_allow_it_and_allowing_keeps_the_mark():
    trials = experiment(blocked=True, n_stimuli=80)
    folds = Shuffled()(trials)
    with pytest.raises(LeakError, match=r'leaks=\("block-design",\)'):
        audit(folds, trials, pictures(trials)).raise_if_failed()
    allowed = audit(folds, trials, pictures(trials), allow=("block-design", "caption"))
    allowed.raise_if_failed()
    assert (allowed.verdict, allowed.allowed) == ("FAIL", ("block-design",))
    assert allowed.as_dict()["allowed"] == ["block-design"]
    assert allowed.as_dict()["findings"][0]["kind"] == "block-design"


def test_allowing_one_leak_does_not_allow_another():
    trials = experiment(blocked=True, n_stimuli=80, repeats=2)
    found = audit(Shuffled()(trials), trials, pictures(trials), stimulus_bound=True, allow=("block-design",))
    with pytest.raises(LeakError, match=r'leaks=\("block-design", "stimulus",\)'):
        found.raise_if_failed()


def test_a_misspelt_leak_is_refused_with_the_nearest_word():
    trials = experiment()
    with pytest.raises(UnknownName, match="Did you mean 'block-design'"):
        audit(Shuffled()(trials), trials, pictures(trials), allow=("block_design",))
    assert len(KINDS) == len(set(KINDS))


def test_shared_pictures_are_counted_by_who_saw_them():
    trials = experiment(n_stimuli=40, repeats=2, n_runs=4)
    events = trials.events
    # subject 01 is tested on s000..s009, of which it saw none in training; subject 02 saw all
    test = ((events["subject"] == "01") & (events["stimulus"] < "s010")).to_numpy()
    split = Split("fold", trials, np.flatnonzero(~test), np.array([], int), np.flatnonzero(test))
    found = {f.kind: f for f in audit([split], trials, pictures(trials)).findings}["stimulus"]
    assert found.count == 10
    assert found.level == "WARN"
    assert (
        "0 by the subject who is tested, 10 by others alone; 40 of 40 pictures were shown to several" in found.message
    )
    own = test & (np.arange(len(trials)) % 2 == 0)
    split = Split("fold", trials, np.flatnonzero(~own), np.array([], int), np.flatnonzero(own))
    found = {f.kind: f for f in audit([split], trials, pictures(trials)).findings}["stimulus"]
    assert "by the subject who is tested" in found.message
    assert "0 by the subject" not in found.message


def test_new_images_holds_out_the_pictures_of_any_split_and_passes_the_audit():
    trials = experiment(n_stimuli=200, repeats=2, n_runs=16)
    trials = dataclasses.replace(trials, events=trials.events.assign(session=trials.events["run"]))
    plain = BySession(val=("14",), test=("15",), joint=True)
    verdict = audit(plain(trials), trials, pictures(trials), holds_out=plain.holds_out)
    assert "stimulus" in {f.kind for f in verdict.findings}
    strict = NewImages(plain)
    assert strict.holds_out == ("trial", "session", "stimulus")
    (fold,), (before,) = strict(trials), plain(trials)
    assert fold.test_rows.tolist() == before.test_rows.tolist()
    assert set(fold.train_rows) < set(before.train_rows)
    shown = [set(trials.events["stimulus"].iloc[r]) for r in (fold.train_rows, fold.val_rows, fold.test_rows)]
    assert not (shown[0] & shown[1]) | (shown[0] & shown[2]) | (shown[1] & shown[2])
    assert audit([fold], trials, pictures(trials), holds_out=strict.holds_out).verdict == "PASS"
