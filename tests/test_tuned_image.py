"""The vision tower learns with the EEG: what is freed moves, the rest stays to the bit, and it starts as CLIP."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from sightwave.align import Aligner
from sightwave.datasets.phantom import Phantom
from sightwave.decode.retrieve import Retrieve
from sightwave.encoders.project import EEGProject
from sightwave.errors import RecipeError, UnknownName
from sightwave.fold import Fold
from sightwave.losses.contrastive import InfoNCE
from sightwave.recipe import Recipe
from sightwave.splits import Published
from sightwave.targets.clip import ClipImage
from sightwave.targets.clip_tower_image import TUNINGS
from sightwave.targets.fusion import Fusion
from sightwave.targets.views import GaussianBlur
from sightwave.train import Stage, TrialSet, fit

LAYERS, WIDTH, DIM, RANK = 4, 128, 64, 4
BLOCK = 12 * WIDTH * WIDTH + 13 * WIDTH
LEARNT = {
    "image-projection": WIDTH * DIM,
    "last-1": BLOCK,
    "last-2": 2 * BLOCK,
    "last-1+projection": BLOCK + WIDTH * DIM,
    "last-2+projection": 2 * BLOCK + WIDTH * DIM,
    "adapters": LAYERS * 2 * (2 * WIDTH * RANK + RANK + WIDTH),
    "lora": LAYERS * 4 * 2 * WIDTH * RANK,
    "lora-all": LAYERS * (4 * 2 + 2 * 5) * WIDTH * RANK,
}
WORLD = Phantom(
    n_train=3, n_test=2, categories=("cat", "bus"), train_repetitions=1, test_repetitions=1, n_subjects=1,
    sfreq=50.0, n_times=50,
)  # fmt: skip


@pytest.fixture(scope="module")
def stimuli():
    return WORLD.load(None, ("01",))[1]


def build(stimuli, tune, **options):
    torch.manual_seed(3)
    return ClipImage(tune=tune, rank=RANK, **options).tower(stimuli, ())


def learn(tower, n, dim=DIM, **options):
    rng = np.random.default_rng(0)
    data = TrialSet(rng.standard_normal((n, 4, 20)).astype(np.float32), torch.zeros(n).long(), torch.arange(n))
    torch.manual_seed(0)
    aligner = Aligner(EEGProject(4, 20, width=8), {"image": dim})
    stage = Stage(losses=(partial(InfoNCE, space="image"),), epochs=3, batch_size=8, **options)
    fit(aligner, (stage,), data, {"image": tower}, seed=1)


def everything(tower):
    return {k: v.detach().clone() for k, v in (*tower.named_parameters(), *tower.named_buffers())}


@pytest.mark.parametrize("tune", TUNINGS[1:])
def test_before_training_it_says_what_the_frozen_tower_says(stimuli, tune):
    frozen = ClipImage().embed(stimuli, ()).vectors
    tower, rows = build(stimuli, tune, batch_size=4), torch.tensor([3, 1, 0, 3, 5])
    with torch.no_grad():
        np.testing.assert_allclose(tower(torch.arange(len(stimuli))).numpy(), frozen, atol=1e-5)
    np.testing.assert_allclose(tower(rows).detach().numpy(), frozen[rows], atol=1e-5)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_a_layer_of_a_blurred_picture_can_be_tuned_too(stimuli, pool):
    options = {"layer": 2, "pool": pool, "view": GaussianBlur(15)}
    frozen = ClipImage(**options).embed(stimuli, ()).vectors
    tower = build(stimuli, "lora", **options)
    with torch.no_grad():
        np.testing.assert_allclose(tower(torch.arange(len(stimuli))).numpy(), frozen, atol=1e-5)
    assert len(tower.blocks) == 2


@pytest.mark.parametrize("tune", TUNINGS[1:])
def test_what_is_freed_is_as_much_as_computed_by_hand_and_moves_and_the_rest_stays_to_the_bit(stimuli, tune):
    tower = build(stimuli, tune)
    free = {k for k, p in tower.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in tower.parameters() if p.requires_grad) == LEARNT[tune]
    before = everything(tower)
    learn(tower, len(stimuli), weight_decay=0.1)
    after = everything(tower)
    assert {k for k in before if not torch.equal(before[k], after[k])} == free


def test_only_what_learns_is_saved(stimuli):
    tower = build(stimuli, "lora-all")
    learn(tower, len(stimuli), lr=0.01)
    state = tower.state_dict()
    assert sum(v.numel() for v in state.values()) == LEARNT["lora-all"]
    again = build(stimuli, "lora-all")
    again.load_state_dict(state)
    rows = torch.arange(len(stimuli))
    with torch.no_grad():
        assert torch.equal(tower(rows), again(rows))
        assert (tower(rows) - build(stimuli, "lora-all")(rows)).abs().max() > 1e-3


def test_a_tuned_tower_can_be_part_of_a_mixture(stimuli):
    mixture = Fusion((ClipImage(), ClipImage(layer=2), ClipImage(tune="lora")), by="part", n_default=0)
    tower = mixture.tower(stimuli, ())
    before = {k: v.clone() for k, v in tower.state_dict().items()}
    learn(tower, len(stimuli), lr=0.01)
    assert any("lora_B" in k and (v != before[k]).any() for k, v in tower.state_dict().items())


def test_the_gallery_is_what_the_tower_has_become(stimuli):
    trials, _ = WORLD.load(None, ("01",))
    image = ClipImage(tune="lora")
    recipe = Recipe(
        dataset=WORLD, split=Published(), targets=(image,), encoder=partial(EEGProject, width=8),
        stages=(Stage(losses=(partial(InfoNCE, space=image.space),), epochs=2, lr=0.01),),
        tasks=(Retrieve(image.space),),
    )  # fmt: skip
    for n in (1, 2):
        fold = Fold(replace(recipe, ensemble=n), recipe.split(trials)[0], stimuli, subjects=("01",), device="cpu")
        decoder = fold.train(0)
        (decoded,) = fold.decode(decoder, [trials])
        gallery = decoded.targets[image.space].vectors
        with torch.no_grad():
            np.testing.assert_array_equal(gallery, decoder.towers[image.space](torch.arange(len(stimuli))).numpy())
        assert np.abs(gallery - ClipImage().embed(stimuli, ()).vectors).max() > 1e-3


def test_what_cannot_be_tuned_is_refused(stimuli):
    with pytest.raises(UnknownName, match="Did you mean 'image-projection'"):
        ClipImage(tune="text-projection")
    with pytest.raises(RecipeError, match="rank must be at least 1"):
        ClipImage(tune="lora", rank=0)
    with pytest.raises(RecipeError, match="layer=2 leaves out"):
        build(stimuli, "last-1+projection", layer=2)
    with pytest.raises(RecipeError, match="frees 2 blocks, and the tower has 1"):
        build(stimuli, "last-2", layer=1)
