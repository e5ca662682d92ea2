"""Ensembles: decoders that are trained one by one and answer as one."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from sightwave.datasets.phantom import Phantom
from sightwave.decode.base import Decoded, joined
from sightwave.decode.classify import Classify
from sightwave.decode.probe import Probe
from sightwave.decode.retrieve import Retrieve
from sightwave.embeddings import Embeddings
from sightwave.encoders.project import EEGProject
from sightwave.errors import RecipeError
from sightwave.fold import Fold
from sightwave.losses.contrastive import InfoNCE
from sightwave.losses.labels import CrossEntropy
from sightwave.preprocess import Average, Standardise
from sightwave.recipe import Recipe
from sightwave.splits import Published
from sightwave.stimuli import Stimuli
from sightwave.story import run
from sightwave.targets.labels import Labels
from sightwave.targets.pixels import Pixels
from sightwave.train import Stage

PIXELS = Pixels(dim=16)
WORLD = Phantom(
    n_train=12,
    n_test=4,
    categories=("cat", "bus", "boat"),
    train_repetitions=2,
    test_repetitions=2,
    ch_names=("P7", "Pz", "P8", "POz", "O1", "Oz", "O2"),
    sfreq=100.0,
    n_times=60,
    signal=2.0,
    n_subjects=1,
)
LOSSES = (partial(InfoNCE, space=PIXELS.space), CrossEntropy)
ALONE = Recipe(
    dataset=WORLD,
    split=Published(),
    steps=(Average(), Standardise()),
    targets=(Labels(), PIXELS),
    encoder=partial(EEGProject, width=16),
    stages=(Stage(losses=LOSSES, epochs=3, batch_size=16),),
    tasks=(Retrieve(PIXELS.space), Retrieve(PIXELS.space, mode="assigned"), Classify(), Probe()),
    repetitions=(None,),
)
THREE = replace(ALONE, ensemble=3)
QUICK = {"n_permutations": 49, "n_bootstrap": 49}


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory):
    return run(THREE, name="three", out=tmp_path_factory.mktemp("out"), **QUICK)


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    return run(ALONE, name="one", out=tmp_path_factory.mktemp("out"), seeds=(0, 1000, 2000), **QUICK)


def answers(result, task, seed=None):
    p = next(p for p in result.predictions if p.task == task)
    return p.scores if seed is None else p.scores[p.events["seed"].to_numpy() == seed]


def test_an_ensemble_answers_by_the_mean_cosine_of_decoders_that_are_trained_alone(ensemble, members):
    task = THREE.tasks[0].name
    mean = np.mean([answers(members, task, seed) for seed in (0, 1000, 2000)], axis=0)
    np.testing.assert_allclose(answers(ensemble, task), mean, atol=1e-6)


def test_an_ensemble_votes_by_the_mean_probability(ensemble, members):
    mean = np.mean([softmax(answers(members, "classify", seed), axis=1) for seed in (0, 1000, 2000)], axis=0)
    np.testing.assert_allclose(answers(ensemble, "classify"), mean, atol=1e-6)


def test_an_ensemble_is_one_decoder_in_the_table_and_its_parameters_are_counted_together(ensemble, members):
    assert ensemble.seeds == (0,)
    assert set(ensemble.predictions[0].events["seed"]) == {0}
    assert ensemble.parameters == {part: 3 * n for part, n in members.parameters.items()}
    assert any("3 decoders answer together for each seed" in note for note in ensemble.data["notes"])
    assert not any("together" in note for note in members.data["notes"])


def test_an_assignment_of_an_ensemble_still_gives_each_picture_away_once(ensemble):
    scores = answers(ensemble, THREE.tasks[1].name)
    assert sorted(scores.argmax(1)) == list(range(scores.shape[1]))


def test_seeds_are_trained_together_with_their_members(tmp_path, ensemble):
    stacked = run(THREE, name="stacked", out=tmp_path, together=True, **QUICK)
    np.testing.assert_allclose(answers(stacked, THREE.tasks[0].name), answers(ensemble, THREE.tasks[0].name), atol=2e-2)


def test_cosines_of_what_is_joined_are_means_and_spaces_may_differ_by_member():
    rng = np.random.default_rng(0)
    stimuli = Stimuli(table=pd.DataFrame({"label": ["a", "b"]}, index=["x", "y"]))

    def member(dim):
        eeg = {"s": Embeddings(rng.normal(size=(5, dim)).astype("f4"), np.array(list("xyxyx")), "s")}
        targets = {"s": Embeddings(rng.normal(size=(2, dim)).astype("f4"), np.array(["x", "y"]), "s")}
        return Decoded(eeg, targets, stimuli, pd.DataFrame({"stimulus": list("xyxyx")}))

    parts = [member(4), member(6)]
    both = joined(replace(parts[0], others=(parts[1],)))
    mean = np.mean([p.eeg["s"].cosine(p.targets["s"]) for p in parts], axis=0)
    np.testing.assert_allclose(both.eeg["s"].cosine(both.targets["s"]), mean, atol=1e-6)
    assert both.others == ()


def test_each_members_gallery_is_made_once_for_all_numbers_of_repetitions(tmp_path, monkeypatch):
    made, make = [], Fold._targets
    monkeypatch.setattr(Fold, "_targets", lambda fold, decoder: made.append(decoder.seed) or make(fold, decoder))
    run(replace(THREE, repetitions=(1, 2), tasks=THREE.tasks[:1]), out=tmp_path, **QUICK)
    assert sorted(made) == [0, 0, 1000, 2000]  # the first once more, for the best noise-free map


def test_ensembles_without_members_or_with_members_in_common_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="from 1 on"):
        replace(ALONE, ensemble=0)
    with pytest.raises(RecipeError, match="below 1000"):
        run(THREE, out=tmp_path, seeds=(0, 1000))
    assert ALONE.seeds_of(1000) == [1000]


def test_epochs_of_an_ensemble_are_peeked_at_together(tmp_path, ensemble):
    peeked = run(THREE, out=tmp_path, peek=True, **QUICK)
    for a, b in zip(ensemble.predictions, peeked.predictions, strict=True):
        np.testing.assert_array_equal(a.scores, b.scores)
    p = peeked.data["peek"]
    assert len(p["curve"]) == 3
    assert p["curve"][-1] == pytest.approx(p["honest"]) == peeked.score("recall@1", task=THREE.tasks[0].name)
    assert len(p["chosen"]) == 1  # one epoch for all members
    assert not list(tmp_path.glob(".*.partial"))


def test_the_training_part_is_decoded_once_for_all_numbers_of_repetitions(tmp_path, monkeypatch):
    asked, decode = [], Fold._decode
    monkeypatch.setattr(Fold, "_decode", lambda *a: asked.append(a[-1]) or decode(*a))
    run(replace(THREE, repetitions=(1, 2), tasks=(Probe(),)), out=tmp_path, **QUICK)
    assert len(asked) == 3 + 2 * 3
