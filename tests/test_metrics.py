"""Metrics: known values, agreement with scikit-learn, ties, and the vectorised form beside the plain one."""

import numpy as np
import pytest

from sightwave.describe import describe, key
from sightwave.errors import DataError, ShapeError
from sightwave.metrics import classification as c
from sightwave.metrics import retrieval as r
from sightwave.metrics.base import higher_is_better, many, per_fold

GALLERY = (r.recall_at(1), r.recall_at(5), r.median_rank, r.mean_reciprocal_rank)
CLASSES = (c.top_k(1), c.top_k(3), c.balanced_accuracy, c.f1_macro, c.cohen_kappa)


def random_case(seed, n=60, k=7, ties=False):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, k)).astype(np.float32)
    return (scores.round(0) if ties else scores), rng.integers(0, k, n)


@pytest.mark.parametrize("seed", range(5))
def test_class_metrics_agree_with_sklearn(seed):
    from sklearn import metrics as sk

    scores, truth = random_case(seed)
    said = scores.argmax(1)
    assert c.balanced_accuracy(scores, truth) == pytest.approx(sk.balanced_accuracy_score(truth, said))
    assert c.f1_macro(scores, truth) == pytest.approx(sk.f1_score(truth, said, average="macro"))
    assert c.cohen_kappa(scores, truth) == pytest.approx(sk.cohen_kappa_score(truth, said))
    assert c.top_k(1)(scores, truth) == pytest.approx(sk.accuracy_score(truth, said))
    assert c.top_k(3)(scores, truth) == pytest.approx(sk.top_k_accuracy_score(truth, scores, k=3))
    np.testing.assert_array_equal(c.confusion(scores, truth), sk.confusion_matrix(truth, said, labels=range(7)))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_auc_agrees_with_sklearn_ties_included(seed, ties):
    from sklearn.metrics import roc_auc_score

    scores, truth = random_case(seed, k=2, ties=ties)
    assert c.auc(scores, truth) == pytest.approx(roc_auc_score(truth, scores[:, 1] - scores[:, 0]))


def test_classes_that_never_occur_are_no_part_of_balanced_accuracy():
    scores, truth = np.eye(5)[[0, 1, 1, 1]], np.array([0, 1, 1, 0])
    assert c.balanced_accuracy(scores, truth) == pytest.approx((0.5 + 1) / 2)


def test_a_constant_decoder_is_never_right_instead_of_always():
    scores, truth = np.zeros((10, 4)), np.arange(10) % 4
    assert r.rank_of_own(scores, truth).tolist() == [4] * 10
    assert r.recall_at(1)(scores, truth) == c.top_k(3)(scores, truth) == 0
    assert c.balanced_accuracy(scores, truth) == 0.25


def test_metrics_ignore_the_order_of_the_candidates():
    scores, truth = random_case(3)
    order = np.random.default_rng(0).permutation(7)
    for metric in GALLERY + CLASSES:
        assert metric(scores[:, order], np.argsort(order)[truth]) == pytest.approx(metric(scores, truth))


@pytest.mark.parametrize("ties", [False, True])
def test_ranks_of_all_candidates_agree_with_the_rank_of_one(ties):
    scores, _ = random_case(1, ties=ties)
    scores[0, :2] = -np.inf
    for j in range(7):
        np.testing.assert_array_equal(r.rank_of_each(scores)[:, j], r.rank_of_own(scores, np.full(60, j)))


@pytest.mark.parametrize("ties", [False, True])
def test_many_permutations_at_once_are_bit_identical_to_the_loop(ties):
    rng = np.random.default_rng(0)
    for metrics, k in ((GALLERY + CLASSES, 7), ((c.auc,), 2)):
        scores, truth = random_case(2, k=k, ties=ties)
        permuted = np.array([rng.permutation(truth) for _ in range(20)])
        for metric in metrics:
            np.testing.assert_array_equal(many(metric, scores, permuted), [metric(scores, t) for t in permuted])


def test_a_weight_means_that_a_trial_is_there_so_many_times():
    rng = np.random.default_rng(0)
    for metrics, k in ((GALLERY + CLASSES, 7), ((c.auc,), 2)):
        scores, truth = random_case(4, k=k)
        weight = rng.integers(0, 4, (20, 60))
        for metric in metrics:
            repeated = [metric(np.repeat(scores, w, 0), np.repeat(truth, w)) for w in weight]
            np.testing.assert_allclose(many(metric, scores, truth[None], weight), repeated, err_msg=metric.__name__)


def test_a_draw_without_trials_has_no_value():
    scores, truth = random_case(0)
    for metric in GALLERY + CLASSES:
        assert np.isnan(many(metric, scores, truth[None], np.zeros((1, 60), int))).all()


def test_a_plain_function_is_a_metric_too():
    def mean_own_score(scores, truth):
        return float(scores[np.arange(len(truth)), truth].mean())

    scores, truth = random_case(0)
    weight = np.random.default_rng(0).integers(0, 3, (4, 60))
    expected = [np.average(scores[np.arange(60), truth], weights=w) for w in weight]
    np.testing.assert_allclose(many(mean_own_score, scores, truth[None], weight), expected, rtol=1e-5)
    assert higher_is_better(mean_own_score)
    assert not per_fold(mean_own_score)


def test_directions_and_folds_are_told_by_the_metric():
    assert not r.median_rank.higher_is_better
    assert all(m.higher_is_better for m in (*CLASSES, c.auc, r.mean_reciprocal_rank))
    assert c.auc.per_fold
    assert not c.top_k(1).per_fold


def test_factories_give_the_same_function_and_a_description_that_tells_k():
    assert r.recall_at(5) is r.recall_at(5)
    assert describe(r.recall_at(5)) == {"use": "sightwave.metrics.retrieval.recall_at(5)"}
    assert key(c.top_k(1)) != key(c.top_k(5)) != key(r.recall_at(5))
    assert (c.top_k(5).__name__, r.recall_at(5).__name__) == ("top-5", "recall@5")


def test_what_cannot_be_scored_is_refused_with_numbers():
    scores, truth = random_case(0)
    with pytest.raises(DataError, match=r"0\.\.6, got 0\.\.7"):
        c.top_k(1)(scores, np.where(np.arange(60) == 3, 7, truth % 7))
    with pytest.raises(ShapeError, match=r"\(60, 7\) and \(59,\)"):
        c.f1_macro(scores, truth[:59])
    with pytest.raises(ShapeError, match="two candidates, got 7"):
        c.auc(scores, truth)
    with pytest.raises(DataError, match="nothing to score"):
        r.median_rank(scores[:0], truth[:0])
    scores[5, 2] = np.nan
    for metric in GALLERY + CLASSES:
        with pytest.raises(DataError, match="NaN in 1 of 60 trials, first in row 5"):
            metric(scores, truth)
