"""The conv transformer, its front ends and heads; an absent subject's head stays as it is, to the bit."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from sightwave.align import STRANGER, Aligner, LSTMHead, MLPHead, SubjectHeads, TransformerHead
from sightwave.datasets.phantom import Phantom
from sightwave.describe import describe, key
from sightwave.encoders.conv_transformer import ConvGRU, ConvTransformer, DeepConv, TemporalConv
from sightwave.encoders.lstm import LSTM
from sightwave.encoders.time_bins import TimeBins
from sightwave.encoders.transformer import Transformer
from sightwave.errors import RecipeError, ShapeError, UnknownName
from sightwave.fold import Fold
from sightwave.losses.labels import CrossEntropy
from sightwave.recipes import category_heads
from sightwave.report import words
from sightwave.splits import LeaveOneSubjectOut
from sightwave.story import run
from sightwave.train import Solve, Stage, TrialSet, decode, fit

FRONTS = [TemporalConv, DeepConv, ConvGRU, partial(TemporalConv, n_windows=1)]
HEADS = [
    nn.Linear,
    MLPHead,
    partial(MLPHead, hidden=(32, 16)),
    partial(TransformerHead, width=16),
    partial(LSTMHead, width=16),
]
SMALL = partial(ConvTransformer, width=16, hidden=16, depth=1)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def small(n_subjects, head=nn.Linear):
    torch.manual_seed(0)
    return Aligner(SMALL(6, 60), {"label": 4}, n_subjects, head)


# --- the encoder --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("front", FRONTS)
def test_every_front_end_makes_one_token_per_electrode(front):
    torch.manual_seed(0)
    tokens = front(100, 64)
    eeg_ST = random(8, 100)
    assert tokens(eeg_ST).shape == (8, 64)
    tokens.eval()
    torch.testing.assert_close(tokens(eeg_ST[3:4]), tokens(eeg_ST)[3:4])  # electrodes do not mix
    encoder = ConvTransformer(5, 100, front=front, pool="mean")
    encoder(random(3, 5, 100), torch.zeros(3)).sum().backward()
    assert all(p.grad is not None for p in encoder.front.parameters())


def test_the_sizes_are_those_of_the_hand_out():
    encoder = ConvTransformer(122, 500)
    assert encoder.front(random(244, 500)).unflatten(0, (2, 122)).shape == (2, 122, 64)
    assert encoder.width == 122 * 64
    assert describe(partial(ConvTransformer, front=DeepConv))["front"]["kernel"] == 9
    assert key(partial(ConvTransformer, front=DeepConv)) != key(partial(ConvTransformer, front=ConvGRU))


def test_a_mean_over_the_whole_trial_forgets_when_something_happened():
    torch.manual_seed(0)
    early, late = (torch.zeros(1, 200).index_fill(1, torch.tensor(at), 5.0) for at in (range(60, 70), range(130, 140)))
    distance = {}
    for n_windows in (1, 5):
        front = TemporalConv(200, 16, stride=1, n_windows=n_windows).eval()
        distance[n_windows] = (front(early) - front(late)).norm() / front(early).norm()
    assert distance[1] < 1e-5 < 0.1 < distance[5]


def test_the_transformer_lets_electrodes_meet_and_their_places_tell_them_apart():
    eeg = random(2, 6, 60)
    other = eeg.clone()
    other[:, 5] += 1 + random(2, 60, seed=1)

    def changed(encoder):
        a, b = (encoder.eval()(x, torch.zeros(2)).unflatten(1, (6, 16)) for x in (eeg, other))
        return [not torch.equal(a[:, i], b[:, i]) for i in range(6)]

    assert changed(SMALL(6, 60)) == [True] * 6
    assert changed(SMALL(6, 60, depth=0)) == [False] * 5 + [True]
    encoder = SMALL(6, 60, pool="mean").eval()
    order = torch.tensor([1, 0, 2, 3, 4, 5])
    before, after = encoder(eeg, torch.zeros(2)), encoder(eeg[:, order], torch.zeros(2))
    assert not torch.allclose(before, after, atol=1e-4)
    with torch.no_grad():
        encoder.place_CW.zero_()
    torch.testing.assert_close(encoder(eeg, torch.zeros(2)), encoder(eeg[:, order], torch.zeros(2)))


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(UnknownName, match="mean, none"):
        ConvTransformer(5, 100, pool="max")
    with pytest.raises(RecipeError, match="multiple of n_heads = 4, got 30"):
        ConvTransformer(5, 100, width=30)
    with pytest.raises(ShapeError, match="at least 43 samples, got n_times = 42"):
        ConvTransformer(5, 42)
    with pytest.raises(ShapeError, match="at least 27 samples"):
        DeepConv(26, 8)
    with pytest.raises(ShapeError, match="25 steps"):
        LSTM(5, 24)
    with pytest.raises(ShapeError, match="25 windows"):
        Transformer(5, 24)
    with pytest.raises(RecipeError, match=r'tokens of 64, and the encoder gives 100.*pool="none"'):
        LSTMHead(100, 4)


# --- a head per subject -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
def test_a_trial_trains_the_shared_encoder_and_its_own_subjects_head_alone(head):
    """With AdamW's momentum and weight decay, and after a step in which everybody took part."""
    aligner = small(3, head)
    optimiser = torch.optim.AdamW(aligner.parameters(), lr=0.05, weight_decay=0.1)
    (heads,) = aligner.heads

    def step(*subjects):
        optimiser.zero_grad(set_to_none=True)
        subject_B = torch.tensor(subjects).repeat(4)
        aligner(random(len(subject_B), 6, 60), subject_B)["label"].square().sum().backward()
        optimiser.step()

    step(0, 1, 2)
    assert all(optimiser.state[p]["exp_avg"].any() for p in heads.maps[1].parameters())  # momentum is there
    before = [[p.detach().clone() for p in m.parameters()] for m in (*heads.maps, aligner.encoder)]
    step(0, 2)
    after = [list(m.parameters()) for m in (*heads.maps, aligner.encoder)]
    moved = [not all(map(torch.equal, b, a)) for b, a in zip(before, after, strict=True)]
    assert moved == [True, False, True, True]
    assert all(p.grad is None for p in heads.maps[1].parameters())


def test_a_subject_without_trials_keeps_the_head_it_was_born_with():
    aligner = small(3, MLPHead)
    born = [p.detach().clone() for p in aligner.heads[0].maps[1].parameters()]
    n = 24
    data = TrialSet(random(n, 6, 60).numpy(), torch.tensor([0, 2]).repeat(n // 2), torch.arange(n) % 4)
    tower = nn.Embedding.from_pretrained(torch.eye(4))
    stages = (Stage(losses=(CrossEntropy,), epochs=3, batch_size=8, weight_decay=0.5),)
    fit(aligner, stages, data, {"label": tower})
    assert all(map(torch.equal, born, aligner.heads[0].maps[1].parameters()))


@pytest.mark.parametrize("head", HEADS)
def test_a_trial_passes_its_own_subjects_head_and_a_stranger_the_mean_of_all(head):
    torch.manual_seed(0)
    heads = SubjectHeads(96, 4, 3, head).eval()
    h_BD = random(5, 96)
    z_BE = heads(h_BD, torch.tensor([2, 0, STRANGER, 1, 0]))
    each = torch.stack([m(h_BD) for m in heads.maps])
    expected = torch.stack([each[2, 0], each[0, 1], each[:, 2].mean(0), each[1, 3], each[0, 4]])
    torch.testing.assert_close(z_BE, expected)


def test_heads_that_are_no_linear_maps_are_not_solved_in_closed_form():
    data = TrialSet(random(8, 6, 60).numpy(), torch.zeros(8, dtype=torch.long), torch.arange(8) % 4)
    tower = nn.Embedding.from_pretrained(torch.eye(4))
    with pytest.raises(RecipeError, match="makes MLPHead"):
        fit(small(1, MLPHead), (Solve(spaces=("label",)),), data, {"label": tower})


# --- in a recipe --------------------------------------------------------------------------------------------------

WORLD = Phantom.like("mss", sfreq=125.0, n_times=62, n_train=5, n_test=5, n_subjects=3, categories=("cat", "bus"))


def test_a_left_out_subject_gets_the_mean_of_the_heads_that_were_trained():
    recipe = replace(
        category_heads.recipe, dataset=WORLD, split=LeaveOneSubjectOut(), unknown_subjects="mean", steps=()
    )
    trials, stimuli = WORLD.load(None, WORLD.subjects())
    fold = Fold(recipe, recipe.split(trials)[2], stimuli, subjects=WORLD.subjects(), device="cpu")
    aligner, _ = fold._build(0)
    assert aligner.heads[0].n_subjects == 2  # the stranger's own head is not there to be averaged in
    third = fold._trial_set(trials[(trials.events["subject"] == "03").to_numpy()])
    assert set(third.subject.tolist()) == {STRANGER}
    assert describe(recipe)["unknown_subjects"] == "mean"


@pytest.mark.parametrize(
    ("heads", "how"), [(True, "mean of what all trained subjects' heads say"), (False, "one head")]
)
def test_the_result_names_the_head_that_subjects_without_training_get(tmp_path, heads, how):
    recipe = replace(
        category_heads.recipe, dataset=WORLD, split=LeaveOneSubjectOut(stimuli_too=0.4), unknown_subjects="mean",
        subject_heads=heads, steps=(), encoder=partial(TimeBins, n_bins=4), stages=(Solve(spaces=("label",)),),
    )  # fmt: skip
    result = run(recipe, out=tmp_path, n_permutations=19, n_bootstrap=19)
    (said,) = [note for note in words.notes(result) if "without training" in note]
    assert said.startswith("Subjects 01, 02, 03 are decoded")
    assert how in said


def test_a_recipe_refuses_a_built_head_and_an_unknown_way_with_strangers():
    with pytest.raises(RecipeError, match="built Linear"):
        replace(category_heads.recipe, head=nn.Linear(2, 3))
    with pytest.raises(RecipeError, match="'refuse' or 'mean'"):
        replace(category_heads.recipe, unknown_subjects="guess")


@pytest.mark.parametrize("name", category_heads.BASELINES)
def test_every_baseline_asks_the_same_question_of_the_same_trials(name):
    other = category_heads.baseline(name)
    same = ("dataset", "split", "targets", "tasks", "repetitions", "leaks")
    assert all(getattr(other, f) == getattr(category_heads.recipe, f) for f in same)
    assert key(other) != key(category_heads.recipe)


@pytest.mark.parametrize("name", category_heads.PROTOCOLS)
def test_every_protocol_holds_out_what_it_says(name):
    recipe = category_heads.protocol(name)
    trials, _ = WORLD.load(None, WORLD.subjects())
    held = {
        "sessions": "session",
        "sessions-new-images": "stimulus",
        "images": "stimulus",
        "within-session": "run",
        "cross-session": "session",
    }.get(name, "subject")
    for split in recipe.split(trials):
        train, test = split.train.events, split.test.events
        columns = {"within-session": ["subject", "session", "run"]}.get(name, [held])
        assert set(map(tuple, train[columns].to_numpy())).isdisjoint(map(tuple, test[columns].to_numpy()))
        assert {"sessions": 3, "sessions-new-images": 3, "images": 3}.get(name, 1) == test["subject"].nunique()


def test_there_is_no_baseline_of_that_name():
    with pytest.raises(UnknownName, match="Did you mean 'mlp'"):
        category_heads.baseline("mlpp")
    with pytest.raises(UnknownName, match="Did you mean 'images'"):
        category_heads.protocol("image")


def test_it_learns_a_planted_response_that_differs_between_subjects():
    """What is a cat's response in one subject is a bus's in the other: only heads of their own can tell."""
    rng = np.random.default_rng(0)
    subject, label = np.arange(240) % 2, (np.arange(240) // 2) % 2
    eeg = rng.standard_normal((240, 6, 60)).astype(np.float32)
    eeg[:, 2, 30:40] += 3.0 * np.where(label == subject, 1, -1)[:, None]
    known, new = (
        TrialSet(eeg[part], torch.from_numpy(subject[part]), torch.from_numpy(label[part]))
        for part in (slice(160), slice(160, None))
    )
    tower, right = nn.Embedding.from_pretrained(torch.eye(2)), {}
    for n_subjects in (1, 2):
        torch.manual_seed(0)
        aligner = Aligner(SMALL(6, 60), {"label": 2}, n_subjects)
        stages = (Stage(losses=(CrossEntropy,), epochs=15, batch_size=32, lr=3e-3),)
        fit(aligner, stages, known, {"label": tower})
        right[n_subjects] = (decode(aligner, new)["label"].argmax(1) == new.stimulus.numpy()).mean()
    assert right[2] > 0.95
    assert right[1] < 0.7
