"""The text tower learns with the EEG: what is freed moves, the rest stays to the bit, and it starts as CLIP."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from sightwave.align import Aligner
from sightwave.datasets.phantom import Phantom
from sightwave.decode.retrieve import Retrieve
from sightwave.encoders.project import EEGProject
from sightwave.errors import RecipeError, UnknownName
from sightwave.fold import Fold
from sightwave.losses.contrastive import InfoNCE
from sightwave.losses.distill import Distillation
from sightwave.phantom import tiny_clip
from sightwave.recipe import Recipe
from sightwave.splits import Published
from sightwave.stimuli import Stimuli
from sightwave.targets.clip import ClipImage, ClipText
from sightwave.targets.clip_tower_text import TUNINGS
from sightwave.train import Stage, TrialSet, fit, loop

N, LAYERS, WIDTH, DIM, RANK = 12, 3, 96, 16, 4
COLOURS = ("red", "blue", "green", "yellow")
TUNED = TUNINGS[1:]
BLOCK = 4 * (WIDTH * WIDTH + WIDTH) + 2 * WIDTH * 4 * WIDTH + 5 * WIDTH + 4 * WIDTH  # attention, MLP, two norms
LEARNT = {
    "text-projection": WIDTH * DIM,
    "last-1": BLOCK,
    "last-2": 2 * BLOCK,
    "last-1+projection": BLOCK + WIDTH * DIM,
    "last-2+projection": 2 * BLOCK + WIDTH * DIM,
    "adapters": LAYERS * 2 * (2 * WIDTH * RANK + RANK + WIDTH),
    "lora": LAYERS * 4 * 2 * WIDTH * RANK,
    "lora-all": LAYERS * (4 * 2 + 2 * 5) * WIDTH * RANK,
}


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "mini_clip"
    model = tiny_clip.build_model(width=32, depth=1, dim=DIM)
    model.text_model.encoder.layers.append(type(model.text_model.encoder.layers[0])(model.config.text_config))
    model.config.text_config.num_hidden_layers = LAYERS
    with torch.no_grad():  # norms and biases that are not those of every model
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    tiny_clip.save(model, folder)
    return folder


@pytest.fixture(scope="module")
def stimuli():
    """Twelve pictures, of which two share a caption."""
    texts = [(f"a {COLOURS[i % 4]} {'dog' if i < 6 else 'car on the left of a small picture'}",) for i in range(N)]
    texts[11] = texts[0]
    return Stimuli(pd.DataFrame({"label": "x", "captions": texts}, index=[f"s{i}" for i in range(N)]))


@pytest.fixture
def build(clip_folder, stimuli):
    def make(tune, **options):
        torch.manual_seed(3)
        return ClipText(clip_folder, tune=tune, rank=RANK, **options).tower(stimuli, ())

    return make


def learning(towers, **options):
    """Train a small aligner together with a text tower."""
    rng = np.random.default_rng(0)
    data = TrialSet(rng.standard_normal((N, 4, 20)).astype(np.float32), torch.zeros(N).long(), torch.arange(N))
    torch.manual_seed(0)
    aligner = Aligner(EEGProject(4, 20, width=8), {"text": DIM})
    losses = (partial(InfoNCE, space="text"), partial(Distillation, space="text", bank="train"))
    stages = (Stage(losses=losses, epochs=3, batch_size=8, schedule="cosine", **options),)
    fit(aligner, stages, data, {"text": towers}, val=data, seed=1)


def everything(tower):
    return {k: v.detach().clone() for k, v in (*tower.named_parameters(), *tower.named_buffers())}


@pytest.mark.parametrize("tune", TUNED)
def test_before_training_it_says_what_the_frozen_tower_says(build, clip_folder, stimuli, tune):
    frozen = ClipText(clip_folder).embed(stimuli, ()).vectors
    for batch_size in (256, 5):
        tower = build(tune, batch_size=batch_size)
        rows = torch.tensor([3, 11, 0, 3, 7])
        with torch.no_grad():
            np.testing.assert_allclose(tower(torch.arange(N)).numpy(), frozen, atol=1e-5)
            np.testing.assert_allclose(tower(rows).numpy(), frozen[rows], atol=1e-5)
        with torch.enable_grad():
            np.testing.assert_allclose(tower(rows).detach().numpy(), frozen[rows], atol=1e-5)


@pytest.mark.parametrize("tune", TUNED)
def test_the_number_of_parameters_that_learn_is_as_computed_by_hand(build, tune):
    assert sum(p.numel() for p in build(tune).parameters() if p.requires_grad) == LEARNT[tune]


@pytest.mark.parametrize("tune", TUNED)
def test_what_is_freed_moves_and_the_rest_stays_to_the_bit(build, tune):
    tower = build(tune)
    free = {k for k, p in tower.named_parameters() if p.requires_grad}
    before = everything(tower)
    learning(tower, weight_decay=0.1)
    after = everything(tower)
    # a key's bias shifts all logits of a query alike, so its gradient is rounding; weight decay still moves it
    assert {k for k in before if not torch.equal(before[k], after[k])} == free


@pytest.mark.parametrize("tune", ["last-1", "last-2+projection", "lora"])
def test_only_what_is_free_is_run_and_it_is_the_same_as_running_all(build, clip_folder, stimuli, tune):
    """After training, too: the freed part of the tower is put back into the whole model."""
    import transformers

    tower = build(tune)
    learning(tower, lr=0.01)
    whole = transformers.CLIPTextModelWithProjection.from_pretrained(clip_folder, dtype=torch.float32).eval()
    first = LAYERS - len(tower.blocks)
    for block, mine in zip(whole.text_model.encoder.layers[first:], tower.blocks, strict=True):
        state = {k.replace(".base_layer", ""): v.clone() for k, v in dict(mine.named_parameters()).items()}
        for name in [k for k in state if "lora_A" in k]:
            target = name.split(".lora_A")[0] + ".weight"  # W + alpha / r B A, with alpha = 2 r
            state[target] = state[target] + 2 * state[name.replace("lora_A", "lora_B")] @ state[name]
        block.load_state_dict({k: v for k, v in state.items() if "lora" not in k})
    whole.text_projection.load_state_dict(tower.projection.state_dict())
    tokens = tiny_clip.build_tokenizer()([t[0] for t in stimuli.table["captions"]], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = whole(tokens["input_ids"], attention_mask=tokens["attention_mask"]).text_embeds
        found = tower(torch.arange(N))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert (found - build(tune)(torch.arange(N))).abs().max() > 1e-3


def test_a_caption_that_two_rows_share_is_run_once_and_learns_from_both(build, monkeypatch):
    tower, seen = build("last-1"), []
    embed = tower._embed
    monkeypatch.setattr(tower, "_embed", lambda u: seen.append(len(u)) or embed(u))
    z = tower(torch.tensor([0, 11, 0, 5]))
    assert seen == [2]
    assert torch.equal(z[0], z[1])
    z[:3].sum().backward()
    thrice = tower.blocks[0].mlp.fc1.bias.grad.clone()
    tower.zero_grad()
    tower(torch.tensor([0])).sum().backward()
    torch.testing.assert_close(thrice, 3 * tower.blocks[0].mlp.fc1.bias.grad, rtol=1e-4, atol=1e-6)


class Killed(Exception):
    pass


@pytest.mark.parametrize("tune", ["last-1+projection", "adapters", "lora"])
def test_a_killed_training_goes_on_to_the_same_bits_tower_included(tmp_path, monkeypatch, build, tune):
    monkeypatch.setattr(loop, "SAVE_EVERY_S", 0.0)
    rng = np.random.default_rng(0)
    data = TrialSet(rng.standard_normal((N, 4, 20)).astype(np.float32), torch.zeros(N).long(), torch.arange(N))
    losses = (partial(InfoNCE, space="text"),)
    stages = (
        Stage(losses=losses, epochs=2, batch_size=8, freeze=("towers",)),
        Stage(losses=losses, epochs=3, batch_size=8, towers_lr=0.1, schedule="cosine", keep="best"),
    )

    def run(checkpoint, resume, die_at=None):
        seen = []

        def progress(done, total):
            seen.append(done)
            if len(seen) == die_at:
                raise Killed

        tower = build(tune)
        torch.manual_seed(0)
        aligner = Aligner(EEGProject(4, 20, width=8), {"text": DIM})
        fit(aligner, stages, data, {"text": tower}, val=data, checkpoint=checkpoint, resume=resume, progress=progress)
        return everything(tower)

    path, whole = tmp_path / "c.safetensors", run(None, False)
    for at in (1, 4):
        with pytest.raises(Killed):
            run(path, False, die_at=at)
        resumed = run(path, True)
        assert all(torch.equal(whole[k], resumed[k]) for k in whole)
    finished = run(path, True)
    assert all(torch.equal(whole[k], finished[k]) for k in whole)
    if tune == "lora":  # what the model's folder tells is not saved with each checkpoint
        assert path.stat().st_size < 4 * sum(p.numel() for p in build(tune).parameters()) / 2


def test_a_stage_can_hold_the_tower_still(build):
    tower = build("last-1")
    before = everything(tower)
    learning(tower, freeze=("towers",))
    assert all(torch.equal(before[k], v) for k, v in everything(tower).items())


def test_a_frozen_encoder_keeps_its_running_means(build):
    from sightwave.encoders.eegnet import EEGNet

    rng = np.random.default_rng(0)
    data = TrialSet(rng.standard_normal((N, 4, 64)).astype(np.float32), torch.zeros(N).long(), torch.arange(N))
    aligner = Aligner(EEGNet(4, 64), {"text": DIM})
    before = everything(aligner.encoder)
    stage = Stage(losses=(partial(InfoNCE, space="text"),), epochs=2, batch_size=8, freeze=("encoder",))
    fit(aligner, (stage,), data, {"text": build("last-1")})
    assert all(torch.equal(before[k], v) for k, v in everything(aligner.encoder).items())


def test_the_gallery_is_the_tuned_towers_and_the_encoder_starts_alike():
    """In a whole fold: the captions that are searched are embedded by what the tower has become."""
    world = Phantom(n_train=3, n_test=2, categories=("cat", "bus"), train_repetitions=1, test_repetitions=1,
                    n_subjects=1, sfreq=50.0, n_times=50)  # fmt: skip
    trials, stimuli = world.load(None, ("01",))
    born, moved = {}, {}
    for tune in ("frozen", "lora"):
        text = ClipText(tune=tune)
        recipe = Recipe(
            dataset=world, split=Published(), targets=(text,), encoder=partial(EEGProject, width=8),
            stages=(Stage(losses=(partial(InfoNCE, space=text.space),), epochs=2, lr=0.01),),
            tasks=(Retrieve(text.space),),
        )  # fmt: skip
        fold = Fold(recipe, recipe.split(trials)[0], stimuli, subjects=("01",), device="cpu")
        born[tune] = [p.detach().clone() for p in fold._build(0)[0].encoder.parameters()]
        decoder = fold.train(0)
        gallery = fold._targets(decoder)[text.space].vectors
        moved[tune] = np.abs(gallery - ClipText().embed(stimuli, ()).vectors).max()
        rows = torch.arange(len(stimuli))
        with torch.no_grad():
            np.testing.assert_array_equal(gallery, decoder.towers[text.space](rows).numpy())
    assert all(map(torch.equal, *born.values()))
    assert moved["frozen"] == 0 < 1e-3 < moved["lora"]


def test_what_cannot_be_tuned_is_refused(build, clip_folder):
    with pytest.raises(UnknownName, match="Did you mean 'last-1'"):
        ClipText(tune="last1")
    with pytest.raises(RecipeError, match="cannot be tuned"):
        ClipText(tune="lora", phrasing="mean")
    with pytest.raises(RecipeError, match="rank must be at least 1"):
        ClipText(tune="lora", rank=0)
    with pytest.raises(RecipeError, match="Two targets make one space"):
        Recipe(dataset=Phantom(), split=Published(), targets=(ClipImage(), ClipText(), ClipText(tune="lora")),
               encoder=EEGProject, stages=(Stage(losses=()),), tasks=(Retrieve("clip-image/tiny_clip"),))  # fmt: skip
