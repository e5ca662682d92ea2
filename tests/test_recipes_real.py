"""The recipes for the field's data sets run on phantoms in those layouts, and say what is missing or wrong."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import savemat
from typer.testing import CliRunner

from sightwave import cli
from sightwave.datasets.cvpr40 import Cvpr40
from sightwave.describe import describe
from sightwave.errors import DataError, LeakError, MissingFile, ModelMissing, RecipeError
from sightwave.house import find, load_recipe, with_settings
from sightwave.phantom import tiny_clip
from sightwave.phantom.layouts import write_cvpr40, write_mss, write_things_eeg2
from sightwave.preprocess import Whiten
from sightwave.recipe import small, with_clip
from sightwave.recipes import cvpr40, demo, mss, mss_sessions, stanford, things_eeg2
from sightwave.results import Result
from sightwave.story import audited, run

FEW = {"n_permutations": 49, "n_bootstrap": 49}


def brief(recipe, epochs=2):
    """Cut the training to so many epochs a stage."""
    return replace(recipe, stages=tuple(replace(s, epochs=epochs) for s in recipe.stages))


# ---- THINGS-EEG2


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    out = tmp_path_factory.mktemp("things")
    write_things_eeg2(out, n_concepts=6, per_concept=4, n_test=5, test_repetitions=8, variants=("nice", "official"))
    return out


def test_things_eeg2_runs_from_the_command_line_and_averages_as_it_says(things, tmp_path, monkeypatch):
    monkeypatch.setattr(things_eeg2, "recipe", brief(things_eeg2.recipe))
    line = ["run", "things_eeg2", "--data", things, "--clip", "phantom", "--set", "variant=nice", "--out", tmp_path]
    done = CliRunner().invoke(cli.app, list(map(str, line)))
    assert done.exit_code == 0, done.output
    result = Result.load(next(tmp_path.glob("things_eeg2-*")))
    assert result.audit["verdict"] == "PASS"
    assert result.data["phantom"]
    assert [p.repetitions for p in result.predictions] == ["1", "2", "4", "8"]
    assert {len(p.candidates) for p in result.predictions} == {5}
    assert result.predictions[-1].scores.shape == (5, 5)
    assert result.selection == "fixed: the last of 2 epochs"


@pytest.mark.parametrize("name", ["nice", "atms", "ubp", "multi_blur", "blur_evnet", "shallow", "best"])
def test_each_system_of_things_eeg2_has_a_variant_for_the_real_files(name):
    module = find("recipes", name)
    real = module.variants["things-eeg2"]()
    text = json.dumps(describe(real.targets))
    assert isinstance(real.dataset, things_eeg2.ThingsEeg2)
    assert real.repetitions == (1, 2, 4, 10, 20, 40, None)
    assert not any(isinstance(step, Whiten) for step in real.steps)  # the files are whitened already
    assert '"phantom"' not in text
    assert '"openai/clip' in text or '"laion/' in text
    assert real.tasks[0].space == real.targets[0].space == real.spaces[0]
    assert all(stage.keep == "last" for stage in (*real.stages, *module.recipe.stages))
    for make in module.variants.values():
        json.dumps(describe(make()))


@pytest.mark.parametrize("name", ["ubp", "multi_blur"])
def test_mixtures_and_chosen_blurs_run_on_the_real_layout(name, things, tmp_path):
    real = brief(with_clip(find("recipes", name).variants["things-eeg2"](), "phantom"))
    real = replace(real, dataset=with_settings(real.dataset, {"variant": "nice"}))
    result = run(real, data=things, out=tmp_path, subjects=("01",), n_permutations=19, n_bootstrap=19)
    assert result.audit["verdict"] == "PASS"
    exact = [p for p in result.predictions if p.task == real.tasks[0].name]
    assert [p.scores.shape for p in exact] == [(40, 5), (5, 5), (5, 5), (5, 5)]
    assert result.opened == 1


def test_best_mixes_layers_tunes_its_tower_and_answers_together_on_the_real_layout(things, tmp_path):
    tiny_clip.save(tiny_clip.build_model(width=32, depth=12, dim=16), tmp_path / "deep")
    real = brief(with_clip(find("recipes", "best").variants["things-eeg2"](), tmp_path / "deep"))
    real = replace(
        real, dataset=with_settings(real.dataset, {"variant": "nice"}), ensemble=2, repetitions=(1, None),
        stages=(replace(real.stages[0], batch_size=8),),
    )  # fmt: skip
    result = run(real, data=things, out=tmp_path, subjects=("01",), n_permutations=19, n_bootstrap=19)
    assert result.audit["verdict"] == "PASS"
    assert [p.scores.shape for p in result.predictions if p.task == real.tasks[0].name] == [(40, 5), (5, 5)]
    lora = 12 * 32 * (4 * (32 + 32) + 2 * (32 + 128))  # blocks x rank x (attention, MLP)
    assert result.parameters["towers"] > 2 * lora
    assert any("2 decoders answer together" in note for note in result.data["notes"])


def test_the_official_files_stop_unless_the_leak_is_named(things):
    official = with_settings(things_eeg2.recipe.dataset, {"variant": "official"})
    with pytest.raises(LeakError, match="fitted"):
        audited(replace(things_eeg2.recipe, dataset=official), data=things)[-1].raise_if_failed()
    verdict = audited(replace(things_eeg2.fitted(), dataset=official), data=things)[-1]
    verdict.raise_if_failed()
    assert (verdict.verdict, verdict.allowed) == ("FAIL", ("fitted",))


def test_a_folder_without_pictures_says_where_to_get_them_before_anything_is_trained(things, tmp_path):
    (tmp_path / "Image_set").mkdir()
    (tmp_path / "Image_set" / "image_metadata.npy").symlink_to(things / "Image_set" / "image_metadata.npy")
    (tmp_path / "eeg").symlink_to(things / "Preprocessed_data_250Hz")
    with pytest.raises(DataError, match=r"holds no pictures, of which clip-image/tiny_clip is made.*osf\.io/y63gw"):
        run(with_clip(things_eeg2.recipe, "phantom"), data=tmp_path, out=tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.jsonl")), "the test set was opened"


def test_without_weights_it_stops_before_the_data_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ModelMissing, match=r"sightwave run --clip FOLDER[^$]*hf download nobody/no-such-clip"):
        run(with_clip(things_eeg2.recipe, "nobody/no-such-clip"), data=tmp_path / "nowhere", out=tmp_path)


def test_exchanging_the_clip_renames_its_space_everywhere(tmp_path):
    recipe = with_clip(demo.recipe, tmp_path)
    image, caption = f"clip-image/{tmp_path.name}", f"clip-text/{tmp_path.name}"
    assert recipe.spaces == (image, caption, "label")
    assert [task.spaces for task in recipe.tasks] == [("label",), (image,), (caption,)]
    assert with_clip(recipe, "phantom").spaces == demo.recipe.spaces
    with pytest.raises(RecipeError, match="no CLIP to exchange"):
        with_clip(mss.recipe, tmp_path)


def test_a_smoke_run_needs_no_weights_of_anybody(tmp_path):
    (target,) = things_eeg2.recipe.targets
    deep = replace(target, layer=20)
    text = {"targets": (deep,), "tasks": (replace(things_eeg2.recipe.tasks[0], space=deep.space),)}
    stage = replace(demo.recipe.stages[0], losses=demo.recipe.stages[0].losses[:1])
    loss = type(stage.losses[0])(stage.losses[0].func, space=deep.space)
    shrunk = small(replace(things_eeg2.recipe, **text, stages=(replace(stage, losses=(loss,)),)))
    assert shrunk.spaces == ("clip-image/tiny_clip",)


# ---- MSS


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    out = tmp_path_factory.mktemp("mss")
    write_mss(out, subjects=(2, 3), runs=1, trials=20, per_class=2)
    for path in out.rglob("sub-03_ses-05*"):
        path.unlink()
    return out


def test_mss_trains_on_three_sessions_chooses_on_the_fourth_and_tests_the_fifth(recordings, tmp_path):
    (split,) = audited(mss.recipe, data=recordings)[3]
    sessions = {part: set(getattr(split, part).events["session"]) for part in ("train", "val", "test")}
    assert sessions == {"train": {"01", "02", "03"}, "val": {"04"}, "test": {"05"}}
    assert set(split.test.events["subject"]) == {"02"}, "subject 03 has no fifth session, and trains only"
    result = run(brief(mss.recipe), data=recordings, out=tmp_path, **FEW)
    assert result.audit["verdict"] == "WARN", "sessions share pictures"
    assert len(result.predictions[0].scores) == 20
    assert "subject(s) 03" in " ".join(result.data["notes"])


def test_mss_sessions_leaves_out_each_session_of_each_subject(recordings, tmp_path):
    names = [s.name for s in audited(mss_sessions.recipe, data=recordings)[3]]
    assert names == [f"sub-{s} ses-0{k}" for s, n in (("02", 5), ("03", 4)) for k in range(1, n + 1)]
    result = run(mss_sessions.recipe, data=recordings, subjects=("03",), out=tmp_path, **FEW)
    assert len(result.predictions[0].scores) == 80
    assert result.scores.value.between(0, 1).all()


def test_mss_without_a_fifth_session_says_which_there_are(recordings):
    with pytest.raises(RecipeError, match=r"test part .* is empty\..*4 sessions \('01', '02', '03', '04'\)"):
        audited(mss.recipe, data=recordings, subjects=("03",))


# ---- EEGCVPR40


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    out = tmp_path_factory.mktemp("cvpr40")
    write_cvpr40(out, subjects=(1,), n_classes=5, per_class=12, n_lost=2, signal=0.0)
    return out


def test_cvpr40_scores_high_on_a_brain_that_saw_nothing_and_says_so(blocks, tmp_path):
    done = CliRunner().invoke(cli.app, ["run", "cvpr40", "--data", str(blocks), "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "not evidence of decoding" in done.output
    assert "block-design: 1 subject(s) saw classes in blocks" in " ".join(done.output.split())
    result = Result.load(next(tmp_path.glob("cvpr40-*")))
    assert result.score("top-1") > 0.6, "five classes, chance 0.2, no signal of the picture at all"
    assert (result.audit["verdict"], result.audit["allowed"]) == ("FAIL", ["block-design"])


def test_the_audit_of_cvpr40_tells_what_the_recipe_allows(blocks):
    done = CliRunner().invoke(cli.app, ["audit", "cvpr40", "--data", str(blocks)])
    assert done.output.startswith("FAIL")
    assert "every table carries the mark LEAK" in done.output
    with pytest.raises(LeakError, match="block-design"):
        audited(replace(cvpr40.recipe, leaks=()), data=blocks)[-1].raise_if_failed()


def test_cvpr40_without_its_split_says_where_it_belongs(tmp_path, blocks):
    (tmp_path / "eeg_5_95_std.pth").symlink_to(blocks / "eeg_5_95_std.pth")
    with pytest.raises(MissingFile, match=r"No block_splits_by_image_all\.pth .* belongs beside the EEG"):
        audited(cvpr40.recipe, data=tmp_path)


@pytest.mark.parametrize("text", ["x", "1.5", "true", "null"])
def test_a_setting_of_the_wrong_kind_is_refused(text):
    with pytest.raises(RecipeError, match="fold takes a whole number, such as 0"):
        with_settings(Cvpr40(), {"fold": text})
    with pytest.raises(RecipeError, match=r"crop takes values such as \[20, 460\]"):
        with_settings(Cvpr40(), {"crop": "a,b"})
    assert with_settings(Cvpr40(), {"crop": "0, 450", "fold": "2"}) == Cvpr40(crop=(0, 450), fold=2)


# ---- Stanford


def test_stanford_tests_photographs_that_were_never_trained_on(tmp_path):
    rng = np.random.default_rng(0)
    picture = rng.permutation(np.repeat(np.arange(1, 73), 3))
    category = (picture - 1) // 12 + 1
    eeg = rng.normal(0, 8, (124, 32, len(picture)))
    eeg[:, 8:16] += 4 * rng.normal(0, 1, (124, 6))[:, None, category - 1]  # a planted response to the category
    savemat(tmp_path / "S1.mat", {"X_3D": eeg, "categoryLabels": category, "exemplarLabels": picture, "Fs": 62.5})
    name, recipe = load_recipe("stanford")
    (split,) = audited(recipe, data=tmp_path)[3]
    known, tested = set(split.train.events["stimulus"]), set(split.test.events["stimulus"])
    assert (len(known), len(tested), len(known & tested)) == (54, 18, 0)
    assert split.test.events.drop_duplicates("stimulus")["label"].value_counts().tolist() == [3] * 6
    result = run(stanford.recipe, name=name, data=tmp_path, out=tmp_path / "out", **FEW)
    assert result.audit["verdict"] == "PASS"
    assert result.score("top-1", repetitions="1") > 0.6
