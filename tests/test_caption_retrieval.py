"""The caption recipe finds what is planted, class and instance, and is at chance without a signal."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from sightwave.align import MLPHead
from sightwave.datasets.phantom import Phantom
from sightwave.describe import describe, key
from sightwave.errors import UnknownName
from sightwave.house import load_recipe, variants
from sightwave.losses.debias import ByClass
from sightwave.metrics.captions import chance_recall, rank_captions
from sightwave.recipes import caption_retrieval as captions
from sightwave.story import run

WORLD = Phantom.like(
    "mss", signal=2.5, sfreq=125.0, n_times=62, n_train=20, n_test=5, n_subjects=2, ch_names=Phantom().ch_names[30:],
    categories=("cat", "bus", "sofa", "bird", "train"),
)  # fmt: skip


def quick(recipe, world):
    """The recipe on a small and loud world, in seconds."""
    stages = tuple(replace(s, epochs=e, batch_size=32) for s, e in zip(recipe.stages, (8, 3, 8), strict=True))
    return replace(recipe, dataset=world, stages=stages)


def found(result):
    """Instance and class-aware recall@1, each over what chance would be, and the p-value of recall@1."""
    p = next(p for p in result.predictions if p.task.startswith("retrieve"))
    label_of = dict(zip(p.events["stimulus"], p.events["label"], strict=True))
    shown, classes = p.candidates[p.truth], np.array([label_of[c] for c in p.candidates])
    own = p.scores[np.arange(len(p)), p.truth]
    instance = ((p.scores >= own[:, None]).sum(1) == 1).mean()
    first = classes[p.scores.argmax(1)] == np.array([label_of[s] for s in shown])
    row = result.scores.query("task == @p.task and metric == 'recall@5' and subject == 'all'").iloc[0]
    return {"instance": instance * len(p.candidates), "class": first.mean() / 0.2, "p": row.p}


@pytest.fixture(scope="module")
def loud(tmp_path_factory):
    recipe = quick(captions.recipe, WORLD)
    return run(recipe, name="loud", out=tmp_path_factory.mktemp("captions"), n_permutations=200, n_bootstrap=50)


def test_class_and_instance_that_are_planted_are_found(loud):
    hits = found(loud)
    assert hits["class"] > 2.5  # of at most 5
    assert hits["instance"] > 1.5
    assert hits["p"] < 0.01


def test_without_a_signal_nothing_is_found(tmp_path):
    recipe = quick(captions.recipe, replace(WORLD, signal=0.0))
    hits = found(run(recipe, name="silent", out=tmp_path, n_permutations=200, n_bootstrap=50))
    assert 0.4 < hits["class"] < 1.6
    assert hits["p"] > 0.01


def test_class_aware_recall_is_that_of_the_caption_metrics(loud):
    """What is counted here by hand is what the caption analyses count."""
    p = next(p for p in loud.predictions if p.task.startswith("retrieve"))
    label_of = dict(zip(p.events["stimulus"], p.events["label"], strict=True))
    labels = np.array([label_of[c] for c in p.candidates])
    eye = np.eye(len(p.candidates), dtype=np.float32)
    ranked = rank_captions(p.scores, eye, {"": (p.candidates[p.truth], p.candidates),
                                           "class": (labels[p.truth], labels)})  # fmt: skip
    assert (ranked.rank["class"] == 1).mean() / 0.2 == pytest.approx(found(loud)["class"])
    assert chance_recall(np.array([10]), 50, 1)[0] == pytest.approx(0.2)


def test_stages_are_the_category_then_soft_then_sharp():
    category, soft, sharp = captions.recipe.stages
    assert category.spaces == ("label",)
    assert soft.spaces == sharp.spaces == (captions.text.space, "label")
    names = [[loss.func.__name__ for loss in s.losses if isinstance(loss, partial)] for s in (soft, sharp)]
    assert names == [["Cosine", "Distillation"], ["InfoNCE"]]
    assert sharp.losses[0].keywords["negatives"] == ByClass()
    assert "towers" in soft.freeze


@pytest.mark.parametrize("name", captions.STRATEGIES)
def test_a_strategy_changes_what_learns_and_nothing_else(name):
    recipe = captions.strategy(name)
    same = ("dataset", "split", "steps", "encoder", "head", "tasks", "subject_heads")
    assert all(key(getattr(recipe, f)) == key(getattr(captions.recipe, f)) for f in same)
    assert ("encoder" in recipe.stages[2].freeze) == (name == "projection")
    assert recipe.targets[0].tune == ("frozen" if name == "projection" else name)
    assert [s.epochs for s in recipe.stages] == [s.epochs for s in captions.recipe.stages]


def test_losses_differ_in_the_losses_alone():
    all_of_them = [describe(captions.losses(name).stages) for name in captions.LOSSES]
    for stages in all_of_them:
        for stage, first in zip(stages, all_of_them[0], strict=True):
            assert {k: v for k, v in stage.items() if k != "losses"} == {
                k: v for k, v in first.items() if k != "losses"
            }
    with pytest.raises(UnknownName, match="Did you mean 'cosine'"):
        captions.losses("cosin")
    with pytest.raises(UnknownName, match="Did you mean 'lora'"):
        captions.strategy("loar")


def test_a_projection_may_be_an_mlp_and_the_real_files_have_a_recipe_of_their_own():
    assert load_recipe("caption_retrieval:mlp")[1].head.func is MLPHead
    assert captions.mss().dataset.citation != captions.recipe.dataset.citation
    assert {"lora", "debiased-class"} <= set(variants("caption_retrieval"))
