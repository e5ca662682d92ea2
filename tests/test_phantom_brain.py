"""The phantom's brain: exact noise, an ideal observer that is right, a null that is empty."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightwave import files
from sightwave.errors import RecipeError, ShapeError, UnknownName
from sightwave.phantom import concepts as P
from sightwave.phantom import ideal
from sightwave.phantom.brain import Brain
from sightwave.phantom.features import LEVELS, N_FEATURES, features
from sightwave.phantom.head import CVPR128, HEAD, MSS122, POSTERIOR17, THINGS63, build_head, load_head
from sightwave.phantom.pictures import paint_many

SMALL = Brain(ch_names=POSTERIOR17, sfreq=100.0, n_times=100, signal=0.3)


def _z(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, N_FEATURES)).astype(np.float32)


# ---------------------------------------------------------------- head and features


def test_the_shipped_head_is_what_build_head_computes(tmp_path: Path):
    pytest.importorskip("mne")
    build_head(tmp_path / "head.safetensors")
    (new, meta), (old, old_meta) = files.load_tensors(tmp_path / "head.safetensors"), files.load_tensors(HEAD)
    assert meta["ch_names"] == old_meta["ch_names"]
    for name in old:
        np.testing.assert_allclose(new[name].astype(float), old[name].astype(float), atol=2e-3)


def test_the_head_has_the_channels_of_the_field_and_is_seen_from_above():
    assert (len(THINGS63), len(POSTERIOR17), len(MSS122), len(CVPR128)) == (63, 17, 122, 128)
    assert len(set(CVPR128)) == 128
    head = load_head()
    place = dict(zip(head.ch_names, head.where, strict=True))
    assert place["Oz"][1] < -0.7
    assert place["Fpz"][1] > 0.7
    assert place["Cz"][2] > 0.7
    assert place["C5"][0] < -0.5 < 0.5 < place["C6"][0]


def test_a_dipole_is_strongest_near_its_place_and_of_unit_size():
    rows = [load_head().ch_names.index(c) for c in THINGS63]
    back = load_head().dipole(np.array((0, -1.0, 0.1)), np.array((0, -1.0, 0.1)), rows)
    assert np.isclose((back**2).mean(), 1)
    assert THINGS63[int(np.abs(back).argmax())] in ("O1", "Oz", "O2", "POz")


def test_features_of_unseen_pictures_are_centred_and_of_unit_variance():
    scenes = [P.imagine(P.CATEGORIES[i // 2 % 20] if i % 2 else f"shape{80000 + i}", 700 + i) for i in range(300)]
    z = features(scenes, paint_many(scenes))
    assert z.shape == (300, N_FEATURES)
    first = 0
    for n in LEVELS.values():
        level = z[:, first : first + n]
        assert abs(level.mean()) < 0.1
        assert 0.85 < level.var(0).mean() < 1.15
        first += n


def test_early_features_come_from_the_pixels_and_the_others_from_the_scene():
    scenes = [P.imagine("cat", i) for i in range(4)]
    a, b = (features(scenes, rgb) for rgb in (paint_many(scenes), np.zeros((4, 64, 64, 3), np.uint8)))
    assert not np.allclose(a[:, : LEVELS["early"]], b[:, : LEVELS["early"]])
    assert np.array_equal(a[:, LEVELS["early"] :], b[:, LEVELS["early"] :])


# ---------------------------------------------------------------- recording


@pytest.mark.parametrize("n_times", [100, 99])
def test_whitened_noise_has_unit_variance(n_times: int):
    brain, z = replace(SMALL, n_times=n_times, signal=1.0), _z(400)
    x = brain.record(z, nuisances=False)
    assert x.dtype == np.float32
    residual = ideal.whiten(brain, x, common=True) - ideal.whiten(brain, ideal.evoked(brain, z))
    residual = residual.reshape(len(x), len(brain.freqs), -1)
    inner = residual[:, 1 : -1 if n_times % 2 == 0 else None]
    assert abs(inner.real.var() - 1) < 0.01
    assert abs(inner.imag.var() - 1) < 0.01
    assert abs(residual[:, 0].real.var() - 1) < 0.06
    # white over channels too
    rows = residual[:, 5].real
    assert np.abs(np.corrcoef(rows.T) - np.eye(rows.shape[1])).max() < 0.25


def test_the_noise_has_the_size_that_was_asked_for():
    brain = replace(SMALL, signal=0.0, blink_rate=0.0)
    x = brain.record(_z(200), nuisances=False)
    asked = np.sqrt(8**2 + 5**2 + 0.7**2 + 1.5**2)
    assert abs((x - x.mean(0)).std() / asked - 1) < 0.05


def test_the_whole_montage_is_white_as_well():
    brain, z = Brain(signal=0.5), _z(64)
    x = brain.record(z, nuisances=False)
    residual = ideal.whiten(brain, x, common=True) - ideal.whiten(brain, ideal.evoked(brain, z))
    inner = residual.reshape(64, 126, 63)[:, 1:-1]
    assert abs(inner.real.var() - 1) < 0.01
    assert abs(inner.imag.var() - 1) < 0.01


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_trials():
    z = _z(100)
    a, b, c = SMALL.record(z, seed=1), SMALL.record(z, seed=1), SMALL.record(z, seed=2)
    assert a.tobytes() == b.tobytes()
    assert not np.allclose(a, c)
    assert replace(SMALL).record(z, seed=1).tobytes() == a.tobytes()


def test_the_first_trials_do_not_depend_on_how_many_follow():
    z = _z(150)
    many, few = SMALL.record(z), SMALL.record(z[:70])
    np.testing.assert_allclose(many[:70], few, atol=1e-3)


def test_without_a_signal_the_trials_are_the_same_whatever_is_shown():
    brain = replace(SMALL, signal=0.0)
    assert brain.record(_z(80, 1), session=2).tobytes() == brain.record(_z(80, 2), session=2).tobytes()
    assert SMALL.record(_z(80, 1)).tobytes() != SMALL.record(_z(80, 2)).tobytes()


def test_sessions_shift_the_cap_and_subjects_have_other_heads():
    z = np.repeat(_z(1), 50, 0)
    quiet = replace(SMALL, signal=50.0)
    means = [
        brain.record(z, session=session, nuisances=False).mean(0).ravel()
        for brain, session in ((quiet, 0), (quiet, 1), (replace(quiet, subject=2), 0))
    ]
    same_cap = np.corrcoef(means[0], quiet.record(z, seed=9, nuisances=False).mean(0).ravel())[0, 1]
    other_cap, other_head = (np.corrcoef(means[0], m)[0, 1] for m in means[1:])
    assert same_cap > other_cap > other_head


def test_what_a_brain_cannot_be_is_refused():
    with pytest.raises(UnknownName, match="electrode"):
        Brain(ch_names=("Oz", "Foo"))
    with pytest.raises(RecipeError, match="n_times=4"):
        Brain(n_times=4)
    with pytest.raises(ShapeError, match=r"n_trials, 90"):
        SMALL.record(np.zeros((3, 5), np.float32))


# ---------------------------------------------------------------- the ideal observer


def test_the_ideal_observer_predicts_its_own_hits_on_recorded_trials():
    z, n = _z(50), 1200
    brain = replace(SMALL, signal=0.4)
    seen = np.arange(n) % 50
    recorded = ideal.log_likelihood(brain, brain.record(z[seen], nuisances=False), z)
    hits = (recorded.argmax(1) == seen).mean()
    u = ideal.means(brain, z)
    many = np.arange(20_000) % 50
    x = ideal.observe(u[many], repetitions=1, rng=np.random.default_rng(0))
    predicted = (ideal.identify(x, u, repetitions=1).argmax(1) == many).mean()
    assert 0.1 < predicted < 0.9
    assert abs(hits - predicted) < 2.6 * np.sqrt(predicted * (1 - predicted) / n)


def test_averaging_recorded_trials_is_what_repetitions_mean():
    z, brain = _z(40), replace(SMALL, signal=0.2)
    seen = np.repeat(np.arange(40), 12)
    x = brain.record(z[np.repeat(seen, 4)], nuisances=False).reshape(len(seen), 4, 17, 100).mean(1)
    hits = (ideal.log_likelihood(brain, x, z).argmax(1) == seen).mean()
    u, many = ideal.means(brain, z), np.arange(20_000) % 40
    observed = ideal.observe(u[many], repetitions=4, rng=np.random.default_rng(1))
    predicted = (ideal.identify(observed, u, repetitions=4).argmax(1) == many).mean()
    assert abs(hits - predicted) < 2.6 * np.sqrt(predicted * (1 - predicted) / len(seen))


def test_nuisances_that_it_does_not_know_cost_the_ideal_observer_hits():
    z, brain = _z(50), replace(SMALL, signal=0.3)
    seen = np.arange(600) % 50
    clean, real = (
        (ideal.log_likelihood(brain, brain.record(z[seen], nuisances=n), z).argmax(1) == seen).mean()
        for n in (False, True)
    )
    assert real < clean


def test_posterior_features_shrink_to_the_truth_as_trials_are_averaged():
    z, brain = _z(200), replace(SMALL, signal=1.0)
    errors = [((ideal.posterior_features(brain, z, repetitions=r) - z) ** 2).mean() for r in (1, 16, 1000)]
    assert 1 > errors[0] > errors[1] > errors[2]
