"""What the known brain allows: efficiency against an ideal observer, and the ceiling of a target space."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from sightwave.datasets.in_memory import InMemory
from sightwave.datasets.phantom import Phantom
from sightwave.decode.classify import Classify
from sightwave.decode.retrieve import Retrieve
from sightwave.embeddings import Embeddings
from sightwave.encoders.time_bins import TimeBins
from sightwave.judge.ceiling import noise_free_map
from sightwave.judge.efficiency import efficiency
from sightwave.metrics.retrieval import mean_reciprocal_rank, recall_at
from sightwave.preprocess import Average, Standardise
from sightwave.recipe import Recipe
from sightwave.report import tables, words
from sightwave.results import Predictions
from sightwave.splits import Published
from sightwave.story import run
from sightwave.targets.labels import Labels
from sightwave.targets.pixels import Pixels
from sightwave.train import Solve

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


# ---------------------------------------------------------------- the ceiling of a target space

RNG = np.random.default_rng(0)
Z, MIX = RNG.normal(size=(500, 6)), RNG.normal(size=(6, 12))
TRAIN = np.arange(500) < 400


def hits(target):
    """Share of new pictures whose own target is the nearest of all new targets."""
    made = noise_free_map(Z[TRAIN], target[TRAIN])(Z[~TRAIN])
    ids = np.arange(100).astype(str)
    scores = Embeddings(made, ids, "toy").cosine(Embeddings(target[~TRAIN], ids, "toy"))
    return recall_at(1)(scores, np.arange(100))


def test_a_target_that_is_linear_in_the_features_is_reached_whole():
    assert hits(Z @ MIX) == 1.0


def test_a_target_that_bends_is_reached_better_than_by_any_linear_map():
    bent = np.tanh(2 * Z @ MIX) + np.abs(Z @ MIX[:, ::-1])
    linear = np.linalg.lstsq(np.c_[Z, np.ones(500)][TRAIN], bent[TRAIN], rcond=None)[0]
    ids = np.arange(100).astype(str)
    found = Embeddings(np.c_[Z, np.ones(500)][~TRAIN] @ linear, ids, "toy")
    scores = found.cosine(Embeddings(bent[~TRAIN], ids, "toy"))
    assert hits(bent) > recall_at(1)(scores, np.arange(100)) + 0.1


@pytest.mark.parametrize("z", [np.zeros((500, 6)), RNG.normal(size=(500, 6))])
def test_features_that_say_nothing_of_the_target_leave_a_guess(z):
    label = RNG.permutation(np.arange(500) % 5)
    made = noise_free_map(z[TRAIN], np.eye(5)[label[TRAIN]])(z[~TRAIN])
    assert 0.08 < (made.argmax(1) == label[~TRAIN]).mean() < 0.34
    assert hits(RNG.normal(size=(500, 12))) < 0.06


def test_the_same_pictures_give_the_same_map():
    target = np.abs(Z @ MIX)
    assert np.array_equal(*(noise_free_map(Z[TRAIN], target[TRAIN])(Z) for _ in range(2)))


PIXELS = Pixels(dim=16)
SEEN = Phantom(
    n_train=24, n_test=6, categories=("cat", "bus", "boat", "sofa"), train_repetitions=2, test_repetitions=4,
    sfreq=100.0, n_times=60, n_subjects=2,
)  # fmt: skip
RIDGE = Recipe(
    dataset=SEEN,
    split=Published(),
    steps=(Average(), Standardise()),
    targets=(Labels(), PIXELS),
    encoder=partial(TimeBins, n_bins=12),
    stages=(Solve(spaces=("label", PIXELS.space)),),
    tasks=(Classify(), Retrieve(PIXELS.space)),
    repetitions=(1, None),
)


def headline(recipe, out):
    result = run(recipe, name="seen", out=out, n_permutations=19, n_bootstrap=19)
    s = result.scores
    return result, s[s.metric.isin(["top-1", "recall@1"]) & (s.subject == "all")].set_index(["task", "repetitions"])


def test_a_decoder_of_noisy_trials_stays_below_the_noise_free_map_and_that_below_the_ideal_observer(tmp_path):
    result, s = headline(RIDGE, tmp_path)
    assert (s.noise_free > s.value).all()
    image = s.loc[f"retrieve {PIXELS.space}"]
    assert image.noise_free.nunique() == 1, "noise-free, so the number of repetitions cannot matter"
    assert image.noise_free["4"] < image.ceiling["4"], "sixteen pixels say less than all features"
    said = words.noise_free(result)
    assert f"image {words.number(image.noise_free['4'], 'recall@1')} (ideal observer" in said
    assert said.split(":")[0] in tables.text(result)


def test_a_brain_that_does_not_respond_has_a_ceiling_at_chance(tmp_path):
    _, s = headline(replace(RIDGE, dataset=replace(SEEN, signal=0.0)), tmp_path)
    assert s.noise_free.loc[("classify", "4")] < 0.5
    assert s.noise_free.loc[(f"retrieve {PIXELS.space}", "4")] < 0.15


def test_nobody_knows_the_ceiling_of_a_real_brain(tmp_path):
    real = InMemory(*SEEN.load(None, ("01", "02")))
    result, s = headline(replace(RIDGE, dataset=real), tmp_path)
    assert s.noise_free.isna().all()
    assert words.noise_free(result) == ""
