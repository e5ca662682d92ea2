"""Galleries and ways of inference: each its own question, its own chance, and its mark."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest, kstest

from sightwave.datasets.in_memory import InMemory
from sightwave.datasets.more_pictures import MorePictures
from sightwave.datasets.phantom import Phantom
from sightwave.decode.base import Decoded
from sightwave.decode.modes import ON_TOP, assigned, csls, whitened
from sightwave.decode.question import question
from sightwave.decode.retrieve import MODES, Oracle, Retrieve
from sightwave.embeddings import Embeddings
from sightwave.encoders.time_bins import TimeBins
from sightwave.errors import DataError, RecipeError, UnknownName
from sightwave.judge.chance import p_value, permutation
from sightwave.judge.statistic import by_subject, with_all
from sightwave.metrics.retrieval import assigned_at_1, best_of_spaces, pool_recall, rank_of_own, recall_at
from sightwave.preprocess import Average, Standardise
from sightwave.recipe import Recipe
from sightwave.report import page, side_by_side, tables, words
from sightwave.splits import Published
from sightwave.stimuli import Stimuli
from sightwave.story import run
from sightwave.targets.labels import Labels
from sightwave.targets.pixels import Pixels
from sightwave.train import Solve

TRANSDUCTIVE = ("csls", "whitened", "assigned")


def decoded(seed, *, n=24, per_concept=1, others=6, dim=12, signal=0.0, subjects=("01",), spaces=("a",), repeats=1):
    """Trials in made-up spaces; each concept has pictures in the test part and others that nobody saw."""
    rng = np.random.default_rng(seed)
    ids = [f"c{c:02d}-{i:02d}" for c in range(n // per_concept) for i in range(per_concept + others)]
    table = pd.DataFrame({"label": [i[:3] for i in ids]}, index=ids)
    shown = np.array([i for i in ids if int(i[4:]) < per_concept])
    seen = np.tile(np.repeat(shown, repeats), len(subjects))
    subject = np.repeat(subjects, n * repeats)
    fields = {"session": "1", "run": "1", "fold": "f", "seed": 0, "trial": [f"{i}" for i in range(len(seen))]}
    events = pd.DataFrame({"subject": subject, "stimulus": seen, "label": [s[:3] for s in seen]}).assign(**fields)
    concept = {c: rng.normal(size=dim) for c in table["label"].unique()}
    eeg, targets = {}, {}
    for s in spaces:
        v = np.stack([concept[c] for c in table["label"]]) + 0.7 * rng.normal(size=(len(ids), dim))
        targets[s] = Embeddings(v.astype(np.float32), np.array(ids), s)
        z = signal * targets[s].at(seen).vectors + rng.normal(size=(len(seen), dim))
        eeg[s] = Embeddings(z.astype(np.float32), seen, s)
    return Decoded(eeg, targets, Stimuli(table), events, "1" if repeats > 1 else "4")


def p_of(p, metric, n=99, seed=0):
    null = permutation(p, [metric], n=n, seed=seed)
    return float(p_value(metric, null.values[0], with_all(by_subject(metric, p))[:, 0])[0])


@pytest.mark.parametrize("mode", MODES)
def test_chance_is_one_over_the_candidates_in_every_mode(mode):
    task = Retrieve("a", mode=mode, n_images=4)
    p = task.predict(decoded(0, n=20, per_concept=2))
    n = 10 if mode in ("template", "images") else 20
    assert p.scores.shape == (20, n)
    null = permutation(p, [task.metrics[0]], n=2000)
    assert null.chance[0, 0] == pytest.approx(1 / n, abs=0.006)


@pytest.mark.parametrize("mode", MODES)
def test_p_is_uniform_without_a_signal_and_small_with_one(mode):
    task = Retrieve("a", mode=mode)
    # shares of few trials are discrete, which makes p err towards 1; the false alarms say that it never errs to 0
    p = np.array([p_of(task.predict(decoded(s, subjects=("1", "2"))), task.metrics[0], seed=s) for s in range(80)])
    assert kstest(p, "uniform", alternative="greater").pvalue > 0.01
    assert binomtest(int((p <= 0.05).sum()), len(p), 0.05, alternative="greater").pvalue > 0.01
    assert p_of(task.predict(decoded(1, signal=1.5)), task.metrics[0]) <= 0.02


def test_an_assignment_of_noise_is_right_once_per_gallery():
    """The expected number of fixed points of a random permutation is 1, whatever its length."""
    right = [recall_at(1)(p.scores, p.truth) * 24 for p in (Retrieve("a", mode="assigned").predict(decoded(s))
             for s in range(200))]  # fmt: skip
    assert np.mean(right) == pytest.approx(1.0, abs=3 / np.sqrt(200))


def test_an_assignment_gives_each_candidate_away_once_for_each_repetition():
    p = Retrieve("a", mode="assigned").predict(decoded(0, repeats=3, signal=0.5))
    match = p.scores > 1
    assert (match.sum(1) == 1).all()
    for nth in range(3):
        assert (match[nth::3].sum(0) == 1).all()
    assert p.scores.max() <= 1 + ON_TOP


def test_assignment_finds_the_best_sum_and_does_not_look_at_ids():
    rng = np.random.default_rng(0)
    s = rng.normal(size=(7, 7)).astype(np.float32)
    names = np.array(list("abcdefg"))
    first = assigned(s, names)
    np.testing.assert_array_equal(first, assigned(s, names[::-1]))
    best = s[np.arange(7), first.argmax(1)].sum()
    assert all(s[np.arange(7), rng.permutation(7)].sum() <= best + 1e-5 for _ in range(500))


def test_csls_takes_off_a_hub_and_whitening_takes_off_a_common_direction():
    rng = np.random.default_rng(0)
    target = rng.normal(size=(40, 30))
    eeg = target + 1.5 * rng.normal(size=(40, 30))
    target[0], eeg = target[0] * 0.2 + 3 * eeg.mean(0), eeg + 2.0  # a hub, and an offset of all trials
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (eeg, target)]
    plain = unit[0] @ unit[1].T
    own = np.arange(40)
    white = [whitened(v) for v in (eeg, target)]
    for v in white:
        np.testing.assert_allclose(v.mean(0), 0, atol=1e-5)
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in white]
    before, scaled, after = (recall_at(1)(s, own) for s in (plain, csls(plain), unit[0] @ unit[1].T))
    assert scaled > before
    assert after > before


def test_transductive_modes_see_one_subject_at_a_time():
    both = decoded(0, subjects=("01", "02"), signal=0.8)
    one = Decoded({s: replace(e, vectors=e.vectors[:24], ids=e.ids[:24]) for s, e in both.eeg.items()}, both.targets,
                  both.stimuli, both.events.iloc[:24], both.repetitions)  # fmt: skip
    for mode in TRANSDUCTIVE:
        task = Retrieve("a", mode=mode)
        np.testing.assert_allclose(task.predict(both).scores[:24], task.predict(one).scores, atol=1e-6)


def test_galleries_of_concepts_hold_other_pictures_than_those_shown():
    d = decoded(0, n=6, per_concept=2, others=3, signal=5.0)
    template, images = (Retrieve("a", mode=m, n_images=3).predict(d) for m in ("template", "images"))
    assert template.candidates.tolist() == ["c00", "c01", "c02"]
    v = d.targets["a"].vectors / np.linalg.norm(d.targets["a"].vectors, axis=1, keepdims=True)
    z = d.eeg["a"].vectors / np.linalg.norm(d.eeg["a"].vectors, axis=1, keepdims=True)
    mean = v[2:5].mean(0)  # of the first concept's pictures, the first two are shown
    np.testing.assert_allclose(template.scores[:, 0], z @ mean / np.linalg.norm(mean), atol=1e-5)
    np.testing.assert_allclose(images.scores[:, 0], (z @ v[2:5].T).max(1), atol=1e-5)
    with pytest.raises(DataError, match=r"3 concept.s. have fewer .e.g. 'c00' has 3.*Lower n_images"):
        Retrieve("a", mode="images", n_images=4).predict(d)


def test_an_oracle_is_right_where_any_space_is_and_its_chance_says_so():
    d = decoded(0, n=40, signal=1.0, spaces=("a", "b", "c"))
    task = Oracle(("a", "b", "c"))
    p, ranks = task.predict(d), []
    for s in "abc":
        q = Retrieve(s).predict(d)
        ranks.append(rank_of_own(q.scores, q.truth))
    assert task.metrics[0](p.scores, p.truth) == np.mean(np.min(ranks, 0) == 1)
    assert best_of_spaces(5)(p.scores, p.truth) == np.mean(np.min(ranks, 0) <= 5)
    noise = task.predict(decoded(1, n=40, spaces=("a", "b", "c")))
    chance = permutation(noise, [best_of_spaces(1)], n=1000).chance[0, 0]
    assert 2.5 / 40 < chance <= 3 / 40
    with pytest.raises(RecipeError, match="at least two spaces"):
        Oracle(("a",))


def test_names_say_the_way_and_its_mark():
    assert question(Retrieve("clip-image/x").name).said == ""
    assert question(Retrieve("clip-image/x", mode="csls").name).title == "image, CSLS (transductive)"
    assert question(Retrieve("clip-image/x", mode="images").name).title == "image, 5 images of the concept"
    assert question(Retrieve("clip-text/x", mode="template").name).title == "caption, class template"
    assert question(Oracle(("clip-image/x", "clip-text/x")).name).title == "image, any of 2 spaces (oracle: no decoder)"
    assert [Retrieve("x", mode=m).mark for m in MODES] == ["", "", "", *["transductive"] * 3]
    with pytest.raises(UnknownName, match=r"Retrieve\.mode"):
        Retrieve("x", mode="hungarian")
    with pytest.raises(RecipeError, match="closed test set"):
        Retrieve("x", mode="csls", gallery="all")


def test_the_pool_curve_is_what_random_galleries_give():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(1, 12))
    rank = rank_of_own(scores, np.array([3]))
    sizes = np.array([1, 2, 5, 9, 12])
    exact = pool_recall(rank, np.array([12]), sizes, k=2)[0]
    others = np.delete(scores[0], 3)
    for m, expected in zip(sizes, exact, strict=True):
        drawn = [np.sum(rng.choice(others, m - 1, replace=False) >= scores[0, 3]) < 2 for _ in range(3000)]
        assert np.mean(drawn) == pytest.approx(expected, abs=0.03)
    assert exact[-1] == (rank[0] <= 2)


PIXELS = Pixels(dim=16)
WORLD = Phantom(
    n_train=12, n_test=4, n_more=3, categories=("cat", "bus", "boat", "sofa"), train_repetitions=3, test_repetitions=4,
    ch_names=("P7", "P3", "Pz", "P4", "P8", "PO3", "POz", "PO4", "O1", "Oz", "O2"), sfreq=100.0, n_times=80,
    signal=3.0, n_subjects=1,
)  # fmt: skip
EVERY = Recipe(
    dataset=WORLD,
    split=Published(),
    steps=(Average(), Standardise()),
    targets=(Labels(), PIXELS),
    encoder=partial(TimeBins, n_bins=20),
    stages=(Solve(spaces=("label", PIXELS.space)),),
    tasks=(*(Retrieve(PIXELS.space, mode=m, n_images=3, ks=(1,)) for m in MODES), Oracle((PIXELS.space, "label"))),
    repetitions=(1, None),
)


def test_a_recipe_asks_in_every_mode_and_tables_keep_them_apart(tmp_path):
    result = run(EVERY, out=tmp_path, n_permutations=99, n_bootstrap=99)
    rows = tables.frame(result, subjects=False, metrics=1)
    at_4 = rows[rows["repetitions"] == "4"]
    assert list(at_4["question"]) == [
        "image", "image, class template", "image, 3 images of the concept", "image, CSLS (transductive)",
        "image, whitening (transductive)", "image, one-to-one assignment (transductive)",
        "image, any of 2 spaces (oracle: no decoder)",
    ]  # fmt: skip
    assert (at_4["interval"] != "–").all()
    short = tables.text(result, width=80)
    assert "† transductive: the other test trials helped" in short
    assert short.count("†") == 4
    assert "oracle" in short
    (line,) = side_by_side.lines([result])
    assert [column for column in line if "recall" in column or "assigned" in column] == [
        "image recall@1", "image recall@1, chance",
    ]  # fmt: skip
    plain = rows[(rows["question"] == "image") & (rows["repetitions"] == "4")].iloc[0]
    assert line["image recall@1"] == f"{plain['score']} {plain['interval']}"
    told = page.render([result], title="modes")
    assert "the very image" in told
    assert "any of 2 spaces (oracle: no decoder)" in told
    assert told.count('class="card tile') == 1  # what is transductive is never printed large
    assert words.headline(result).count("image") == 1
    s = result.scores[(result.scores["subject"] == "all") & (result.scores["repetitions"] == "4")]
    ceiling = s.drop_duplicates("task").set_index("task")["ceiling"]
    assert ceiling.filter(like="assignment").notna().all()
    assert ceiling.filter(regex="CSLS|whitening|any of").isna().all()
    task, said = f"retrieve {PIXELS.space}", {p.task: p for p in result.predictions if p.repetitions == "4"}
    exact, match = said[task], said[f"{task} | one-to-one assignment"]
    trial, candidate = linear_sum_assignment(exact.scores, maximize=True)
    right = (candidate == exact.truth[trial]).mean()
    assert result.score("assigned@1", subject="01", repetitions="4") == right
    assert assigned_at_1(match.scores, match.truth) == right


def test_what_is_transductive_is_no_headline():
    with pytest.raises(RecipeError, match=r"is transductive.*Put a task before it"):
        replace(EVERY, tasks=EVERY.tasks[3:4])
    with pytest.raises(RecipeError, match="Two tasks are called"):
        replace(EVERY, tasks=(EVERY.tasks[0], EVERY.tasks[0]))


def test_without_a_signal_nothing_is_found_in_any_mode(tmp_path):
    result = run(replace(EVERY, dataset=replace(WORLD, signal=0.0)), out=tmp_path, n_permutations=99, n_bootstrap=20)
    s = result.scores[result.scores["metric"].isin(["recall@1", "assigned@1", "oracle@1"])]
    assert (s["p"] > 0.01).all()


def test_more_pictures_make_galleries_of_concepts_and_leave_trials_alone(tmp_path):
    trials, stimuli = replace(WORLD, n_more=0).load(None, ("01",))
    for c in (*WORLD.categories, "unicorn"):
        (tmp_path / f"0001_{c}").mkdir()
        for i in range(3):
            Image.fromarray(np.full((8, 8, 3), 40 * i, np.uint8)).save(tmp_path / f"0001_{c}" / f"{c}_{i}.png")
    more = MorePictures(InMemory(trials, stimuli), str(tmp_path))
    same, pictures = more.load(None, ("01",))
    assert same.fingerprint() == trials.fingerprint()
    assert len(pictures) == len(stimuli) + 12
    assert "more/cat/cat_1.png" in pictures.ids
    assert pictures.image("more/cat/cat_1.png").max() == 40
    result = run(
        replace(EVERY, dataset=more, tasks=EVERY.tasks[:2]), out=tmp_path / "out", n_permutations=9, n_bootstrap=9
    )
    assert any("class template" in t for t in result.scores["task"])
    with pytest.raises(DataError, match="no further picture"):
        MorePictures(more.dataset, str(tmp_path / "out")).load(None, ("01",))


def test_a_recipe_of_class_templates_alone_is_reported_as_that(tmp_path):
    nice = replace(EVERY, tasks=(EVERY.tasks[1],), repetitions=(None,))
    result = run(nice, out=tmp_path, n_permutations=19, n_bootstrap=19)
    assert "ranked the right image (by class template) first among 4" in words.headline(result)
    told = page.render([result, replace(result, name="again")], title="x")
    assert told.count('class="card tile') == 2
    assert "class template · pixels" in told
