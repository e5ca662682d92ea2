"""The painted world: pictures, captions, the tiny CLIP, and the phantom as a data set."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sightwave.datasets.phantom import Phantom
from sightwave.errors import MissingFile, ModelMissing, RecipeError, UnknownName
from sightwave.phantom import concepts as P
from sightwave.phantom import tiny_clip as T
from sightwave.phantom.features import LEVELS, features
from sightwave.phantom.head import POSTERIOR17
from sightwave.phantom.pictures import paint, paint_many, paint_maps
from sightwave.results import Predictions

SMALL = Phantom(n_train=4, n_test=2, categories=("cat", "car", "boat"), ch_names=POSTERIOR17, sfreq=100.0, n_times=100)


# ---------------------------------------------------------------- pictures and captions


@pytest.mark.parametrize(
    ("concept", "exemplar", "digest"),
    [
        ("cat", 0, "0333180c8ab9bfaa"),
        ("bicycle", 3, "23538accb05bb9bf"),
        ("train", 7, "120a2f9d2eaa5b9d"),
        ("sheep", 12, "cbdd20c78cab59d1"),
        ("tvmonitor", 650, "5a4f0fff7a0a2263"),
        ("shape0000", 0, "c941d6f0feb92f20"),
        ("shape0042", 2, "670d589b1b0cf3a4"),
    ],
)
def test_pictures_are_the_ones_that_the_shipped_clip_was_trained_on(concept: str, exemplar: int, digest: str):
    rgb = paint(P.imagine(concept, exemplar))
    assert rgb.shape == (64, 64, 3)
    assert hashlib.sha256(rgb.tobytes()).hexdigest()[:16] == digest


def test_two_exemplars_differ_and_one_stays_the_same():
    a, b, c = paint(P.imagine("dog", 1)), paint(P.imagine("dog", 2)), paint(P.imagine("dog", 1))
    assert not np.array_equal(a, b)
    assert np.array_equal(a, c)


def test_an_unknown_concept_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownName, match="Did you mean 'bird'"):
        P.imagine("brid", 0)


def _many() -> list[P.Scene]:
    named = [P.imagine(c, i) for c in P.CATEGORIES for i in range(40)]
    return named + [P.imagine(c, i) for c in P.nameless(60) for i in range(3)]


def test_captions_tell_number_place_and_colour_of_the_scene():
    for s in _many():
        full = s.captions[0].split()
        number = next((n for n, word in enumerate(P.NUMBERS, 1) if full[0] == word), 1)
        assert number == s.count
        assert s.colour in full
        place = re.search(r"on the left|on the right|in the middle", s.captions[0])
        assert place is not None
        assert place[0] == ("on the left" if s.x < 0.41 else "on the right" if s.x > 0.59 else "in the middle")
        assert ("small" in full) == (s.scale < 0.2)
        assert ("large" in full) == (s.scale > 0.34)


def test_the_parts_of_a_nameless_concept_are_told_shown_and_its_own():
    for concept in P.nameless(20):
        one, other = P.imagine(concept, 0), P.imagine(concept, 5)
        assert one.parts == other.parts
        assert len(set(one.parts)) == 2
        assert all(part in one.captions[0].split() for part in one.parts)
        for part in one.parts:
            bare = replace(one, parts=tuple(p for p in one.parts if p != part))
            assert (np.abs(paint(one).astype(int) - paint(bare)).max(2) > 40).sum() > 8, (concept, part)


def test_nameless_concepts_with_the_same_parts_mean_more_alike():
    scenes = [P.imagine(c, 0) for c in P.nameless(150)]
    meaning = features(scenes, paint_many(scenes))[:, -LEVELS["semantic"] :]
    cosine = np.corrcoef(meaning)
    same = np.array([[a.parts == b.parts for b in scenes] for a in scenes])
    off = ~np.eye(len(scenes), dtype=bool)
    assert cosine[same & off].mean() > cosine[~same].mean() + 0.2


def test_objects_stay_in_the_frame_so_that_the_number_can_be_counted():
    for s in _many():
        half = 1.075 * s.scale * (s.count - 1) + 0.7 * s.scale
        assert s.x - half > -0.01
        assert s.x + half < 1.01


def test_the_colour_of_the_caption_is_on_the_pixels_and_at_the_place_of_the_caption():
    wrong = n = 0
    for i in range(120):
        s = P.imagine(("sofa", "bottle", "car", "bird", "boat", "flower")[i % 6], i)
        if s.texture != "plain" or s.colour in ("white", "grey", "black", "green", "blue"):
            continue  # these also occur in backgrounds
        far = np.abs(paint(s).astype(int) - P.COLOURS[s.colour]).max(2)
        _, columns = np.nonzero(far < 24)
        assert len(columns) > 10, s
        n += 1
        wrong += abs(columns.mean() / 64 - s.x) > 0.12
    assert n > 20
    assert wrong <= 0.05 * n


def test_true_maps_have_the_picture_of_plain_painting_and_bounded_values():
    s = P.imagine("horse", 5)
    rgb, depth, edges = paint_maps(s)
    assert np.array_equal(rgb, paint(s))
    for m in (depth, edges):
        assert m.shape == (64, 64)
        assert m.min() >= 0
        assert 0.3 < m.max() <= 1


# ---------------------------------------------------------------- the tiny CLIP


def test_the_tokenizer_knows_every_word_of_every_caption():
    tok = T.build_tokenizer()
    texts = sorted({caption for s in _many() for caption in s.captions})
    ids = tok(texts)["input_ids"]
    assert not any(tok.unk_token_id in row for row in ids)
    assert max(map(len, ids)) <= T.N_WORDS
    assert tok("a zebra")["input_ids"].count(tok.unk_token_id) == 1


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder, lines = tmp_path_factory.mktemp("clip") / "tiny", []
    T.train(folder, steps=2, n_scenes=24, batch_size=8, workers=1, report=lines.append)
    return folder, lines


def test_a_short_training_writes_a_whole_folder_and_its_log(trained: tuple[Path, list[str]]):
    from sightwave import files

    folder, lines = trained
    log = files.read_json(folder / "training_log.json")
    assert (log["done"], log["n_scenes"], log["log"][-1][0]) == (2, 24, 2)
    assert "24 phantom pictures" in lines[0]
    assert {"config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"} <= {
        p.name for p in folder.iterdir()
    }


def test_the_same_seed_trains_the_same_weights(trained: tuple[Path, list[str]], tmp_path: Path):
    T.train(tmp_path / "again", steps=2, n_scenes=24, batch_size=8, workers=1, report=lambda _: None)
    weights = [(f / "model.safetensors").read_bytes() for f in (trained[0], tmp_path / "again")]
    assert weights[0] == weights[1]


def test_a_training_goes_on_from_given_weights_and_its_log_says_so(trained: tuple[Path, list[str]], tmp_path: Path):
    from sightwave import files

    folder, _ = trained
    log = T.train(tmp_path / "on", start=folder, steps=1, n_scenes=24, batch_size=8, lr=1e-4, workers=1, report=print)
    before, after = ((T.load(f)[0].state_dict()) for f in (folder, tmp_path / "on"))
    apart = max((before[k] - after[k]).abs().max().item() for k in before)
    assert 0 < apart < 1e-3  # one step of Adam, and rounding to half precision
    assert log["start"]["sha256"] == files.sha256(folder / "model.safetensors")
    assert log["start"]["log"]["done"] == 2
    with pytest.raises(MissingFile, match="tiny CLIP to start from"):
        T.train(tmp_path / "x", start=tmp_path / "none", steps=1, n_scenes=24, batch_size=8)


def test_positions_are_about_standard_scores():
    where = T.positions(T.training_scenes(2000))
    assert where.shape == (2000, 4)
    np.testing.assert_allclose(where.mean(0), 0, atol=0.4)
    np.testing.assert_allclose(where.std(0), 1, atol=0.4)


def test_a_saved_clip_loads_through_transformers_and_embeds_alike(tmp_path: Path):
    model = T.build_model(width=32, depth=2, dim=16)
    T.save(model, tmp_path / "clip")
    again, tok = T.load(tmp_path / "clip")
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert (a.half().float() == b).all()
    rgb = paint_many([P.imagine("cat", i) for i in range(3)])
    v, hidden = T.embed_images(again, rgb, layers=True)
    assert v.shape == (3, 16)
    assert hidden.shape == (3, 3, 32)
    np.testing.assert_allclose(np.linalg.norm(v, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(v, T.embed_images(model.eval(), rgb)[0], atol=0.01)
    one, many = T.embed_texts(again, tok, ["a red car"]), T.embed_texts(again, tok, ["a red car", "two cats at night"])
    np.testing.assert_allclose(one[0], many[0], atol=1e-5)  # padding changes nothing


def test_pixels_are_those_of_the_saved_image_processor(tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    processor_class = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
    T.save(T.build_model(width=32, depth=1, dim=8), tmp_path / "clip")
    rgb = paint_many([P.imagine("boat", i) for i in range(2)])
    theirs = processor_class.from_pretrained(tmp_path / "clip")(list(rgb), return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(T.to_pixels(rgb).numpy(), theirs, atol=1e-4)


def test_a_folder_without_weights_is_refused(tmp_path: Path):
    with pytest.raises(ModelMissing, match=r"train"):
        T.load(tmp_path)


def test_a_training_without_a_full_batch_is_refused(tmp_path: Path):
    with pytest.raises(RecipeError, match="n_scenes=4"):
        T.train(tmp_path / "x", n_scenes=4, batch_size=8)


def test_the_shipped_clip_tells_unseen_pictures_apart():
    if not (T.WEIGHTS / "model.safetensors").exists():
        pytest.skip("the tiny CLIP's weights are not in this checkout")
    report = T.evaluate(n_groups=1, per_class=4, per_class_probe=8)
    assert report["recall_at_1_of_200"] > 0.85
    assert report["zero_shot_of_20"] > 0.5
    assert report["layers"]["layer4"]["background"] > 0.9
    for fact in ("kind", "colour", "count", "place"):
        assert report["embedding"][fact] > report["majority"][fact] + 0.1, fact
    assert report["megabytes"] < 4
    assert "phantom" in report["data"]


# ---------------------------------------------------------------- the data set


@pytest.fixture(scope="module")
def loaded():
    return SMALL.load(None, ("01", "02"))


def test_every_picture_is_shown_as_often_as_asked(loaded):
    trials, stimuli = loaded
    events = trials.events
    assert len(trials) == 2 * (3 * 4 * 4 + 3 * 2 * 16)
    counts = events.groupby(["subject", "stimulus", "part"]).size()
    assert set(counts.xs("train", level="part")) == {4}
    assert set(counts.xs("test", level="part")) == {16}
    assert not set(events.stimulus[events.part == "train"]) & set(events.stimulus[events.part == "test"])
    assert set(stimuli.ids) == set(events.stimulus)
    assert not events.duplicated(["subject", "stimulus", "repetition"]).any()
    sessions = events.groupby(["subject", "stimulus", "session"]).size().unstack()
    assert (sessions["1"] == sessions["2"]).all()


def test_trials_are_in_volts_of_a_plausible_size(loaded):
    trials, _ = loaded
    sd = trials.eeg.std((0, 2))
    assert trials.unit == "V"
    assert trials.eeg.dtype == np.float32
    assert sd.min() > 5e-6
    assert sd.max() < 20e-6


def test_trials_do_not_overlap_and_come_in_order_of_presentation():
    trials, _ = replace(SMALL, n_times=150).load(None, ("03",))
    for _, run in trials.events.groupby(["recording"]):
        assert run.onset.iloc[0] == 0
        assert (np.diff(run.onset) >= 1.5).all()
    many, _ = replace(SMALL, n_train=60, signal=0).load(None, ("03",))
    assert many.events.groupby("recording").size().between(100, 300).all()
    assert many.events.groupby("session")["run"].nunique().min() > 1


def test_stimuli_read_the_picture_and_its_captions(loaded):
    _, stimuli = loaded
    scene = P.imagine("car", 2)
    assert np.array_equal(stimuli.image("car-0002"), paint(scene))
    assert stimuli.captions("car-0002") == scene.captions
    assert stimuli.table.loc["car-0002", "label"] == "car"
    assert stimuli.image("car-0002").flags.writeable


def test_the_key_of_the_stimuli_changes_with_the_pictures_and_not_with_the_brain(loaded):
    keys = [
        replace(SMALL, signal=0, n_subjects=1, **kw).load(None, ("01",))[1].key
        for kw in ({}, {"seed": 3}, {"n_test": 3}, {"categories": ("cat", "car", "bus")})
    ]
    assert keys[0] == keys[1] == loaded[1].key
    assert len(set(keys)) == 3


def test_the_same_seed_gives_the_same_bytes_whoever_else_is_loaded(loaded):
    trials, _ = loaded
    alone, _ = SMALL.load(None, ("02",))
    assert alone.fingerprint() == trials.where(subject="02").fingerprint()
    other, _ = replace(SMALL, seed=1).load(None, ("02",))
    assert other.eeg.shape == alone.eeg.shape
    assert abs(np.corrcoef(other.eeg[:50].ravel(), alone.eeg[:50].ravel())[0, 1]) < 0.2


def test_a_blocked_order_shows_each_category_in_a_row_and_an_intermixed_one_does_not():
    for order, changes in (("blocked", (2, 2)), ("intermixed", (30, 72))):
        trials, _ = replace(SMALL, order=order, signal=0).load(None, ("01",))
        for _, session in trials.events.groupby("session"):
            n = (session.label.to_numpy()[1:] != session.label.to_numpy()[:-1]).sum()
            assert changes[0] <= n <= changes[1]


def test_more_sessions_than_repetitions_leave_no_session_empty():
    trials, _ = replace(SMALL, n_sessions=5, train_repetitions=2, test_repetitions=3, signal=0).load(None, ("01",))
    assert sorted(trials.events.session.unique()) == list("12345")
    assert len(trials) == 3 * 4 * 2 + 3 * 2 * 3


def test_subjects_are_named_and_strangers_refused():
    assert SMALL.subjects() == tuple(f"{i:02d}" for i in range(1, 11))
    with pytest.raises(UnknownName, match="subject of the phantom"):
        SMALL.load(None, ("11",))


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_train": 0}, {"n_train": 601}, {"n_test": 201}, {"signal": -1.0}, {"signal": float("nan")},
        {"order": "rapid"}, {"categories": ()}, {"categories": ("cat", "cat")}, {"categories": ("cat", "zebra")},
        {"ch_names": ("Fz", "Oz")}, {"sfreq": 0.0}, {"n_times": 4}, {"n_sessions": 0}, {"wander_uv": -2.0},
        {"n_subjects": 100}, {"seed": -1},
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(wrong: dict[str, object]):
    with pytest.raises(RecipeError, match=f"Phantom.{next(iter(wrong))}"):
        Phantom(**wrong)  # type: ignore[arg-type]


# ---------------------------------------------------------------- its ideal observer


def _predictions(world: Phantom, task: str, repetitions: str = "1") -> Predictions:
    events = world.load(None, ("01", "02"))[0].events
    events = events[events.part == "test"].reset_index(drop=True)
    column = "label" if task.startswith("classify") else "stimulus"
    candidates = np.array(sorted(set(events[column])))
    truth = np.searchsorted(candidates, events[column].to_numpy().astype(str))
    scores = np.zeros((len(events), len(candidates)), np.float32)
    return Predictions(task, repetitions, scores, truth, candidates, events)


@pytest.mark.parametrize("task", ["classify", "retrieve clip-image/tiny_clip"])
def test_the_ideal_observer_answers_above_chance_and_better_with_repetitions(task: str):
    world, hits = replace(SMALL, signal=0.3), []
    for repetitions in ("1", "16"):
        p = _predictions(world, task, repetitions)
        scores = world.ideal(p)
        assert scores is not None
        assert scores.shape == p.scores.shape
        assert np.array_equal(scores, world.ideal(p))
        hits.append((scores.argmax(1) == p.truth).mean())
    assert hits[0] > 1.3 / len(p.candidates)
    assert hits[1] > max(0.9, hits[0])


@pytest.mark.parametrize("task", ["classify", "retrieve x"])
def test_the_ideal_observer_guesses_without_a_signal(task: str):
    world = replace(SMALL, signal=0.0)
    p = _predictions(world, task)
    scores = world.ideal(p)
    assert scores is not None
    chance = 1 / len(p.candidates)
    assert abs((scores.argmax(1) == p.truth).mean() - chance) < 4 * np.sqrt(chance * (1 - chance) / len(p))


def test_the_ideal_observer_is_silent_on_what_it_does_not_know():
    p = _predictions(SMALL, "retrieve x")
    assert SMALL.ideal(replace(p, task="probe colour")) is None
    assert SMALL.ideal(replace(p, repetitions="all")) is None
    assert SMALL.ideal(replace(p, candidates=np.array(["?"] * len(p.candidates)))) is None
    stranger = p.events.assign(stimulus="cat-9999")
    assert SMALL.ideal(replace(p, events=pd.DataFrame(stranger))) is None


# ---------------------------------------------------------------- what is shipped


def test_all_that_is_shipped_is_smaller_than_12_megabytes():
    shipped = [p for p in Path(P.__file__).parent.rglob("*") if p.suffix in (".safetensors", ".json", ".npz")]
    assert any(p.parent.name == "tiny_clip" for p in shipped)
    assert sum(p.stat().st_size for p in shipped) < 12e6


def test_importing_the_phantom_reads_no_weights():
    script = """
import importlib, pkgutil, sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
import sightwave, sightwave.datasets.phantom, sightwave.phantom
for module in pkgutil.iter_modules(sightwave.phantom.__path__):
    importlib.import_module(f"sightwave.phantom.{module.name}")
print([name for name in opened if name.endswith(".safetensors")])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
