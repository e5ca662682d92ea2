"""Captions from EEG: a result keeps what is needed, and every score stands beside its ceiling and its nulls."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

import sightwave as sw
from sightwave.decode.captions import kept, most_alike, noise_like
from sightwave.eeg_captions import from_eeg
from sightwave.errors import DataError
from sightwave.judge.caption_ranks import Part, constant
from sightwave.judge.captions import judge
from sightwave.judge.intervals import bootstrap
from sightwave.metrics.base import fast, mean
from sightwave.metrics.captions import auc, overlap, rank_captions
from sightwave.phantom.tiny_clip import WEIGHTS
from sightwave.report import caption_page
from sightwave.results import Predictions, Result

text = sw.ClipText("phantom")
RECIPE = sw.Recipe(
    dataset=sw.Phantom.like("mss", signal=1.5, sfreq=100.0, n_times=50, n_subjects=2, n_train=10, n_test=5,
                            train_repetitions=2, test_repetitions=4),
    split=sw.Published(joint=True),
    steps=(sw.Standardise(),),
    targets=(text,),
    encoder=partial(sw.TimeBins, n_bins=10),
    stages=(sw.Solve(spaces=(text.space,)),),
    tasks=(sw.Retrieve(text.space),),
    repetitions=(1, None),
)  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("captions")


@pytest.fixture(scope="module")
def result(out):
    sw.run(RECIPE, name="cap", out=out, n_permutations=20, n_bootstrap=20)
    return Result.load(next(out.glob("cap-*")))


@pytest.fixture(scope="module")
def scored(result):
    return from_eeg(kept(result)[0], text_model=WEIGHTS, n_bootstrap=300)


# --- what a result keeps --------------------------------------------------------------------------------------------


def test_the_scores_are_made_from_the_folder_alone_and_agree_with_those_of_the_run(result, scored):
    for k in (1, 5):
        assert scored.value(f"recall@{k}") == pytest.approx(result.score(f"recall@{k}", repetitions="4"))
    single = scored.curve.query("of == 'repetitions' and n == '1'").set_index("score")
    assert single.at["recall@5", "value"] == pytest.approx(result.score("recall@5", repetitions="1"))
    assert result.opened == 1


def test_an_ensemble_keeps_captions_as_one_decoder_does(result, out):
    # solved in closed form, members are alike, so that together they say what one says
    sw.run(replace(RECIPE, ensemble=2), name="two", out=out, n_permutations=20, n_bootstrap=20)
    one, two = (kept(r)[0] for r in (result, Result.load(next(out.glob("two-*")))))
    dim = one.banks.shape[2]
    assert (two.banks.shape[2], two.vectors["4"].shape[1], two.untuned.shape[1]) == (2 * dim, 2 * dim, dim)
    np.testing.assert_array_equal(two.nearest, one.nearest)
    for every in (False, True):
        together, alone = (from_eeg(k, every=every, n_bootstrap=20).table for k in (two, one))
        pd.testing.assert_frame_equal(together, alone, atol=1e-4)


def test_an_ensemble_that_tunes_the_text_tower_keeps_what_each_member_has_learnt(out):
    tuned = sw.ClipText("phantom", tune="text-projection")
    loss = partial(sw.InfoNCE, space=tuned.space)
    recipe = replace(
        RECIPE, targets=(tuned,), stages=(sw.Stage(losses=(loss,), epochs=2, batch_size=64),), ensemble=2,
        tasks=(sw.Retrieve(tuned.space),), repetitions=(None,),
    )  # fmt: skip
    result = sw.run(recipe, name="tuned", out=out, n_permutations=20, n_bootstrap=20)
    k = kept(result)[0]
    own, other = np.split(k.banks[0], 2, axis=1)
    assert not np.allclose(own, other)  # the members' towers
    assert k.untuned.shape == own.shape
    scored = from_eeg(k, n_bootstrap=20)
    assert scored.value("recall@1") == pytest.approx(result.score("recall@1"))
    assert scored.value("recall@1", "ceiling") > 0.5


def test_eeg_lies_between_its_nulls_and_its_ceiling(scored):
    table = scored.table.set_index("score")
    for score in (
        "recall@1",
        "MAP",
        "class-aware recall@1",
        "class-aware MAP",
        "within-class recall@1",
        "BERTScore F1",
    ):
        row = table.loc[score]
        assert row["beyond"], score
        assert max(row["shuffled"], row["noise"], row["most_frequent"], row["nearest"]) < row["value"] < row["ceiling"]
        assert row["low"] <= row["value"] <= row["high"]
    for source in ("shuffled", "noise", "most_frequent"):
        row = table.loc["recall@5"]
        assert row[f"{source}_low"] <= row["chance"] <= row[f"{source}_high"], source
    assert table.at["recall@1", "ceiling"] > 0.9
    assert table.at["CLIPScore AUC", "ceiling"] > table.at["CLIPScore AUC", "value"] > 0.7
    assert not table.at["within-class recall@5", "beyond"]  # five captions a class: whoever guesses is right


def test_chance_within_a_class_counts_its_captions(scored):
    table = scored.table.set_index("score")
    assert table.at["within-class recall@1", "chance"] == pytest.approx(1 / 5)
    assert table.at["recall@1", "chance"] == pytest.approx(1 / 100)
    assert table.at["class-aware recall@1", "most_frequent"] == pytest.approx(1 / 20)


def test_without_signal_nothing_is_better_than_the_nulls(out):
    silent = replace(RECIPE, dataset=replace(RECIPE.dataset, signal=0.0))
    result = sw.run(silent, name="silent", out=out, n_permutations=20, n_bootstrap=20)
    table = from_eeg(kept(result)[0], n_bootstrap=300).table.set_index("score")
    for score in ("recall@5", "MAP", "class-aware recall@1", "within-class recall@1", "CLIPScore AUC"):
        row = table.loc[score]
        assert not row["beyond"], score
        assert row["low"] <= row["chance"] <= row["high"], score
    assert table.at["recall@1", "ceiling"] > 0.9
    page = caption_page.render(result, from_eeg(kept(result)[0], n_bootstrap=50), title="silent")
    assert "The intervals do not tell that from every null." in page


def test_every_caption_of_an_image_may_be_searched(result):
    k = kept(result)[0]
    every = from_eeg(k, every=True, n_bootstrap=20)
    assert every.facts["n_captions"] > 100
    searched = int(k.items["searched"].sum())
    assert every.facts["n_captions"] == searched
    assert every.value("recall@1", "chance") > 1 / searched


def test_the_nearest_training_caption_is_a_caption_of_the_training_part(result):
    k = kept(result)[0]
    tested = set(k.events["4"]["stimulus"])
    assert not tested & set(k.items["stimulus"].iloc[k.nearest])
    assert k.items["first"].iloc[k.nearest].all()
    assert sum(k.prior.values()) == result.data["n_trials"] - 2 * 100 * 4


def test_vectors_that_do_not_fit_the_predictions_are_refused(result):
    short = {**result.extras, "kept.0.vectors.4": result.extras["kept.0.vectors.4"][:-1]}
    with pytest.raises(DataError, match="199 decoded vectors are kept for 200 trials"):
        kept(replace(result, extras=short))


def test_a_result_without_captions_is_told_how_to_get_some(result):
    from sightwave.cli_captions import from_result

    bare = replace(result, data={k: v for k, v in result.data.items() if k != "kept"})
    with pytest.raises(DataError, match=r"keeps no decoded captions\. Run a recipe with a task Retrieve"):
        from_result(bare)


# --- seeds, towers, galleries ---------------------------------------------------------------------------------------


def doctored(k, **changes):
    """A kept record whose decoded vectors are the captions themselves under noise, one draw per seed."""
    rng = np.random.default_rng(0)
    items = k.items[k.items["first"] & k.items["searched"]]
    own = k.banks[0][items.index] / np.linalg.norm(k.banks[0][items.index], axis=1, keepdims=True)
    n_seeds, noise = changes.pop("n_seeds", 3), changes.pop("noise", 0.5)
    events = pd.concat([
        pd.DataFrame({"stimulus": items["stimulus"].to_numpy(), "label": items["label"].to_numpy(), "fold": "all",
                      "seed": s, "subject": "01", "session": "1", "run": "1",
                      "trial": np.arange(len(items)).astype(str)})
        for s in range(n_seeds)
    ], ignore_index=True)  # fmt: skip
    v = np.concatenate([own + noise * rng.standard_normal(own.shape) for _ in range(n_seeds)]).astype(np.float32)
    return replace(k, events={"2": events}, vectors={"2": v}, bank={"2": np.zeros(len(v), np.int32)},
                   noise=rng.standard_normal(v.shape).astype(np.float32),
                   nearest=np.zeros(len(v), np.int32)) if not changes else replace(k, **changes)  # fmt: skip


def test_seeds_together_are_better_than_one_when_their_errors_differ(result):
    curve = from_eeg(doctored(kept(result)[0], noise=0.35), n_bootstrap=100).curve
    seeds = curve[(curve["of"] == "seeds") & (curve["score"] == "recall@1")]
    assert seeds["n"].tolist() == ["1", "2", "3"]
    assert seeds["value"].is_monotonic_increasing
    assert seeds["low"].iloc[-1] > seeds["high"].iloc[0]


def test_each_seed_searches_the_captions_of_its_own_tower(result):
    k = doctored(kept(result)[0], n_seeds=2, noise=0.0)
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((64, 64)))[0].astype(np.float32)
    half = len(k.vectors["2"]) // 2
    vectors = np.concatenate([k.vectors["2"][:half], k.vectors["2"][half:] @ turn])
    own = replace(k, banks=np.stack([k.banks[0], k.banks[0] @ turn]), vectors={"2": vectors}, untuned=k.banks[0],
                  bank={"2": np.repeat(np.arange(2, dtype=np.int32), half)})  # fmt: skip
    found = from_eeg(own, n_bootstrap=20)
    assert found.value("recall@1") == 1
    assert found.value("recall@1", "ceiling") > 0.9
    assert (found.curve["of"] == "repetitions").all()  # vectors of two towers cannot be averaged


def test_a_fold_searches_its_own_test_pictures(result):
    k = doctored(kept(result)[0], n_seeds=1, noise=0.0)
    events = k.events["2"].assign(fold=np.where(np.arange(100) < 50, "a", "b"))
    found = from_eeg(replace(k, events={"2": events}), n_bootstrap=20)
    assert found.facts["n_captions"] == 50
    assert found.value("recall@1", "chance") == pytest.approx(1 / 50)


def test_without_pictures_the_ceiling_is_left_out_and_told(result, out):
    class Blind(sw.Phantom):
        def load(self, root, subjects):
            trials, stimuli = super().load(root, subjects)
            return trials, replace(stimuli, read=None)

    blind = Blind.like("mss", signal=1.5, sfreq=100.0, n_times=50, n_subjects=1, n_train=3, n_test=2)
    kept_ = kept(sw.run(replace(RECIPE, dataset=blind), name="blind", out=out, n_permutations=10, n_bootstrap=10))[0]
    found = from_eeg(kept_, n_bootstrap=10)
    assert "ceiling" not in found.table
    assert any("ceiling is unknown" in n for n in found.notes)


# --- pieces ---------------------------------------------------------------------------------------------------------


def test_noise_has_each_subjects_scale_and_mean_of_every_channel(make_trials):
    trials = make_trials(n_subjects=2, n_channels=3, n_times=50, n_per_label=20)
    eeg = trials.eeg * np.array([1, 5, 20])[None, :, None] + np.array([0, 0, 1e-4])[None, :, None]
    trials = replace(trials, eeg=eeg.astype(np.float32))
    made = list(noise_like(trials, True, 0))
    noise = np.concatenate([t.eeg for t in made])
    assert noise.std((0, 2)) == pytest.approx(trials.eeg.std((0, 2)), rel=0.05)
    assert noise.mean((0, 2)) == pytest.approx(trials.eeg.mean((0, 2)), abs=0.05 * float(trials.eeg.std()))
    assert abs(np.corrcoef(noise.ravel(), trials.eeg.ravel())[0, 1]) < 0.2
    assert sum(map(len, made)) == len(trials)


def test_most_alike_is_what_brute_force_finds():
    rng = np.random.default_rng(0)
    q, m = rng.standard_normal((50, 8)), rng.standard_normal((30, 8))
    cosine = (q @ m.T) / np.linalg.norm(m, axis=1)
    assert most_alike(q, m, rows=7).tolist() == cosine.argmax(1).tolist()


def test_the_class_prior_puts_the_commonest_class_of_training_first():
    part = Part(np.arange(2), np.arange(4), np.eye(4, dtype=np.float32))
    order = constant(part, np.array(["a", "b", "a", "c"]), {"a": 3, "b": 9})
    assert np.argsort(-order[:, 0])[0] == 1
    assert set(np.argsort(-order[:, 0])[1:3]) == {0, 2}


def test_within_a_class_the_rank_is_that_among_its_captions_alone(scored, result):
    k = kept(result)[0]
    events = k.events["4"]
    items = k.items[k.items["first"] & k.items["searched"]]
    v, c = k.vectors["4"], k.banks[0][items.index]
    v, c = v / np.linalg.norm(v, axis=1, keepdims=True), c / np.linalg.norm(c, axis=1, keepdims=True)
    found = []
    for i in range(len(v)):
        kin = (items["label"] == events["label"].iloc[i]).to_numpy()
        scores, own = (c[kin] @ v[i]), (items["stimulus"][kin] == events["stimulus"].iloc[i]).to_numpy()
        found.append((scores >= scores[own].max()).sum() == 1)
    assert scored.value("within-class recall@1") == pytest.approx(np.mean(found))


def predictions(n_subjects=6, n=40, n_seeds=2, seed=0):
    rng = np.random.default_rng(seed)
    events = pd.DataFrame([
        {"subject": f"{s}", "seed": r, "stimulus": f"{i}", "label": "x", "fold": "all", "session": "1", "run": "1",
         "trial": f"{s}-{i}"}
        for s in range(n_subjects) for r in range(n_seeds) for i in range(n)
    ])  # fmt: skip
    return events, rng.random(len(events))


def test_intervals_agree_with_the_judges_bootstrap_of_the_same_means():
    events, x = predictions()
    found = judge({"value": {"score": x}, "chance": {"score": x * 0}}, {}, events, n=200, seed=3)

    def many(scores_NK, truth_MN, weight_MN):
        return mean(scores_NK[None, :, 0], weight_MN)

    metric = fast(many, name="score")(lambda scores, truth: float(scores[:, 0].mean()))
    p = Predictions("captions", "2", x[:, None].astype(np.float64), np.zeros(len(x), np.int64), np.array(["x"]), events)
    ends = bootstrap(p, [metric], n=200, seed=3)
    row = found.table.iloc[0]
    assert row["value"] == pytest.approx(x.mean())
    assert (row["low"], row["high"]) == pytest.approx((ends.low[0, 0], ends.high[0, 0]))
    assert found.resampled == ("subjects", "stimuli", "seeds")


def test_weighted_auc_and_overlap_are_those_of_the_drawn_pairs():
    events, _ = predictions(n_subjects=1, n=30, n_seeds=1)
    rng = np.random.default_rng(1)
    pairs = {"matched": rng.integers(2, 9, 30) / 4.0, "mismatched": rng.integers(0, 7, (30, 5)) / 4.0}
    columns = {"value": {"x": np.ones(30)}, "chance": {"x": np.zeros(30)}}
    found = judge(columns, {"value": pairs}, events, n=50, seed=0)
    table = found.table.set_index("score")
    assert table.at["CLIPScore AUC", "value"] == pytest.approx(auc(pairs["matched"], pairs["mismatched"]))
    assert table.at["CLIPScore overlap", "value"] == pytest.approx(overlap(pairs["matched"], pairs["mismatched"]))
    from sightwave.judge.intervals import resample

    drawn = resample(
        Predictions("x", "2", np.zeros((30, 1)), np.zeros(30, np.int64), np.array(["x"]), events), n=50, seed=0
    )
    for m in (0, 17):
        rows = np.repeat(np.arange(30), drawn.weight.values[m][drawn.weight.unit])
        expected = auc(pairs["matched"][rows], pairs["mismatched"][rows])
        assert found.draws["value", "CLIPScore AUC"][m] == pytest.approx(expected)


# --- page and command -----------------------------------------------------------------------------------------------


def test_the_page_shows_ten_trials_with_what_eeg_and_image_retrieved(result, scored):
    page = caption_page.render(result, scored, title="Captions")
    assert page.count('class="card cap"') == 10
    assert page.count("from the image</h4>") == 10
    assert page.count("<img ") == 10
    assert "Captions (phantom)" in page
    assert "That is more than every null." in page
    for name in caption_page.ABOUT.values():
        assert name.replace("'", "&#39;") in page
    assert page == caption_page.render(result, scored, title="Captions")
    assert "http" not in page.replace("http://www.w3.org", "")


def test_only_scores_better_than_every_null_are_marked(result, scored):
    page = caption_page.render(result, scored, title="Captions")
    assert page.count("main clear") == sum(
        bool(row["beyond"])
        for row in scored.table.to_dict("records")
        if row["score"] in {s for _, group in caption_page.GROUPS for s in group} - {"CLIPScore retrieved"}
    )


def test_the_command_scores_a_result_and_writes_tables_and_page(result, out, tmp_path):
    from typer.testing import CliRunner

    from sightwave.cli import app

    done = CliRunner().invoke(app, ["captions", str(next(out.glob("cap-*"))), "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "EEG -> caption" in done.output
    assert "phantom (simulated brain)" in done.output
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "captions.html", "curve.csv", "examples.csv", "notes.txt", "per_class.csv", "scores.csv",
    ]  # fmt: skip


def test_a_bank_that_ties_counts_against_the_trial():
    c = np.ones((4, 3), np.float32)
    found = rank_captions(c[:2], c, {"": (np.array([0, 1]), np.arange(4))})
    assert found.rank[""].tolist() == [4, 4]
