"""Targets put stimuli into spaces: labels, pixels, and CLIP from a folder made here."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch

from sightwave import house
from sightwave.errors import DataError, ModelMissing, RecipeError
from sightwave.phantom import tiny_clip
from sightwave.stimuli import Stimuli
from sightwave.targets.base import Target
from sightwave.targets.clip import ClipImage, ClipText
from sightwave.targets.fusion import Fusion, Mapped
from sightwave.targets.labels import Labels
from sightwave.targets.pixels import Pixels

PICTURES = np.random.default_rng(0).integers(0, 256, (5, 60, 72, 3), dtype=np.uint8)
NAMES = ["cup", "dog", "car", "dog", "cup"]
LEARNT = (Fusion, Mapped)
CAPTIONS = [(f"a red {n} on the left", f"a {n}", f"a picture of a small {n}") for n in NAMES]


@dataclass(frozen=True)
class Negative:
    """A view: the picture's negative."""

    strength: float = 1.0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return (image + self.strength * (255.0 - 2.0 * image)).astype(np.uint8)


def make_stimuli(*, key="pictures-1", pictures=PICTURES, captions=CAPTIONS):
    table = pd.DataFrame({"label": NAMES, "captions": captions}, index=[f"s{i}" for i in range(5)])
    return Stimuli(table, read=lambda i: pictures[int(i[1:])], key=key)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "mini_clip"
    tiny_clip.save(tiny_clip.build_model(width=32, depth=3, dim=16), folder)
    return folder


@pytest.fixture(autouse=True)
def own_cache(cache):
    """No test here may read what another has cached."""


@pytest.fixture(scope="module")
def truth(clip_folder):
    """The same embeddings straight from transformers."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    model = transformers.CLIPModel.from_pretrained(clip_folder, dtype=torch.float32).eval()
    tokens = tiny_clip.build_tokenizer()([c[0] for c in CAPTIONS], padding=True, return_tensors="pt")
    processor = transformers.CLIPImageProcessorPil.from_pretrained(clip_folder)
    pixels = processor(images=list(PICTURES), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        text = model.text_projection(
            model.text_model(tokens["input_ids"], attention_mask=tokens["attention_mask"]).pooler_output
        )
        vision = model.vision_model(pixels, output_hidden_states=True)
        image = model.visual_projection(vision.pooler_output)
    transformers.utils.logging.enable_progress_bar()
    return {"text": text.numpy(), "image": image.numpy(), "layers": [h.numpy() for h in vision.hidden_states]}


@pytest.mark.parametrize("cls", house.members("targets", Target))
def test_every_target_embeds_all_stimuli_in_order_and_serves_them_in_training(cls, clip_folder):
    target = cls(model=clip_folder) if cls in (ClipImage, ClipText) else cls()
    stimuli = make_stimuli()
    embeddings = target.embed(stimuli, {"s0", "s1", "s2"})
    assert embeddings.ids.tolist() == ["s0", "s1", "s2", "s3", "s4"]
    assert embeddings.space == target.space
    assert embeddings.vectors.dtype == np.float32
    assert np.isfinite(embeddings.vectors).all()
    tower = target.tower(stimuli, {"s0", "s1", "s2"}).eval()
    served = tower(torch.tensor([3, 1]))
    assert served.shape == embeddings.vectors[[3, 1]].shape
    if cls in LEARNT:  # each tower draws its own weights
        assert all(p.requires_grad for p in tower.parameters())
        assert served.requires_grad
    else:
        assert np.array_equal(served.numpy(), embeddings.vectors[[3, 1]])
        assert list(tower.parameters()) == []
    assert not any("vectors" in name or "table" in name for name in tower.state_dict())  # checkpoints stay small


def test_labels_are_one_hot_in_sorted_order():
    labels = Labels()
    assert labels.names(make_stimuli()).tolist() == ["car", "cup", "dog"]
    vectors = labels.embed(make_stimuli(), ()).vectors
    assert [labels.names(make_stimuli())[k] for k in vectors.argmax(1)] == NAMES
    assert (vectors.sum(1) == 1).all()


def test_pixels_are_centred_and_scaled_by_the_training_pictures_alone():
    train = ["s0", "s1", "s2"]
    vectors = Pixels().embed(make_stimuli(), train).vectors
    assert vectors.shape == (5, 32)
    assert np.abs(vectors[:3].mean(0)).max() < 1e-5
    assert vectors[:3].std() == pytest.approx(1, abs=1e-5)
    changed = PICTURES.copy()
    changed[4] = 0
    other = Pixels().embed(make_stimuli(pictures=changed), train).vectors
    assert np.array_equal(other[:4], vectors[:4])
    assert not np.array_equal(other[4], vectors[4])


def test_pixels_depend_on_their_seed_and_their_space_says_so():
    stimuli = make_stimuli()
    assert np.array_equal(Pixels().embed(stimuli, ["s0", "s1"]).vectors, Pixels().embed(stimuli, ["s0", "s1"]).vectors)
    assert not np.allclose(Pixels(seed=1).embed(stimuli, ["s0"]).vectors, Pixels().embed(stimuli, ["s0"]).vectors)
    assert len({Pixels().space, Pixels(seed=1).space, Pixels(size=8).space, Pixels(dim=8).space}) == 4


def test_pixels_without_a_training_picture_are_refused():
    with pytest.raises(DataError, match="none of the 1"):
        Pixels().embed(make_stimuli(), ["elsewhere"])


def test_clip_vectors_are_those_of_transformers(clip_folder, truth):
    image = ClipImage(clip_folder, batch_size=2).embed(make_stimuli(), ())
    text = ClipText(clip_folder, batch_size=2).embed(make_stimuli(), ())
    np.testing.assert_allclose(image.vectors, truth["image"], atol=1e-5)
    np.testing.assert_allclose(text.vectors, truth["text"], atol=1e-5)
    assert (image.space, text.space) == ("clip-image/mini_clip", "clip-text/mini_clip")


@pytest.mark.parametrize("layer", [0, 2, 3])
def test_a_layer_is_the_towers_hidden_state_pooled(clip_folder, truth, layer):
    cls = ClipImage(clip_folder, layer=layer).embed(make_stimuli(), ())
    mean = ClipImage(clip_folder, layer=layer, pool="mean").embed(make_stimuli(), ())
    np.testing.assert_allclose(cls.vectors, truth["layers"][layer][:, 0], atol=1e-5)
    np.testing.assert_allclose(mean.vectors, truth["layers"][layer][:, 1:].mean(1), atol=1e-5)
    assert cls.space == f"clip-image/mini_clip/layer-{layer}-cls"
    assert mean.space == f"clip-image/mini_clip/layer-{layer}-mean"


def test_layers_of_a_mixture_are_read_in_one_pass_that_goes_no_deeper_than_they_lie(clip_folder, monkeypatch):
    from transformers.models.clip.modeling_clip import CLIPEncoderLayer

    stimuli = make_stimuli(key="")  # nothing is cached
    layers = [ClipImage(clip_folder, layer=n, pool="mean") for n in (2, 0, 1)]
    alone = [layer.embed(stimuli, ()).unit() for layer in layers]
    opened, passed, pixels, forward = [], [], ClipImage._pixels, CLIPEncoderLayer.forward
    monkeypatch.setattr(ClipImage, "_pixels", lambda *a: opened.extend(a[-1]) or pixels(*a))
    monkeypatch.setattr(CLIPEncoderLayer, "forward", lambda *a, **kw: passed.append(1) or forward(*a, **kw))
    tower = Fusion(tuple(layers), by="part", n_default=0).tower(stimuli, frozenset())
    np.testing.assert_allclose(tower.table_NMD.numpy(), np.stack(alone, 1), atol=1e-5)
    assert opened == stimuli.ids.tolist()
    assert len(passed) == 2  # of 3 blocks


def test_layers_that_are_read_together_are_cached_together(clip_folder, monkeypatch):
    fusion = Fusion(tuple(ClipImage(clip_folder, layer=n) for n in (1, 3)), by="part", n_default=0)
    first = fusion.tower(make_stimuli(), frozenset()).table_NMD
    monkeypatch.delattr(ClipImage, "_tower")
    torch.testing.assert_close(fusion.tower(make_stimuli(), frozenset()).table_NMD, first, rtol=0, atol=0)


def test_a_view_is_applied_before_the_tower_and_named_in_the_space(clip_folder):
    viewed = ClipImage(clip_folder, view=Negative()).embed(make_stimuli(), ())
    by_hand = ClipImage(clip_folder).embed(make_stimuli(key="", pictures=255 - PICTURES), ())
    np.testing.assert_allclose(viewed.vectors, by_hand.vectors, atol=1e-5)
    assert viewed.space == "clip-image/mini_clip/Negative(strength=1.0)"


def test_phrasings_differ_and_their_mean_is_of_unit_vectors(clip_folder):
    each = [ClipText(clip_folder, phrasing=k).embed(make_stimuli(), ()) for k in range(3)]
    assert not np.allclose(each[0].vectors, each[1].vectors)
    mean = ClipText(clip_folder, phrasing="mean").embed(make_stimuli(), ())
    unit = [e.vectors / np.linalg.norm(e.vectors, axis=1, keepdims=True) for e in each]
    np.testing.assert_allclose(mean.vectors, np.mean(unit, 0), atol=1e-5)
    assert len({e.space for e in [*each, mean]}) == 4


def test_an_embedding_is_made_once_and_read_back_byte_for_byte(clip_folder, cache, monkeypatch):
    first = ClipImage(clip_folder).embed(make_stimuli(), ())
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(ClipImage, "_read", lambda *_: pytest.fail("the tower ran again"))
    again = ClipImage(clip_folder, device="auto", batch_size=3).embed(make_stimuli(), ())
    assert again.vectors.tobytes() == first.vectors.tobytes()


def test_whatever_changes_the_content_makes_a_new_file(clip_folder, cache, tmp_path):
    torch.manual_seed(1)
    twin = tmp_path / "mini_clip"  # same name, other weights
    tiny_clip.save(tiny_clip.build_model(width=32, depth=3, dim=16), twin)
    image, stimuli = ClipImage(clip_folder), make_stimuli()
    variants = [
        (image, stimuli),
        (image, make_stimuli(key="pictures-2")),
        (image, stimuli.at(np.array(["s1", "s0"]))),
        (replace(image, layer=1), stimuli),
        (replace(image, layer=1, pool="mean"), stimuli),
        (replace(image, view=Negative()), stimuli),
        (replace(image, view=Negative(0.5)), stimuli),
        (ClipImage(twin), stimuli),
        (ClipText(clip_folder), stimuli),
        (ClipText(clip_folder), make_stimuli(captions=[(c[1],) for c in CAPTIONS])),
    ]
    for n, (target, stimuli) in enumerate(variants, 1):
        target.embed(stimuli, ())
        assert len(list(cache.iterdir())) == n


def test_pictures_without_a_key_are_never_cached(clip_folder, cache):
    ClipImage(clip_folder).embed(make_stimuli(key=""), ())
    ClipText(clip_folder).embed(make_stimuli(key=""), ())
    assert not cache.exists()


def test_loading_is_silent_and_leaves_transformers_settings_alone(clip_folder, capfd):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    ClipImage(clip_folder).embed(make_stimuli(key=""), ())
    ClipText(clip_folder).embed(make_stimuli(key=""), ())
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_a_hub_that_cannot_be_reached_says_how_to_give_a_folder(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for target in (ClipImage("nobody/no-such-clip"), ClipText("nobody/no-such-clip")):
        with pytest.raises(ModelMissing, match="HF_HUB_OFFLINE is set") as e:
            target.embed(make_stimuli(), ())
        assert 'ClipImage(model="path/to/folder")' in str(e.value)
        assert "hf download nobody/no-such-clip --local-dir no-such-clip" in str(e.value)
        assert target.space.endswith("/nobody--no-such-clip")


def test_a_folder_that_is_not_there_is_told_how_to_be_filled(tmp_path):
    with pytest.raises(ModelMissing, match="No folder") as e:
        ClipImage(tmp_path / "clip").embed(make_stimuli(), ())
    assert f"hf download openai/clip-vit-large-patch14 --local-dir {tmp_path / 'clip'}" in str(e.value)


def test_connection_errors_of_the_hub_become_model_missing(monkeypatch):
    import huggingface_hub

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    timeout = next(c for c in huggingface_hub.errors.HfHubHTTPError.__bases__ if c is not OSError)
    calls = []

    def unreachable(name, *, local_files_only, etag_timeout, **_):
        calls.append((local_files_only, etag_timeout))
        raise FileNotFoundError("not cached") if local_files_only else timeout("timed out")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(ModelMissing, match=r"could not be had from the hub \(timed out\)"):
        ClipImage("nobody/no-such-clip").embed(make_stimuli(), ())
    assert calls == [(True, 5.0), (False, 5.0)]


def test_a_hub_snapshot_that_is_cached_is_used_without_asking_the_hub(clip_folder, truth, monkeypatch):
    import huggingface_hub

    def cached_only(name, *, local_files_only, **_):
        assert local_files_only
        return str(clip_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached_only)
    embeddings = ClipImage("someone/clip").embed(make_stimuli(), ())
    np.testing.assert_allclose(embeddings.vectors, truth["image"], atol=1e-5)
    assert embeddings.space == "clip-image/someone--clip"


def test_a_wrong_folder_is_told_what_it_lacks(tmp_path, clip_folder):
    stimuli = make_stimuli()
    with pytest.raises(ModelMissing, match="No folder"):
        ClipImage(tmp_path / "nowhere").embed(stimuli, ())
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelMissing, match=r"lacks model\.safetensors or .* and preprocessor_config\.json"):
        ClipImage(str(tmp_path)).embed(stimuli, ())
    with pytest.raises(ModelMissing, match=r"for texts: it lacks .*tokenizer\.json"):
        ClipText(tmp_path).embed(stimuli, ())


def test_another_kind_of_model_and_damaged_weights_are_refused(tmp_path, clip_folder):
    import shutil

    folder = shutil.copytree(clip_folder, tmp_path / "copy")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ModelMissing, match="cannot be loaded"):
        ClipImage(folder).embed(make_stimuli(), ())
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelMissing, match="'bert' model"):
        ClipImage(folder).embed(make_stimuli(), ())


def test_a_tower_whose_weights_are_absent_is_not_filled_at_random(tmp_path, clip_folder):
    import shutil

    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(clip_folder, tmp_path / "copy")
    tensors = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if "vision" not in k}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelMissing, match="weights of CLIPVisionModelWithProjection are absent"):
        ClipImage(folder).embed(make_stimuli(), ())
    assert ClipText(folder).embed(make_stimuli(), ()).vectors.shape == (5, 16)


def test_stimuli_without_pictures_or_captions_are_refused(clip_folder):
    bare = Stimuli(pd.DataFrame({"label": ["cup"]}, index=["s0"]))
    with pytest.raises(DataError, match="without pictures"):
        ClipImage(clip_folder).embed(bare, ())
    with pytest.raises(DataError, match="without captions"):
        ClipText(clip_folder).embed(bare, ())
    with pytest.raises(DataError, match=r"'s0' has 3 caption\(s\), ClipText asks for 7"):
        ClipText(clip_folder, phrasing=7).embed(make_stimuli(), ())


def test_options_that_make_no_sense_are_refused(clip_folder):
    with pytest.raises(RecipeError, match="layers 0 to 3, got layer=9"):
        ClipImage(clip_folder, layer=9).embed(make_stimuli(), ())
    with pytest.raises(RecipeError, match="'cls' or 'mean'"):
        ClipImage(pool="max")
    with pytest.raises(RecipeError, match="frozen dataclass"):
        ClipImage(view=lambda image: image)
    with pytest.raises(RecipeError, match="phrasing"):
        ClipText(phrasing="all")


def test_the_shipped_model_is_named_by_its_folder():
    assert ClipImage().space == "clip-image/tiny_clip"
    assert ClipText().space == "clip-text/tiny_clip"
    assert ClipImage(tiny_clip.WEIGHTS).space == "clip-image/tiny_clip"


def test_vectors_made_in_pieces_are_those_made_at_once_and_the_model_is_loaded_once(clip_folder, cache, monkeypatch):
    from sightwave import cache as cache_module
    from sightwave.targets import clip

    whole = ClipImage(clip_folder).embed(make_stimuli(key=""), ()).vectors
    loads, load = [], clip.load
    monkeypatch.setattr(clip, "load", lambda *given: loads.append(given) or load(*given))
    monkeypatch.setattr(cache_module, "CHUNK", 2)
    np.testing.assert_allclose(ClipImage(clip_folder).embed(make_stimuli(), ()).vectors, whole, atol=1e-6)
    ClipImage(clip_folder).embed(make_stimuli(), ())
    assert len(loads) == 1
    assert len(list(cache.iterdir())) == 1
