"""The sheet that shows the phantom: one PNG, sources where they are, maps that follow the brain."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from sightwave.cli import app
from sightwave.phantom.brain import Brain
from sightwave.phantom.features import LEVELS, N_FEATURES
from sightwave.phantom.head import THINGS63, load_head
from sightwave.phantom.poster import _differing, _flat, _map, locate

INNER = {"left": 0.035, "right": 0.99, "top": 0.01, "bottom": 0.99}


@pytest.fixture(scope="module")
def sheet(tmp_path_factory) -> np.ndarray:
    path = tmp_path_factory.mktemp("show") / "phantom.png"
    done = CliRunner().invoke(app, ["phantom", "show", "--out", str(path)])
    assert done.exit_code == 0, done.output
    assert path.name in done.output
    assert [p.name for p in path.parent.iterdir()] == ["phantom.png"]
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def test_the_command_writes_one_readable_picture_and_nothing_else(sheet):
    assert sheet.shape == (2010, 1680, 3)


def test_nothing_runs_over_the_rim_of_the_sheet(sheet):
    blank = (sheet > 250).all(2)
    height, width = blank.shape
    assert blank[:, : int(INNER["left"] * width)].all()
    assert blank[:, int(INNER["right"] * width) :].all()
    assert blank[: int(INNER["top"] * height)].all()
    assert blank[int(INNER["bottom"] * height) :].all()


def test_sources_are_found_where_they_were_put():
    head, rng = load_head(), np.random.default_rng(0)
    rows = [head.ch_names.index(c) for c in THINGS63]
    true = rng.normal(size=(30, 3))
    true[:, 2] = np.abs(true[:, 2])
    true /= np.linalg.norm(true, axis=1, keepdims=True)
    columns = np.stack([head.dipole(p, rng.normal(size=3), rows) for p in true])
    angle = np.degrees(np.arccos(np.clip((locate(columns, THINGS63) * true).sum(1), -1, 1)))
    assert angle.max() < 8


def test_early_sources_lie_at_the_back_and_semantic_ones_spread_forward():
    waves = Brain(1).responses()[1:]
    columns = waves[np.arange(N_FEATURES), :, np.abs(waves).max(1).argmax(1)]
    front = locate(columns, THINGS63)[:, 1]
    level = np.repeat(list(LEVELS), list(LEVELS.values()))
    means = [front[level == name].mean() for name in ("early", "mid", "semantic")]
    assert means == sorted(means)
    assert means[0] < -0.8


def test_what_differs_between_pictures_is_the_spread_of_their_responses():
    brain = Brain(2, ch_names=("Oz", "Pz", "P7"), sfreq=100.0, n_times=60)
    z = np.random.default_rng(0).normal(size=(20_000, N_FEATURES)).astype(np.float32)
    spread = np.tensordot(z, brain.responses()[1:], 1).std(0)
    np.testing.assert_allclose(_differing(brain), spread, atol=0.03 * spread.max())
    parts = [_differing(brain, level) ** 2 for level in LEVELS]
    np.testing.assert_allclose(np.sqrt(sum(parts)), _differing(brain), rtol=1e-4)


def test_a_scalp_map_has_the_electrodes_values_where_they_sit():
    from matplotlib.figure import Figure

    brain = Brain(1)
    where, values = _flat(brain), np.random.default_rng(1).normal(size=63)
    assert np.linalg.norm(where, axis=1).max() < 1.05, "every electrode lies on the drawn head"
    drawn = _map(Figure().add_subplot(), where, values, "RdBu_r", -3, 3).get_array()
    at = np.round((where + 1.1) / 2.2 * 95).astype(int)
    assert np.corrcoef(drawn[at[:, 1], at[:, 0]], values)[0, 1] > 0.98
    oz, fpz = where[THINGS63.index("Oz")], where[THINGS63.index("AFz")]
    assert oz[1] < -0.6 < 0.4 < fpz[1], "the nose is up"


def test_another_subject_has_another_brain_and_sees_the_same_pictures(sheet, tmp_path: Path):
    path = tmp_path / "other.png"
    assert CliRunner().invoke(app, ["phantom", "show", "--out", str(path), "--subject", "2"]).exit_code == 0
    with Image.open(path) as image:
        other = np.asarray(image.convert("RGB"))
    pictures, rest = slice(180, 800), slice(900, None)
    assert np.array_equal(other[pictures], sheet[pictures])
    assert not np.array_equal(other[rest], sheet[rest])
