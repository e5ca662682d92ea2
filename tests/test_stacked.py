from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sightwave.align import Aligner
from sightwave.encoders.conv_transformer import ConvTransformer
from sightwave.encoders.eegnet import EEGNet
from sightwave.encoders.nice import TSConv
from sightwave.encoders.project import EEGProject
from sightwave.errors import RecipeError
from sightwave.house import load_recipe
from sightwave.losses.contrastive import InfoNCE
from sightwave.losses.labels import CrossEntropy
from sightwave.recipe import small
from sightwave.story import run
from sightwave.targets.base import Lookup
from sightwave.train import Solve, Stage, TrialSet, fit
from sightwave.train.stacked import fit_stacked

SEEDS = (0, 1, 5)
N, C, T, D = 40, 8, 80, 6


def data(n: int = N, seed: int = 0) -> TrialSet:
    rng = np.random.default_rng(seed)
    eeg = rng.normal(size=(n, C, T)).astype(np.float32)
    return TrialSet(eeg, torch.zeros(n, dtype=torch.long), torch.from_numpy(rng.integers(0, 12, n)))


def towers() -> dict[str, nn.Module]:
    g = torch.Generator().manual_seed(3)
    return {"x": Lookup(torch.randn(12, D, generator=g)), "label": Lookup(torch.eye(12)[:, :12])}


def build(encoder: object, seed: int, n_subjects: int = 1) -> Aligner:
    torch.manual_seed(seed)
    return Aligner(encoder(n_channels=C, n_times=T), {"x": D, "label": 12}, n_subjects)  # type: ignore[operator]


LOSSES = (partial(InfoNCE, space="x", positives="stimulus"), partial(CrossEntropy, weight=0.5))


@pytest.mark.parametrize(
    "encoder",
    [EEGProject, partial(TSConv, width=16), partial(EEGNet, kernel=16), partial(ConvTransformer, depth=1, width=16)],
    ids=["project", "tsconv", "eegnet", "conv-transformer"],
)
def test_stacked_seeds_end_where_each_ends_alone(encoder: object) -> None:
    stages = (Stage(losses=LOSSES, epochs=2, batch_size=16, lr=1e-3, schedule="cosine"),)
    together = [build(encoder, s) for s in SEEDS]
    said = fit_stacked(together, stages, data(), towers(), seeds=SEEDS, val=data(10, 1))
    for seed, aligner, history in zip(SEEDS, together, said, strict=True):
        alone = build(encoder, seed)
        one = fit(alone, stages, data(), towers(), seed=seed, val=data(10, 1))
        np.testing.assert_allclose(history["loss"], one["loss"], rtol=2e-3)
        np.testing.assert_allclose(history["val"], one["val"], rtol=5e-3)
        assert alike(aligner, alone) > 0.999


def alike(a: Aligner, b: Aligner) -> float:
    z = [
        m.eval()(torch.from_numpy(data(10, 1).eeg), torch.zeros(10, dtype=torch.long))["x"].detach().flatten()
        for m in (a, b)
    ]
    return float(torch.corrcoef(torch.stack(z))[0, 1])


def test_stacked_seeds_keep_their_own_best_epoch() -> None:
    stages = (Stage(losses=LOSSES, epochs=5, batch_size=16, lr=3e-2, keep="best"),)
    together = [build(EEGProject, s) for s in SEEDS]
    said = fit_stacked(together, stages, data(), towers(), seeds=SEEDS, val=data(10, 1))
    for seed, aligner in zip(SEEDS, together, strict=True):
        alone = build(EEGProject, seed)
        one = fit(alone, stages, data(), towers(), seed=seed, val=data(10, 1))
        assert int(np.argmin(one["val"])) == int(np.argmin(said[SEEDS.index(seed)]["val"]))
        assert alike(aligner, alone) > 0.99


def test_a_frozen_encoder_stands_still_in_a_stack() -> None:
    together = [build(EEGProject, s) for s in SEEDS]
    before = [[p.clone() for p in a.encoder.parameters()] for a in together]
    fit_stacked(together, (Stage(losses=LOSSES, epochs=1, freeze=("encoder",)),), data(), towers(), seeds=SEEDS)
    for old, aligner in zip(before, together, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(old, aligner.encoder.parameters(), strict=True))


def test_closed_form_stages_are_solved_one_by_one() -> None:
    together = [build(EEGProject, s) for s in SEEDS]
    fit_stacked(together, (Solve(spaces=("x",)),), data(), towers(), seeds=SEEDS)
    alone = build(EEGProject, SEEDS[1])
    fit(alone, (Solve(spaces=("x",)),), data(), towers(), seed=SEEDS[1])
    assert torch.equal(together[1].heads[0].maps[0].weight, alone.heads[0].maps[0].weight)


def test_what_cannot_be_stacked_is_refused_with_a_way_out() -> None:
    def attempt(stage: Stage, towers_: dict[str, nn.Module], n_subjects: int = 1) -> None:
        fit_stacked([build(EEGProject, s, n_subjects) for s in SEEDS], (stage,), data(), towers_, seeds=SEEDS)

    plain = Stage(losses=LOSSES, epochs=1)
    with pytest.raises(RecipeError, match=r"Targets that learn.*leave `--together` out"):
        attempt(plain, towers() | {"x": nn.Embedding(12, D)})
    with pytest.raises(RecipeError, match="cannot be stacked"):
        attempt(plain, towers(), n_subjects=2)
    with pytest.raises(RecipeError, match="patience"):
        attempt(Stage(losses=LOSSES, epochs=3, keep="best", patience=1), towers())


def test_a_run_of_seeds_together_scores_as_one_after_the_other(tmp_path: Path) -> None:
    recipe = small(load_recipe("demo")[1])
    one, both = (run(recipe, out=tmp_path, subjects=["01"], seeds=(0, 1), n_permutations=20, n_bootstrap=20,
                     together=together) for together in (False, True))  # fmt: skip
    a, b = one.predictions[0], both.predictions[0]
    assert a.events[["trial", "seed"]].equals(b.events[["trial", "seed"]])
    assert np.corrcoef(a.scores.ravel(), b.scores.ravel())[0, 1] > 0.99


def test_seeds_together_are_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="keep no weights on the way"):
        run(small(load_recipe("demo")[1]), out=tmp_path, seeds=(0, 1), together=True, resume=True)
