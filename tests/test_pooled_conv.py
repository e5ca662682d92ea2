"""Passing a batch in parts changes nothing but time and memory."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from sightwave.align import Aligner
from sightwave.encoders import pooled_conv
from sightwave.encoders.conv_transformer import ConvGRU, ConvTransformer, TemporalConv
from sightwave.encoders.pooled_conv import PooledConv
from sightwave.losses.labels import CrossEntropy
from sightwave.train import Stage, TrialSet, fit
from sightwave.train.stacked import fit_stacked

SIZES = [(101, 6, 7, 3, 4), (60, 5, 25, 2, 1), (40, 3, 1, 1, 40)]  # n_times, filters, kernel, stride, n_windows


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def pair(*size, part=5, dtype=torch.float64):
    """The module, in parts of a few electrodes, and its layers one after the other, with weights of their own."""
    torch.manual_seed(0)
    parts = PooledConv(*size).to(dtype)
    for p in parts.layers[1].parameters():
        nn.init.normal_(p)
    parts.part = part
    return parts, copy.deepcopy(parts.layers)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("part", [1, 5, 23])
def test_parts_give_what_the_layers_give(size, part):
    parts, layers = pair(*size, part=part)
    eeg = [(3 + random(23, size[0])).requires_grad_() for _ in range(2)]
    for step in range(2):
        a, b = parts(eeg[0]), layers(eeg[1][:, None]).transpose(1, 2)
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
        for z in (a, b):
            (z.sin() * random(*z.shape, seed=step)).sum().backward()
    for p, q in zip([eeg[0], *parts.parameters()], [eeg[1], *layers.parameters()], strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-10, atol=1e-10)
    for p, q in zip(parts.buffers(), layers.buffers(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-10)


def test_evaluation_in_parts_is_the_layers_to_the_bit():
    parts, layers = pair(101, 6, 7, 3, 4, dtype=torch.float32)
    eeg = random(23, 101, dtype=torch.float32)
    parts.eval(), layers.eval()
    assert torch.equal(parts(eeg), layers(eeg[:, None]).transpose(1, 2))


def test_a_batch_of_one_part_is_the_layers_to_the_bit():
    parts, layers = pair(101, 6, 7, 3, 4, part=23, dtype=torch.float32)
    eeg = random(23, 101, dtype=torch.float32)
    assert torch.equal(parts(eeg), layers(eeg[:, None]).transpose(1, 2))
    assert all(map(torch.equal, parts.buffers(), layers.buffers()))


def test_a_batch_norm_that_is_frozen_in_training_stays_as_it_is():
    parts, layers = pair(101, 6, 7, 3, 4)
    parts.layers[1].eval(), layers[1].eval()
    eeg = random(23, 101)
    torch.testing.assert_close(parts(eeg), layers(eeg[:, None]).transpose(1, 2), rtol=0, atol=1e-10)
    assert not parts.layers[1].num_batches_tracked


def test_saved_weights_keep_their_names():
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = {"pooled.layers.0.weight", *(f"pooled.layers.1.{n}" for n in norm)}
    assert names == {n for n in TemporalConv(100, 8).state_dict() if "pooled" in n}
    assert names == {n for n in ConvGRU(100, 8).state_dict() if "pooled" in n}


def test_what_is_frozen_gets_no_gradient_and_the_rest_gets_its_own():
    parts, layers = pair(101, 6, 7, 3, 4)
    for conv in (parts.layers[0], layers[0]):
        conv.requires_grad_(False)
    eeg = random(23, 101)
    parts(eeg).square().sum().backward()
    layers(eeg[:, None]).square().sum().backward()
    assert parts.layers[0].weight.grad is None
    torch.testing.assert_close(parts.layers[1].bias.grad, layers[1].bias.grad, rtol=1e-10, atol=1e-10)


def test_a_drift_of_large_power_does_not_drown_the_variance_of_a_filter_that_ignores_it():
    parts, layers = pair(101, 6, 7, 3, 4)
    with torch.no_grad():
        for conv in (parts.layers[0], layers[0]):
            conv.weight -= conv.weight.mean(2, keepdim=True)
    eeg = random(23, 101) + 1000 * (1 + random(23, 1, seed=1))
    parts.float()(eeg.float())
    layers(eeg[:, None])
    torch.testing.assert_close(parts.layers[1].running_var.double(), layers[1].running_var, rtol=1e-4, atol=0)


class Largest(TorchDispatchMode):
    """Note how many numbers the largest array holds that any operation makes."""

    n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        found = made if isinstance(made, (tuple, list)) else (made,)
        self.n = max([self.n, *(x.numel() for x in found if isinstance(x, torch.Tensor))])
        return made


@pytest.mark.parametrize("training", [True, False])
def test_no_array_is_larger_than_a_part_or_the_trials(monkeypatch, training):
    monkeypatch.setattr(pooled_conv, "PART", 20_000)
    front = TemporalConv(100, 8, kernel=9, n_windows=2).train(training)
    eeg = random(200, 100, dtype=torch.float32)
    with Largest() as ours:
        front(eeg).sum().backward()
    with Largest() as theirs:
        front.pooled.layers(eeg[:, None]).sum().backward()
    assert ours.n <= 20_000 == eeg.numel()
    assert theirs.n == 200 * 46 * 32


def test_bfloat16_trains_in_parts_too():
    parts, layers = pair(101, 6, 7, 3, 4, dtype=torch.float32)
    eeg = random(23, 101, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        parts(eeg).float().square().sum().backward()
    layers(eeg[:, None]).square().sum().backward()
    torch.testing.assert_close(parts.layers[0].weight.grad, layers[0].weight.grad, rtol=0.05, atol=0.05)


def test_seeds_are_stacked_in_parts_too(monkeypatch):
    monkeypatch.setattr(pooled_conv, "PART", 10_000)
    rng = np.random.default_rng(0)
    data = TrialSet(
        rng.normal(size=(32, 4, 60)).astype(np.float32), torch.zeros(32, dtype=torch.long), torch.arange(32) % 3
    )
    towers = {"label": nn.Embedding.from_pretrained(torch.eye(3))}
    stages = (Stage(losses=(CrossEntropy,), epochs=2, batch_size=16, lr=1e-3),)

    def build(seed):
        torch.manual_seed(seed)
        return Aligner(ConvTransformer(4, 60, width=8, depth=0), {"label": 3})

    together, alone = ([build(seed) for seed in (0, 1)] for _ in range(2))
    assert together[0].encoder.front.pooled.part < 64
    said = fit_stacked(together, stages, data, towers, seeds=(0, 1))
    for seed, a, b in zip((0, 1), together, alone, strict=True):
        one = fit(b, stages, data, towers, seed=seed)
        np.testing.assert_allclose(said[seed]["loss"], one["loss"], rtol=1e-4)
        for name, value in b.encoder.front.pooled.state_dict().items():
            torch.testing.assert_close(a.state_dict()[f"encoder.front.pooled.{name}"], value, rtol=1e-3, atol=1e-4)
