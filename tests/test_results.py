import errno
import json
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sightwave import files
from sightwave.errors import DataError, MissingFile, ShapeError
from sightwave.results import SCORE_COLUMNS, Predictions, Result


def predictions(n=6, n_candidates=4, seed=0, task="retrieve clip-image/tiny", repetitions="1") -> Predictions:
    rng = np.random.default_rng(seed)
    events = pd.DataFrame(
        {
            "subject": ["01", "02"] * (n // 2),
            "session": "1",
            "run": "03",
            "stimulus": [f"{i:04d}" for i in range(n)],
            "label": ["cat", 'dog, "wet"', "NA"] * (n // 3),
            "trial": [f"{i:06d}" for i in range(n)],
            "fold": "sub-01 run-03",
            "seed": 0,
            "onset": rng.random(n),
        }
    )
    scores = rng.normal(size=(n, n_candidates)).astype(np.float32)
    candidates = np.array([f"{i:04d}" for i in range(n_candidates)])
    return Predictions(task, repetitions, scores, rng.integers(0, n_candidates, n), candidates, events)


@pytest.fixture
def result() -> Result:
    row = dict.fromkeys(SCORE_COLUMNS, 0.5) | {
        "task": "classify",
        "metric": "top1",
        "repetitions": "1",
        "subject": "all",
    }
    scores = pd.DataFrame(
        [
            row | {"value": 1 / 3, "ceiling": np.nan},
            row | {"value": 0.1, "repetitions": "16"},
            row | {"value": 0.2, "subject": "01"},
            row | {"value": 0.7, "metric": "kappa"},
            row | {"value": 0.6, "metric": "recall@1", "task": "retrieve clip-image/tiny (exact)"},
        ],
        columns=list(SCORE_COLUMNS),
    )
    return Result(
        name="demo",
        recipe={"use": "sightwave.recipe.Recipe", "stages": [{"lr": 1e-3}]},
        data={"fingerprint": "abc", "phantom": True},
        subjects=("01", "02"),
        seeds=(0, 1),
        scores=scores,
        predictions=(predictions(), predictions(seed=1, task="classify", repetitions="16")),
        audit={"verdict": "PASS", "findings": [], "allowed": []},
        opened=2,
        selection="last epoch",
        extras={"loss": np.arange(5.0), "picture/one": np.zeros((2, 2, 3), np.uint8)},
        provenance={"seconds": 1.5},
    )


def test_a_result_comes_back_as_it_was(result, tmp_path):
    assert result.save(tmp_path / "r") == tmp_path / "r"
    back = Result.load(tmp_path / "r")
    for field in ("name", "recipe", "data", "subjects", "seeds", "audit", "opened", "selection", "provenance"):
        assert getattr(back, field) == getattr(result, field), field
    pd.testing.assert_frame_equal(back.scores, result.scores, check_dtype=False)
    assert list(back.extras) == list(result.extras)
    for name, x in result.extras.items():
        assert back.extras[name].dtype == x.dtype
        np.testing.assert_array_equal(back.extras[name], x)
    assert len(back.predictions) == 2
    for a, b in zip(back.predictions, result.predictions, strict=True):
        assert (a.task, a.repetitions) == (b.task, b.repetitions)
        assert a.candidates.tolist() == b.candidates.tolist()
        np.testing.assert_array_equal(a.scores, b.scores)
        np.testing.assert_array_equal(a.truth, b.truth)
        pd.testing.assert_frame_equal(a.events, b.events, check_dtype=False)


def test_ids_that_look_like_numbers_or_like_nothing_stay_text(result, tmp_path):
    events = Result.load(result.save(tmp_path / "r")).predictions[0].events
    assert events["run"].tolist() == ["03"] * 6
    assert events["stimulus"].tolist()[:2] == ["0000", "0001"]
    assert events["label"].tolist()[:3] == ["cat", 'dog, "wet"', "NA"]


def test_saving_twice_gives_equal_bytes(result, tmp_path):
    result.save(tmp_path / "one")
    result.save(tmp_path / "two")
    names = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert "manifest.json" in names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_loading_and_saving_again_changes_no_byte(result, tmp_path):
    Result.load(result.save(tmp_path / "one")).save(tmp_path / "two")
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    "name", ["result.json", "scores.csv", "predictions.safetensors", "events-0.csv", "events-1.csv"]
)
def test_a_changed_file_is_found_and_named(name, result, tmp_path):
    path = result.save(tmp_path / "r") / name
    content = path.read_bytes()
    path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    with pytest.raises(DataError, match=f"{name}: changed since it was written"):
        Result.load(tmp_path / "r")


@pytest.mark.parametrize(
    "name",
    ["result.json", "scores.csv", "predictions.safetensors", "events-0.csv", "manifest.json", "provenance.json"],
)
def test_a_missing_file_is_named(name, result, tmp_path):
    (result.save(tmp_path / "r") / name).unlink()
    with pytest.raises(MissingFile, match=name):
        Result.load(tmp_path / "r")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingFile, match=r"No result folder at .*nothing"):
        Result.load(tmp_path / "nothing")


@pytest.mark.parametrize("manifest", ["[]", "{}", '{"../../secret": "0"}', '"x"'])
def test_a_manifest_that_vouches_for_too_little_is_refused(manifest, result, tmp_path):
    (result.save(tmp_path / "r") / "manifest.json").write_text(manifest)
    with pytest.raises(DataError, match="manifest"):
        Result.load(tmp_path / "r")


def test_a_crash_while_saving_leaves_the_old_result(result, tmp_path, monkeypatch):
    result.save(tmp_path / "r")

    def refuse(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="No space"):
            replace(result, name="other").save(tmp_path / "r")
    assert Result.load(tmp_path / "r").name == "demo"
    assert [p.name for p in tmp_path.iterdir()] == ["r"]


def test_provenance_may_differ_and_nothing_else_notices(result, tmp_path):
    folder = result.save(tmp_path / "r")
    assert "provenance.json" not in files.read_json(folder / "manifest.json")
    (folder / "provenance.json").write_text(json.dumps({"seconds": 9}))
    assert Result.load(folder).provenance == {"seconds": 9}


def test_a_score_is_looked_up(result):
    assert result.score("top1", repetitions="1") == pytest.approx(1 / 3)
    assert result.score("top1", repetitions="16") == 0.1
    assert result.score("top1", subject="01") == 0.2
    assert result.score("kappa") == 0.7
    assert result.score("recall@1", task="clip-image/tiny (exact)") == 0.6


@pytest.mark.parametrize(
    ("asked", "n"), [({"metric": "top1"}, 2), ({"metric": "f1"}, 0), ({"metric": "kappa", "task": "retrieve"}, 0)]
)
def test_a_question_with_no_single_answer_is_refused(asked, n, result):
    with pytest.raises(DataError, match=f"^{n} scores fit metric='{asked['metric']}'"):
        result.score(**asked)


def test_a_nan_in_the_record_is_refused_before_it_is_written(result, tmp_path):
    with pytest.raises(ValueError, match="Out of range"):
        replace(result, data={"mean": float("nan")}).save(tmp_path / "r")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(6, 5), (5, 4), (6,)])
def test_predictions_that_disagree_are_refused(shape):
    p = predictions()
    with pytest.raises(ShapeError, match=r"= \(6, 4\), got"):
        replace(p, scores=np.zeros(shape, np.float32))
    with pytest.raises(ShapeError, match="with 5 events"):
        replace(p, events=p.events[:5])


def test_predictions_are_selected_together():
    p = predictions()
    kept = p[(p.events["subject"] == "02").to_numpy()]
    assert len(kept) == 3
    np.testing.assert_array_equal(kept.scores, p.scores[1::2])
    np.testing.assert_array_equal(kept.truth, p.truth[1::2])
    assert kept.events["stimulus"].tolist() == ["0001", "0003", "0005"]
    assert kept.events.index.tolist() == [0, 1, 2]
