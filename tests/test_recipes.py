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


def test_a_run_with_and_without_the_test_pictures_in_training_stands_in_one_report(tmp_path):
    from typer.testing import CliRunner

    from sightwave.cli import app

    (tmp_path / "mine.py").write_text(SESSIONS, encoding="utf-8")
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["run", str(tmp_path / "mine.py"), "--out", str(out), "--new-images"])
    assert done.exit_code == 0, done.output
    page = (out / "mine.html").read_text(encoding="utf-8")
    assert "Side by side" in page
    assert "mine_new_images" in page
    assert "by the subject who is tested" in page
    again = CliRunner().invoke(app, ["run", "ridge", "--out", str(out), "--new-images"])
    assert "holds out pictures as it is" in str(again.exception)


SESSIONS = """
from functools import partial
import sightwave as sw

recipe = sw.Recipe(
    dataset=sw.Phantom(n_train=2, n_test=6, n_sessions=4, test_repetitions=2, sfreq=50.0, n_times=25, n_subjects=1),
    split=sw.BySession(test=("4",)),
    targets=(sw.Labels(),),
    encoder=partial(sw.TimeBins, n_bins=5),
    stages=(sw.Solve(spaces=("label",)),),
    tasks=(sw.Classify(),),
)
"""


def test_a_test_part_of_several_sessions_is_scored_session_by_session(tmp_path):
    from dataclasses import replace

    from sightwave.recipe import from_file
    from sightwave.report import page
    from sightwave.report.tables import session_lines
    from sightwave.results import Result
    from sightwave.splits import BySession

    path = tmp_path / "mine.py"
    path.write_text(SESSIONS, encoding="utf-8")
    recipe = from_file(path)
    recipe = replace(recipe, split=BySession(test=("3", "4")))
    result = run(recipe, name="mine", out=tmp_path, n_permutations=20, n_bootstrap=20)
    assert [r["session"] for r in result.data["sessions"]] == ["3", "4"]
    back = Result.load(next(tmp_path.glob("mine-*")))
    assert "by session" in page.render([back], title="mine")
    (line,) = session_lines(back)
    assert line.startswith("category, top-1 by session, single trials: 3: ")
    assert "; 4: " in line
