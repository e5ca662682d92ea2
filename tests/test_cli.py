"""The command line as a new user meets it: help, scores, pages, and errors that say what to do."""

import re
import subprocess
import sys

import pytest

from sightwave import __version__, cli_options


def sightwave(*args, cwd=None):
    done = subprocess.run(
        [sys.executable, "-m", "sightwave", *map(str, args)], capture_output=True, text=True, check=False, cwd=cwd
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    out = tmp_path_factory.mktemp("cli")
    return sightwave("run", "ridge", "--smoke", "--subjects", "01", "--out", out), out


def test_help_names_every_command():
    text = sightwave("--help").stdout
    for command in ("demo", "run", "list", "show", "check", "audit", "report", "phantom"):
        assert re.search(rf"\b{command}\b", text)


def test_the_version_is_printed():
    assert sightwave("--version").stdout.strip() == f"sightwave {__version__}"


def test_a_run_prints_its_scores_as_phantom_and_writes_a_page(ran):
    done, out = ran
    assert done.returncode == 0, done.stderr
    assert "phantom" in done.stdout.lower()
    assert "chance" in done.stdout
    page = (out / "ridge.html").read_text()
    assert "phantom" in page
    assert len(list(out.glob("ridge-*/result.json"))) == 1


def test_a_report_is_made_from_result_folders(ran, tmp_path):
    (folder,) = ran[1].glob("ridge-*")
    done = sightwave("report", folder, "--out", tmp_path / "page.html", "--title", "Again")
    assert done.returncode == 0, done.stderr
    assert "Again" in (tmp_path / "page.html").read_text()


def test_a_damaged_result_is_refused_by_name(ran, tmp_path):
    import shutil

    (folder,) = ran[1].glob("ridge-*")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "scores.csv").write_text((copy / "scores.csv").read_text().replace("0.", "0.9", 1))
    done = sightwave("report", copy, "--out", tmp_path / "page.html")
    assert done.returncode == 65
    assert "scores.csv" in done.stderr
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        (("run", "dmeo"), 64, "Did you mean 'demo'"),
        (("run", "demo", "--seeds", "one"), 64, "--seeds takes numbers"),
        (("run", "demo", "--subjects", "77"), 64, "No subject named '77'"),
        (("run", "nowhere/mine.py"), 66, "No recipe at"),
        (("run", "n170", "--data", "no/such/folder"), 66, "no/such/folder"),
        (("run", "own"), 66, "--data"),
        (("check", "no/such/folder"), 66, "no/such/folder"),
        (("report", "no/such/result"), 66, "No result folder at"),
        (("list", "cellar"), 64, "No room named 'cellar'"),
        (("audit", "n170"), 66, "--data"),
    ],
)
def test_a_wrong_argument_is_answered_in_words(args, status, says, tmp_path):
    done = sightwave(*args, cwd=tmp_path)
    assert says in " ".join(done.stderr.split())
    assert done.returncode == status


def test_list_and_show_tell_what_there_is():
    listed = sightwave("list").stdout
    assert re.search(r"^demo +Categories, images and captions", listed, re.M)
    shown = sightwave("show", "ridge").stdout
    assert "sightwave run ridge" in shown
    assert '"n_bins": 25' in shown


def test_an_audit_that_fails_says_so_by_its_exit_status(tmp_path):
    mine = tmp_path / "leaky.py"
    mine.write_text(
        "from dataclasses import replace\nfrom sightwave.recipes.block_design import recipe\n"
        "world = replace(recipe.dataset, n_train=10, categories=('cat', 'bus'), n_times=50)\n"
        "recipe = replace(recipe, leaks=(), dataset=world)\n"
    )
    done = sightwave("audit", mine, "--subjects", "01")
    assert done.returncode == 77
    assert "block-design" in done.stdout


@pytest.mark.parametrize(("text", "numbers"), [("0", [0]), ("0,3", [0, 3]), ("0-2,7", [0, 1, 2, 7])])
def test_seeds_are_numbers_and_ranges(text, numbers):
    assert cli_options.numbers(text) == numbers


def test_where_prints_every_part_beside_chance_and_writes_a_page(tmp_path):
    done = sightwave("where", "ridge", "--smoke", "--subjects", "01", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("time", "occipital", "4 to 8 Hz", "chance", "phantom"):
        assert word in done.stdout
    assert "Where and when the information sits" in (tmp_path / "ridge_where.html").read_text()
