"""The whole story on a toy phantom: scores with their doubt, chance without a signal, leaks refused, kills survived."""

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
import torch

from sightwave import files
from sightwave.datasets.phantom import Phantom
from sightwave.decode.classify import Classify
from sightwave.decode.probe import Probe
from sightwave.decode.retrieve import Retrieve
from sightwave.encoders.project import EEGProject
from sightwave.encoders.time_bins import TimeBins
from sightwave.errors import LeakError, RecipeError, UnknownName
from sightwave.losses.contrastive import InfoNCE
from sightwave.losses.labels import CrossEntropy
from sightwave.preprocess import Average, Standardise, Step
from sightwave.recipe import Recipe, from_file
from sightwave.results import Result
from sightwave.splits import LeaveOneSubjectOut, Published, Shuffled
from sightwave.story import audited, run
from sightwave.targets.labels import Labels
from sightwave.targets.pixels import Pixels
from sightwave.train import Solve, Stage

PIXELS = Pixels(dim=16)
WORLD = Phantom(
    n_train=12,
    n_test=5,
    categories=("cat", "bus", "boat", "sofa"),
    train_repetitions=3,
    test_repetitions=4,
    ch_names=("P7", "P3", "Pz", "P4", "P8", "PO3", "POz", "PO4", "O1", "Oz", "O2"),
    sfreq=100.0,
    n_times=80,
    signal=3.0,
    n_subjects=2,
)
RIDGE = Recipe(
    dataset=WORLD,
    split=Published(),
    steps=(Average(), Standardise()),
    targets=(Labels(), PIXELS),
    encoder=partial(TimeBins, n_bins=20),
    stages=(Solve(spaces=("label", PIXELS.space)),),
    tasks=(Classify(), Retrieve(PIXELS.space, ks=(1, 5))),
    repetitions=(1, None),
)
QUICK = {"n_permutations": 99, "n_bootstrap": 99}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return run(RIDGE, name="toy", out=tmp_path_factory.mktemp("out"), **QUICK)


def test_every_score_stands_beside_chance_interval_p_and_ceiling(result):
    s = result.scores
    assert set(s.task) == {"classify", f"retrieve {PIXELS.space}"}
    assert set(s.subject) == {"all", "01", "02"}
    assert set(s.repetitions) == {"1", "4"}
    assert s[["chance", "low", "high", "p"]].notna().all(axis=None)
    top1 = s[(s.metric == "top-1") & (s.subject == "all")].set_index("repetitions")
    assert (top1.chance - 0.25).abs().max() < 0.05
    assert (top1.low <= top1.value).all()
    assert (top1.value <= top1.high).all()
    assert top1.value["4"] > top1.value["1"] > 0.3
    assert top1.p["4"] == pytest.approx(1 / 100)
    assert (top1.ceiling >= top1.value - 0.05).all()


def test_a_result_says_what_was_run_on_what_and_how_the_epoch_was_chosen(result):
    assert result.data["phantom"] is True
    assert result.data["n_trials"] == 2 * (48 * 3 + 20 * 4)
    assert result.recipe["split"]["use"].endswith("Published")
    assert result.recipe["encoder"]["n_bins"] == 20
    assert "leave-one-out on train" in result.selection
    assert result.audit["verdict"] in ("PASS", "WARN")
    assert result.opened == 1


def test_a_result_comes_back_from_disk(result, tmp_path):
    back = Result.load(result.save(tmp_path / "r"))
    pd.testing.assert_frame_equal(back.scores, result.scores, check_dtype=False)
    for a, b in zip(back.predictions, result.predictions, strict=True):
        np.testing.assert_array_equal(a.scores, b.scores)
        np.testing.assert_array_equal(a.truth, b.truth)
    assert back.recipe == result.recipe
    np.testing.assert_array_equal(back.extras["examples.eeg"], result.extras["examples.eeg"])


def test_without_a_signal_everything_is_at_chance(tmp_path):
    blind = replace(RIDGE, dataset=replace(WORLD, signal=0.0))
    s = run(blind, out=tmp_path, **QUICK).scores
    headline = s[s.metric.isin(["top-1", "recall@1"]) & (s.subject == "all")]
    assert (headline.p > 0.01).all()
    assert (headline.value < headline.chance + 0.15).all()


def test_each_opening_of_the_test_set_is_counted(tmp_path):
    counts = [run(RIDGE, out=tmp_path, subjects=("01",), **QUICK).opened for _ in range(2)]
    other = run(replace(RIDGE, tasks=(Classify(),)), out=tmp_path, subjects=("01",), **QUICK).opened
    assert [*counts, other] == [1, 2, 3]
    assert len(files.read_text(tmp_path / "ledger.jsonl").splitlines()) == 3


def test_a_leak_stops_the_run_before_the_test_set_is_opened(tmp_path):
    leaky = replace(RIDGE, split=Shuffled())
    with pytest.raises(LeakError, match="stimulus"):
        run(leaky, out=tmp_path, **QUICK)
    assert not (tmp_path / "ledger.jsonl").exists()
    named = run(replace(leaky, leaks=("stimulus", "block-design")), out=tmp_path, **QUICK)
    assert named.audit["verdict"] == "FAIL"
    assert "stimulus" in named.audit["allowed"]


def test_the_trap_scores_far_above_chance_without_any_signal_and_the_audit_fails_it(tmp_path):
    trap = find_trap()
    blocked = replace(
        trap, dataset=replace(trap.dataset, n_train=15, categories=WORLD.categories, ch_names=WORLD.ch_names)
    )
    r = run(blocked, out=tmp_path, subjects=("01",), **QUICK)
    assert r.audit["verdict"] == "FAIL"
    assert r.score("top-1") > 0.5
    with pytest.raises(LeakError, match="block-design"):
        run(replace(blocked, leaks=()), out=tmp_path, subjects=("01",), **QUICK)


def find_trap():
    from sightwave.recipes.block_design import recipe

    return recipe


def test_steps_learn_from_training_trials_alone(tmp_path):
    seen = []

    class Spy(Step):
        def fit(self, train):
            seen.append(set(train.events["part"]))
            return self

        def apply(self, trials):
            return trials

    run(replace(RIDGE, steps=(Spy(), *RIDGE.steps)), out=tmp_path, subjects=("01",), **QUICK)
    assert seen == [{"train"}]


def test_two_seeds_are_two_decoders_and_one_score(tmp_path):
    net = replace(
        RIDGE,
        encoder=partial(EEGProject, width=32),
        stages=(Stage(losses=(partial(InfoNCE, space=PIXELS.space), CrossEntropy), epochs=3),),
        tasks=(Classify(), Probe()),
        repetitions=(None,),
        subject_heads=True,
        split=Published(joint=True),
    )
    r = run(net, out=tmp_path, seeds=(0, 1), **QUICK)
    events = r.predictions[0].events
    assert set(events["seed"]) == {0, 1}
    first, second = (r.predictions[0].scores[(events["seed"] == k).to_numpy()] for k in (0, 1))
    assert not np.array_equal(first, second)
    assert set(r.scores.task) == {"classify", "probe label"}


def test_more_repetitions_than_there_are_means_all_and_the_order_asked_does_not_matter(tmp_path):
    asked = replace(RIDGE, repetitions=(None, 99, 2, 1))
    r = run(asked, out=tmp_path, subjects=("01",), **QUICK)
    assert [p.repetitions for p in r.predictions] == ["1", "1", "2", "2", "4", "4"]
    assert r.extras["examples.row"].max() < len(r.predictions[-1])


def test_data_without_repetitions_are_scored_once(tmp_path):
    once = replace(RIDGE, dataset=replace(WORLD, test_repetitions=1))
    assert set(run(once, out=tmp_path, subjects=("01",), **QUICK).scores.repetitions) == {"1"}


def test_a_gallery_may_hold_every_stimulus_of_the_experiment(tmp_path):
    wide = replace(RIDGE, tasks=(Retrieve(PIXELS.space, gallery="all"),), repetitions=(None,))
    r = run(wide, out=tmp_path, subjects=("01",), **QUICK)
    assert set(r.scores.n_candidates) == {4 * (12 + 5)}
    assert r.scores.chance[r.scores.metric == "recall@1"].max() < 0.06
    with pytest.raises(RecipeError, match="'test' or 'all'"):
        Retrieve(PIXELS.space, gallery="train")


def test_a_left_out_subject_cannot_have_a_head_of_its_own(tmp_path):
    with pytest.raises(RecipeError, match="whose heads it never trains"):
        run(replace(RIDGE, split=LeaveOneSubjectOut(0.3), subject_heads=True, leaks=("stimulus",)), out=tmp_path)
    assert not (tmp_path / "ledger.jsonl").exists()


def test_a_smoke_run_needs_no_data_of_the_recipe(tmp_path):
    r = run(RIDGE, out=tmp_path, smoke=True, **QUICK)
    assert r.data["smoke"] is True
    assert r.data["phantom"] is True


def test_an_unknown_subject_is_named(tmp_path):
    with pytest.raises(UnknownName, match="No subject named '99'"):
        run(RIDGE, out=tmp_path, subjects=("99",))


def test_audited_opens_nothing_and_trains_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    *_, verdict = audited(RIDGE)
    assert verdict.verdict in ("PASS", "WARN")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": TimeBins(4, 80)}, "seeds would share"),
        ({"stages": ()}, "at least one stage"),
        ({"repetitions": (0,)}, "counts from 1 on"),
        ({"targets": (Labels(),)}, "no target makes it"),
        ({"tasks": (Retrieve("clip-image/none"),)}, "which no stage trains"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(RecipeError, match=message):
        replace(RIDGE, **change)


def test_a_recipe_file_of_the_users_own_is_run_and_a_broken_one_is_explained(tmp_path):
    good = tmp_path / "mine.py"
    good.write_text("from sightwave.recipes.ridge import recipe\n")
    assert isinstance(from_file(good), Recipe)
    for text, message in (
        ("recipe = 3\n", "found int"),
        ("import nothing_here\n", "does not run"),
        ("recipe = (\n", "does not run"),
    ):
        (tmp_path / "bad.py").write_text(text)
        with pytest.raises(RecipeError, match=message):
            from_file(tmp_path / "bad.py")


KILLED = """
    import os, signal, sys
    from dataclasses import replace
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    import test_story as t
    from sightwave.train import loop
    loop.SAVE_EVERY_S = 0.0
    net = replace(t.RIDGE, encoder=t.partial(t.EEGProject, width=32), repetitions=(None,),
                  stages=(t.Stage(losses=(t.partial(t.InfoNCE, space=t.PIXELS.space), t.CrossEntropy), epochs=6),))
    calls = 0
    def progress(what, done, total):
        global calls
        calls += what == "training"
        if calls == {die_at}:
            os.kill(os.getpid(), signal.SIGKILL)
    t.run(net, name="killed", out=Path({out!r}), resume={resume}, progress=progress, **t.QUICK)
"""


def test_a_run_killed_at_any_moment_and_resumed_gives_the_same_bytes(tmp_path):
    def go(out, die_at=-1, resume=False):
        code = textwrap.dedent(
            KILLED.format(tests=os.path.dirname(__file__), die_at=die_at, out=str(out), resume=resume)
        )
        return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert go(whole).returncode == 0
    for die_at in (3, 8):  # in the first subject's training, then in the second's
        assert go(broken, die_at=die_at, resume=True).returncode == -signal.SIGKILL
        assert not [p for p in broken.glob("killed-*")]
    done = go(broken, resume=True)
    assert done.returncode == 0, done.stderr
    (a,), (b,) = whole.glob("killed-*"), broken.glob("killed-*")
    assert a.name == b.name
    assert files.read_json(a / "manifest.json") == files.read_json(b / "manifest.json")
    assert not list(broken.glob(".*"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "gpu"])
def test_a_device_that_is_not_there_is_refused_at_once(tmp_path, device):
    with pytest.raises(RecipeError, match=f"Device '{device}' is not there"):
        run(RIDGE, out=tmp_path, device=device)
    assert list(tmp_path.iterdir()) == []
