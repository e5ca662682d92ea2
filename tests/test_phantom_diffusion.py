"""The tiny diffusion: an autoencoder, a UNet and a pipeline in diffusers' own classes, small enough to train here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sightwave.errors import ModelMissing, RecipeError, ResumeError, ShapeError
from sightwave.phantom import diffusion_scores, diffusion_training, tiny_clip, tiny_diffusion
from sightwave.phantom.pictures import paint_many

pytest.importorskip("diffusers")
VAE = {"n_scenes": 40, "batch_size": 4, "width": 16}
UNET = {"n_scenes": 40, "batch_size": 4, "widths": (32, 32)}


def quiet(_: str) -> None:
    """Report nothing."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("clip") / "small"
    tiny_clip.save(tiny_clip.build_model(width=32, depth=1, dim=16), folder)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    folder = tmp_path_factory.mktemp("diffusion") / "small"
    diffusion_training.train_autoencoder(folder, steps=3, report=quiet, **VAE)
    diffusion_training.train_unet(folder, clip=clip, steps=3, report=quiet, **UNET)
    return folder


@pytest.fixture(scope="module")
def pipe(trained: Path):
    return tiny_diffusion.load(trained)


@pytest.fixture(scope="module")
def embeddings() -> np.ndarray:
    v = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def _pictures(n: int, seed: int = 3) -> torch.Tensor:
    return torch.from_numpy(paint_many(tiny_clip.training_scenes(n, seed=seed)))


# ---------------------------------------------------------------- the autoencoder


def test_an_autoencoder_starts_as_the_best_linear_one():
    x = tiny_diffusion.to_pixels(_pictures(48))
    vae = tiny_diffusion.build_autoencoder()
    tiny_diffusion.start_at_components(vae, x)
    with torch.inference_mode():
        z = vae.encode(x).latent
        error = (vae.decode(z).sample - x).square().mean().item()
    patches = x.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).reshape(-1, 192)
    variances = torch.linalg.eigvalsh(torch.cov(patches.T)).flip(0)
    best = variances[tiny_diffusion.LATENTS :].sum().item() / 192
    assert z.shape == (48, tiny_diffusion.LATENTS, 8, 8)
    assert z.square().mean().sqrt().item() == pytest.approx(1, abs=0.01)
    assert best * 0.99 < error < best * 1.2


def test_training_makes_the_autoencoder_better_than_linear(tmp_path: Path):
    x = tiny_diffusion.to_pixels(_pictures(40, seed=0))
    linear = tiny_diffusion.build_autoencoder()
    tiny_diffusion.start_at_components(linear, x)
    diffusion_training.train_autoencoder(tmp_path / "d", steps=20, report=quiet, **VAE)
    trained = tiny_diffusion.load_autoencoder(tmp_path / "d")
    with torch.inference_mode():
        before, after = ((vae(x).sample - x).abs().mean().item() for vae in (linear, trained))
    assert after < before


def test_pictures_survive_the_way_to_pixels_and_back():
    rgb = _pictures(2)
    np.testing.assert_array_equal(tiny_diffusion.to_rgb(tiny_diffusion.to_pixels(rgb)), rgb.numpy())


# ---------------------------------------------------------------- training


def test_a_stopped_training_ends_as_one_that_never_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(diffusion_training, "SAVE_EVERY", 2)

    class Stop(Exception):
        pass

    def stop_when_saved(log: str) -> None:
        raise Stop(log)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    diffusion_training.train_autoencoder(whole, steps=4, report=quiet, **VAE)
    monkeypatch.setattr(diffusion_training, "REPORT_EVERY", 3)
    with pytest.raises(Stop, match="step     3 of 4"):
        diffusion_training.train_autoencoder(parts, steps=4, report=stop_when_saved, **VAE)
    assert json.loads((parts / "training_log.json").read_text())["autoencoder"]["done"] == 2
    with pytest.raises(ResumeError, match="Ask for the same, or delete it"):
        diffusion_training.train_autoencoder(parts, steps=5, report=quiet, **VAE)
    said: list[str] = []
    record = diffusion_training.train_autoencoder(parts, steps=4, report=said.append, **VAE)
    assert said[0] == "going on after step 2"
    assert record["done"] == 4
    weights = "vae/diffusion_pytorch_model.safetensors"
    assert (whole / weights).read_bytes() == (parts / weights).read_bytes()
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".resume")] == []


def test_train_keeps_an_autoencoder_that_is_there(trained: Path, clip: Path, tmp_path: Path):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(trained / "vae", folder / "vae")
    shutil.copy(trained / "training_log.json", folder)
    kept = (folder / "vae" / "diffusion_pytorch_model.safetensors").read_bytes()
    said: list[str] = []
    diffusion_training.train(folder, clip=clip, steps=1, n_scenes=64, report=said.append)
    assert len(said) == 1
    assert (folder / "vae" / "diffusion_pytorch_model.safetensors").read_bytes() == kept


def test_a_unet_goes_on_from_given_weights(trained: Path, clip: Path, tmp_path: Path):
    said: list[str] = []
    shared = {"clip": clip, "start": trained, "report": said.append, "seed": 1, "lr": 1e-5}
    diffusion_training.train_unet(tmp_path / "on", steps=2, **shared, **UNET)
    assert len(said) == 1
    before, after = (tiny_diffusion.load(f) for f in (trained, tmp_path / "on"))
    for part in ("vae", "unet", "tokens"):
        old, new = (getattr(pipe, part).state_dict() for pipe in (before, after))
        apart = max((old[k] - new[k]).abs().max().item() for k in old)
        assert (apart == 0) if part == "vae" else (0 < apart < 1e-3)
    logs = [json.loads((f / "training_log.json").read_text()) for f in (trained, tmp_path / "on")]
    assert logs[1]["autoencoder"] == logs[0]["autoencoder"]
    assert logs[1]["unet"]["start"] == logs[0]["unet"]


def test_the_log_tells_settings_losses_and_the_clip(trained: Path, clip: Path):
    log = json.loads((trained / "training_log.json").read_text())
    assert {"steps", "done", "n_scenes", "batch_size", "lr", "seed", "seconds", "log"} <= set(log["autoencoder"])
    assert log["unet"]["log"][-1][0] == log["unet"]["done"] == 3
    assert log["unet"]["clip"] == diffusion_training.files.sha256(clip / "model.safetensors")


def test_a_unet_needs_an_autoencoder_and_training_needs_a_step(tmp_path: Path, clip: Path):
    with pytest.raises(ModelMissing, match="train_autoencoder"):
        diffusion_training.train_unet(tmp_path / "none", clip=clip, steps=1, **UNET)
    with pytest.raises(RecipeError, match="needs a step and a batch"):
        diffusion_training.train_autoencoder(tmp_path / "none", steps=0, **VAE)
    with pytest.raises(RecipeError, match="needs a step and a batch"):
        diffusion_training.train_unet(tmp_path / "none", clip=clip, n_scenes=3, batch_size=4)


# ---------------------------------------------------------------- the pipeline


def test_every_part_is_a_class_of_diffusers_and_every_weight_is_half_precision(trained: Path, pipe):
    import diffusers
    from safetensors.torch import load_file

    index = json.loads((trained / "model_index.json").read_text())
    assert index["_class_name"] == "EmbeddingToImagePipeline"
    assert index["vae"] == ["diffusers", "AutoencoderDC"]
    assert index["unet"] == ["diffusers", "UNet2DConditionModel"]
    assert index["scheduler"] == ["diffusers", "DDIMScheduler"]
    assert index["tokens"] == ["sightwave.phantom.tiny_diffusion", "ImageTokens"]
    assert isinstance(pipe, diffusers.DiffusionPipeline)
    assert isinstance(pipe.tokens, diffusers.ModelMixin)
    stored = [t for path in trained.rglob("*.safetensors") for t in load_file(path).values()]
    assert {t.dtype for t in stored} == {torch.float16}


def test_a_saved_pipeline_paints_the_same_pictures(pipe, embeddings: np.ndarray, tmp_path: Path):
    pipe.save_pretrained(tmp_path / "again")
    again = tiny_diffusion.EmbeddingToImagePipeline.from_pretrained(
        tmp_path / "again", local_files_only=True, low_cpu_mem_usage=False
    ).to(torch.float32)
    again.set_progress_bar_config(disable=True)
    rgb = pipe(embeddings, steps=2)
    assert rgb.shape == (3, 64, 64, 3)
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(again(embeddings, steps=2), rgb)


def test_seed_and_embedding_decide_the_picture(pipe, embeddings: np.ndarray):
    rgb = pipe(embeddings, steps=2)
    assert not np.array_equal(pipe(embeddings, steps=2, seed=1), rgb)
    assert not np.array_equal(pipe(-embeddings, steps=2), rgb)
    # length says nothing, and another picture beside it does not matter
    np.testing.assert_allclose(pipe(embeddings * 3, steps=2), rgb, atol=1)
    np.testing.assert_allclose(pipe(embeddings[:1], steps=2)[0], rgb[0], atol=1)


def test_no_condition_is_the_same_at_every_guidance(pipe, embeddings: np.ndarray):
    none = np.zeros_like(embeddings)
    np.testing.assert_allclose(pipe(none, steps=2, guidance=1.0), pipe(none, steps=2, guidance=6.0), atol=1)
    assert np.abs(pipe(embeddings, steps=2, guidance=9.0).astype(int) - pipe(embeddings, steps=2, guidance=1.0)).max()


def test_embeddings_of_another_clip_are_refused(pipe):
    with pytest.raises(ShapeError, match=r"must be \(n, 16\), got \(2, 64\)"):
        pipe(np.zeros((2, 64)))
    assert pipe(np.zeros((0, 16))).shape == (0, 64, 64, 3)


def test_an_empty_folder_says_how_to_train(tmp_path: Path):
    with pytest.raises(ModelMissing, match="sightwave phantom train-diffusion --out"):
        tiny_diffusion.reconstruct(np.zeros((1, 64)), folder=tmp_path)


def test_the_shipped_shapes_stay_under_eight_megabytes():
    unet, tokens = tiny_diffusion.build_unet()
    parts = (tiny_diffusion.build_autoencoder(), unet, tokens)
    assert sum(p.numel() for m in parts for p in m.parameters()) * 2 < 8e6


def test_the_module_has_no_other_lazy_names():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = tiny_diffusion.nonsense
    assert tiny_diffusion.ImageTokens is sys.modules["sightwave.phantom.tiny_diffusion"].ImageTokens


# ---------------------------------------------------------------- scores


def test_the_scores_tell_true_pictures_from_an_untrained_generator(trained: Path, clip: Path, tmp_path: Path):
    scores = diffusion_scores.evaluate(
        trained, clip=clip, n=40, steps=2, judge_steps=60, judge_scenes=300, grid=tmp_path / "grid.png"
    )
    assert set(scores["agreement"]) == set(tiny_clip.FACTS)
    background = scores["agreement"]["background"]
    assert background["true"] > 0.5
    assert background["reconstructed"] < background["true"]
    assert scores["pixcorr"]["autoencoder"] > 0.9
    assert abs(scores["pixcorr"]["reconstructed"]) < 0.5
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (2 * 16 * 64, 2 * 3 * (2 * 64 + 4))


def test_a_judge_sees_what_the_shipped_weights_were_told():
    if not (tiny_diffusion.WEIGHTS / "model_index.json").exists():
        pytest.skip("the tiny diffusion's weights are not in this checkout")
    scores = diffusion_scores.evaluate(n=80, steps=5, judge_steps=150, judge_scenes=1500)
    # a judge trained so shortly names few kinds even of true pictures
    for fact, margin in {"kind": 0.05, "colour": 0.2, "count": 0.2, "background": 0.5, "place": 0.1}.items():
        seen = scores["agreement"][fact]
        assert seen["reconstructed"] > seen["chance"] + margin, fact
    assert scores["pixcorr"]["reconstructed"] > scores["pixcorr"]["chance"] + 0.3


def test_a_grid_needs_a_picture_for_each(tmp_path: Path):
    with pytest.raises(ShapeError, match="of one shape"):
        tiny_diffusion.write_grid(
            tmp_path / "g.png", np.zeros((2, 8, 8, 3), np.uint8), np.zeros((1, 8, 8, 3), np.uint8)
        )
