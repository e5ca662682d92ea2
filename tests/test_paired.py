"""Differences between recipes: p is uniform without one, intervals cover the true one, unlike data is refused."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy.special import expit
from scipy.stats import binomtest, kstest

from sightwave.errors import DataError
from sightwave.judge.intervals import bootstrap
from sightwave.judge.paired import COLUMNS, holm, paired, sign_flip
from sightwave.metrics.named import named
from sightwave.metrics.retrieval import recall_at
from sightwave.report import differences, page
from sightwave.results import Predictions, Result

IMAGE, OTHER = "retrieve clip-image/a", "retrieve clip-image/b"


def result(name, scores, *, subjects=("01",), seeds=(0,), task=IMAGE, shuffle=None, data="f", metric="recall@1"):
    """A result whose predictions have these scores (n_seeds, n_subjects, n, k); the first n candidates are right."""
    scores = np.asarray(scores, np.float32)
    r, s, n, k = scores.shape
    stimulus = np.tile(np.arange(n), r * s)
    events = pd.DataFrame({"stimulus": [f"p{i:03d}" for i in stimulus], "label": "x", "session": "1", "run": "1"})
    events = events.assign(subject=np.tile(np.repeat(subjects, n), r), fold="f", seed=np.repeat(seeds, s * n))
    events["trial"] = events["subject"] + events["stimulus"]
    p = Predictions(task, "4", scores.reshape(-1, k), stimulus, np.array([f"p{i:03d}" for i in range(k)]), events)
    p = p if shuffle is None else p[np.random.default_rng(shuffle).permutation(len(p))]
    table = pd.DataFrame({"task": [task], "metric": [metric], "repetitions": ["4"], "subject": ["all"]})
    facts = {"fingerprint": data, "phantom": True}
    return Result(name, {}, facts, tuple(subjects), tuple(seeds), table, (p,), {"verdict": "PASS"}, 1, "fixed")


def right(hits, k=None):
    """Scores whose top candidate is the right one exactly where ``hits`` (n_seeds, n_subjects, n) says so."""
    n = hits.shape[-1]
    scores = np.broadcast_to(np.eye(n, k or n), (*hits.shape, k or n)).copy()
    scores[~hits] = -scores[~hits]
    return scores


def sums(rng, n_subjects, n, of_subject, of_stimulus, alone=1.0):
    d = of_subject * rng.normal(size=(n_subjects, 1)) + of_stimulus * rng.normal(size=(1, n))
    return ((d + alone * rng.normal(size=(n_subjects, n))) / (n_subjects * n)).ravel()


@pytest.mark.parametrize("spread", [(0, 0), (0.5, 0), (0, 1.0), (0.3, 1.5)])
def test_sign_flips_raise_no_false_alarm_whatever_subjects_and_stimuli_share(spread):
    rng, subject, unit = np.random.default_rng(0), np.repeat(np.arange(10), 60), np.tile(np.arange(60), 10)
    p = [sign_flip(sums(rng, 10, 60, *spread), subject, unit, n=199, seed=i) for i in range(250)]
    assert binomtest(int(np.sum(np.array(p) <= 0.05)), len(p), 0.05, alternative="greater").pvalue > 0.01
    assert kstest(p, "uniform", alternative="greater").pvalue > 0.01
    assert np.mean(np.array(p) <= 0.5) > 0.4  # and it is not blind


def test_flipping_stimuli_alone_would_take_people_for_evidence():
    rng, unit = np.random.default_rng(0), np.tile(np.arange(60), 10)
    p = [sign_flip(sums(rng, 10, 60, 0.5, 0), None, unit, n=99, seed=i) for i in range(60)]
    assert np.mean(np.array(p) <= 0.05) > 0.3


def test_p_of_two_decoders_that_are_equally_good_is_uniform():
    def one(seed):
        rng = np.random.default_rng(seed)
        ease = rng.normal(size=60)  # what is hard for one is hard for the other
        hits = [rng.random((1, 2, 60)) < expit(ease + rng.normal(size=60)) for _ in "ab"]
        a, b = (result(x, right(h), subjects=("01", "02")) for x, h in zip("ab", hits, strict=True))
        return float(paired([a, b], n=2, n_flips=199, seed=seed)["p"].iloc[0])

    p = [one(seed) for seed in range(100)]
    # a sum of few signs is discrete, which makes p err towards 1
    assert kstest(p, "uniform", alternative="greater").pvalue > 0.01
    assert binomtest(int(np.sum(np.array(p) <= 0.05)), len(p), 0.05, alternative="greater").pvalue > 0.01


def test_intervals_cover_the_true_difference_for_people_and_pictures():
    def simulate(rng):
        skill, ease = rng.normal(0, 0.7, (8, 1)), rng.normal(0, 1.0, 40)
        gain = 0.8 + rng.normal(0, 0.5, (8, 1))
        return [rng.random((1, 8, 40)) < expit(skill + ease + g) for g in (gain, 0)]

    people = tuple(f"{i:02d}" for i in range(8))
    rng = np.random.default_rng(0)
    true = np.mean([h[0].mean() - h[1].mean() for h in (simulate(rng) for _ in range(4000))])
    inside = []
    for i in range(100):
        a, b = (result(x, right(h), subjects=people) for x, h in zip("ab", simulate(rng), strict=True))
        row = paired([a, b], n=150, n_flips=9, seed=i).iloc[0]
        inside.append(row["low"] <= true <= row["high"])
    assert 0.87 <= np.mean(inside) <= 0.99
    assert row["over"] == "subjects x stimuli"


def test_pairing_sees_what_two_intervals_that_overlap_hide():
    rng = np.random.default_rng(0)
    easy = rng.random((1, 1, 300)) < 0.5
    better = easy | (rng.random((1, 1, 300)) < 0.09)
    a, b = result("better", right(better)), result("plain", right(easy))
    row = paired([a, b]).iloc[0]
    ends = [bootstrap(r.predictions[0], [recall_at(1)]) for r in (a, b)]
    assert ends[0].low[0, 0] < ends[1].high[0, 0]
    assert row["low"] > 0
    assert row["p"] < 0.01
    assert row["difference"] == pytest.approx(better.mean() - easy.mean())
    assert row["over"] == "stimuli"


def test_every_pair_is_compared_and_p_corrected_for_their_number():
    rng = np.random.default_rng(1)
    hits = [rng.random((1, 1, 100)) < share for share in (0.9, 0.5, 0.5)]
    table = paired([result(n, right(h)) for n, h in zip(("x", "y", "y"), hits, strict=True)], n_flips=999)
    assert tuple(table.columns) == COLUMNS
    assert list(zip(table["a"], table["b"], strict=True)) == [("x", "y #1"), ("x", "y #2"), ("y #1", "y #2")]
    np.testing.assert_allclose(table["p_holm"], holm(table["p"].to_numpy()))
    assert (table["p_holm"] >= table["p"]).all()
    assert table["p_holm"].iloc[0] < 0.05 < table["p_holm"].iloc[2]


def test_trials_are_paired_whatever_their_order_and_seeds_are_averaged():
    rng = np.random.default_rng(2)
    hits = rng.random((2, 2, 30)) < 0.5
    a = result("a", right(hits), subjects=("01", "02"), seeds=(0, 1), shuffle=3)
    b = result("b", right(hits[:1]), subjects=("01", "02"), seeds=(7,))
    row = paired([a, b], n_flips=99).iloc[0]
    assert row["difference"] == pytest.approx(hits.mean() - hits[0].mean())
    same = paired([a, result("c", right(hits), subjects=("01", "02"), seeds=(0, 1))], n_flips=99).iloc[0]
    assert same["difference"] == 0
    assert same["p"] == 1.0


def test_the_same_question_in_another_space_is_compared_and_another_way_is_not():
    hits = np.random.default_rng(0).random((1, 1, 20)) < 0.5
    a, b = result("a", right(hits)), result("b", right(~hits), task=OTHER)
    assert paired([a, b], n_flips=9)["question"].tolist() == ["image"]
    with pytest.raises(DataError, match="share no question"):
        paired([a, result("c", right(hits), task=f"{IMAGE} | CSLS")])


def test_a_metric_that_is_no_mean_has_a_p_from_five_subjects_on():
    rng, people = np.random.default_rng(0), tuple("12345678")
    a, b = (result(n, rng.normal(size=(1, 8, 20, 20)) + g * np.eye(20), subjects=people, metric="median rank")
            for n, g in (("a", 2.0), ("b", 0.0)))  # fmt: skip
    row = paired([a, b], n_flips=999).iloc[0]
    assert row["difference"] < 0
    assert row["p"] < 0.05
    few = [result(n, rng.normal(size=(1, 1, 20, 20)), metric="median rank") for n in "ab"]
    assert np.isnan(paired(few).iloc[0]["p"])


def test_unlike_data_is_refused_in_words():
    hits = np.random.default_rng(0).random((1, 2, 20)) < 0.5
    a = result("a", right(hits), subjects=("01", "02"))
    with pytest.raises(DataError, match=r"a and b cannot be compared.*data differ \(f and g\)"):
        paired([a, result("b", right(hits), subjects=("01", "02"), data="g")])
    with pytest.raises(DataError, match="their subjects differ"):
        paired([a, result("b", right(hits[:, :1]), subjects=("01",))])
    with pytest.raises(DataError, match=r"not tested on the same trials among the same candidates .40 trials, 20 cand"):
        paired([a, result("b", right(hits, k=25), subjects=("01", "02"))])
    with pytest.raises(DataError, match="at least two results"):
        paired([a])


def test_holm_is_what_the_textbook_says():
    np.testing.assert_allclose(holm(np.array([0.01, np.nan, 0.02, 0.03])), [0.03, np.nan, 0.04, 0.04])
    assert holm(np.array([0.6, 0.7])).tolist() == [1.0, 1.0]


def test_metrics_have_one_value_per_trial_where_they_are_means():
    rng = np.random.default_rng(0)
    scores, truth = -rng.integers(1, 9, (30, 9)).astype(float), rng.integers(0, 9, 30)
    for name in ("recall@3", "top-1", "mrr", "oracle@2", "assigned@1"):
        metric = named(name)
        assert metric.__name__ == name
        assert metric.each(scores, truth).mean() == pytest.approx(metric(scores, truth))
    assert named("recall@1") is recall_at(1)


def test_differences_are_said_in_points_and_the_page_holds_them_or_says_why_not():
    hits = np.random.default_rng(0).random((1, 1, 40)) < 0.5
    both = [result("a", right(hits | True)), result("<b>", right(hits))]
    table = paired(both, n_flips=99)
    line = differences.frame(table).iloc[0]
    assert re.fullmatch(r"\+\d\d\.\d", line["a - b"])
    assert line["trials"] == "average of 4"
    told = page.render(both, title="x", paired=table)
    assert "Paired differences" in told
    assert "&lt;b&gt;" in told
    assert "No paired differences: the data differ" in page.render(both, title="x", paired="the data differ")
    assert "Holm" in capture(differences.rich_table(table))


def capture(table):
    out = io.StringIO()
    Console(file=out, width=120, color_system=None).print(table)
    return out.getvalue()
