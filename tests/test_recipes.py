"""Every recipe runs under --smoke, describes itself as JSON, and tells what to expect."""

import json

import pytest

from sightwave.describe import describe, key
from sightwave.errors import UnknownName
from sightwave.house import find, load_recipe, members, names
from sightwave.recipe import Recipe, small
from sightwave.story import run

RECIPES = names("recipes")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_runs_on_a_small_phantom(name, tmp_path):
    result = run(
        load_recipe(name)[1], name=name, out=tmp_path, smoke=True, subjects=("01",), n_permutations=49, n_bootstrap=49
    )
    assert result.data["phantom"]
    assert result.scores[["value", "chance", "low", "high"]].notna().all(axis=None)
    assert result.scores.value.between(-1, 1000).all()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_json_with_every_default_spelt_out(name):
    found = find("recipes", name).recipe
    text = json.dumps(describe(found))
    assert isinstance(found, Recipe)
    assert '"repetitions"' in text
    assert key(found) == key(find("recipes", name).recipe)


def test_a_changed_field_changes_the_key():
    from dataclasses import replace

    demo = find("recipes", "demo").recipe
    assert key(demo) != key(replace(demo, repetitions=(1,)))
    assert key(demo) != key(small(demo))


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'demo'"):
        load_recipe("dmeo")
    with pytest.raises(UnknownName, match="Did you mean 'encoders'"):
        names("encoder")


def test_the_folder_is_the_registry():
    from sightwave.encoders.base import Encoder

    assert {"EEGProject", "TSConv", "EEGNet", "TimeBins"} <= {c.__name__ for c in members("encoders", Encoder)}
