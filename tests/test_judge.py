"""The judge: chance is chance, p is uniform without a signal, intervals cover, and every opening is written down."""

import json
import tarfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import binomtest, kstest

from sightwave.errors import DataError, SealError, ShapeError, UnknownName
from sightwave.judge import sealed
from sightwave.judge.chance import _shuffle, exchangeable, p_value, permutation
from sightwave.judge.confounds import block_design, presentation_blocks
from sightwave.judge.intervals import bootstrap
from sightwave.judge.score import by_session, score
from sightwave.judge.statistic import by_subject, with_all
from sightwave.metrics.base import higher_is_better
from sightwave.metrics.classification import auc, balanced_accuracy, cohen_kappa, f1_macro, top_k
from sightwave.metrics.retrieval import mean_reciprocal_rank, median_rank, recall_at
from sightwave.results import SCORE_COLUMNS, Predictions
from sightwave.split import Sealed
from sightwave.trials import Trials

GALLERY = (recall_at(1), recall_at(5), median_rank, mean_reciprocal_rank)


def frame(stimulus, truth, **fields):
    events = pd.DataFrame({"stimulus": [f"s{s}" for s in stimulus], "label": [f"c{t}" for t in truth]})
    defaults = {"subject": "01", "session": "1", "run": "1", "fold": "fold", "seed": 0}
    return events.assign(**(defaults | fields))


def predictions(scores, truth, stimulus=None, *, repetitions="1", task="task", **fields):
    truth = np.asarray(truth)
    events = frame(truth if stimulus is None else stimulus, truth, **fields)
    names = np.array([f"c{i}" for i in range(scores.shape[1])])
    return Predictions(task, repetitions, np.asarray(scores, np.float32), truth, names, events)


def noise(seed, n_stimuli=24, repeats=1, k=4, *, shared=0.0, **fields):
    """Scores that know nothing of the class; ``shared`` of their variance is common to the trials of one stimulus."""
    rng = np.random.default_rng(seed)
    stimulus = np.repeat(np.arange(n_stimuli), repeats)
    own, common = rng.normal(size=(len(stimulus), k)), rng.normal(size=(n_stimuli, k))[stimulus]
    scores = np.sqrt(1 - shared) * own + np.sqrt(shared) * common
    return predictions(scores, stimulus % k, stimulus, **fields)


def gallery(seed, n=30, strength=0.0, **fields):
    scores = np.random.default_rng(seed).normal(size=(n, n)) + strength * np.eye(n)
    return predictions(scores, np.arange(n), **fields)


def p_of(p, metric, n=199, seed=0):
    null = permutation(p, [metric], n=n, seed=seed)
    return float(p_value(metric, null.values[0], with_all(by_subject(metric, p))[:, 0])[0])


# chance


@pytest.mark.parametrize("metric", [mean_reciprocal_rank, median_rank])
def test_p_is_uniform_when_the_eeg_says_nothing(metric):
    p = [p_of(gallery(seed), metric, n=99, seed=seed) for seed in range(200)]
    # the median is one of a few numbers: equal ones make p err towards 1, never towards 0
    uniform = kstest(p, "uniform", alternative="greater" if metric is median_rank else "two-sided")
    assert uniform.pvalue > 0.01


def test_p_is_uniform_for_auc_within_folds_and_runs():
    def one(seed):
        rng = np.random.default_rng(seed)
        run = np.repeat(np.arange(4), 12)
        truth = np.concatenate([rng.permutation(np.arange(12) % 2) for _ in range(4)])
        scores = rng.normal(size=(48, 2)) + 5 * run[:, None] * np.array([1, 0])  # folds have different offsets
        return predictions(scores, truth, np.arange(48), run=run.astype(str), fold=run.astype(str))

    p = [p_of(one(seed), auc, n=99, seed=seed) for seed in range(200)]
    assert kstest(p, "uniform").pvalue > 0.01


def test_repeated_pictures_fool_a_naive_permutation_but_not_ours():
    naive, ours = 0, 0
    for seed in range(100):
        p = noise(seed, n_stimuli=16, repeats=12, k=2, shared=0.6)
        ours += p_of(p, balanced_accuracy, n=99, seed=seed) <= 0.05
        alone = predictions(p.scores, p.truth, np.arange(len(p)))  # every trial a stimulus of its own
        naive += p_of(alone, balanced_accuracy, n=99, seed=seed) <= 0.05
    assert binomtest(int(ours), 100, 0.05, alternative="greater").pvalue > 0.01
    assert naive > 20


def test_what_is_odd_about_a_picture_for_all_subjects_is_no_evidence():
    false = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        odd = rng.normal(size=(16, 2))
        scores = np.concatenate([odd + 0.3 * rng.normal(size=(16, 2)) for _ in range(6)])
        subject = np.repeat([f"{s:02d}" for s in range(6)], 16)
        p = predictions(scores, np.tile(np.arange(16) % 2, 6), np.tile(np.arange(16), 6), subject=subject)
        false += p_of(p, balanced_accuracy, n=99, seed=seed) <= 0.05
    assert binomtest(int(false), 100, 0.05, alternative="greater").pvalue > 0.01


def test_chance_of_a_balanced_design_is_one_over_n():
    by_class = permutation(noise(0, n_stimuli=40, repeats=2, k=5), [top_k(1), balanced_accuracy, cohen_kappa], n=2000)
    np.testing.assert_allclose(by_class.chance[:, 0], [0.2, 0.2, 0.0], atol=0.01)
    by_picture = permutation(gallery(0, n=50), GALLERY, n=2000)
    np.testing.assert_allclose(by_picture.chance[:, 0], [0.02, 0.1, 25.5, (1 / np.arange(1, 51)).mean()], rtol=0.05)


def test_a_signal_is_found_in_either_direction_of_a_metric():
    assert all(p_of(gallery(0, strength=2.0), metric) == 1 / 200 for metric in GALLERY)
    assert p_of(gallery(0, strength=-2.0), median_rank) > 0.9


def test_permutations_equal_the_loop_over_the_plain_metric():
    p = gallery(3, n=40, subject=np.repeat(["01", "02"], 20), run=np.tile(["1", "2"], 20))
    rng_null = permutation(p, GALLERY, n=50, seed=7)
    e = exchangeable(p)
    truths = _shuffle(e, 50, np.random.default_rng(7))[:, e.unit]
    first = (p.events["subject"] == "01").to_numpy()
    for i, metric in enumerate(GALLERY):
        halves = np.array([[metric(p.scores[h], t[h]) for t in truths] for h in (first, ~first)])
        np.testing.assert_array_equal(rng_null.values[i, 1:], halves)
        np.testing.assert_allclose(rng_null.values[i, 0], halves.mean(0), rtol=1e-12)


def test_all_trials_of_a_stimulus_move_together_over_folds_and_seeds():
    stimulus = np.tile(np.arange(12), 6)
    fields = {"seed": np.repeat([0, 1, 2], 24), "fold": np.tile(np.repeat(["a", "b"], 12), 3)}
    p = predictions(np.zeros((72, 3)), stimulus % 3, stimulus, run=np.tile(np.repeat(["1", "2"], 12), 3), **fields)
    e = exchangeable(p)
    assert len(e.truth) == 12
    assert pd.Series(e.unit).groupby(p.events["stimulus"]).nunique().max() == 1


def test_stimuli_of_one_run_are_exchanged_within_it():
    run = np.repeat([0, 1], 10)
    p = predictions(np.zeros((20, 4)), run * 2 + np.arange(20) % 2, np.arange(20), run=run.astype(str))
    e = exchangeable(p)
    truths = _shuffle(e, 100, np.random.default_rng(0))[:, e.unit]
    assert (truths // 2 == run).all()
    assert len(np.unique(truths, axis=0)) > 50


def test_averages_over_runs_are_exchanged_within_the_subject():
    run = np.arange(20).astype(str)
    single = predictions(np.zeros((20, 2)), np.arange(20) % 2, np.arange(20), run=run)
    averaged = predictions(np.zeros((20, 2)), np.arange(20) % 2, np.arange(20), run=run, repetitions="16")
    assert len(np.unique(exchangeable(single).block)) == 20
    assert len(np.unique(exchangeable(averaged).block)) == 1


def test_where_runs_hold_one_class_chance_is_undefined_and_says_why():
    run = np.repeat(np.arange(4), 10)
    rng = np.random.default_rng(0)
    p = predictions(np.eye(2)[run % 2] + rng.normal(size=(40, 2)), run % 2, np.arange(40), run=run.astype(str))
    table = score([p], {"task": (top_k(1),)}, n_permutations=50, n_bootstrap=50)
    assert table[["p", "chance"]].isna().all(axis=None)
    assert table["value"].notna().all()
    assert any("never varies within a run" in note for note in table.attrs["notes"])


def test_a_stimulus_with_two_answers_makes_the_trial_the_unit():
    p = predictions(np.zeros((20, 2)), np.arange(20) % 2, np.zeros(20, int), trial=np.arange(20).astype(str))
    assert len(exchangeable(p).truth) == 20
    with pytest.raises(DataError, match="column 'trial'"):
        exchangeable(predictions(np.zeros((20, 2)), np.arange(20) % 2, np.zeros(20, int)))


def test_p_counts_the_observed_and_is_nan_without_a_null():
    null = np.array([[0.1, 0.2, 0.3, 0.2 + 1e-15], [np.nan] * 4])
    np.testing.assert_allclose(p_value(top_k(1), null, np.array([0.2, 0.2])), [4 / 5, np.nan])
    np.testing.assert_allclose(p_value(median_rank, null, np.array([0.2, 0.2])), [4 / 5, np.nan])


# intervals


def test_intervals_cover_the_truth_for_subjects_and_stimuli():
    def simulate(rng):
        skill, ease = rng.normal(0.3, 0.7, 12), rng.normal(0, 0.7, 40)
        right = rng.random((12, 40)) < expit(skill[:, None] + ease)
        scores = np.stack([right, ~right], -1).reshape(-1, 2)
        subject = np.repeat([f"{s:02d}" for s in range(12)], 40)
        return predictions(scores, np.zeros(480, int), np.tile(np.arange(40), 12), subject=subject)

    rng = np.random.default_rng(0)
    true = expit(rng.normal(0.3, np.sqrt(0.98), 1_000_000)).mean()
    ends = [bootstrap(simulate(rng), [top_k(1)], n=200, seed=i) for i in range(200)]
    coverage = np.mean([i.low[0, 0] <= true <= i.high[0, 0] for i in ends])
    assert 0.90 <= coverage <= 0.98
    assert ends[0].resampled == ("subjects", "stimuli")


def test_intervals_of_one_subject_cover_what_other_pictures_would_give():
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        right = rng.random((30, 4)) < rng.beta(3, 2, (30, 1))  # pictures differ, mean 0.6
        scores = np.stack([right, ~right], -1).reshape(-1, 2)
        i = bootstrap(predictions(scores, np.zeros(120, int), np.repeat(np.arange(30), 4)), [top_k(1)], n=300)
        covered += i.low[0, 1] <= 0.6 <= i.high[0, 1]
    assert 0.90 <= covered / 200 <= 0.98


def test_repeating_every_trial_does_not_narrow_an_interval():
    p = noise(0, n_stimuli=30, shared=0.0)
    again = np.tile(np.arange(30), 5)
    once, five = bootstrap(p, [top_k(1)], n=300), bootstrap(p[again], [top_k(1)], n=300)
    np.testing.assert_array_equal(once.low, five.low)
    np.testing.assert_array_equal(once.high, five.high)


def test_what_is_drawn_anew_is_told():
    few = bootstrap(noise(0, n_stimuli=6, repeats=5, k=2), [top_k(1)], n=20)
    assert few.resampled == ("trials",)
    many = pd.concat([noise(0).events] * 2).assign(seed=np.repeat([0, 1], 24))
    p = noise(0)
    two = Predictions("task", "1", np.tile(p.scores, (2, 1)), np.tile(p.truth, 2), p.candidates, many)
    assert bootstrap(two, [top_k(1)], n=20).resampled == ("stimuli", "seeds")


def test_a_perfect_or_a_zero_score_keeps_its_doubt():
    perfect = bootstrap(gallery(0, n=50, strength=100), [recall_at(1), median_rank], n=100)
    assert perfect.low[0, 0] == pytest.approx(0.025 ** (1 / 50))
    assert (perfect.low[1, 0], perfect.high[1, 0]) == (1, 1)
    nothing = bootstrap(gallery(0, n=50, strength=-100), [recall_at(1)], n=100)
    assert nothing.low[0, 0] == 0
    assert nothing.high[0, 0] == pytest.approx(1 - 0.025 ** (1 / 50))


# score


def test_all_is_the_mean_over_subjects_not_over_trials():
    subject = np.repeat(["01", "02"], [40, 10])
    scores = np.eye(2)[np.r_[np.zeros(40, int), np.ones(10, int)]]
    p = predictions(scores, np.zeros(50, int), np.arange(50), subject=subject)
    table = score([p], {"task": (top_k(1),)}, n_permutations=10, n_bootstrap=10).set_index("subject")
    assert table["value"].to_dict() == {"all": 0.5, "01": 1.0, "02": 0.0}
    assert table["n_trials"].to_dict() == {"all": 50, "01": 40, "02": 10}


def test_auc_is_taken_within_folds_and_weighted_by_their_trials():
    rng = np.random.default_rng(0)
    scores, truth, fold = rng.normal(size=(30, 2)), np.arange(30) % 2, np.repeat(["a", "b"], [20, 10])
    scores[20:, 1] += 100 * 1.0  # an offset between folds is no signal
    p = predictions(scores, truth, np.arange(30), fold=fold)
    expected = (20 * auc(p.scores[:20], truth[:20]) + 10 * auc(p.scores[20:], truth[20:])) / 30
    assert by_subject(auc, p)[0, 0] == pytest.approx(expected)


def test_a_value_is_the_mean_over_seeds():
    seed = np.repeat([0, 1], 20)
    scores = np.r_[np.eye(2)[np.zeros(20, int)], np.eye(2)[np.ones(20, int)]]
    p = predictions(scores, np.zeros(40, int), np.tile(np.arange(20), 2), seed=seed)
    table = score([p], {"task": (top_k(1),)}, n_permutations=10, n_bootstrap=200)
    assert table["value"].tolist() == [0.5, 0.5]
    assert table["n_trials"].tolist() == [20, 20]
    assert (table["high"] - table["low"] == 1).all()  # seeds that differ so much are the doubt


def test_the_table_has_a_row_per_metric_and_subject_and_every_column():
    p = gallery(0, n=40, strength=1.0, subject=np.repeat(["01", "02"], 20))
    q = noise(1, k=2, task="classify", repetitions="4")
    table = score(
        [p, q], {"task": GALLERY, "classify": (auc, f1_macro)}, n_permutations=20, n_bootstrap=20,
        ideal=lambda p: np.eye(40) if p.task == "task" else None,
    )  # fmt: skip
    assert tuple(table.columns) == SCORE_COLUMNS
    assert len(table) == 4 * 3 + 2 * 2
    first = table[table.task == "task"]
    assert first["ceiling"].tolist() == [1.0] * 12
    assert table[table.task == "classify"]["ceiling"].isna().all()
    assert (table["low"] <= table["value"] + 1e-9).all()
    assert (table["value"] <= table["high"] + 1e-9).all()
    assert (table["n_candidates"] == [40] * 12 + [2] * 4).all()
    pd.testing.assert_frame_equal(
        table, score([p, q], {"task": GALLERY, "classify": (auc, f1_macro)}, n_permutations=20, n_bootstrap=20,
                     ideal=lambda p: np.eye(40) if p.task == "task" else None)
    )  # fmt: skip


def test_what_cannot_be_judged_is_refused():
    p = gallery(0)
    with pytest.raises(UnknownName, match="'task'"):
        score([p], {"tsk": GALLERY})
    with pytest.raises(DataError, match="Pool them first"):
        score([p, p], {"task": GALLERY})
    with pytest.raises(DataError, match=r"lack the column\(s\) fold"):
        score([Predictions("task", "1", p.scores, p.truth, p.candidates, p.events.drop(columns="fold"))], {"task": ()})
    with pytest.raises(ShapeError, match="Ideal scores"):
        score([p], {"task": GALLERY}, ideal=lambda _: np.eye(2))
    bad = predictions(np.where(np.eye(30) > 0, np.nan, 0.0), np.arange(30))
    with pytest.raises(DataError, match="NaN in 30 of 30"):
        score([bad], {"task": GALLERY})


def test_directions_of_all_metrics_are_known():
    assert [higher_is_better(m) for m in GALLERY] == [True, True, False, True]


# the seal


def sealed_trials():
    events = pd.DataFrame({c: ["1", "2"] for c in ("subject", "session", "run", "stimulus", "label")})
    return Sealed(Trials(np.zeros((2, 1, 3), np.float32), events, ("Oz",), 100.0), np.arange(2))


def test_test_trials_are_reached_only_through_a_written_opening(tmp_path):
    test, ledger = sealed_trials(), tmp_path / "ledger.jsonl"
    with pytest.raises(SealError):
        _ = test.eeg
    key = sealed.test_key(test.events, "data")
    opened = sealed.open_test(test, ledger=ledger, key=key, run="run-1", recipe="abc", why="final score")
    assert len(opened) == 2
    line = json.loads(ledger.read_text())
    assert {k: line[k] for k in ("run", "recipe", "test", "n_trials", "why")} == {
        "run": "run-1", "recipe": "abc", "test": key, "n_trials": 2, "why": "final score"}  # fmt: skip
    assert line["utc"].endswith("+00:00")


def test_an_opening_that_cannot_be_written_is_no_opening(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        sealed.open_test(sealed_trials(), ledger=tmp_path / "file" / "x", key="k", run="r", recipe="a", why="w")


def test_folds_and_resumption_of_one_run_count_once(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    assert sealed.times_opened(ledger, "k") == 0
    for key, run in (("k", "a"), ("k", "a"), ("k", "b"), ("other", "c")):
        sealed.open_test(sealed_trials(), ledger=ledger, key=key, run=run, recipe="r", why="w")
    assert sealed.times_opened(ledger, "k") == 2


def test_a_test_set_is_known_by_its_trials_and_its_data_not_by_their_order():
    events = sealed_trials().events
    key = sealed.test_key(events, "data")
    assert key == sealed.test_key(events[::-1], "data")
    assert key != sealed.test_key(events[:1], "data")
    assert key != sealed.test_key(events, "other data")


@pytest.mark.parametrize(
    ("line", "what"), [('{"utc": "2', "not JSON"), ("[1]", "lacks"), ('{"run": "a"}', "lacks utc")]
)
def test_a_damaged_ledger_is_refused_by_line(tmp_path, line, what):
    ledger = tmp_path / "ledger.jsonl"
    sealed.open_test(sealed_trials(), ledger=ledger, key="k", run="a", recipe="r", why="w")
    with ledger.open("a") as f:
        f.write(line + "\n")
    with pytest.raises(DataError, match=f"line 2: {what}"):
        sealed.times_opened(ledger, "k")
    with pytest.raises(DataError, match="line 2"):
        sealed.open_test(sealed_trials(), ledger=ledger, key="k", run="b", recipe="r", why="w")


# confounds


@pytest.mark.parametrize(("n", "k"), [(20, 2), (30, 3), (100, 2), (400, 20)])
def test_a_random_order_is_hardly_ever_called_blocked(n, k):
    rng = np.random.default_rng(n)
    called = [block_design(rng.permutation(np.arange(n) % k)).verdict == "blocked" for _ in range(300)]
    assert binomtest(sum(called), 300, 0.01, alternative="greater").pvalue > 0.01


@pytest.mark.parametrize(
    "labels",
    [
        np.repeat([0, 1], 10),
        np.repeat([0, 1, 0, 1], 5),
        np.repeat(np.tile(np.arange(4), 5), 20),  # blocks that come back
        np.concatenate([np.tile([a, a + 1], 15) for a in range(0, 12, 2)]),  # two classes take turns in each block
    ],
)
def test_blocks_of_any_kind_are_found(labels):
    assert block_design(labels).verdict == "blocked"


def test_a_class_that_fills_a_run_is_found_and_turns_are_not():
    runs = np.repeat(np.arange(8), 15)
    assert block_design(runs % 2, runs).verdict == "blocked"
    assert block_design(np.arange(120) % 2, runs).verdict == "intermixed"
    assert block_design(np.zeros(50)).verdict == "intermixed"
    assert block_design(np.array([])).verdict == "intermixed"
    with pytest.raises(ShapeError, match="3 labels but 2 run ids"):
        block_design(np.arange(3), np.arange(2))


def test_the_expectation_is_exact():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [5, 10, 15])
    seen = [block_design(rng.permutation(labels)) for _ in range(400)]
    assert np.mean([s.p_same for s in seen]) == pytest.approx(seen[0].expected, abs=0.02)
    assert np.mean([s.p_near for s in seen]) == pytest.approx(seen[0].expected_near, abs=0.01)


def test_all_rapid_runs_of_a_real_data_set_are_blocked_and_all_slow_runs_intermixed(shared):
    path = shared / "mss_labels" / "ds005589_text_files.tar.gz"
    if not path.exists():
        pytest.skip("the label lists of ds005589 are not in the shared data folder")
    verdicts = {"rsvp": [], "lowSpeed": []}
    with tarfile.open(path) as tar:
        for member in tar:
            if member.name.startswith("derivatives") and member.name.endswith(".json"):
                labels = np.array(json.load(tar.extractfile(member)))
                verdicts["rsvp" if "rsvp" in member.name else "lowSpeed"].append(block_design(labels).verdict)
    assert verdicts == {"rsvp": ["blocked"] * 398, "lowSpeed": ["intermixed"] * 400}


def blocked_predictions(rng):
    """A decoder of time: one guess for all trials of a block; four sessions of eight blocks."""
    n_classes, per_block = 8, 10
    truth = np.concatenate([np.repeat(rng.permutation(n_classes), per_block) for _ in range(4)])
    guess = np.repeat(rng.integers(0, n_classes, 4 * n_classes), per_block)
    scores = np.eye(n_classes, dtype=np.float32)[guess] + 0.01 * rng.random((len(truth), n_classes)).astype(np.float32)
    n = len(truth)
    same = {"subject": "1", "run": "1", "fold": "f", "seed": 0}
    each = {"session": np.arange(n) * 4 // n, "stimulus": np.arange(n), "label": truth, "trial": np.arange(n)}
    events = pd.DataFrame({k: v.astype(str) for k, v in each.items()}).assign(**same)
    return Predictions("classify", "1", scores, truth, np.arange(n_classes).astype(str), events)


def test_blocks_are_one_witness_each_so_a_decoder_of_time_is_not_significant():
    rng, ps, widths = np.random.default_rng(0), [], []
    for k in range(120):
        p = blocked_predictions(rng)
        metric = top_k(1)
        observed = np.array([metric(p.scores, p.truth)])
        ps.append(p_value(metric, permutation(p, [metric], n=99, seed=k).values[0, 1:], observed)[0])
        interval = bootstrap(p, [metric], n=99, seed=k)
        assert "blocks" in interval.resampled
        widths.append(interval.high[0, 0] - interval.low[0, 0])
    assert np.mean(np.array(ps) <= 0.05) < 0.12
    # trials taken as independent would give about 4 * sqrt(p (1 - p) / 320) = 0.07
    assert np.median(widths) > 0.15


def test_stimuli_are_exchanged_only_within_a_gallery():
    """Two folds of one subject with four pictures each, two of them shared: pooled, the other fold's are absent."""
    rng, metric = np.random.default_rng(0), recall_at(1)
    galleries, ps = (["a", "b", "c", "d"], ["c", "d", "e", "f"]), []
    for k in range(150):
        parts = []
        for fold, gallery in enumerate(galleries):
            events = pd.DataFrame({"stimulus": gallery, "label": gallery}).assign(
                subject="1", session="1", run=str(fold), fold=str(fold), seed=0, trial=[f"{fold}{g}" for g in gallery]
            )
            scores = rng.random((4, 4)).astype(np.float32)
            parts.append(Predictions("retrieve x", "1", scores, np.arange(4), np.array(gallery), events))
        p = Predictions.pool(parts)
        assert p.scores.shape == (8, 6)
        null = permutation(p, [metric], n=99, seed=k)
        assert abs(null.chance[0, 0] - 0.25) < 0.16
        ps.append(p_value(metric, null.values[0, :1], np.array([metric(p.scores, p.truth)]))[0])
    assert np.mean(np.array(ps) <= 0.05) < 0.09


def test_an_unknown_order_of_presentation_makes_no_blocks():
    p = blocked_predictions(np.random.default_rng(0))
    assert presentation_blocks(p) is not None
    unknown = replace(p, events=p.events.assign(onset=np.nan))
    assert presentation_blocks(unknown) is None


def test_scores_by_session_are_those_of_its_trials_and_averages_have_none():
    rng = np.random.default_rng(0)
    n = 240
    truth = rng.integers(0, 4, n)
    session = np.repeat(["1", "2", "10"], n // 3)
    signal = np.where(session == "10", 3.0, 0.0)
    scores = (rng.standard_normal((n, 4)) + signal[:, None] * np.eye(4)[truth]).astype(np.float32)
    events = pd.DataFrame({"subject": np.tile(["01", "02"], n // 2), "session": session, "run": "1"})
    events = events.assign(fold="all", seed=0, stimulus=[f"s{i}" for i in range(n)], label=truth.astype(str))
    p = Predictions("classify", "1", scores, truth, np.array(list("abcd")), events)
    found = by_session(
        [p, replace(p, repetitions="4")], {"classify": (top_k(1), top_k(3))}, n_permutations=50, n_bootstrap=100
    )
    assert found["session"].tolist() == ["1", "2", "10"]
    assert set(found["metric"]) == {"top-1"}
    for row in found.itertuples():
        mine = session == row.session
        hits = pd.Series(scores[mine].argmax(1) == truth[mine]).groupby(events["subject"][mine].to_numpy()).mean()
        assert row.value == pytest.approx(hits.mean())
        assert row.low <= row.value <= row.high
    assert found["low"].iloc[2] > found["chance"].iloc[2]
    assert found["low"].iloc[0] < found["chance"].iloc[0]
    one = p[session == "1"]
    assert by_session([one], {"classify": (top_k(1),)}).empty
