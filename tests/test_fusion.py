"""Several views of a picture, one learnt mixture; and the blur that training chooses."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from sightwave.align import Aligner
from sightwave.embeddings import Embeddings
from sightwave.encoders.mlp import MLP
from sightwave.errors import RecipeError
from sightwave.losses.base import Batch
from sightwave.losses.blur_prior import BlurPrior, chosen_level
from sightwave.losses.contrastive import InfoNCE
from sightwave.recipe import with_clip, with_target
from sightwave.stimuli import Stimuli
from sightwave.targets.base import Target
from sightwave.targets.blur_choice import BlurChoice, foveated
from sightwave.targets.evnet import EVNet
from sightwave.targets.fusion import Fusion, Mapped, blurred
from sightwave.train import Stage, TrialSet, fit

N = 40
STIMULI = Stimuli(pd.DataFrame({"label": ["x"] * N}, index=[f"s{i:02d}" for i in range(N)]))
TRAIN = frozenset(STIMULI.ids[:30])
ROWS = torch.arange(N)


@dataclass(frozen=True)
class Fixed(Target):
    """Random vectors of a seed."""

    seed: int = 0
    dim: int = 6

    @property
    def space(self):
        return f"fixed/{self.seed}-{self.dim}"

    def embed(self, stimuli, train):
        x = np.random.default_rng(self.seed).standard_normal((len(stimuli), self.dim)).astype(np.float32)
        return Embeddings(x, stimuli.ids, self.space)


def vectors(target):
    return torch.from_numpy(target.embed(STIMULI, TRAIN).vectors)


@pytest.mark.parametrize("by", ["dimension", "part"])
def test_a_fusion_is_the_weighted_sum_of_unit_parts_and_default_vectors(by):
    parts = (Fixed(1), Fixed(2), Fixed(3))
    tower = Fusion(parts, by=by, n_default=2).tower(STIMULI, TRAIN)
    with torch.no_grad():
        tower.default_KD.normal_()
    x_NMD = torch.stack([F.normalize(vectors(p), dim=1) for p in parts], 1)
    x_NMD = torch.cat([x_NMD, tower.default_KD.expand(N, 2, 6)], 1)
    assert tower.w_ND.shape == ((5, 6) if by == "dimension" else (5, 1))
    assert 0 <= tower.w_ND.min() <= tower.w_ND.max() < 1
    torch.testing.assert_close(tower(ROWS), (x_NMD * tower.w_ND.softmax(0)).sum(1))
    assert not tower.table_NMD.requires_grad


@pytest.mark.parametrize("by", ["dimension", "part"])
def test_the_weights_of_a_fusion_have_the_gradient_of_the_plain_sum(by):
    parts, rows = (Fixed(1), Fixed(2), Fixed(3)), torch.arange(75) % N  # a row may come twice, and ROWS divides no 75
    tower = Fusion(parts, by=by, n_default=2).tower(STIMULI, TRAIN).double()
    x_BMD = torch.cat([tower.table_NMD[rows], tower.default_KD.expand(75, 2, 6)], 1)
    plain_BD, at_BD = (x_BMD * tower.weights()).sum(1), torch.randn(75, 6, dtype=torch.float64)
    expected = torch.autograd.grad(plain_BD, list(tower.parameters()), at_BD)
    found = torch.autograd.grad(tower(rows), list(tower.parameters()), at_BD)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_fusion_starts_where_it_is_told_and_keeps_the_order_of_its_parts():
    learnt = Mapped(Fixed(2))
    tower = Fusion((Fixed(1), learnt, Fixed(3)), by="part", n_default=0, start=(0.7, 30.0, 0.3)).tower(STIMULI, TRAIN)
    torch.testing.assert_close(tower.weights()[:, 0], torch.tensor([0.7, 30.0, 0.3]).softmax(0))
    (inner,) = tower.learnt
    torch.testing.assert_close(tower(ROWS), F.normalize(inner(ROWS), dim=1), rtol=1e-4, atol=1e-5)
    two = Fusion((Fixed(1), Fixed(2)), by="part", n_default=0, start=(0.7, 0.3)).tower(STIMULI, TRAIN)
    assert two.weights()[0].item() == pytest.approx(1 / (1 + np.exp(-0.4)), rel=1e-5)  # the published softmax([.7, .3])


def test_parts_of_another_dimension_are_mapped_to_the_first_and_learn():
    tower = Fusion((Fixed(1), Fixed(2, dim=9)), by="part").tower(STIMULI, TRAIN)
    z = tower(ROWS)
    assert z.shape == (N, 6)
    z.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in tower.learnt.parameters())


def test_a_map_is_linear_or_has_one_hidden_layer_and_scales_its_input():
    linear = Mapped(Fixed(1), width=4, scale="unit").tower(STIMULI, TRAIN)
    torch.testing.assert_close(linear(ROWS), linear.layers(F.normalize(vectors(Fixed(1)), dim=1)))
    x = vectors(Fixed(1))
    standard = Mapped(Fixed(1), scale="standard").tower(STIMULI, TRAIN)
    torch.testing.assert_close(standard.inner(ROWS), (x - x[:30].mean(0)) / x[:30].std(0))
    deep = Mapped(Fixed(1), hidden=8, dropout=0.5).tower(STIMULI, TRAIN)
    assert sum(p.numel() for p in deep.parameters()) == 6 * 8 + 8 + 8 * 6 + 6
    assert not torch.equal(deep(ROWS), deep(ROWS))
    deep.eval()
    assert torch.equal(deep(ROWS), deep(ROWS))


def test_the_image_side_of_liu_et_al_has_the_published_size():
    image = Mapped(Fusion(tuple(Fixed(k, dim=1024) for k in range(12))), hidden=768, dropout=0.85)
    n = sum(p.numel() for p in image.tower(STIMULI, TRAIN).parameters())
    # published: 6,843,001 in all, 5,213,049 of the EEG; their weights have 50 rows, of which 16 are read
    assert n + (50 - 16) * 1024 == 6_843_001 - 5_213_049


def test_what_cannot_be_built_is_refused():
    with pytest.raises(RecipeError, match="needs parts"):
        Fusion(())
    with pytest.raises(RecipeError, match="'dimension' or 'part'"):
        Fusion((Fixed(),), by="row")
    with pytest.raises(RecipeError, match="one per part"):
        Fusion((Fixed(), Fixed(1)), start=(0.7, 0.3))
    with pytest.raises(RecipeError, match="hidden layer"):
        Mapped(Fixed(), dropout=0.5)
    with pytest.raises(RecipeError, match="scale must be"):
        Mapped(Fixed(), scale="length")
    with pytest.raises(RecipeError, match="frozen target"):
        Mapped(Fusion((Fixed(),)), scale="standard").tower(STIMULI, TRAIN)
    with pytest.raises(RecipeError, match="odd number"):
        BlurChoice((Fixed(), Fixed(1)))


def test_spaces_tell_mixtures_apart_and_levels_are_cached_each_by_itself():
    made = [Fusion(), Fusion(by="part"), Fusion(blurred(levels=(1, 3))), Mapped(), Mapped(width=8), Mapped(Fusion()),
            BlurChoice(), BlurChoice(foveated(legacy=True))]  # fmt: skip
    assert len({t.space for t in made}) == len(made)
    assert len({t.space for t in blurred()}) == 12
    assert Fusion().space == Fusion().space
    assert Fusion().from_pictures
    assert not Fusion((Fixed(),)).from_pictures


def test_another_clip_reaches_the_targets_inside_of_others():
    from sightwave.recipes import nice

    target = Mapped(Fusion((Fusion(blurred(levels=(1, 9))), EVNet()), by="part"))
    recipe = with_target(nice.recipe, target)
    assert recipe.spaces == (target.space,)
    changed = with_clip(recipe, "elsewhere")
    inner = changed.targets[0].target.parts[0].parts
    assert [p.model for p in inner] == ["elsewhere"] * 2
    assert changed.tasks[0].space == changed.targets[0].space != target.space
    with pytest.raises(RecipeError, match="has 2"):
        with_target(replace(recipe, targets=(target, Fixed())), target)


# --- the blur that training chooses -------------------------------------------------------------------------------


def batch(target, rows, space="clip"):
    nothing = torch.zeros(len(rows), dtype=torch.long)
    return Batch(nothing, nothing, rows, {space: target})


def test_a_trial_outside_of_the_interval_gets_a_sharper_or_a_more_blurred_picture():
    smooth = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])
    half = 1.5 * smooth.std().item()
    now = torch.tensor([2 - half - 0.01, 2 - half + 0.01, 2.0, 2 + half - 0.01, 2 + half + 0.01])
    assert chosen_level(now, smooth, z=1.5).tolist() == [1, 0, 0, 0, -1]


@pytest.mark.parametrize(("direction", "sign"), [("prose", 1), ("equation", -1)])
def test_similarities_are_smoothed_over_epochs_and_reach_the_tower_at_the_end_of_one(direction, sign):
    target = BlurChoice((Fixed(1), Fixed(2), Fixed(3)))
    towers = {"clip": target.tower(STIMULI, TRAIN)}
    loss = BlurPrior(space="clip", gamma=0.3, direction=direction).train()
    loss.prepare(towers, ROWS[:30])
    g = torch.Generator().manual_seed(0)
    m, rows = torch.ones(30), torch.arange(30)
    for _ in range(3):
        e, v = torch.randn(30, 6, generator=g), towers["clip"](rows)
        e[4] = 20 * F.normalize(v[4], dim=0)
        e[9] = -20 * F.normalize(v[9], dim=0)
        loss({"clip": e}, batch(v, rows))
        s = 2.7269 * (e * F.normalize(v, dim=1)).sum(1)  # softplus(2.659), the EEG at its own length
        m = 0.3 * s + 0.7 * m
        expected = sign * chosen_level(s, m)
        before = towers["clip"].level_N.clone()
        assert torch.equal(loss.level_N[:30], expected)
        assert torch.equal(towers["clip"].level_N, before)
        loss.end_epoch(towers)
        assert torch.equal(towers["clip"].level_N[:30], expected)
    torch.testing.assert_close(loss.smooth_N[:30], m, rtol=1e-3, atol=1e-3)
    assert expected[4] == -sign
    assert expected[9] == sign
    assert not towers["clip"].level_N[30:].any()  # never trained on
    table = {0: Fixed(2), -1: Fixed(1), 1: Fixed(3)}
    for row in (0, 4, 9, 35):
        level = table[int(towers["clip"].level_N[row])]
        torch.testing.assert_close(towers["clip"](ROWS[row : row + 1])[0], vectors(level)[row])


def test_validation_does_not_move_the_levels():
    towers = {"clip": BlurChoice((Fixed(1), Fixed(2), Fixed(3))).tower(STIMULI, TRAIN)}
    loss = BlurPrior(space="clip").eval()
    loss.prepare(towers, ROWS)
    loss({"clip": 50 * torch.randn(10, 6)}, batch(towers["clip"](ROWS[:10]), ROWS[:10]))
    assert (loss.smooth_N == 1).all()
    with pytest.raises(RecipeError, match="BlurChoice"):
        loss.prepare({"clip": Fixed().tower(STIMULI, TRAIN)}, ROWS)
    with pytest.raises(RecipeError, match="direction"):
        BlurPrior(space="clip", direction="up")


def trained(folder, *, stop_after=None, resume=False):
    """Train on a chosen blur and a mixture at once, perhaps in two goes."""
    torch.manual_seed(3)
    targets = {
        "clip": BlurChoice((Fixed(1), Fixed(2), Fixed(3))),
        "mix": Mapped(Fusion((Fixed(4), Fixed(5))), hidden=5),
    }
    towers = {space: t.tower(STIMULI, TRAIN) for space, t in targets.items()}
    eeg = np.random.default_rng(0).standard_normal((30, 4, 8)).astype(np.float32)
    data = TrialSet(eeg, torch.zeros(30, dtype=torch.long), torch.arange(30))
    aligner = Aligner(MLP(4, 8), {"clip": 6, "mix": 6})
    losses = (partial(BlurPrior, space="clip", z=0.5), partial(InfoNCE, space="mix", scale="one", normalise="target"))
    stage = Stage(losses=losses, epochs=4, batch_size=16, lr=1e-2)

    def stop(done, total):
        if done == stop_after:
            raise KeyboardInterrupt

    fit(aligner, [stage], data, towers, checkpoint=folder / "c.safetensors", resume=resume, progress=stop)
    return towers


def test_a_killed_training_goes_on_with_the_same_levels_and_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("sightwave.train.loop.SAVE_EVERY_S", -1.0)
    whole = trained(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "b", stop_after=3)
    resumed = trained(tmp_path / "b", resume=True)
    assert whole["clip"].level_N.unique().tolist() == [-1, 0, 1]
    for space, tower in whole.items():
        for name, value in tower.state_dict().items():
            assert torch.equal(resumed[space].state_dict()[name], value), name
    assert (tmp_path / "b" / "c.safetensors").stat().st_size < 200_000


def test_weights_of_a_mixture_find_the_view_that_the_eeg_follows():
    torch.manual_seed(0)
    target = Fusion((Fixed(1), Fixed(2), Fixed(3)), by="part", n_default=0, start=(0.0, 0.0, 0.0))
    towers = {"mix": target.tower(STIMULI, TRAIN)}
    eeg = vectors(Fixed(2)).numpy()[:, None, :]
    data = TrialSet(eeg, torch.zeros(N, dtype=torch.long), ROWS)
    stage = Stage(losses=(partial(InfoNCE, space="mix"),), epochs=30, batch_size=N, lr=3e-2)
    fit(Aligner(MLP(1, 6), {"mix": 6}), [stage], data, towers)
    assert towers["mix"].weights()[:, 0].argmax() == 1


def test_trials_of_one_stimulus_come_into_one_batch_when_asked():
    seen = []

    class Watch(InfoNCE):
        def forward(self, z, batch):
            seen.append(batch.stimulus.tolist())
            return super().forward(z, batch)

    stimulus = torch.arange(12).repeat(3)
    eeg = np.random.default_rng(0).standard_normal((36, 2, 5)).astype(np.float32)
    data = TrialSet(eeg, torch.zeros(36, dtype=torch.long), stimulus)
    towers = {"clip": Fixed().tower(STIMULI, TRAIN)}
    make = partial(Watch, space="clip", positives="stimulus", pull=True)
    stage = Stage(losses=(make,), epochs=2, batch_size=9, together="stimulus")
    fit(Aligner(MLP(2, 5), {"clip": 6}), [stage], data, towers)
    assert len(seen) == 8
    for rows in seen:
        assert sorted(rows) == sorted([s for s in set(rows) for _ in range(3)])
    assert sorted(s for rows in seen[:4] for s in rows) == sorted(stimulus.tolist())
    assert seen[:4] != seen[4:]
    with pytest.raises(RecipeError, match="together"):
        Stage(losses=(make,), together="label")
