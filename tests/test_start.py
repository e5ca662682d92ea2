"""Beginning with what a finished run has learnt: the same encoder to the bit, and never one that saw the test part."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from sightwave.datasets.phantom import Phantom
from sightwave.decode.classify import Classify
from sightwave.decode.retrieve import Retrieve
from sightwave.encoders.project import EEGProject
from sightwave.errors import LeakError, MissingFile, RecipeError
from sightwave.fold import Fold
from sightwave.losses.distill import Cosine
from sightwave.losses.labels import CrossEntropy
from sightwave.preprocess import Standardise
from sightwave.recipe import Recipe, started
from sightwave.results import Result, read_weights, spaces_learnt
from sightwave.splits import BySession
from sightwave.story import run
from sightwave.targets.clip import ClipText
from sightwave.targets.labels import Labels
from sightwave.train import Stage

WORLD = Phantom(n_train=6, n_test=3, categories=("cat", "bus"), train_repetitions=2, test_repetitions=2, n_sessions=2,
                n_subjects=2, sfreq=50.0, n_times=50)  # fmt: skip
TEXT = ClipText(tune="text-projection")
CATEGORY = Recipe(
    dataset=WORLD, split=BySession(test=("2",), joint=True), steps=(Standardise(),), targets=(Labels(),),
    encoder=partial(EEGProject, width=8), subject_heads=True, stages=(Stage(losses=(CrossEntropy,), epochs=2),),
    tasks=(Classify(),), leaks=("stimulus", "image", "caption"),
)  # fmt: skip
CAPTION = replace(
    CATEGORY,
    targets=(TEXT, Labels()),
    stages=(*CATEGORY.stages, Stage(losses=(partial(Cosine, space=TEXT.space), CrossEntropy), epochs=1)),
    tasks=(Retrieve(TEXT.space), Classify()),
)


def go(recipe, out, name, **options):
    return run(recipe, name=name, out=out, n_permutations=19, n_bootstrap=19, **options)


@pytest.fixture(scope="module")
def task_1(tmp_path_factory):
    out = tmp_path_factory.mktemp("start")
    go(CATEGORY, out, "category", save_weights=True)
    return next(out.glob("category-*"))


def test_a_run_begins_with_the_encoder_and_the_heads_of_a_finished_one(task_1):
    saved = read_weights(task_1, "all subjects", 0)
    recipe = started(CAPTION, task_1)
    assert spaces_learnt(task_1) == {"label"}
    assert recipe.stages == CAPTION.stages[1:]  # the category is learnt already
    trials, stimuli = WORLD.load(None, WORLD.subjects())
    fold = Fold(recipe, recipe.split(trials)[0], stimuli, subjects=WORLD.subjects(), device="cpu")
    aligner, _ = fold._build(0)
    for name, value in aligner.encoder.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), saved[f"encoder.{name}"])
    heads = dict(zip(aligner.spaces, aligner.heads, strict=True))
    np.testing.assert_array_equal(heads["label"].maps[1].weight.detach().numpy(), saved["heads.label.maps.1.weight"])


def test_a_frozen_encoder_ends_as_in_one_run_of_both_stages(task_1, tmp_path):
    still = replace(CAPTION, stages=(CAPTION.stages[0], replace(CAPTION.stages[1], freeze=("encoder",))))
    go(still, tmp_path, "whole", save_weights=True)
    go(started(still, task_1), tmp_path, "caption", save_weights=True)
    whole, later = (read_weights(next(tmp_path.glob(f"{n}-*")), "all subjects", 0) for n in ("whole", "caption"))
    assert whole.keys() == later.keys()
    assert {k.split(".")[0] for k in whole} == {"encoder", "heads", "towers"}
    for k in whole:
        if k.startswith("encoder"):
            np.testing.assert_array_equal(whole[k], later[k])


def test_weights_that_may_have_seen_the_test_part_are_refused(task_1, tmp_path):
    other = replace(started(CAPTION, task_1), split=BySession(test=("1",), joint=True))
    with pytest.raises(LeakError, match="trained on other split, so its encoder may have seen"):
        go(other, tmp_path, "caption")
    with pytest.raises(LeakError, match="trained on other data and subjects"):
        go(started(CAPTION, task_1), tmp_path, "caption", subjects=("01",))


def test_weights_that_do_not_fit_or_are_not_there_are_named(task_1, tmp_path):
    wider = replace(started(CAPTION, task_1), encoder=partial(EEGProject, width=9))
    with pytest.raises(RecipeError, match=r"The encoder of .* is not built as this recipe builds it"):
        go(wider, tmp_path, "caption")
    with pytest.raises(MissingFile, match=r"No weights-all-subjects-seed-1\.safetensors"):
        go(started(CAPTION, task_1), tmp_path, "caption", seeds=(1,))
    with pytest.raises(RecipeError, match="has learnt all that this recipe trains: label"):
        started(CATEGORY, task_1)
    go(CATEGORY, tmp_path, "plain")
    with pytest.raises(MissingFile, match=r"holds no weights\. Run that recipe again with --save-weights"):
        started(CAPTION, next(tmp_path.glob("plain-*")))


def test_weights_are_part_of_the_manifest_and_not_read_with_the_scores(task_1):
    assert Result.load(task_1).weights == {}
    assert torch.is_tensor(torch.from_numpy(read_weights(task_1, "all subjects", 0)["heads.label.maps.0.bias"]))
    assert "weights-all-subjects-seed-0.safetensors" in (task_1 / "manifest.json").read_text()
