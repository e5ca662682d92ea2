"""Retrieval over the size of the gallery and over repetitions; similarities by category; what was retrieved."""

import numpy as np
import pandas as pd
import pytest

from sightwave.judge.curves import pool_curve, pool_sizes
from sightwave.report import curves, page, trials
from sightwave.results import Predictions
from test_report import RETRIEVALS, fake


def gallery(seed=0, n=40, signal=1.0, *, absent=False):
    rng = np.random.default_rng(seed)
    ids = np.array([f"{'abcd'[i % 4]}{i:02d}" for i in range(n)])
    ids.sort()
    seen = np.tile(ids, 2)
    scores = rng.normal(size=(2 * n, n)) + signal * (ids[None] == seen[:, None]) + 1.5 * np.equal.outer(
        [s[0] for s in seen], [s[0] for s in ids]
    )  # fmt: skip
    if absent:  # two folds with galleries of their own
        half = np.arange(2 * n) % n < n // 2
        scores[half, n // 2 :] = -np.inf
        scores[~half, : n // 2] = -np.inf
    events = pd.DataFrame({"stimulus": seen, "label": [s[0] for s in seen], "subject": np.repeat(["1", "2"], n)})
    events = events.assign(session="1", run="1", fold="f", seed=0, trial=[f"{i}" for i in range(2 * n)])
    truth = np.searchsorted(ids, seen)
    return Predictions(RETRIEVALS[0], "4", scores.astype(np.float32), truth, ids, events)


def test_the_pool_curve_falls_ends_at_recall_and_stands_beside_chance():
    p = gallery()
    curve = pool_curve(p, n=200)
    rank = (p.scores >= p.scores[np.arange(80), p.truth][:, None]).sum(1)
    assert curve["size"].tolist() == pool_sizes(40).tolist()
    assert curve["value"].iloc[-1] == pytest.approx((rank == 1).mean())
    assert curve["value"].iloc[0] == pytest.approx(1 - (rank - 1).mean() / 39)  # two-way identification
    assert (np.diff(curve["value"]) < 0).all()
    assert ((curve["low"] <= curve["value"]) & (curve["value"] <= curve["high"])).all()
    np.testing.assert_allclose(curve["chance"], 1 / curve["size"])


def test_without_a_signal_the_pool_curve_is_chance():
    rng, p = np.random.default_rng(0), gallery(n=100)
    noise = Predictions(
        p.task, "4", rng.normal(size=p.scores.shape).astype(np.float32), p.truth, p.candidates, p.events
    )
    curve = pool_curve(noise, n=200)
    inside = (curve["low"] <= curve["chance"]) & (curve["chance"] <= curve["high"])
    assert inside.mean() > 0.8


def test_galleries_of_folds_are_counted_one_by_one():
    assert pool_curve(gallery(absent=True), n=50)["size"].iloc[-1] == 20


def test_similarities_are_ordered_by_category_and_show_it():
    p = gallery(signal=2.0)
    mean, labels, ids = curves.similarities(p)
    assert labels.tolist() == sorted(labels)
    assert ids[0].startswith("a")
    same = np.equal.outer(labels, labels)
    assert mean[same].mean() > mean[~same].mean() + 1
    assert np.diag(mean).mean() > mean[same].mean()
    assert "<svg" in curves.matrix(mean, labels)
    assert not len(curves.similarities(gallery(absent=True))[0])  # nobody saw all candidates


def test_strips_are_at_fixed_places_and_show_the_right_one():
    strips = trials.strips(fake())
    assert len(strips) == 12
    assert strips == trials.strips(fake())
    for s in strips:
        assert s.picture.startswith("data:image/jpeg")
        assert len(s.answer.best) == 5
        assert s.answer.hit == (s.answer.true.rank <= 5)
        assert s.answer.true.picture == s.picture


def test_the_page_shows_pool_repetitions_similarities_and_strips():
    result = fake()
    extra = pool_curve(next(p for p in result.predictions if p.task == RETRIEVALS[0]), n=20)
    result.data["pool"] = {RETRIEVALS[0]: extra.to_dict("list")}
    more = result.scores[result.scores["repetitions"] == "16"].assign(repetitions="4")
    object.__setattr__(result, "scores", pd.concat([result.scores, more], ignore_index=True))
    told = page.render([result], title="x")
    fake.cache_clear()
    for heading in ("What the size of the gallery does", "What repetitions buy: image", "Similarity to every image",
                    "What was retrieved"):  # fmt: skip
        assert heading in told
