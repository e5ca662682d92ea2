"""Recipes and their variants side by side: found by name, counted by hand, run once, and printed with their doubt."""

import io
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from torch import nn

from sightwave import compare as work
from sightwave.account import provenance
from sightwave.align import Aligner, MLPHead
from sightwave.describe import key
from sightwave.encoders.linear import Linear
from sightwave.encoders.mlp import MLP
from sightwave.encoders.time_bins import TimeBins
from sightwave.errors import RecipeError, UnknownName
from sightwave.house import find, load_recipe, names, variants
from sightwave.losses.contrastive import InfoNCE
from sightwave.losses.labels import CrossEntropy
from sightwave.recipe import Recipe
from sightwave.report import side_by_side
from sightwave.results import Result
from sightwave.train import Meter, Solve, Stage, n_learning

MINE = """
from dataclasses import replace
from sightwave.encoders.time_bins import TimeBins
from functools import partial
from sightwave.recipes.ridge import recipe
def bins(n):
    return replace(recipe, encoder=partial(TimeBins, n_bins=n))
variants = {"few": lambda: bins(5), "many": lambda: bins(20)}
groups = {"small": ("few",)}
"""


def printed(table):
    out = io.StringIO()
    Console(file=out, width=250).print(table)
    return out.getvalue()


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return str(path)


def test_a_variant_is_found_behind_a_colon_and_a_misspelt_one_is_answered_with_the_nearest(mine):
    name, recipe = load_recipe("category_heads:mlp")
    assert (name, recipe.encoder) == ("category_heads-mlp", MLP)
    assert load_recipe("category_heads:subjects-shared-head")[1].subject_heads is False
    assert load_recipe(f"{mine}:few")[0] == "mine-few"
    with pytest.raises(UnknownName, match=r"variant of category_heads named 'mlpp'.*Did you mean 'mlp'"):
        load_recipe("category_heads:mlpp")
    with pytest.raises(UnknownName, match=r"group of variants.*Did you mean 'baselines'"):
        variants("category_heads", "baseline")
    with pytest.raises(UnknownName, match="recipe named 'category_head'"):
        load_recipe("category_head:mlp")


@pytest.mark.parametrize("name", names("recipes"))
def test_every_variant_of_every_recipe_is_a_recipe_of_its_own(name):
    found = {v: make() for v, make in variants(name).items()}
    assert all(isinstance(r, Recipe) for r in found.values())
    keys = [key(find("recipes", name).recipe), *map(key, found.values())]
    assert len(set(keys)) == len(keys)
    for group, members in getattr(find("recipes", name), "groups", {}).items():
        assert set(members) <= set(found), group


def test_one_recipe_alone_stands_for_itself_and_its_variants(mine):
    assert [n for n, _ in work.chosen([mine])] == ["mine", "mine-few", "mine-many"]
    assert [n for n, _ in work.chosen([mine], "small")] == ["mine", "mine-few"]
    assert [n for n, _ in work.chosen(["ridge", f"{mine}:many", "ridge"])] == ["ridge", "mine-many"]
    with pytest.raises(RecipeError, match="ridge has no variants"):
        work.chosen(["ridge"])
    with pytest.raises(RecipeError, match="asked of one recipe; got 2"):
        work.chosen(["ridge", "demo"], "small")


def test_variants_on_other_data_are_compared_among_themselves_only():
    assert [name for name, _ in work.chosen(["nice:things-eeg2", "nice"])] == ["nice-things-eeg2", "nice"]
    alone = [name for name, _ in work.chosen(["category_heads"])]
    assert "category_heads" in alone
    assert not [name for name in alone if "mss" in name]
    real = [name for name, _ in work.chosen(["category_heads"], "mss")]
    assert real[:2] == ["category_heads-mss", "category_heads-mss-linear"]
    assert len(real) == 8


def test_parameters_that_learn_are_counted_as_by_hand():
    aligner = Aligner(Linear(4, 10), {"label": 3, "clip": 5}, 2)  # Linear passes 40 samples on
    towers = {"label": nn.Embedding.from_pretrained(torch.eye(3)), "clip": nn.Embedding(7, 5)}
    both = Stage(losses=(CrossEntropy, partial(InfoNCE, space="clip")))
    heads = {"label": 2 * (40 * 3 + 3), "clip": 2 * (40 * 5 + 5)}
    assert aligner.encoder.width == 40
    n_encoder = sum(p.numel() for p in aligner.encoder.parameters())
    assert n_learning(aligner, towers, (both,)) == {"encoder": n_encoder, "heads": sum(heads.values()), "towers": 35}
    only = Stage(losses=(CrossEntropy,), freeze=("encoder", "towers"))
    assert n_learning(aligner, towers, (only,)) == {"encoder": 0, "heads": heads["label"], "towers": 0}
    assert n_learning(aligner, towers, (Solve(spaces=("clip",)),))["heads"] == heads["clip"]
    mlp = Aligner(MLP(4, 10, hidden=(6,)), {"label": 3}, 1, partial(MLPHead, hidden=(8,)))
    counted = n_learning(mlp, {}, (Stage(losses=(CrossEntropy,)),))
    assert counted["heads"] == (6 * 8 + 8) + (8 * 3 + 3)
    assert counted["encoder"] == sum(p.numel() for p in mlp.encoder.parameters())


def test_the_peak_of_memory_is_that_of_the_fit_and_not_of_what_was_before():
    big = np.ones(30_000_000)  # 240 MB
    with Meter("cpu") as before:
        assert big[-1] == 1
    if before.peak is None:
        pytest.skip("the system does not tell the peak")
    del big
    with Meter("cpu") as after:
        after.tick(1, 2)
        after.tick(2, 2)
    with Meter("cpu") as within:
        big = np.ones(30_000_000)
        time.sleep(0.1)
        del big
    cost = after.read({"heads": 3})
    for other in (before, within):
        assert other.read({}).peak_bytes - cost.peak_bytes > 200_000_000
    assert cost.parameters == {"heads": 3}
    assert 0 <= cost.epoch_s < 1


def test_seconds_of_an_epoch_leave_out_what_was_made_before_and_count_every_member():
    with Meter("cpu") as meter:
        time.sleep(0.2)  # embeds its targets
        meter.start()
        meter.tick(1, 1)
    cost = meter.read({})
    assert cost.epoch_s < 0.1
    told = provenance(time.time(), "cpu", [replace(cost, epoch_s=2.0)] * 3, members=3)
    assert told["epoch_seconds"] == 6.0


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    out = tmp_path_factory.mktemp("compare")
    (out / "mine.py").write_text(MINE)
    said = []
    asked = [str(out / "mine.py"), f"{out / 'mine.py'}:few"]
    results, apart = work.compare(asked, out=out, subjects=("01",), smoke=True, progress=lambda *a: said.append(a[0]))
    return out, asked, results, said, apart


def test_a_comparison_is_one_table_one_page_and_one_csv_file(compared):
    out, _, results, said, apart = compared
    assert [r.name for r in results] == ["mine", "mine-few"]
    assert "mine-few (2 of 2): training" in said
    assert results[1].parameters["heads"] < results[0].parameters["heads"]
    table = pd.read_csv(out / "compare.csv")
    assert table.groupby("run", sort=False)["heads"].first().tolist() == [r.parameters["heads"] for r in results]
    assert {"low", "high", "chance", "p", "epoch_seconds", "verdict"} <= set(table)
    page = (out / "compare.html").read_text()
    assert "mine-few" in page
    assert f'<td class="n">{results[1].parameters["heads"] + results[1].parameters["encoder"]:,}</td>' in page
    text = printed(side_by_side.rich_table(results))
    value = results[1].scores.query("subject == 'all'").value
    assert any(f"{100 * v:.1f} %" in text for v in value)
    for wanted in ("phantom", "-few", "chance"):
        assert wanted in text
    assert set(zip(apart.a, apart.b, strict=True)) == {("mine", "mine-few")}
    assert pd.read_csv(out / "differences.csv").difference.tolist() == pytest.approx(apart.difference.tolist())
    assert Result.load(next(out.glob("mine-few-*"))).parameters == results[1].parameters


def test_a_result_that_is_there_is_taken_and_a_damaged_one_is_made_anew(compared):
    out, asked, results, *_ = compared
    opened = [r.opened for r in results]
    again, _ = work.compare(asked, out=out, subjects=("01",), smoke=True)
    assert [r.opened for r in again] == opened  # nothing was opened a second time
    assert [r.provenance["finished"] for r in again] == [r.provenance["finished"] for r in results]
    folder = next(p.parent for p in out.glob("mine-*/scores.csv") if "few" not in str(p))
    (folder / "scores.csv").write_text("nonsense")
    third, _ = work.compare(asked, out=out, subjects=("01",), smoke=True)
    assert third[0].opened > opened[0]
    assert third[1].opened == opened[1]


def test_costs_that_were_not_measured_are_said_to_be_unknown(compared):
    old = replace(compared[2][0], parameters={}, provenance={})
    assert "–" in printed(side_by_side.rich_table([old]))


def test_what_stands_beside_the_encoder_changes_nothing_else():
    base = find("recipes", "category_heads")
    for name in base.groups["fronts"]:
        other = load_recipe(f"category_heads:{name}")[1]
        front = other.encoder(n_channels=3, n_times=62).front
        assert type(front) is base.FRONTS[name].func
        assert other.stages == base.recipe.stages
    crossed = base.baseline("ridge", of=base.protocol("cross-session"))
    assert (crossed.encoder.func, crossed.split) == (TimeBins, base.PROTOCOLS["cross-session"])
