"""The one training loop: it learns, chooses epochs on validation alone, and goes on bit by bit after a kill."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from sightwave.align import Aligner
from sightwave.encoders.project import EEGProject
from sightwave.encoders.time_bins import TimeBins
from sightwave.errors import RecipeError, ResumeError, SightwaveError
from sightwave.losses.contrastive import InfoNCE
from sightwave.losses.labels import CrossEntropy
from sightwave.train import Solve, Stage, TrialSet, decode, fit, loop

N, CHANNELS, TIMES, DIM, CLASSES = 240, 6, 80, 8, 4
STAGE = Stage(losses=(partial(InfoNCE, space="toy"), CrossEntropy), epochs=6, batch_size=64)


def world(signal=1.0, seed=0):
    """EEG that is a linear image of toy embeddings plus noise, and the towers that hold the embeddings."""
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(N, DIM)).astype(np.float32)
    table[:, :CLASSES] += 2 * np.eye(CLASSES)[np.arange(N) % CLASSES]
    mix = rng.normal(size=(DIM, CHANNELS * TIMES)) / 3
    eeg = (signal * table @ mix + rng.normal(size=(N, CHANNELS * TIMES))).reshape(N, CHANNELS, TIMES)
    data = TrialSet(eeg.astype(np.float32), torch.arange(N) % 2, torch.arange(N))
    labels = np.eye(CLASSES, dtype=np.float32)[np.arange(N) % CLASSES]
    towers = {
        "toy": nn.Embedding.from_pretrained(torch.from_numpy(table)),
        "label": nn.Embedding.from_pretrained(torch.from_numpy(labels)),
    }
    return data, towers


def aligner(seed=0, n_subjects=1, encoder=EEGProject, **options):
    torch.manual_seed(seed)
    return Aligner(encoder(CHANNELS, TIMES, **options), {"toy": DIM, "label": CLASSES}, n_subjects)


def some(data, rows):
    return TrialSet(data.eeg[rows], data.subject[rows], data.stimulus[rows])


def weights(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_the_loss_falls_and_new_trials_are_decoded():
    data, towers = world()
    model = aligner(width=32)
    history = fit(model, (STAGE,), some(data, slice(0, 200)), towers)
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    z = decode(model, some(data, slice(200, 240)))
    assert (z["label"].argmax(1) == np.arange(200, 240) % CLASSES).mean() > 0.6
    assert z["toy"].shape == (40, DIM)
    assert z["features"].shape == (40, 32)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    data, towers = world()
    runs = []
    for seed in (1, 1, 2):
        model = aligner(width=16)
        fit(model, (STAGE,), data, towers, seed=seed)
        runs.append(weights(model))
    assert equal(runs[0], runs[1])
    assert not equal(runs[0], runs[2])


@pytest.mark.parametrize(("drop_last", "batch_size", "sizes"), [
    (False, 64, [64, 64, 64, 48]), (True, 64, [64] * 3), (True, 120, [120] * 2), (True, 500, [240]),
    (False, 239, [239]),
])  # fmt: skip
def test_a_last_batch_is_dropped_when_it_is_too_small_or_not_full_and_that_is_asked(drop_last, batch_size, sizes):
    stage = Stage(losses=(), batch_size=batch_size, drop_last=drop_last)
    batches = stage.batches(world()[0], 5)
    assert [len(rows) for rows in batches] == sizes
    assert len(torch.cat(batches).unique()) == sum(sizes)


def test_training_leaves_the_global_random_state_alone():
    data, towers = world()
    model = aligner(width=16)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit(model, (STAGE,), data, towers)
    assert torch.equal(before, torch.get_rng_state())


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [1, 3, 6])
@pytest.mark.parametrize("keep", ["last", "best"])
def test_a_killed_training_goes_on_to_the_same_bits(tmp_path, monkeypatch, at, keep):
    monkeypatch.setattr(loop, "SAVE_EVERY_S", 0.0)
    data, towers = world(signal=0.3)
    stages = (
        Stage(losses=STAGE.losses, epochs=6, batch_size=64, keep=keep, schedule="cosine"),
        Stage(losses=(CrossEntropy,), epochs=2),
    )
    val = some(data, slice(0, 40))

    def run(checkpoint, resume, die_at=None):
        seen = []

        def progress(done, total):
            seen.append(done)
            if len(seen) == die_at:
                raise Killed

        model = aligner(width=16)
        history = fit(model, stages, data, towers, val=val, checkpoint=checkpoint, resume=resume, progress=progress)
        return weights(model), history, len(seen)

    whole, history, _ = run(None, False)
    path = tmp_path / "c.safetensors"
    with pytest.raises(Killed):
        run(path, False, die_at=at)
    resumed, again, n_epochs = run(path, True)
    assert equal(whole, resumed)
    assert again == history
    assert n_epochs <= 8 - at + 1
    finished, _, n_epochs = run(path, True)
    assert equal(whole, finished)
    assert n_epochs == 0


def test_a_checkpoint_of_another_run_is_refused_field_by_field(tmp_path):
    data, towers = world()
    path = tmp_path / "c.safetensors"
    fit(aligner(width=16), (STAGE,), data, towers, checkpoint=path, identity={"recipe": "aa"})
    with pytest.raises(ResumeError, match="recipe: then 'aa', now 'bb'"):
        fit(aligner(width=16), (STAGE,), data, towers, checkpoint=path, resume=True, identity={"recipe": "bb"})


def test_best_keeps_the_epoch_of_the_lowest_validation_loss_and_patience_stops():
    data, towers = world(signal=0.0)
    stage = Stage(losses=(CrossEntropy,), epochs=40, lr=5e-3, keep="best", patience=3)
    model = aligner(width=64)
    train, val = some(data, slice(0, 160)), some(data, slice(160, 240))
    history = fit(model, (stage,), train, towers, val=val)
    best = int(np.argmin(history["val"]))
    assert len(history["val"]) == best + 1 + 3 < 40
    logits = torch.from_numpy(decode(model, val)["label"])
    loss = nn.functional.cross_entropy(logits, towers["label"](val.stimulus)).item()
    assert loss == pytest.approx(history["val"][best], rel=1e-5)


def test_best_without_a_validation_part_is_refused():
    data, towers = world()
    with pytest.raises(RecipeError, match="needs a validation part"):
        fit(aligner(width=16), (Stage(losses=(CrossEntropy,), keep="best"),), data, towers)


def test_a_frozen_part_stands_still():
    data, towers = world()
    model = aligner(width=16)
    before = weights(model.encoder)
    fit(model, (Stage(losses=(CrossEntropy,), epochs=2, freeze=("encoder",)),), data, towers)
    assert equal(before, weights(model.encoder))
    with pytest.raises(RecipeError, match="no part 'decoder'"):
        fit(model, (Stage(losses=(CrossEntropy,), epochs=1, freeze=("decoder",)),), data, towers)


def test_a_frozen_encoder_is_run_once_and_gives_the_same(monkeypatch):
    data, towers = world()
    frozen = Stage(losses=STAGE.losses, epochs=3, batch_size=64, freeze=("encoder",), keep="best")
    found = {}
    for most in (0, 10**9):
        monkeypatch.setattr(loop, "MOST_FEATURES", most)
        model, calls = aligner(width=16), []
        model.encoder.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        history = fit(model, (frozen,), data, towers, val=some(data, slice(0, 40)))
        found[most] = weights(model), history, len(calls)
    assert found[10**9][2] == 2 < found[0][2]
    assert found[10**9][1]["val"] == pytest.approx(found[0][1]["val"], rel=1e-4)
    for k, v in found[0][0].items():
        torch.testing.assert_close(found[10**9][0][k], v, atol=1e-4, rtol=1e-3)


def test_a_loss_that_is_not_finite_stops_the_training():
    data, towers = world()
    broken = TrialSet(data.eeg * np.float32(np.inf), data.subject, data.stimulus)
    with pytest.raises(SightwaveError, match=r"training loss is .* Lower Stage\.lr"):
        fit(aligner(width=16), (STAGE,), broken, towers)
    with pytest.raises(SightwaveError, match="validation loss is"):
        fit(aligner(width=16), (Stage(losses=(CrossEntropy,), epochs=2, keep="best"),), data, towers, val=broken)


def test_mixed_precision_learns_the_same_thing():
    data, towers = world()
    model = aligner(width=32)
    stage = Stage(losses=STAGE.losses, epochs=6, batch_size=64, precision="bfloat16")
    fit(model, (stage,), some(data, slice(0, 200)), towers)
    assert all(v.dtype == torch.float32 for v in model.state_dict().values())
    z = decode(model, some(data, slice(200, 240)))
    assert (z["label"].argmax(1) == np.arange(200, 240) % CLASSES).mean() > 0.6


def test_ridge_solves_the_heads_as_scikit_learn_does():
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    data, towers = world()
    model = aligner(encoder=TimeBins, n_bins=10)
    fit(model, (Solve(spaces=("toy",), alphas=(0.3,)),), data, towers)
    x = decode(model, data)
    scaled = StandardScaler().fit_transform(x["features"].astype(float))
    expected = Ridge(alpha=0.3 * N).fit(scaled, towers["toy"].weight.numpy()).predict(scaled)
    np.testing.assert_allclose(x["toy"], expected, atol=1e-3)


def test_a_logistic_readout_classifies_two_and_more_classes():
    data, towers = world()
    model = aligner(encoder=TimeBins, n_bins=10)
    fit(model, (Solve(spaces=("label",), readout="logistic", C=0.1),), some(data, slice(0, 200)), towers)
    hit = decode(model, some(data, slice(200, 240)))["label"].argmax(1) == np.arange(200, 240) % CLASSES
    assert hit.mean() > 0.6
    with pytest.raises(RecipeError, match="one-hot"):
        fit(model, (Solve(spaces=("toy",), readout="logistic"),), data, towers)


def test_each_subject_has_its_own_solved_head():
    data, towers = world()
    model = aligner(n_subjects=2, encoder=TimeBins, n_bins=10)
    fit(model, (Solve(spaces=("toy",)),), data, towers)
    first, second = (m.weight for m in model.heads[0].maps)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    "wrong", [{"keep": "test"}, {"schedule": "step"}, {"precision": "float16"}, {"epochs": 0}, {"batch_size": 1}]
)
def test_a_stage_refuses_what_it_does_not_know(wrong):
    with pytest.raises(RecipeError, match="Stage"):
        Stage(losses=(CrossEntropy,), **wrong)
