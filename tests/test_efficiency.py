"""Efficiency against an ideal observer: known for decoders that are ideal observers with less evidence."""

from dataclasses import replace

import numpy as np
import pytest

from sightwave.datasets.phantom import Phantom
from sightwave.judge.efficiency import efficiency
from sightwave.metrics.retrieval import mean_reciprocal_rank, recall_at
from sightwave.results import Predictions

WORLD = Phantom(
    n_train=1, n_test=5, test_repetitions=8, sfreq=100.0, n_times=60, n_sessions=1, signal=1.0, n_subjects=1
)


@pytest.fixture(scope="module")
def blank():
    trials, _ = WORLD.load(None, ("01",))
    events = trials[(trials.events["part"] == "test").to_numpy()].average().events.assign(fold="f", seed=0)
    gallery, truth = np.unique(events["stimulus"].to_numpy().astype(str), return_inverse=True)
    scores = np.zeros((len(events), len(gallery)), np.float32)
    return Predictions("retrieve x", "8", scores, truth, gallery, events)


def with_scores(p, scores):
    return Predictions(p.task, p.repetitions, scores, p.truth, p.candidates, p.events)


@pytest.mark.parametrize("share", [0.02, 0.1])
@pytest.mark.parametrize("metric", [recall_at(1), recall_at(5), mean_reciprocal_rank])
def test_an_ideal_observer_with_a_share_of_the_evidence_has_that_efficiency(blank, share, metric):
    weaker = WORLD.ideal(blank, repetitions=share * 8)
    assert efficiency(with_scores(blank, weaker), metric, WORLD.ideal) == pytest.approx(share, rel=0.35)


def test_the_ideal_observer_itself_has_efficiency_one_and_a_guess_none(blank):
    assert efficiency(with_scores(blank, WORLD.ideal(blank)), recall_at(1), WORLD.ideal) == 1.0
    guess = np.random.default_rng(0).random(blank.scores.shape).astype(np.float32)
    assert efficiency(with_scores(blank, guess), recall_at(1), WORLD.ideal) < 0.005


def test_without_an_ideal_observer_efficiency_is_unknown(blank):
    assert np.isnan(efficiency(blank, recall_at(1), lambda p, repetitions=None: None))


def test_where_there_is_no_signal_there_is_no_efficiency(blank):
    silent = replace(WORLD, signal=0.0)
    perfect = np.eye(len(blank.candidates), dtype=np.float32)[blank.truth]
    assert np.isnan(efficiency(with_scores(blank, perfect), recall_at(1), silent.ideal))
