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
from sightwave.losses.mmd import MMD, mmd

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


def test_trials_of_one_category_can_be_spared_too():
    eeg, target = pair(5)
    labels = torch.eye(3)[[0, 1, 2, 0, 1]]
    spared = InfoNCE(space="clip", positives="label")
    value = spared({"clip": eeg}, Batch(*[torch.zeros(5)] * 3, {"clip": target, "label": labels}))
    torch.testing.assert_close(
        value, info_nce(eeg, target, scale=spared.logit_scale(), positives=torch.tensor([0, 1, 2, 0, 1]))
    )


def several_by_hand(s_BB, groups):
    """InfoNCE with several positives from its equation, one row at a time."""
    total = 0.0
    for i, row in enumerate(s_BB.tolist()):
        right = [p for p in range(len(row)) if groups[p] == groups[i]]
        below = math.log(sum(map(math.exp, row)))
        total -= sum(row[p] - below for p in right) / len(right)
    return total / len(s_BB)


def test_rows_of_one_group_are_each_others_positives_when_pulled():
    eeg, target = pair(5)
    groups = [7, 1, 2, 7, 7]
    s_BB = 2.0 * unit(eeg) @ unit(target).T
    expected = (several_by_hand(s_BB, groups) + several_by_hand(s_BB.T, groups)) / 2
    got = info_nce(eeg, target, scale=2.0, positives=torch.tensor(groups), pull=True)
    assert got.item() == pytest.approx(expected, rel=1e-5)
    alone = info_nce(eeg, target, scale=2.0, positives=torch.arange(5), pull=True)
    torch.testing.assert_close(alone, info_nce(eeg, target, scale=2.0))


def test_pulled_rows_keep_their_weight_and_removed_ones_give_no_nan():
    eeg, target = (x.requires_grad_() for x in pair(4))
    groups = torch.tensor([0, 0, 1, 2])
    nothing_else = torch.zeros(4, 4)
    value = info_nce(eeg, target, scale=5.0, positives=groups, pull=True, weight_BB=nothing_else)
    value.backward()
    s_BB = 5.0 * (unit(eeg) @ unit(target).T).detach()
    rows = [-s[:2].log_softmax(0).mean().item() for side in (s_BB, s_BB.T) for s in side[:2]]
    assert value.item() == pytest.approx(sum(rows) / 8, rel=1e-5)  # rows 2 and 3 have nothing to be told from
    assert eeg.grad.isfinite().all()


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
        InfoNCE(space="clip", positives="session")
    with pytest.raises(RecipeError, match="needs positives"):
        InfoNCE(space="clip", pull=True)
    with pytest.raises(ShapeError, match="belong together"):
        info_nce(*pair(6), scale=1.0, pull=True)
    with pytest.raises(RecipeError, match="no target makes"):
        InfoNCE(space="clip", positives="label")({"clip": pair()[0]}, batch(pair()[1]))
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


def test_mmd_is_its_equation():
    x, y = pair(4, 3)[0], pair(6, 3)[1][:5]

    def k(a, b):
        square = ((a - b) ** 2).sum().item()
        return sum(math.exp(-square / (2 * s * s)) for s in (0.5, 2.0)) / 2

    def mean(a, b):
        return sum(k(p, q) for p in a for q in b) / (len(a) * len(b))

    expected = mean(x, x) + mean(y, y) - 2 * mean(x, y)
    assert mmd(x, y, sigmas=(0.5, 2.0)).item() == pytest.approx(expected, rel=1e-4)


def test_mmd_falls_to_its_bias_when_two_samples_have_one_distribution():
    g = torch.Generator().manual_seed(0)
    same = [mmd(*torch.randn(2, 200, 4, generator=g), sigmas=(1.0,)).item() for _ in range(20)]
    k = 3**-2  # E exp(-|x - y|^2 / 2) for x - y ~ N(0, 2), in four dimensions
    bias = 2 * (1 - k) / 200
    assert abs(sum(same) / 20 - bias) < 3 * bias / 20
    x, y = torch.randn(2, 200, 4, generator=g)
    assert mmd(x, y + 1.0, sigmas=(1.0,)).item() > 10 * bias


def test_mmd_draws_two_clouds_together_and_equal_rows_give_a_finite_gradient():
    x, y = torch.zeros(4, 3).requires_grad_(), torch.ones(4, 3)
    before = mmd(x, y, sigmas=(1.0, 2.0))
    before.backward()
    assert x.grad.isfinite().all()
    with torch.no_grad():
        after = mmd(x - x.grad, y, sigmas=(1.0, 2.0))
    assert after < before
    with pytest.raises(ShapeError, match="samples"):
        mmd(torch.zeros(2, 3), torch.zeros(2, 4))


def test_mmd_between_subjects_compares_each_with_all_others():
    z = pair(9, 3)[0]
    subject = torch.tensor([0, 1, 2] * 3)
    nothing = torch.zeros(9, dtype=torch.long)
    here = Batch(nothing, subject, nothing, {"clip": z})
    loss = MMD(space="clip", between="subjects", sigmas=(1.0,), normalise=False)
    each = [mmd(z[subject == s], z[subject != s], sigmas=(1.0,)) for s in range(3)]
    torch.testing.assert_close(loss({"clip": z}, here), torch.stack(each).mean())
    assert loss({"clip": z}, Batch(nothing, nothing, nothing, {"clip": z})) == 0
    with pytest.raises(UnknownName, match="Did you mean 'subjects'"):
        MMD(space="clip", between="subject")
    with pytest.raises(RecipeError, match="positive widths"):
        MMD(space="clip", sigmas=(0.0,))


def test_the_mmd_of_the_class_is_between_unit_vectors():
    eeg, target = pair()
    torch.testing.assert_close(MMD(space="clip")({"clip": 5 * eeg}, batch(target)), mmd(unit(eeg), unit(target)))
