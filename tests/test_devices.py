"""Towers, losses and encoders keep to one device. On a GPU where there is one; the same tests run on every CPU."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from sightwave.align import Aligner
from sightwave.datasets.phantom import Phantom
from sightwave.decode.classify import Classify
from sightwave.decode.retrieve import Retrieve
from sightwave.encoders.conv_transformer import ConvTransformer
from sightwave.encoders.positive_spatial import PositiveSpatial
from sightwave.encoders.project import EEGProject
from sightwave.losses.blur_prior import BlurPrior
from sightwave.losses.contrastive import InfoNCE
from sightwave.losses.labels import CrossEntropy
from sightwave.preprocess import Average, Standardise
from sightwave.recipe import Recipe
from sightwave.splits import Published
from sightwave.story import run
from sightwave.targets.blur_choice import BlurChoice, foveated
from sightwave.targets.clip import ClipImage, ClipText
from sightwave.targets.fusion import Fusion, Mapped
from sightwave.targets.labels import Labels
from sightwave.train import Solve, Stage

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
WORLD = Phantom(
    n_train=10, n_test=4, categories=("cat", "bus", "boat"), train_repetitions=2, test_repetitions=2,
    ch_names=("P7", "Pz", "P8", "POz", "O1", "Oz", "O2"), sfreq=100.0, n_times=60, signal=2.0, n_subjects=2,
)  # fmt: skip
QUICK = {"n_permutations": 19, "n_bootstrap": 19}


def mixed(device):
    """Frozen layers, a tower that learns, and a map behind their mixture."""
    layers = tuple(ClipImage("phantom", layer=n, pool="mean", device=device) for n in (1, 3))
    return Mapped(Fusion((*layers, ClipImage("phantom", tune="lora-all", device=device)), by="part"), hidden=16)


def recipe_of(target, losses, *, encoder=EEGProject, **stage):
    return Recipe(
        dataset=WORLD, split=Published(joint=True, val=0.2), steps=(Average(), Standardise()),
        targets=(target, Labels()), encoder=encoder, subject_heads=True,
        stages=(Stage(losses=(*losses, CrossEntropy), epochs=2, batch_size=16, keep="best", **stage),),
        tasks=(Retrieve(target.space), Classify()), repetitions=(1, None),
    )  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("what", ["mixture", "text", "blur", "conv-transformer"])
def test_a_recipe_is_trained_peeked_at_and_begun_from_on_its_device(what, device, tmp_path):
    target = {"text": ClipText("phantom", tune="last-1", device=device), "blur": BlurChoice(foveated())}.get(
        what, mixed(device) if what == "mixture" else ClipImage("phantom", device=device)
    )
    loss = partial(BlurPrior if what == "blur" else InfoNCE, space=target.space)
    encoder = {"mixture": PositiveSpatial, "conv-transformer": partial(ConvTransformer, width=16)}.get(what, EEGProject)
    recipe = recipe_of(target, (loss,), encoder=encoder, precision="bfloat16", towers_lr=0.1)
    recipe = replace(recipe, ensemble=2) if what == "mixture" else recipe
    result = run(recipe, out=tmp_path, device=device, peek=True, save_weights=True, **QUICK)
    assert all(np.isfinite(p.scores).all() for p in result.predictions)
    assert result.provenance["device"] == device
    start = next(tmp_path.glob("recipe-*"))
    solved = replace(recipe, stages=(Solve(spaces=("label",)),), tasks=(Classify(),), start=start, head=torch.nn.Linear)
    assert run(solved, name="again", out=tmp_path, device=device, **QUICK).audit["verdict"] == "PASS"


@pytest.mark.parametrize("device", DEVICES)
def test_seeds_are_stacked_on_their_device(device, tmp_path):
    target = ClipImage("phantom", device=device)
    recipe = replace(recipe_of(target, (partial(InfoNCE, space=target.space),)), subject_heads=False)
    result = run(recipe, out=tmp_path, device=device, seeds=(0, 1), together=True, **QUICK)
    assert set(result.predictions[0].events["seed"]) == {0, 1}


@pytest.mark.parametrize("device", DEVICES)
def test_a_tower_is_made_on_the_cpu_wherever_its_frozen_part_was_run(device):
    stimuli = WORLD.load(None, ("01",))[1]
    towers = [
        target.tower(stimuli, frozenset(stimuli.ids))
        for target in (mixed(device), ClipText("phantom", tune="last-1", device=device))
    ]
    aligner = Aligner(EEGProject(7, 60), {"a": 4}, 1)
    for tower in (*towers, aligner):
        assert {x.device.type for x in (*tower.parameters(), *tower.buffers())} == {"cpu"}
    rows = torch.tensor([0, 2], device=device)
    for tower in towers:
        assert tower.to(device)(rows).device.type == device
