"""Distillation and debiased negatives against brute force; the warm-up is two stages."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sightwave.align import Aligner
from sightwave.encoders.linear import Linear
from sightwave.errors import RecipeError, ShapeError, UnknownName
from sightwave.losses.base import Batch
from sightwave.losses.contrastive import InfoNCE, info_nce
from sightwave.losses.debias import (
    ByClass,
    BySimilarity,
    WithoutNearest,
    by_class,
    by_similarity,
    without_nearest,
)
from sightwave.losses.distill import Cosine, Distillation, cosine_distance, logit_distillation
from sightwave.losses.labels import CrossEntropy
from sightwave.train import Stage, TrialSet, fit


def some(n, dim, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def batch(**targets):
    nothing = torch.zeros(len(next(iter(targets.values()))), dtype=torch.long)
    return Batch(nothing, nothing, nothing, targets)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def cos(a, b):
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def softmax(logits):
    e = [math.exp(x) for x in logits]
    return [x / sum(e) for x in e]


# --- distillation -------------------------------------------------------------------------------------------------


def test_cosine_distance_is_one_minus_the_mean_cosine():
    eeg, target = some(6, 4), some(6, 4, 1)
    by_hand = 1 - sum(cos(e, v) for e, v in zip(eeg.tolist(), target.tolist(), strict=True)) / 6
    assert cosine_distance(eeg, target).item() == pytest.approx(by_hand, abs=1e-12)
    assert cosine_distance(3 * target, target).item() == pytest.approx(0, abs=1e-12)
    assert cosine_distance(-target, target).item() == pytest.approx(2, abs=1e-12)
    assert Cosine(space="t")({"t": eeg}, batch(t=target)).item() == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize(("tau_t", "tau_s"), [(1.0, 1.0), (0.1, 0.5), (0.01, 0.07)])
def test_logit_distillation_is_its_equation_term_by_term(tau_t, tau_s):
    eeg, image, captions = some(5, 4), some(5, 4, 1), some(9, 4, 2)
    total = 0.0
    for e, v in zip(eeg.tolist(), image.tolist(), strict=True):
        q = softmax([cos(v, t) / tau_t for t in captions.tolist()])
        p = softmax([cos(e, t) / tau_s for t in captions.tolist()])
        total += sum(a * math.log(a / b) for a, b in zip(q, p, strict=True) if a > 0)
    got = logit_distillation(eeg, image, captions, tau_t=tau_t, tau_s=tau_s)
    assert got.item() == pytest.approx(total / 5, rel=1e-6)


def test_a_student_that_weighs_captions_as_the_teacher_does_costs_nothing_and_none_costs_less():
    image, captions = some(4, 3), some(7, 3, 1)
    assert logit_distillation(image, image, captions, tau_t=0.1, tau_s=0.1).item() == pytest.approx(0, abs=1e-12)
    others = [logit_distillation(some(4, 3, s), image, captions, tau_t=0.1, tau_s=0.1).item() for s in range(2, 22)]
    assert min(others) > 0


def test_a_sharp_teacher_is_a_hard_label():
    captions, image = torch.eye(4, dtype=torch.double), torch.eye(4, dtype=torch.double)[[2, 0]]
    eeg = some(2, 4)
    hard = F.cross_entropy(F.normalize(eeg, dim=1) / 0.2, torch.tensor([2, 0]))
    torch.testing.assert_close(logit_distillation(eeg, image, captions, tau_t=0.001, tau_s=0.2), hard)


def test_the_teacher_learns_nothing_and_the_gradient_of_the_student_is_exact():
    eeg, image, captions = (x.requires_grad_() for x in (some(3, 4), some(3, 4, 1), some(5, 4, 2)))
    logit_distillation(eeg, image, captions, tau_t=0.1, tau_s=0.2).backward()
    assert image.grad is None
    assert eeg.grad.any()
    assert captions.grad.any()  # a text tower that is tuned learns as the student's candidates
    frozen = captions.detach()
    assert torch.autograd.gradcheck(
        lambda e: logit_distillation(e, image.detach(), frozen, tau_t=0.1, tau_s=0.2), (eeg,)
    )


def test_the_loss_weighs_the_captions_of_the_batch_or_of_all_training_stimuli():
    eeg, image, captions = some(3, 4), some(8, 4, 1), some(8, 4, 2)
    rows, towers = torch.tensor([5, 0, 2]), {"txt": nn.Embedding.from_pretrained(captions)}
    now = batch(txt=captions[rows], img=image[rows])
    near = Distillation(space="txt", teacher="img", tau_t=0.2, tau_s=0.3)
    far = Distillation(space="txt", teacher="img", tau_t=0.2, tau_s=0.3, bank="train")
    for loss in (near, far):
        loss.prepare(towers, torch.tensor([0, 2, 3, 5]))
    each = partial(logit_distillation, eeg, image[rows], tau_t=0.2, tau_s=0.3)
    assert near({"txt": eeg}, now) == each(captions[rows])
    assert far({"txt": eeg}, now) == each(captions[[0, 2, 3, 5]])
    assert torch.equal(far.state_dict()["captions_MD"], captions[[0, 2, 3, 5]])  # so that it can be resumed
    assert dict(near.state_dict()) == {}


def test_without_a_teacher_the_own_caption_teaches():
    eeg, captions = some(3, 4), some(3, 4, 2)
    own = Distillation(space="txt", tau_t=0.2)({"txt": eeg}, batch(txt=captions))
    assert own == logit_distillation(eeg, captions, captions, tau_t=0.2)


def test_autocast_does_not_coarsen_the_teacher():
    eeg, image, captions = (some(8, 16, s).float() for s in range(3))
    exact = logit_distillation(eeg, image, captions)
    with torch.autocast("cpu", torch.bfloat16):
        assert logit_distillation(eeg, image, captions) == exact


def test_distillation_refuses_what_it_cannot_compare():
    with pytest.raises(ShapeError, match=r"\(3, 4\), \(2, 4\)"):
        logit_distillation(some(3, 4), some(2, 4), some(5, 4))
    with pytest.raises(ShapeError, match="one shape"):
        cosine_distance(some(3, 4), some(3, 5))
    with pytest.raises(RecipeError, match="'img', which no target makes; targets make txt"):
        Distillation(space="txt", teacher="img")({"txt": some(3, 4)}, batch(txt=some(3, 4)))
    with pytest.raises(RecipeError, match="positive"):
        Distillation(space="txt", tau_s=0.0)
    with pytest.raises(UnknownName, match="batch, train"):
        Distillation(space="txt", bank="all")


# --- debiased negatives -------------------------------------------------------------------------------------------


def by_hand(s, w):
    """One direction of weighted InfoNCE, row by row."""
    rows = range(len(s))
    return -sum(math.log(math.exp(s[i][i]) / sum(w[i][j] * math.exp(s[i][j]) for j in rows)) for i in rows) / len(s)


def test_weighted_info_nce_is_its_equation_in_both_directions():
    eeg, target, w = some(6, 4), some(6, 4, 1), torch.rand(6, 6, generator=torch.Generator().manual_seed(3))
    w = w.double().fill_diagonal_(1)
    w[0, 3] = w[4, 1] = 0  # not symmetric: an anchor weighs its own negatives, whichever side it stands on
    s = 4.0 * F.normalize(eeg, dim=1) @ F.normalize(target, dim=1).T
    forth, back = by_hand(s.tolist(), w.tolist()), by_hand(s.T.tolist(), w.tolist())
    got = info_nce(eeg, target, scale=4.0, weight_BB=w)
    assert got.item() == pytest.approx((forth + back) / 2, rel=1e-9)
    one_way = info_nce(eeg, target, scale=4.0, weight_BB=w, symmetric=False)
    assert one_way.item() == pytest.approx(forth, rel=1e-9)


def test_weights_of_one_change_nothing_and_the_diagonal_is_taken_as_one():
    eeg, target = some(6, 4), some(6, 4, 1)
    plain = info_nce(eeg, target, scale=4.0)
    assert info_nce(eeg, target, scale=4.0, weight_BB=torch.ones(6, 6)) == plain
    assert info_nce(eeg, target, scale=4.0, weight_BB=1 - torch.eye(6)) == plain
    with pytest.raises(ShapeError, match=r"weight_BB must be \(6, 6\), got \(6, 5\)"):
        info_nce(eeg, target, scale=4.0, weight_BB=torch.ones(6, 5))


def test_removing_all_negatives_costs_nothing_and_gives_no_nan():
    eeg = some(4, 3).requires_grad_()
    value = info_nce(eeg, some(4, 3, 1), scale=5.0, weight_BB=torch.zeros(4, 4))
    value.backward()
    assert value.item() == 0
    assert eeg.grad.isfinite().all()


@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_k_captions_most_like_the_anchors_are_removed(k):
    target = some(7, 4)
    w = without_nearest(target, k=k)
    for i, own in enumerate(target.tolist()):
        likeness = {j: cos(own, v) for j, v in enumerate(target.tolist()) if j != i}
        gone = sorted(likeness, key=likeness.__getitem__)[-k:]
        assert w[i].tolist() == [0.0 if j in gone else 1.0 for j in range(7)]
    assert without_nearest(target[:3], k=9).tolist() == torch.eye(3).tolist()
    assert without_nearest(target[:1], k=1).tolist() == [[1.0]]


def test_likeness_weighs_down_and_centring_takes_the_common_part_away():
    target = some(6, 4)
    mean = target.mean(0)
    w = by_similarity(target, sharpness=2.0)
    for i in range(6):
        for j in range(6):
            likeness = cos((target[i] - mean).tolist(), (target[j] - mean).tolist())
            expected = 1.0 if i == j else (1 - max(0.0, likeness)) ** 2
            assert w[i, j].item() == pytest.approx(expected, abs=1e-12)
    cone = target + 20  # as CLIP's vectors lie
    torch.testing.assert_close(by_similarity(cone, sharpness=2.0), w)
    assert by_similarity(cone, sharpness=2.0, centre=False).fill_diagonal_(0).max() < 0.05
    assert by_similarity(target, sharpness=0.0).tolist() == torch.ones(6, 6).tolist()


def test_a_twin_of_the_anchors_caption_is_no_negative():
    target = torch.cat([some(5, 4), some(5, 4)[:1]])
    assert by_similarity(target)[0, 5].item() == pytest.approx(0, abs=1e-12)
    assert without_nearest(target, k=1)[0].tolist() == [1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("negatives", "weights"),
    [
        (WithoutNearest(k=2), lambda t: without_nearest(t, k=2)),
        (BySimilarity(sharpness=3.0, centre=False), lambda t: by_similarity(t, sharpness=3.0, centre=False)),
        (ByClass(same=0.25), lambda t: by_class(torch.tensor([0, 1, 0, 2]), same=0.25)),
    ],
)
def test_info_nce_debiases_as_it_is_told(negatives, weights):
    eeg, target = some(4, 3), some(4, 3, 1)
    loss = InfoNCE(space="t", scale="fixed", temperature=0.5, negatives=negatives)
    now = batch(t=target, label=torch.eye(3)[[0, 1, 0, 2]])
    torch.testing.assert_close(loss({"t": eeg}, now), info_nce(eeg, target, scale=2.0, weight_BB=weights(target)))
    assert loss({"t": eeg}, now) < InfoNCE(space="t", scale="fixed", temperature=0.5)({"t": eeg}, now)


def test_weights_that_make_no_sense_are_refused():
    with pytest.raises(RecipeError, match="from 1 on"):
        WithoutNearest(k=0)
    with pytest.raises(RecipeError, match="not be negative"):
        BySimilarity(sharpness=-1.0)
    with pytest.raises(RecipeError, match=r"\[0, 1\]"):
        ByClass(same=2.0)
    with pytest.raises(RecipeError, match=r"Add Labels\(\)"):
        InfoNCE(space="t", negatives=ByClass())({"t": some(3, 2)}, batch(t=some(3, 2)))


# --- weighted sums and warm-up ------------------------------------------------------------------------------------


def test_a_warm_up_is_two_stages_and_a_sum_is_weighed():
    captions, image, label = some(12, 4).float(), some(12, 4, 1).float(), torch.eye(3).repeat(4, 1)
    eeg = (captions @ some(4, 12, 2).float()).reshape(12, 3, 4).numpy()
    data = TrialSet(eeg, torch.zeros(12, dtype=torch.long), torch.arange(12))
    towers = {k: nn.Embedding.from_pretrained(v) for k, v in (("txt", captions), ("img", image), ("label", label))}
    distil = partial(Distillation, space="txt", teacher="img", bank="train", tau_t=0.1)
    contrast = partial(InfoNCE, space="txt", negatives=WithoutNearest(2), weight=0.5)
    stages = (
        Stage(losses=(distil,), epochs=30, lr=0.01),
        Stage(losses=(partial(distil, weight=0.25), contrast, partial(CrossEntropy, weight=2.0)), epochs=30, lr=0.01),
    )
    torch.manual_seed(0)
    aligner = Aligner(Linear(3, 4), {"txt": 4, "label": 3})
    begin = {k: v.clone() for k, v in aligner.state_dict().items()}

    z = aligner(torch.from_numpy(eeg), data.subject)
    now = Batch(torch.from_numpy(eeg), data.subject, data.stimulus, {"txt": captions, "img": image, "label": label})
    first = distil()
    first.prepare(towers, data.stimulus)
    expected = first(z, now).item()

    history = fit(aligner, stages, data, towers)["loss"]
    assert len(history) == 60
    assert history[0] == pytest.approx(expected, rel=1e-5)  # distillation alone, though more heads are there
    assert history[29] < 0.7 * history[0]
    assert history[59] < 0.9 * history[30]
    head = aligner.heads[1].maps[0].weight  # of the labels, which the first stage gives no gradient
    assert not torch.equal(head, begin["heads.1.maps.0.weight"])

    alone = Aligner(Linear(3, 4), {"txt": 4, "label": 3})
    alone.load_state_dict(begin)
    fit(alone, stages[:1], data, towers)
    z = alone(torch.from_numpy(eeg), data.subject)
    rest = sum(loss.weight * loss(z, now).item() for loss in (partial(contrast)(), CrossEntropy(weight=2.0)))
    assert history[30] == pytest.approx(0.25 * first(z, now).item() + rest, rel=1e-4)
