"""Image -> caption retrieval: ranks with ties, average precision, BERTScore, CLIPScore, and the table of them."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from sightwave import captions as work
from sightwave.embeddings import Embeddings
from sightwave.errors import DataError, MissingFile, ModelMissing, RecipeError, ShapeError, SpaceError
from sightwave.metrics.captions import (
    MANY,
    auc,
    chance_average_precision,
    chance_recall,
    clip_score,
    overlap,
    rank_captions,
)
from sightwave.metrics.text import Tokens, bert_score, greedy_match, token_vectors
from sightwave.phantom.tiny_clip import WEIGHTS
from sightwave.reading.captioned import read_captioned
from sightwave.report.captions import draw

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CLIP = DATA / "clip_vitb32_embeddings"
real = pytest.mark.skipif(not CLIP.is_dir(), reason="the real CLIP vectors are not there")


def whole(rng, *shape):
    """Small whole numbers: products are exact, and many tie."""
    return rng.integers(-2, 3, shape).astype(np.float32)


# --- ranks and average precision ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [3, 40])  # more and fewer right captions than are counted one by one
def test_average_precision_agrees_with_sklearn_ties_included(n_classes):
    rng = np.random.default_rng(n_classes)
    q, c = whole(rng, 30, 4), whole(rng, 150, 4)
    of_query, of_caption = np.arange(30) % n_classes, np.arange(150) % n_classes
    assert (np.bincount(of_caption).max() > MANY) == (n_classes == 3)
    found = rank_captions(q, c, {"class": (of_query, of_caption)})
    scores = q @ c.T
    for i in range(30):
        expected = average_precision_score(of_caption == of_query[i], scores[i])
        assert found.average_precision["class"][i] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("n_classes", [3, 40])
def test_ranks_agree_with_brute_force_and_ties_count_against(n_classes):
    rng = np.random.default_rng(1)
    q, c = whole(rng, 25, 3), whole(rng, 120, 3)
    of_query, of_caption = np.arange(25) % n_classes, np.arange(120) % n_classes
    found = rank_captions(q, c, {"class": (of_query, of_caption)}, top=4)
    for i, scores in enumerate(q @ c.T):
        right = of_caption == of_query[i]
        wrong_first = np.lexsort((right, -scores))
        assert found.rank["class"][i] == 1 + int(np.argmax(right[wrong_first]))
        assert found.top[i].tolist() == np.lexsort((np.arange(120), -scores))[:4].tolist()
        assert np.array_equal(found.top_score[i], np.sort(scores)[::-1][:4])


def test_levels_of_very_different_size_are_ranked_together_as_alone():
    rng = np.random.default_rng(2)
    q, c = whole(rng, 40, 5), whole(rng, 200, 5)
    levels = {"instance": (np.arange(40), np.arange(200) % 40), "class": (np.arange(40) % 2, np.arange(200) % 2)}
    both = rank_captions(q, c, levels)
    for name, codes in levels.items():
        alone = rank_captions(q, c, {name: codes})
        assert np.array_equal(both.rank[name], alone.rank[name])
        assert np.array_equal(both.average_precision[name], alone.average_precision[name])


def test_blocks_and_threads_change_nothing():
    rng = np.random.default_rng(3)
    q, c = whole(rng, 50, 6), whole(rng, 90, 6)
    levels = {"class": (np.arange(50) % 4, np.arange(90) % 4)}
    one = rank_captions(q, c, levels, threads=1)
    many = rank_captions(q, c, levels, chunk_bytes=7 * 4 * 90, threads=3)
    for a, b in ((one.rank, many.rank), (one.average_precision, many.average_precision)):
        assert np.array_equal(a["class"], b["class"])
    assert np.array_equal(one.top, many.top)


def test_equal_captions_tie_to_the_last_bit_wherever_they_lie():
    rng = np.random.default_rng(4)
    c = rng.standard_normal((501, 64)).astype(np.float32)
    c[-1] = c[0]  # the product may take another path for the last column
    q = c[:1] + 0.1 * rng.standard_normal((300, 64)).astype(np.float32)
    codes = (np.zeros(300, int), np.arange(501))
    assert (rank_captions(q, c, {"instance": codes}, top=1).rank["instance"] == 2).all()


def test_one_order_for_all_that_is_constant_is_never_right():
    q, c = np.ones((6, 2), np.float32), np.ones((30, 2), np.float32)
    found = rank_captions(
        q, c, {"instance": (np.arange(6), np.arange(30)), "class": (np.arange(6) % 3, np.arange(30) % 3)}
    )
    assert (found.rank["instance"] == 30).all()
    assert (found.rank["class"] == 21).all()
    assert found.average_precision["class"] == pytest.approx(1 / 3)


def test_chance_is_what_random_orders_give():
    rng = np.random.default_rng(5)
    scores = rng.random((2000, 12))
    right = np.arange(12) < 3
    hits = right[np.argsort(-scores, axis=1)[:, :2]].any(1).mean()
    precision = np.mean([average_precision_score(right, s) for s in scores[:300]])
    assert chance_recall(np.array([3]), 12, 2)[0] == pytest.approx(hits, abs=0.04)
    assert chance_average_precision(np.array([3]), 12)[0] == pytest.approx(precision, abs=0.04)
    assert chance_recall(np.array([1, 1]), 10_000, 5) == pytest.approx(5e-4)


def test_what_cannot_be_ranked_is_refused_with_names():
    eye = np.eye(3, dtype=np.float32)
    with pytest.raises(DataError, match=r"1 of 3 queries have no right caption at the level 'instance', e\.g\. '2'"):
        rank_captions(eye, eye, {"instance": (np.arange(3), np.array([0, 1, 1]))})
    with pytest.raises(DataError, match=r"1 of 3 caption vectors are not finite, first in row 1"):
        rank_captions(eye, np.where(np.arange(3)[:, None] == 1, np.nan, eye), {})
    with pytest.raises(ShapeError, match=r"codes of captions must be \(3,\), got \(2,\)"):
        rank_captions(eye, eye, {"instance": (np.arange(3), np.arange(2))})


# --- CLIPScore ------------------------------------------------------------------------------------------------------


def test_auc_agrees_with_sklearn_and_overlap_with_the_area_under_two_normals():
    from scipy.stats import norm

    rng = np.random.default_rng(6)
    a, b = rng.integers(0, 9, 80) + 1.0, rng.integers(0, 9, 130) + 0.0
    assert auc(a, b) == pytest.approx(roc_auc_score(np.repeat([1, 0], [80, 130]), np.concatenate([a, b])))
    x, y = rng.normal(0, 1, 100_000), rng.normal(1.5, 1, 100_000)
    assert overlap(x, y) == pytest.approx(2 * norm.cdf(-0.75), abs=0.01)
    assert overlap(a, a) == 1
    assert clip_score(np.array([0.4, -0.2]), weight=1.0).tolist() == [0.4, 0.0]


# --- BERTScore ------------------------------------------------------------------------------------------------------


def test_bert_score_agrees_with_cases_by_hand():
    word = np.array([[1.0, 0, 0], [0, 1, 0], [0.6, 0.8, 0]])
    near, far = Tokens(word[[2]], np.ones(1)), Tokens(word[:2], np.ones(2))
    assert greedy_match(near, far) == pytest.approx((0.8, 0.7, 2 * 0.8 * 0.7 / 1.5))
    # the marks of start and end may be matched but do not count
    marked = Tokens(word[[0, 2]], np.array([0.0, 1.0]))
    assert greedy_match(marked, far) == pytest.approx((0.8, 0.9, 2 * 0.8 * 0.9 / 1.7))
    assert greedy_match(Tokens(word[:1], np.zeros(1)), far) == (0, 0, 0)
    both = bert_score(["near"], [["near", "far"]], {"near": near, "far": far})
    assert both[0] == pytest.approx([1, 1, 1])  # the best reference counts


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """Make a BERT with random weights and a vocabulary of a dozen words."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "a",
        "red",
        "blue",
        "cat",
        "dog",
        "on",
        "the",
        "left",
        "grass",
        "large",
    ]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = BertModel(BertConfig(vocab_size=len(words), hidden_size=32, num_hidden_layers=3, num_attention_heads=2,
                                   intermediate_size=48, max_position_embeddings=32))  # fmt: skip
    net.save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=32).save_pretrained(folder)
    return folder


SAID = ["a red cat", "a blue dog on the left", "the large red dog on grass", "a cat"]
MEANT = ["a large cat on grass", "a blue dog", "a red cat on the left", "a cat"]


@pytest.mark.skipif(importlib.util.find_spec("bert_score") is None, reason="the library bert-score is not installed")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", [2, 3])
def test_bert_score_agrees_with_the_library_of_its_authors(bert, layer):
    import bert_score as library

    theirs = library.score(SAID, MEANT, model_type=str(bert), num_layers=layer)
    ours = bert_score(SAID, [[m] for m in MEANT], token_vectors([*SAID, *MEANT], bert, layer=layer))
    assert ours == pytest.approx(np.stack([x.numpy() for x in theirs], 1), abs=1e-6)


def test_token_vectors_do_not_depend_on_what_else_is_in_the_batch(bert):
    alone, together = token_vectors(SAID[:1], bert), token_vectors([*SAID, *MEANT], bert, batch_size=3)
    assert alone[SAID[0]].vectors == pytest.approx(together[SAID[0]].vectors, abs=1e-5)
    assert together[SAID[0]].weight.tolist() == [0, 1, 1, 1, 0]
    assert np.linalg.norm(together[SAID[1]].vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_a_text_model_that_is_none_is_refused(bert, tmp_path):
    with pytest.raises(RecipeError, match="has the layers 0 to 3, got layer=7"):
        token_vectors(["a cat"], bert, layer=7)
    with pytest.raises(ModelMissing, match=r"config\.json is not there"):
        token_vectors(["a cat"], tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelMissing, match="cannot be loaded as a text model of kind 'bert'"):
        token_vectors(["a cat"], tmp_path)


# --- the whole ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seen():
    """Score twenty categories of phantom pictures by the tiny CLIP."""
    stimuli = work.phantom(per_class=4)
    images, bank = work.embed(stimuli)
    texts = [t for i in stimuli.ids for t in stimuli.captions(i)]
    labels = dict(zip(stimuli.ids, stimuli.table["label"], strict=True))
    return work.evaluate(images, bank, labels=labels, texts=texts, text_model=WEIGHTS, n_bootstrap=200)


def test_the_tiny_clip_finds_captions_of_phantom_pictures_and_shuffled_images_find_none(seen):
    table = seen.table.set_index("score")
    for score in ("recall@1", "recall@5", "MAP", "class-aware recall@1", "class-aware MAP", "BERTScore F1"):
        row = table.loc[score]
        assert row["low"] <= row["value"] <= row["high"], score
        assert row["low"] > max(row["chance"], row["shuffled_high"], row["most_frequent"]), score
    assert table.at["recall@1", "value"] > 0.8
    assert table.at["recall@1", "chance"] == pytest.approx(1 / 80)
    assert table.at["recall@5", "shuffled"] < 0.2
    assert table.at["class-aware recall@1", "most_frequent"] == pytest.approx(1 / 20)
    assert table.at["CLIPScore AUC", "low"] > 0.95
    assert table.at["CLIPScore AUC", "shuffled_low"] < 0.5 < table.at["CLIPScore AUC", "shuffled_high"]
    assert table.at["CLIPScore overlap", "value"] < 0.2 < 0.7 < table.at["CLIPScore overlap", "shuffled"]


def test_class_aware_map_is_the_mean_over_classes_of_equal_size(seen):
    assert len(seen.per_class) == 20
    assert seen.per_class["value"].mean() == pytest.approx(seen.value("class-aware MAP"))
    assert (seen.per_class["low"] <= seen.per_class["value"]).all()


def test_the_share_above_the_threshold_stands_beside_that_of_random_captions(seen):
    row = seen.table.set_index("score").loc[work.SUCCESS]
    assert 0 < row["chance"] < row["value"]
    note = next(n for n in seen.notes if n.startswith(work.SUCCESS))
    assert f"{row['chance']:.1%} of RANDOM captions" in note


def test_what_was_retrieved_scores_as_high_when_the_images_are_shuffled(seen):
    row = seen.table.set_index("score").loc["CLIPScore retrieved"]
    assert row["shuffled"] == pytest.approx(row["value"])


def test_the_scores_are_written_and_drawn(seen, tmp_path):
    seen.save(tmp_path)
    assert pd.read_csv(tmp_path / "scores.csv")["value"].to_numpy() == pytest.approx(seen.table["value"].to_numpy())
    assert len(pd.read_csv(tmp_path / "examples.csv")) == 10
    assert "RANDOM" in (tmp_path / "notes.txt").read_text(encoding="utf-8")
    draw(seen.pairs, tmp_path / "figure.png", title="phantom")
    with Image.open(tmp_path / "figure.png") as image:
        assert image.size[0] > 500


def vectors(n, per_image, noise, seed=0):
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((n, 24)).astype(np.float32)
    ids = np.array([f"p{i:03d}" for i in range(n)])
    bank = np.repeat(base, per_image, 0) + noise * rng.standard_normal((n * per_image, 24)).astype(np.float32)
    return Embeddings(base, ids, "toy"), Embeddings(bank, np.repeat(ids, per_image), "toy")


def test_without_signal_everything_is_at_chance():
    images, bank = vectors(150, 2, 0.0)
    lost = Embeddings(np.random.default_rng(9).standard_normal(images.vectors.shape), images.ids, "toy")
    labels = {i: str(n % 5) for n, i in enumerate(images.ids)}
    table = work.evaluate(lost, bank, labels=labels, n_bootstrap=300).table.set_index("score")
    for score in ("recall@5", "MAP", "class-aware recall@1", "CLIPScore AUC"):
        assert table.at[score, "low"] < table.at[score, "chance"] < table.at[score, "high"], score


def test_several_captions_of_an_image_and_none_of_classes():
    images, bank = vectors(30, 5, 0.05)
    found = work.evaluate(images, bank, n_bootstrap=100)
    assert found.value("recall@1") == found.value("MAP") == 1
    assert found.per_class.empty
    assert not found.table["score"].str.startswith(("class-aware", "BERT")).any()
    assert any("no categories" in n for n in found.notes)
    assert any("no text model" in n for n in found.notes)


def test_a_caption_written_twice_ties_and_is_told():
    images, bank = vectors(20, 1, 0.0)
    twice = bank.vectors.copy()
    twice[1] = twice[0]
    found = work.evaluate(images, Embeddings(twice, bank.ids, "toy"), n_bootstrap=50)
    assert found.value("recall@1") == pytest.approx(18 / 20)
    assert "Captions that repeat the vector of another, and tie with it: 1." in found.notes


def test_what_cannot_be_evaluated_is_refused():
    images, bank = vectors(5, 1, 0.0)
    with pytest.raises(SpaceError, match="cosine has no meaning"):
        work.evaluate(
            Embeddings(images.vectors, images.ids, "clip-image/a"), Embeddings(bank.vectors, bank.ids, "clip-text/b")
        )
    with pytest.raises(ShapeError, match="one per caption of the bank, 5, got 1"):
        work.evaluate(images, bank, texts=["a"])
    with pytest.raises(DataError, match="BERTScore needs the captions in words"):
        work.evaluate(images, bank, text_model=WEIGHTS)
    with pytest.raises(DataError, match=r"3 images have no label, e\.g\. 'p002'"):
        work.evaluate(images, bank, labels={"p000": "a", "p001": "b"})
    one = images.at(images.ids[[0, 0]])
    with pytest.raises(DataError, match="at least two images"):
        work.evaluate(one, bank)


# --- folders --------------------------------------------------------------------------------------------------------


def folder_of(root, lines, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), len(name), np.uint8)).save(path)
    (root / "captions.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_folders_in_the_form_of_mss_and_as_csv_are_read(tmp_path):
    mss, csv = tmp_path / "mss", tmp_path / "csv"
    rows = ["dataset\tcategory\timage name\tcaption", "coco\tcat\tx1.jpg\ta cat", "coco\tdog\tx2.jpg\ta dog, wet"]
    folder_of(
        mss, [*rows, "coco\tcat\tx1.jpg\tone cat"], ["images/cat/x1_resized.jpg", "images/dog/x2.png", "other.png"]
    )
    found = read_captioned(mss)
    assert found.ids.tolist() == ["x1", "x2"]
    assert found.captions("x1") == ("a cat", "one cat")
    assert found.captions("x2") == ("a dog, wet",)
    assert found.table["label"].tolist() == ["cat", "dog"]
    assert found.image("x2").shape == (8, 8, 3)
    folder_of(csv, ["image,caption", 'a.png,"a cat, wet"', "b.png,a dog"], ["a.png", "b.png"])
    found = read_captioned(csv)
    assert found.captions("a") == ("a cat, wet",)
    assert set(found.table["label"]) == {""}


def test_a_folder_that_lacks_something_is_refused_with_the_name(tmp_path):
    with pytest.raises(MissingFile, match="No captions in"):
        read_captioned(tmp_path)
    folder_of(tmp_path, ["image,caption", "a.png,a cat", "b.png,a dog"], ["a.png"])
    with pytest.raises(DataError, match=r"captions\.txt: 1 of 2 stimuli have no image, e\.g\. b"):
        read_captioned(tmp_path)
    folder_of(tmp_path, ["image,caption", "a.png,a cat"], ["a.png", "more/a.jpg"])
    with pytest.raises(DataError, match="'a' is there twice"):
        read_captioned(tmp_path)
    folder_of(tmp_path, ["image,words", "a.png,a cat"], [])
    with pytest.raises(DataError, match="expected the columns image and caption, got image, words"):
        read_captioned(tmp_path)


def test_the_command_scores_a_folder_and_writes_tables_and_figure(tmp_path):
    from typer.testing import CliRunner

    from sightwave.cli import app

    stimuli = work.phantom(per_class=1)
    rows = ["dataset\tcategory\timage name\tcaption"]
    for i in stimuli.ids:
        path = tmp_path / "images" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(stimuli.image(i)).save(path)
        rows.append(f"phantom\t{stimuli.table.at[i, 'label']}\t{i}.png\t{stimuli.captions(i)[0]}")
    (tmp_path / "captions.txt").write_text("\n".join(rows), encoding="utf-8")
    done = CliRunner().invoke(app, ["captions", str(tmp_path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "class-aware recall@1" in done.output
    assert "RANDOM captions" in done.output
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "clip_score.png", "examples.csv", "notes.txt", "per_class.csv", "scores.csv",
    ]  # fmt: skip
    scores = pd.read_csv(tmp_path / "out" / "scores.csv").set_index("score")
    assert scores.at["recall@5", "low"] > scores.at["recall@5", "chance"]


# --- real vectors of CLIP ViT-B/32 ----------------------------------------------------------------------------------


@real
def test_real_clip_finds_flickr_captions():
    folder = CLIP / "flickr8k_100img_500cap"
    rows = pd.read_csv(folder / "metadata.csv")
    ids = rows["image_id"].to_numpy().astype(str)
    image, text = (np.load(folder / f"{kind}_embeddings.npy") for kind in ("image", "text"))
    first = np.unique(ids, return_index=True)[1]
    found = work.evaluate(Embeddings(image[first], ids[first], "clip"), Embeddings(text, ids, "clip"), n_bootstrap=200)
    table = found.table.set_index("score")
    assert 0.85 < table.at["recall@1", "value"] < 1
    assert table.at["recall@1", "shuffled_high"] < 0.1
    assert 0.28 < found.pairs["matched"].mean() < 0.33
    assert table.at["CLIPScore AUC", "value"] > 0.98
