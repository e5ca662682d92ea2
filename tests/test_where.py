"""Where and when the information sits: what was planted in the phantom must show up, and nothing else."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sightwave.datasets.phantom import Phantom
from sightwave.decode.classify import Classify
from sightwave.decode.probe import Probe
from sightwave.encoders.project import EEGProject
from sightwave.encoders.spectrum import Spectrum
from sightwave.errors import RecipeError
from sightwave.losses.labels import CrossEntropy
from sightwave.preprocess import Average, PickChannels, Standardise
from sightwave.recipe import Recipe
from sightwave.report import page, places
from sightwave.results import Result
from sightwave.splits import Published
from sightwave.story import run
from sightwave.targets.labels import Labels
from sightwave.train import Stage
from sightwave.trials import Trials
from sightwave.where import linear, parts

WORLD = Phantom(
    n_train=40, n_test=15, categories=("cat", "bus", "boat", "flower"), train_repetitions=4, test_repetitions=8,
    ch_names=("Fp1", "Fp2", "F7", "F8", "AF3", "AF4", "P3", "P4", "PO7", "PO3", "POz", "PO4", "PO8", "O1", "Oz", "O2"),
    sfreq=100.0, n_times=100, signal=1.5, n_subjects=1, n_sessions=1,
)  # fmt: skip
NETWORK = Recipe(
    dataset=WORLD,
    split=Published(),
    steps=(Average(), Standardise()),
    targets=(Labels(),),
    encoder=partial(EEGProject, width=8),
    stages=(Stage(losses=(CrossEntropy,), epochs=1),),
    tasks=(Classify(),),
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("where")


@pytest.fixture(scope="module")
def found(saved) -> Result:
    return run(linear(NETWORK), where=True, out=saved, n_permutations=199, n_bootstrap=99)


def rows(found, by):
    return [r for r in found.data["where"] if r["by"] == by]


def test_the_planted_times_show_up(found):
    windows = rows(found, "time")
    value = {round(1e3 * r["low_edge"]): r["value"] for r in windows}
    best = max(value, key=value.get)
    assert 150 <= best <= 400  # the sources of categories peak at 290 ms, those of what is seen at 165
    for r in windows:  # the response is over after 600 ms
        if r["low_edge"] >= 0.65:
            assert r["p_holm"] > 0.05, r
    assert value[best] > 2 * np.mean([r["value"] for r in windows if r["low_edge"] >= 0.65])


def test_the_planted_places_and_rhythms_show_up(found):
    region = {r["name"]: r for r in rows(found, "region")}
    assert set(region) == {"frontal", "parietal", "occipital"}
    assert region["occipital"]["value"] > region["frontal"]["value"]
    assert region["occipital"]["p_holm"] < 0.05
    band = {r["name"]: r for r in rows(found, "frequency")}
    assert band["4 to 8 Hz"]["p_holm"] < 0.05
    assert band["30 to 45 Hz"]["p_holm"] > 0.05  # no response is as fast
    assert band["4 to 8 Hz"]["value"] > band["13 to 30 Hz"]["value"]


def test_every_part_stands_beside_chance_and_interval_and_p_is_corrected(found):
    for r in found.data["where"]:
        assert r["low"] <= r["value"] <= r["high"]
        assert r["chance"] == pytest.approx(0.25, abs=0.05)
        assert r["p"] <= r["p_holm"]


def test_the_record_and_the_page_hold_the_panels(found, saved):
    (folder,) = saved.glob("recipe-*")
    assert Result.load(folder).data["where"] == found.data["where"]
    told = page.render([found], title="x")
    assert "Where and when the information sits" in told
    assert "by electrodes" in told
    assert "occipital (8 channels)" in {line["name"] for line in places.lines(found.data["where"])}
    assert "phantom" in places.title(found)
    assert "where the information sits" in (saved / "ledger.jsonl").read_text()


def test_parts_follow_the_montage_and_the_sampling():
    def of(names, sfreq, n_times, tmin=0.0):
        events = {"subject": "1", "session": "1", "run": "1", "stimulus": "s", "label": "l"}
        eeg = np.zeros((2, len(names), n_times), np.float32)
        return parts(Trials(eeg, pd.DataFrame([events] * 2), names, sfreq, tmin))

    short = of(("E1", "E2"), 100.0, 50, tmin=-0.1)
    assert {p.by for p in short} == {"time", "frequency"}  # such names are no places
    assert short[0].name == "-100 to 0 ms"
    assert [p.name for p in short if p.by == "frequency"] == ["4 to 8 Hz", "8 to 13 Hz", "13 to 30 Hz", "30 to 45 Hz"]
    assert [p.name for p in of(("Oz",), 60.0, 60) if p.by == "frequency"][-1] == "13 to 30 Hz"
    windows = [p for p in of(("Oz",), 250.0, 250) if p.by == "time"]
    assert len(windows) == 19
    assert windows[-1].high == pytest.approx(1.0, abs=0.05)


def test_channels_are_picked_before_a_whitening_mixes_them_and_times_are_cut_behind_a_baseline():
    made = linear(replace(NETWORK, steps=(PickChannels(names=("Oz",)), *NETWORK.steps)))
    assert isinstance(made.steps[0], PickChannels)
    assert made.stages[0].spaces == ("label",)
    with pytest.raises(RecipeError, match="needs a task that reads a space"):
        linear(replace(NETWORK, tasks=(Probe(),)))


def test_a_band_hears_its_own_rhythm_only():
    t = torch.arange(200) / 100
    tone = torch.sin(2 * torch.pi * 10 * t + 0.3)[None, None]
    size = {
        f: Spectrum(1, 200, sfreq=100.0, l_freq=f, h_freq=f + 5)(tone, torch.zeros(1)).norm() for f in (1, 8, 20, 40)
    }
    assert size[8] > 100 * max(size[20], size[40])
    assert size[8] > 20 * size[1]
    with pytest.raises(RecipeError, match="no coefficient from 11 to 12 Hz"):
        Spectrum(1, 50, sfreq=250.0, l_freq=11.0, h_freq=12.0).width  # noqa: B018
