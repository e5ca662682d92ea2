"""Peeking at the test part: it tells what choosing an epoch on it would add, and moves no result."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from sightwave.datasets.phantom import Phantom
from sightwave.decode.classify import Classify
from sightwave.decode.retrieve import Retrieve
from sightwave.encoders.project import EEGProject
from sightwave.errors import RecipeError
from sightwave.judge.peek import best_on_test
from sightwave.losses.contrastive import InfoNCE
from sightwave.losses.labels import CrossEntropy
from sightwave.metrics.retrieval import median_rank, recall_at
from sightwave.preprocess import Average, Standardise
from sightwave.recipe import Recipe
from sightwave.report import page, tables, words
from sightwave.results import Predictions, Result
from sightwave.splits import Published
from sightwave.story import run
from sightwave.targets.labels import Labels
from sightwave.targets.pixels import Pixels
from sightwave.train import Solve, Stage

PIXELS = Pixels(dim=16)
WORLD = Phantom(
    n_train=10, n_test=4, categories=("cat", "bus", "boat"), train_repetitions=2, test_repetitions=2,
    ch_names=("P3", "Pz", "P4", "PO3", "POz", "PO4", "O1", "Oz", "O2"), sfreq=100.0, n_times=60, signal=3.0,
    n_subjects=2,
)  # fmt: skip
NETWORK = Recipe(
    dataset=WORLD,
    split=Published(),
    steps=(Average(), Standardise()),
    targets=(Labels(), PIXELS),
    encoder=partial(EEGProject, width=16),
    stages=(Stage(losses=(partial(InfoNCE, space=PIXELS.space), CrossEntropy), epochs=5, batch_size=16),),
    tasks=(Retrieve(PIXELS.space, ks=(1, 5)), Classify()),
    repetitions=(1, None),
)
QUICK = {"n_permutations": 49, "n_bootstrap": 49}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    out = tmp_path_factory.mktemp("peek")
    plain = run(NETWORK, out=out / "plain", seeds=(0, 1), **QUICK)
    return plain, run(NETWORK, out=out / "peeked", seeds=(0, 1), peek=True, **QUICK), out


def test_peeking_moves_no_score_and_no_prediction(both):
    plain, peeked, _ = both
    pd.testing.assert_frame_equal(plain.scores, peeked.scores)
    for a, b in zip(plain.predictions, peeked.predictions, strict=True):
        np.testing.assert_array_equal(a.scores, b.scores)


def test_the_best_epoch_is_told_beside_the_honest_one_and_beside_its_own_chance(both):
    _, peeked, _ = both
    p = peeked.data["peek"]
    assert p["honest"] == peeked.score("recall@1", task="retrieve", repetitions="2")
    assert p["curve"][-1] == pytest.approx(p["honest"])  # the last epoch is kept
    assert p["best"] >= max(p["curve"]) - 1e-9
    assert len(p["curve"]) == 5
    assert len(p["chosen"]) == 4  # two subjects, two seeds
    assert p["chance_best"] > p["chance"] > 0


def test_it_is_printed_as_no_result_and_written_into_the_ledger(both):
    plain, peeked, out = both
    assert words.peek(peeked).startswith("NOT A RESULT")
    assert words.peek(plain) == ""
    told = page.render([peeked], title="x")
    assert "Best epoch on test: not a result" in told
    assert "NOT A RESULT" in told
    assert "Best epoch on test" not in page.render([plain], title="x")
    best = words.number(peeked.data["peek"]["best"], "recall@1")
    if best not in set(tables.frame(plain)["score"]):
        assert best not in set(tables.frame(peeked)["score"])
    lines = [json.loads(line) for line in (out / "peeked" / "ledger.jsonl").read_text().splitlines()]
    assert all("PEEK" in line["why"] for line in lines)
    assert "(peek)" in words.opened(peeked)
    assert "(peek)" not in words.opened(plain)


def test_weights_of_epochs_do_not_stay_behind_and_the_result_has_a_folder_of_its_own(both):
    _, peeked, out = both
    assert not list((out / "peeked").rglob("epoch-*"))
    names = {p.name for where in ("plain", "peeked") for p in (out / where).glob("recipe-*")}
    assert len(names) == 2
    (folder,) = (out / "peeked").glob("recipe-*")
    assert Result.load(folder).data["peek"] == peeked.data["peek"]


def test_a_peeked_run_that_is_killed_goes_on_with_the_same_curve(both, tmp_path):
    _, peeked, _ = both
    code = f"""
        import os, signal, sys
        sys.path.insert(0, {str(os.path.dirname(__file__))!r})
        import torch; torch.set_num_threads(1)
        from sightwave.train import loop
        from test_peek import NETWORK, QUICK, run
        loop.SAVE_EVERY_S = 0.0
        def tell(what, done, total):
            if what == "training" and done == 8:
                os.kill(os.getpid(), signal.SIGKILL)
        run(NETWORK, out={str(tmp_path)!r}, seeds=(0, 1), peek=True, progress=tell, **QUICK)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -signal.SIGKILL
    again = run(NETWORK, out=tmp_path, seeds=(0, 1), peek=True, resume=True, **QUICK)
    assert again.data["peek"] == peeked.data["peek"]


def test_a_closed_form_has_no_epoch_to_choose(tmp_path):
    with pytest.raises(RecipeError, match="no epoch to choose among"):
        run(replace(NETWORK, stages=(Solve(spaces=("label", PIXELS.space)),)), out=tmp_path, peek=True, **QUICK)


def noise(seed, n=50):
    rng = np.random.default_rng(seed)
    events = pd.DataFrame({"stimulus": [f"{i}" for i in range(n)], "label": "x", "subject": "1", "session": "1"})
    events = events.assign(run="1", fold="f", seed=0, trial=events["stimulus"])
    ids = np.sort(events["stimulus"].to_numpy())
    truth = np.searchsorted(ids, events["stimulus"])
    return Predictions("retrieve x", "4", rng.normal(size=(n, n)).astype(np.float32), truth, ids, events)


def test_choosing_among_epochs_of_noise_beats_guessing_and_its_chance_says_so():
    found = [best_on_test([[noise(100 * i + e) for e in range(12)]], noise(100 * i + 11), recall_at(1), n=99)
             for i in range(30)]  # fmt: skip
    best, chance = np.mean([f["best"] for f in found]), np.mean([f["chance_best"] for f in found])
    assert best > 2.5 / 50
    assert best == pytest.approx(chance, abs=0.006)
    assert np.mean([f["honest"] for f in found]) == pytest.approx(1 / 50, abs=0.012)
    lower = best_on_test([[noise(e) for e in range(5)]], noise(0), median_rank, n=49)
    assert lower["best"] == min(lower["curve"])
    assert lower["chance_best"] < lower["chance"]
