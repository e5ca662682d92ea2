"""Planted confounds: each yields the fake score that it is planted for, and none where the split or the order is right.

In every world here a decoder that scores has read something else than the picture on the screen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sightwave.datasets.phantom import Phantom
from sightwave.errors import RecipeError
from sightwave.judge.audit import Audit, audit
from sightwave.phantom.concepts import CATEGORIES
from sightwave.phantom.head import POSTERIOR17, THINGS63
from sightwave.split import Splitter
from sightwave.splits import ByStimulus, LeaveOneRunOut, Published, Shuffled
from sightwave.trials import Trials

NULL = Phantom(
    n_train=4, n_test=1, categories=CATEGORIES[:8], test_repetitions=4, signal=0.0, ch_names=POSTERIOR17, sfreq=50.0,
    n_times=50,
)  # fmt: skip


def _nearest(x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Which of the names ``y`` has the nearest mean in training, for every test trial."""
    names = np.unique(y[train])
    centres = np.stack([x[train & (y == c)].mean(0) for c in names])
    distance = (centres**2).sum(1) - 2 * x[test] @ centres.T
    return names[distance.argmin(1)]


def _accuracy(trials: Trials, train: np.ndarray) -> float:
    """Nearest class mean on the channels' means, the simplest classifier there is."""
    x, y = trials.eeg.mean(2) * 1e6, trials.events["label"].to_numpy()
    return float((_nearest(x, y, train, ~train) == y[~train]).mean())


def _scores(world: Phantom) -> tuple[float, float]:
    """Accuracy under a random split of trials, and across sessions, mean of all subjects."""
    single, across = [], []
    for s in world.subjects():
        trials, _ = world.load(None, (s,))
        single.append(_accuracy(trials, np.random.default_rng(0).random(len(trials)) < 0.7))
        across.append(_accuracy(trials, (trials.events["session"] == "1").to_numpy()))
    return float(np.mean(single)), float(np.mean(across))


def _audit(world: Phantom, splitter: Splitter) -> Audit:
    trials, stimuli = world.load(None, ("01",))
    return audit(splitter(trials), trials, stimuli, holds_out=splitter.holds_out)


# ---------------------------------------------------------------- drift and eyes


def test_slow_drift_scores_in_a_blocked_order_until_blocks_are_held_out():
    single, across = _scores(replace(NULL, order="blocked", wander_uv=12.0))
    assert single > 0.5  # chance is 1/8, and there is no picture in this EEG at all
    assert across < 0.25


def test_slow_drift_is_harmless_in_an_intermixed_order():
    single, across = _scores(replace(NULL, wander_uv=12.0))
    assert single < 0.18
    assert across < 0.18


def test_a_blocked_order_without_drift_and_signal_scores_chance():
    single, across = _scores(replace(NULL, order="blocked"))
    assert single < 0.18
    assert across < 0.18


def test_eye_movements_score_on_frontal_channels_and_not_on_posterior_ones():
    frontal = replace(NULL, eye_uv=40.0, ch_names=THINGS63[:12], n_subjects=3)
    assert _scores(frontal)[0] > 0.22
    assert _scores(replace(NULL, eye_uv=40.0, n_subjects=3))[0] < 0.2


# ---------------------------------------------------------------- repeated stimuli


MEMORY = replace(NULL, n_train=6, n_test=6, signal=8.0, test_repetitions=4, n_sessions=1, n_subjects=5)


def _memory(world: Phantom, splitter: Splitter) -> float:
    """Accuracy of a decoder that knows pictures by heart, for an answer that no picture shows: a coin toss for each."""
    hits = []
    for s in world.subjects():
        trials, stimuli = world.load(None, (s,))
        coin = dict(zip(stimuli.ids, np.random.default_rng(int(s)).random(len(stimuli)) < 0.5, strict=True))
        for split in splitter(trials):
            train, test = (np.isin(np.arange(len(trials)), rows) for rows in (split.train_rows, split.test_rows))
            shown = trials.events["stimulus"].to_numpy()
            said = _nearest(trials.eeg.reshape(len(trials), -1) * 1e6, shown, train, test)
            hits += [coin[a] == coin[b] for a, b in zip(said, shown[test], strict=True)]
    return float(np.mean(hits))


def test_repeated_stimuli_score_by_memory_alone_until_pictures_are_held_out():
    repeated = replace(MEMORY, repeated=1.0)
    assert _memory(repeated, Published()) > 0.7  # nothing in a picture tells how its coin fell
    assert abs(_memory(repeated, ByStimulus(test=0.4, val=0.0)) - 0.5) < 0.12
    assert abs(_memory(MEMORY, Published()) - 0.5) < 0.12


def test_repeated_stimuli_without_a_signal_score_chance():
    assert abs(_memory(replace(MEMORY, repeated=1.0, signal=0.0), Published()) - 0.5) < 0.12


def test_as_many_test_pictures_are_training_pictures_as_asked_and_all_categories_alike():
    trials, stimuli = replace(MEMORY, repeated=0.5, signal=0.0).load(None, ("01",))
    events = trials.events
    test = events[events.part == "test"].drop_duplicates("stimulus")
    again = test.stimulus.isin(events.stimulus[events.part == "train"])
    assert again.mean() == 0.5
    assert set(test.label[again].value_counts()) == {3}
    assert set(stimuli.ids) == set(events.stimulus)
    counts = events.groupby(["stimulus", "part"]).size()
    assert set(counts.xs("test", level="part")) == {4}
    assert set(counts.xs("train", level="part")) == {4}


def test_the_audit_sees_repeated_stimuli():
    found = _audit(replace(NULL, n_test=2, repeated=0.5), Published())
    (stimulus,) = [f for f in found.findings if f.kind == "stimulus"]
    assert (found.verdict, stimulus.level, stimulus.count) == ("FAIL", "FAIL", 8)
    assert not [f for f in _audit(NULL, Published()).findings if f.kind == "stimulus"]


# ---------------------------------------------------------------- a run that is there twice


def _nearest_trial(world: Phantom) -> float:
    """Accuracy of the nearest training trial's category where each run is held out in turn."""
    hits = []
    for s in world.subjects():
        trials, _ = world.load(None, (s,))
        x, y = trials.eeg.reshape(len(trials), -1) * 1e6, trials.events["label"].to_numpy()
        for split in LeaveOneRunOut()(trials):
            near = ((x[split.train_rows] ** 2).sum(1) - 2 * x[split.test_rows] @ x[split.train_rows].T).argmin(1)
            hits += list(y[split.train_rows][near] == y[split.test_rows])
    return float(np.mean(hits))


def test_a_duplicate_run_scores_by_memory_of_trials_where_runs_are_held_out():
    few = replace(NULL, n_subjects=4)
    # two of three runs are one and the same, and there is no picture in this EEG
    assert _nearest_trial(replace(few, duplicate_runs=1)) > 0.6
    assert abs(_nearest_trial(few) - 1 / 8) < 0.06


def test_a_duplicate_run_has_the_same_bytes_under_another_name():
    trials, _ = replace(NULL, duplicate_runs=1).load(None, ("01", "02"))
    for s in ("01", "02"):
        first, second = (trials.where(subject=s, session="1", run=r) for r in ("01", "02"))
        assert first.eeg.tobytes() == second.eeg.tobytes()
        same = ["stimulus", "label", "part", "repetition", "onset"]
        assert first.events[same].equals(second.events[same])
        assert not set(first.events.recording) & set(second.events.recording)
    plain, _ = NULL.load(None, ("01", "02"))
    kept = ~((trials.events.session == "1") & (trials.events.run == "02")).to_numpy()
    assert trials.eeg[kept].tobytes() == plain.eeg.tobytes()


def test_the_audit_sees_a_duplicate_run_and_names_it():
    found = _audit(replace(NULL, duplicate_runs=1), LeaveOneRunOut())
    (twins,) = [f for f in found.findings if f.kind == "duplicate"]
    assert twins.level == "FAIL"
    assert "sub-01_ses-1_run-01 = 01/sub-01_ses-1_run-02" in twins.message
    assert not [f for f in _audit(NULL, LeaveOneRunOut()).findings if f.kind == "duplicate"]


# ---------------------------------------------------------------- overlap in a rapid stream


RAPID = replace(NULL, n_train=12, n_test=4, signal=8.0, soa_s=0.1, train_repetitions=2, n_sessions=1, n_subjects=3)


def _before_sight(world: Phantom, answer: Callable[[np.ndarray], np.ndarray] = lambda label: label) -> float:
    """Accuracy for the category from the first 40 ms after the onset, when no brain has seen the picture yet."""
    hits = []
    for s in world.subjects():
        trials, _ = world.load(None, (s,))
        x, y = trials.eeg[:, :, :3].mean(2) * 1e6, answer(trials.events["label"].to_numpy())
        (split,) = Published()(trials)
        train, test = (np.isin(np.arange(len(trials)), rows) for rows in (split.train_rows, split.test_rows))
        hits += list(_nearest(x, y, train, test) == y[test])
    return float(np.mean(hits))


def test_overlap_tells_the_category_before_sight_where_neighbours_share_it():
    blocked = replace(RAPID, order="blocked")
    assert _before_sight(blocked) > 0.25  # chance is 1/8
    assert abs(_before_sight(replace(blocked, soa_s=None)) - 1 / 8) < 0.06
    assert abs(_before_sight(RAPID) - 1 / 8) < 0.06
    assert abs(_before_sight(replace(blocked, signal=0.0)) - 1 / 8) < 0.06


def test_overlap_lets_a_trial_tell_what_was_shown_before_it():
    before: Callable[[np.ndarray], np.ndarray] = lambda label: np.roll(label, 2)  # noqa: E731
    assert _before_sight(RAPID, before) > 0.22
    assert abs(_before_sight(replace(RAPID, soa_s=None), before) - 1 / 8) < 0.06


def test_onsets_follow_the_asynchrony_and_responses_do_not_cross_runs():
    trials, _ = replace(RAPID, soa_s=0.25).load(None, ("01",))  # 12.5 samples of 20 ms
    for _, run in trials.events.groupby("recording"):
        assert np.allclose(np.diff(run.onset), 0.24)
        assert run.onset.iloc[0] == 0
    alone, _ = replace(RAPID, soa_s=None).load(None, ("01",))
    with_neighbours = trials.eeg - alone.eeg
    first = trials.events.groupby("recording").head(1).index
    assert trials.events["recording"].nunique() > 1
    assert np.abs(with_neighbours[first][:, :, :10]).max() < 1e-9  # nothing came before
    assert np.abs(with_neighbours[first][:, :, 20:]).max() > 1e-7


def test_the_audit_sees_overlapping_trials_when_single_trials_are_shuffled():
    assert "overlap" in {f.kind for f in _audit(RAPID, Shuffled()).findings}
    assert "overlap" not in {f.kind for f in _audit(replace(RAPID, soa_s=None), Shuffled()).findings}


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "wrong",
    [
        {"repeated": 1.5}, {"repeated": -0.1}, {"repeated": float("nan")}, {"n_train": 1, "n_test": 4, "repeated": 0.5},
        {"duplicate_runs": -1}, {"soa_s": 0.0}, {"soa_s": 0.001}, {"soa_s": float("nan")},
    ],
)  # fmt: skip
def test_confounds_out_of_range_are_refused_by_name(wrong: dict[str, float]):
    with pytest.raises(RecipeError, match=f"Phantom.{list(wrong)[-1]}"):
        replace(NULL, **wrong)  # type: ignore[arg-type]


# ---------------------------------------------------------------- worlds like the real data sets


def test_a_world_like_things_has_unseen_nameless_test_concepts():
    world = Phantom.like("things-eeg2", categories=6, test_categories=4, test_repetitions=8, signal=0.0)
    trials, stimuli = world.load(None, ("02",))
    events = trials.events
    assert trials.eeg.shape == (6 * 10 * 4 + 4 * 8, 63, 250)
    train, test = (set(events.label[events.part == p]) for p in ("train", "test"))
    assert train == {f"shape{i:04d}" for i in range(6)}
    assert test == {f"shape{i:04d}" for i in range(6, 10)}
    assert len(stimuli) == 64
    assert events.session.nunique() == 4
    full = Phantom.like("things-eeg2")
    assert len(full._world()) == 16_740
    assert full._world()["repetitions"].sum() == 82_160


def test_the_ideal_observer_retrieves_nameless_pictures():
    world = Phantom.like("things-eeg2", categories=2, test_categories=30, n_train=1, sfreq=100.0, n_times=80)
    from sightwave.results import Predictions

    events = world.load(None, ("01",))[0].average().events
    events = events[events.part == "test"].reset_index(drop=True)
    gallery, truth = np.unique(events["stimulus"].to_numpy().astype(str), return_inverse=True)
    p = Predictions("retrieve x", "1", np.zeros((30, 30), np.float32), truth, gallery, events)
    scores = world.ideal(p)
    assert scores is not None
    assert (scores.argmax(1) == truth).mean() > 0.5


def test_a_world_like_mss_has_single_trials_in_all_sessions():
    world = Phantom.like("mss", n_train=5, n_test=2, categories=CATEGORIES[:3], n_sessions=3, signal=0.0)
    trials, _ = world.load(None, ("01",))
    assert trials.eeg.shape == (21, 122, 500)
    assert trials.sfreq == 1000
    assert not trials.events.stimulus.duplicated().any()
    counts = trials.events.groupby(["part", "session", "label"]).size()
    assert sorted(counts["train"].groupby("session").sum()) == [3, 6, 6]
    assert sorted(counts["test"].groupby("session").sum()) == [3, 3]


def test_a_world_like_cvpr40_falls_into_the_block_design_trap():
    world = Phantom.like("cvpr40", n_train=4, n_test=1, signal=0.0, sfreq=50.0, n_times=25)
    trials, _ = world.load(None, ("01",))
    assert trials.events.label.nunique() == 40
    assert _accuracy(trials, np.arange(len(trials)) % 5 > 0) > 0.3  # chance is 1/40
    assert "block-design" in {f.kind for f in _audit(world, Shuffled()).findings}


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"categories": 0}, "Phantom.categories: it is empty"),
        ({"categories": ("cat", "shape9999")}, "Phantom.categories: unknown"),
        ({"test_categories": ("zebra",)}, "Phantom.test_categories: unknown"),
        ({"test_categories": ("cat", "cat")}, "Phantom.test_categories: some occur twice"),
        ({"categories": 4000, "test_categories": 2000}, "nameless concepts"),
    ],
)
def test_concepts_that_are_not_there_are_refused(wrong: dict[str, object], match: str):
    with pytest.raises(RecipeError, match=match):
        Phantom(**wrong)  # type: ignore[arg-type]


def test_a_phantom_like_nothing_known_is_refused():
    with pytest.raises(KeyError, match="Did you mean 'mss'"):
        Phantom.like("msss")
