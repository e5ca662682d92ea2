"""Losses against plain reference computations, known values, and the options that the field uses."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sightwave import house
from sightwave.errors import RecipeError, ShapeError, UnknownName
from sightwave.losses.base import Batch, Loss
from sightwave.losses.contrastive import InfoNCE, info_nce
from sightwave.losses.labels import CrossEntropy

RAW = math.log(1 / 0.07)


def pair(n=6, dim=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, generator=g), torch.randn(n, dim, generator=g)


def batch(target, space="clip", stimulus=None):
    nothing = torch.zeros(len(target), dtype=torch.long)
    return Batch(nothing, nothing, nothing if stimulus is None else stimulus, {space: target})


def unit(x):
    return x / x.norm(dim=1, keepdim=True)


def by_hand(s_BB):
    """InfoNCE from its equation, one row at a time."""
    return -sum(math.log(math.exp(row[i]) / sum(map(math.exp, row))) for i, row in enumerate(s_BB.tolist())) / len(s_BB)


@pytest.mark.parametrize("cls", house.members("losses", Loss))
def test_every_loss_names_its_heads_and_gives_a_scalar_with_a_gradient(cls):
    loss = cls(space="here")
    assert loss.heads == ("here",)
    assert loss.weight == 1.0
    z = torch.randn(4, 3, requires_grad=True)
    value = loss({"here": z}, batch(torch.eye(4, 3) + torch.eye(4, 3).roll(3, 0) * 0.0, "here"))
    value.backward()
    assert value.shape == ()
    assert z.grad.any()


def test_info_nce_is_its_equation():
    eeg, target = pair()
    s_BB = 3.0 * unit(eeg) @ unit(target).T
    assert info_nce(eeg, target, scale=3.0).item() == pytest.approx((by_hand(s_BB) + by_hand(s_BB.T)) / 2, rel=1e-5)
    assert info_nce(eeg, target, scale=3.0, symmetric=False).item() == pytest.approx(by_hand(s_BB), rel=1e-5)


@pytest.mark.parametrize(("own", "theirs"), [(True, True), (False, True), (False, False)])
def test_each_side_is_normalised_only_when_asked(own, theirs):
    eeg, target = pair()
    e, v = unit(eeg) if own else eeg, unit(target) if theirs else target
    row = torch.arange(6)
    expected = (F.cross_entropy(e @ v.T, row) + F.cross_entropy(v @ e.T, row)) / 2
    got = info_nce(eeg, target, scale=1.0, normalise_eeg=own, normalise_target=theirs)
    torch.testing.assert_close(got, expected)
    longer = info_nce(5 * eeg, target, scale=1.0, normalise_eeg=own, normalise_target=theirs)
    assert torch.isclose(longer, got, rtol=1e-4) == own


def test_perfect_alignment_costs_nothing_and_no_information_costs_log_b():
    assert info_nce(torch.eye(8), torch.eye(8), scale=100.0).item() == pytest.approx(0, abs=1e-6)
    same = torch.ones(8, 3)
    assert info_nce(same, pair(8, 3)[1], scale=14.3, symmetric=False).item() > 0
    assert info_nce(same, same, scale=14.3).item() == pytest.approx(math.log(8), rel=1e-6)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), n=st.integers(2, 12), scale=st.floats(0.1, 100))
def test_the_order_of_a_batch_and_a_common_rotation_do_not_matter(seed, n, scale):
    eeg, target = pair(n, 4, seed)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    turn = torch.linalg.qr(pair(4, 4, seed + 1)[0]).Q
    value = info_nce(eeg, target, scale=scale)
    torch.testing.assert_close(info_nce(eeg[order], target[order], scale=scale), value, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(info_nce(eeg @ turn, target @ turn, scale=scale), value, rtol=1e-3, atol=1e-4)


def test_rows_of_one_stimulus_are_not_each_others_negatives():
    eeg, target = pair(5)
    target[3] = target[0]
    stimulus = torch.tensor([7, 1, 2, 7, 4])
    s_BB = 2.0 * unit(eeg) @ unit(target).T
    s_BB[0, 3] = s_BB[3, 0] = -torch.inf
    expected = (by_hand(s_BB) + by_hand(s_BB.T)) / 2
    assert info_nce(eeg, target, scale=2.0, positives=stimulus).item() == pytest.approx(expected, rel=1e-5)
    loss = InfoNCE(space="clip", scale="fixed", temperature=0.5, positives="stimulus")
    assert loss({"clip": eeg}, batch(target, stimulus=stimulus)).item() == pytest.approx(expected, rel=1e-5)
    assert info_nce(eeg, target, scale=2.0, positives=torch.arange(5)) == info_nce(eeg, target, scale=2.0)


def test_a_batch_of_one_stimulus_costs_nothing_and_gives_no_nan():
    eeg = pair(4)[0].requires_grad_()
    value = info_nce(eeg, pair(4)[1], scale=5.0, positives=torch.zeros(4))
    value.backward()
    assert value.item() == 0
    assert eeg.grad.isfinite().all()


@pytest.mark.parametrize(
    ("options", "scale", "learnt"),
    [
        ({}, 1 / 0.07, True),  # CLIP, Brain-HIVE
        ({"temperature": math.exp(-2)}, math.exp(2), True),  # LoRA-CLIP joint alignment
        ({"scale": "fixed"}, 1 / 0.07, False),  # NICE
        ({"scale": "raw"}, 2.659, True),  # ATM
        ({"scale": "softplus"}, 2.727, True),  # UBP
        ({"scale": "softplus", "learn": False}, 2.727, False),  # NeuroBridge
        ({"scale": "one"}, 1.0, False),  # Liu et al.
        ({"scale": "one", "temperature": 0.5}, 1.0, False),
        ({"learn": False}, 1 / 0.07, False),
    ],
)
def test_every_temperature_habit_starts_where_its_system_does(options, scale, learnt):
    loss = InfoNCE(space="clip", **options)
    eeg, target = pair()
    assert loss.logit_scale().item() == pytest.approx(scale, rel=1e-3)
    torch.testing.assert_close(loss({"clip": eeg}, batch(target)), info_nce(eeg, target, scale=loss.logit_scale()))
    loss({"clip": eeg.requires_grad_()}, batch(target)).backward()
    assert (loss.p.grad is not None and loss.p.grad.abs() > 0) == learnt


@pytest.mark.parametrize("normalise", ["both", "target", "none"])
def test_the_class_passes_its_options_on(normalise):
    eeg, target = pair()
    loss = InfoNCE(space="clip", scale="one", normalise=normalise, symmetric=False)
    expected = info_nce(
        eeg, target, scale=1.0, symmetric=False, normalise_eeg=normalise == "both", normalise_target=normalise != "none"
    )
    assert loss({"clip": eeg}, batch(target)) == expected


def test_the_learnt_scale_stops_at_its_limit_and_can_come_back():
    loss = InfoNCE(space="clip", max_scale=20.0)
    with torch.no_grad():
        loss.p.fill_(9.0)
    assert loss.logit_scale().item() == pytest.approx(20.0, rel=1e-5)
    eeg, target = pair()
    loss({"clip": eeg}, batch(target)).backward()  # unrelated pairs want a smaller scale
    assert loss.p.grad > 0


def test_gradients_are_exact():
    eeg, target = (x.double().requires_grad_() for x in pair(4, 3))
    scale = torch.tensor(2.0, dtype=torch.double, requires_grad=True)
    groups = torch.tensor([0, 1, 0, 2])
    assert torch.autograd.gradcheck(lambda e, v, s: info_nce(e, v, scale=s, positives=groups), (eeg, target, scale))


def test_autocast_does_not_coarsen_the_logits():
    eeg, target = pair(64, 32)
    exact = info_nce(eeg, target, scale=100.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert info_nce(eeg, target, scale=100.0) == exact


def test_embeddings_of_different_shape_are_refused():
    with pytest.raises(ShapeError, match=r"\(6, 5\) and target \(4, 5\)"):
        info_nce(pair(6)[0], pair(4)[1], scale=1.0)
    with pytest.raises(ShapeError, match="one group per row"):
        info_nce(*pair(6), scale=1.0, positives=torch.zeros(5))
    with pytest.raises(ShapeError, match="space 'label'"):
        CrossEntropy()({"label": torch.zeros(4, 3)}, batch(torch.zeros(4, 2), "label"))


def test_options_that_make_no_sense_are_refused_with_the_ones_that_do():
    with pytest.raises(UnknownName, match="Did you mean 'softplus'"):
        InfoNCE(space="clip", scale="softplu")
    with pytest.raises(UnknownName, match="both, none, target"):
        InfoNCE(space="clip", normalise="eeg")
    with pytest.raises(UnknownName, match="stimulus"):
        InfoNCE(space="clip", positives="label")
    with pytest.raises(RecipeError, match="nothing to learn"):
        InfoNCE(space="clip", scale="fixed", learn=True)
    with pytest.raises(RecipeError, match="positive"):
        InfoNCE(space="clip", temperature=0.0)
    with pytest.raises(RecipeError, match=r"\[0, 1\]"):
        CrossEntropy(smoothing=1.5)


def test_cross_entropy_of_one_hot_and_soft_labels_is_the_textbooks():
    logits, label = pair(6, 4)[0], torch.tensor([0, 1, 2, 3, 0, 1])
    loss = CrossEntropy(weight=0.1)
    assert loss.weight == 0.1
    value = loss({"label": logits}, batch(F.one_hot(label, 4).float(), "label"))
    torch.testing.assert_close(value, F.cross_entropy(logits, label))
    soft = torch.softmax(pair(6, 4)[1], 1)
    expected = -(soft * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(CrossEntropy()({"label": logits}, batch(soft, "label")), expected)


def test_smoothing_spreads_the_label():
    logits, label = pair(6, 4)[0], torch.tensor([0, 1, 2, 3, 0, 1])
    value = CrossEntropy(smoothing=0.2)({"label": logits}, batch(F.one_hot(label, 4).float(), "label"))
    expected = 0.8 * F.cross_entropy(logits, label) - 0.2 * logits.log_softmax(1).mean()
    torch.testing.assert_close(value, expected)
