"""Train the tiny diffusion on phantom pictures: first the autoencoder, then the UNet with its image tokens.

Flow: scenes -> `train_autoencoder` -> `train_unet` -> a folder that `tiny_diffusion.load` opens.
A training that was stopped goes on from a file beside the folder, and ends as if it had never stopped.
The shipped weights are two trainings of the UNet, the second started from the first with the present CLIP.

Shape suffixes: N pictures, B batch, D embedding width, C channels, H height and width.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightwave import files
from sightwave.errors import RecipeError, ResumeError
from sightwave.phantom import tiny_clip
from sightwave.phantom import tiny_diffusion as D
from sightwave.phantom.pictures import paint_many

SAVE_EVERY, REPORT_EVERY = 200, 100


def train(
    folder: Path, *, clip: Path = tiny_clip.WEIGHTS, start: Path | None = None, autoencoder_steps: int = 5000,
    steps: int = 6000, n_scenes: int = 20000, lr: float = 2e-3, seed: int = 0, report: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Train the autoencoder, unless ``start`` or ``folder`` has one, then the UNet; a run that stopped goes on."""
    if start is None and (
        not (folder / "vae" / "config.json").exists() or _resume_path(folder, "autoencoder").exists()
    ):
        train_autoencoder(folder, steps=autoencoder_steps, seed=seed, report=report)
    train_unet(folder, clip=clip, start=start, steps=steps, n_scenes=n_scenes, lr=lr, seed=seed, report=report)


def train_autoencoder(
    folder: Path, *, steps: int = 5000, n_scenes: int = 8000, batch_size: int = 16, lr: float = 3e-4, seed: int = 0,
    width: int = 16, workers: int = 1, report: Callable[[str], None] = print,
) -> dict[str, Any]:  # fmt: skip
    """Train an autoencoder of pictures and save it to ``folder``, which is replaced as a whole.

    The loss is the absolute error, plus that of the pictures at a quarter of the resolution. Noise on the latents and
    a small pull to zero keep them near a unit Gaussian, so that the UNet's own errors are forgiven.

    Returns
    -------
    dict
        Settings, seconds, and the mean loss of every 100 steps: (step, loss).

    Raises
    ------
    RecipeError, ResumeError
        If there are fewer pictures than a batch needs; if other settings were interrupted in this folder.
    """
    settings = dict(steps=steps, n_scenes=n_scenes, batch_size=batch_size, lr=lr, seed=seed, width=width)
    _check(settings)
    torch.manual_seed(seed)
    vae = D.build_autoencoder(width=width)
    pixels = torch.from_numpy(paint_many(tiny_clip.training_scenes(n_scenes, seed=seed), workers=workers))
    D.start_at_components(vae, D.to_pixels(pixels[:1500]))

    def loss(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        x_BCHH = D.to_pixels(pixels[torch.from_numpy(rng.choice(n_scenes, batch_size, replace=False))])
        with torch.autocast("cpu", torch.bfloat16):
            z_BCHH = vae.encode(x_BCHH).latent.float()
            noise = torch.randn(z_BCHH.shape, generator=generator)
            y_BCHH = vae.decode(z_BCHH + 0.1 * noise).sample.float()
        coarse = F.avg_pool2d(y_BCHH - x_BCHH, 4).abs().mean()
        return (y_BCHH - x_BCHH).abs().mean() + 0.5 * coarse + 5e-4 * z_BCHH.square().mean()

    def save(averaged: dict[str, Any], record: dict[str, Any]) -> None:
        final = averaged["vae"].eval()
        with torch.inference_mode():
            z = torch.cat([final.encode(D.to_pixels(x)).latent for x in pixels[:256].split(64)])
        final.register_to_config(scaling_factor=round(1 / z.std().item(), 4))
        with files.replacing_folder(folder) as part:
            final.half().save_pretrained(part / "vae", max_shard_size=D.SHARD)
            files.write_json(part / "training_log.json", {"autoencoder": record})

    return _train({"vae": vae}, loss, save, settings, _resume_path(folder, "autoencoder"), report)


def train_unet(
    folder: Path, *, clip: Path = tiny_clip.WEIGHTS, start: Path | None = None, steps: int = 6000,
    n_scenes: int = 20000, batch_size: int = 64, lr: float = 2e-3, seed: int = 0, widths: tuple[int, int] = (96, 96),
    workers: int = 1, report: Callable[[str], None] = print,
) -> dict[str, Any]:  # fmt: skip
    """Train the UNet and the image tokens on the autoencoder in ``folder``, and save all as one pipeline.

    With ``start``, the folder of a pipeline, the weights of its UNet and tokens are what the training begins with, its
    autoencoder is the one, and its log is kept in the new one.

    One embedding in ten is dropped, for guidance. Half of the others get noise, at a level between none and one that
    leaves a cosine of about 0.7, so that embeddings decoded from brain signals are forgiven. Nothing is mirrored,
    because place is meant.

    Returns
    -------
    dict
        Settings, seconds, and the mean loss of every 100 steps: (step, loss); ``start``: the same of the weights that
        it went on from.

    Raises
    ------
    ModelMissing, RecipeError, ResumeError
        If ``folder`` holds no autoencoder, or ``clip`` no CLIP; as in `train_autoencoder`.
    """
    from diffusers.models.attention_processor import AttnProcessor

    settings = dict(steps=steps, n_scenes=n_scenes, batch_size=batch_size, lr=lr, seed=seed, widths=list(widths),
                    clip=files.sha256(files.must_exist(clip / "model.safetensors", "tiny CLIP")))  # fmt: skip
    _check(settings)
    vae, seer = D.load_autoencoder(start or folder), tiny_clip.load(clip)[0]
    log = files.read_json((start or folder) / "training_log.json")
    if start is not None:
        settings["start"] = log.pop("unet")
    rgb = paint_many(tiny_clip.training_scenes(n_scenes, seed=seed), workers=workers)
    v_ND = torch.from_numpy(tiny_clip.embed_images(seer, rgb)[0])
    with torch.inference_mode():
        latents = [vae.encode(D.to_pixels(x)).latent.half() for x in torch.from_numpy(rgb).split(64)]
    z_NCHH = torch.cat(latents).clone() * vae.config.scaling_factor  # a clone, because training needs normal tensors
    del rgb, latents
    torch.manual_seed(seed)
    unet, tokens = D.build_unet(widths=widths, dim=v_ND.shape[1], latents=z_NCHH.shape[1])
    if start is not None:
        given = D.load(start)
        unet.load_state_dict(given.unet.state_dict())
        tokens.load_state_dict(given.tokens.state_dict())
    unet.set_attn_processor(AttnProcessor())  # in bfloat16 and on a CPU, faster than the fused one
    plan = D.build_scheduler()

    def loss(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        pick = torch.from_numpy(rng.choice(n_scenes, batch_size, replace=False))
        z, v = z_NCHH[pick].float(), v_ND[pick]
        level = rng.uniform(0, 1, (batch_size, 1)) * (rng.random((batch_size, 1)) < 0.5)
        v = v + torch.randn(v.shape, generator=generator) * torch.from_numpy(level).float() / v.shape[1] ** 0.5
        v = D.standardise(v) * torch.from_numpy(rng.random((batch_size, 1)) > 0.1)
        t, noise = torch.from_numpy(rng.integers(0, 1000, batch_size)), torch.randn(z.shape, generator=generator)
        with torch.autocast("cpu", torch.bfloat16):
            guess = unet(plan.add_noise(z, noise, t), t, tokens(v), class_labels=v).sample.float()
        return F.mse_loss(guess, plan.get_velocity(z, noise, t))

    def save(averaged: dict[str, Any], record: dict[str, Any]) -> None:
        parts = {k: m.half() for k, m in averaged.items()}
        pipe = D.EmbeddingToImagePipeline(vae=copy.deepcopy(vae).half(), scheduler=plan, **parts)
        with files.replacing_folder(folder) as part:
            pipe.save_pretrained(part, max_shard_size=D.SHARD)
            files.write_json(part / "training_log.json", {**log, "unet": record})

    return _train({"unet": unet, "tokens": tokens}, loss, save, settings, _resume_path(folder, "unet"), report)


def _train(
    models: dict[str, Any],
    loss: Callable[[np.random.Generator, torch.Generator], Tensor],
    save: Callable[[dict[str, Any], dict[str, Any]], None],
    settings: dict[str, Any],
    path: Path,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Run the steps that are left; ``save`` gets copies with averaged weights; ``path`` is there until the end."""
    params = [p for m in models.values() for p in m.parameters()]
    averaged = copy.deepcopy(models)
    means = [p for m in averaged.values() for p in m.parameters()]
    # Adam's steps have one size, so what sums over many inputs would move furthest (Yang et al. 2022, arXiv:2203.03466)
    groups = [{"params": [p], "pace": min(1.0, 144 / p[0].numel()) if p.ndim > 1 else 1.0} for p in params]
    optimiser = torch.optim.AdamW(groups, settings["lr"], betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    record: dict[str, Any] = {**settings, "done": 0, "seconds": 0, "log": []}
    if path.exists():
        record = _resume(path, settings, params, means, optimiser)
        report(f"going on after step {record['done']}")
    start, steps, losses = time.time() - record["seconds"], settings["steps"], []
    for step in range(record["done"], steps):
        # every step draws from its own generators, so that a run that was stopped ends as one that was not
        rng = np.random.default_rng([settings["seed"], step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        cosine = 0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = settings["lr"] * group["pace"] * min(1, (step + 1) / 100) * cosine
        now = loss(rng, generator)
        optimiser.zero_grad()
        now.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(means, params, max(0.005, 9 / (step + 10)))
        losses.append(now.item())
        record |= {"done": step + 1, "seconds": round(time.time() - start)}
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == steps:
            record["log"].append([step + 1, round(float(np.mean(losses)), 4)])
            report(f"step {step + 1:5d} of {steps}   loss {np.mean(losses):.4f}   {record['seconds']} s")
            losses = []
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            save({k: copy.deepcopy(m) for k, m in averaged.items()}, record)
            _keep(path, record, settings, params, means, optimiser)
    path.unlink(missing_ok=True)
    return record


def _keep(
    path: Path, record: dict[str, Any], settings: dict[str, Any], params: list[Any], means: list[Any], optimiser: Any
) -> None:
    arrays: dict[str, np.ndarray] = {}
    for i, (p, mean) in enumerate(zip(params, means, strict=True)):
        moments = optimiser.state[p]
        both = {"now": p, "mean": mean, "first": moments["exp_avg"], "second": moments["exp_avg_sq"]}
        arrays |= {f"{k}.{i}": value.detach().numpy() for k, value in both.items()}
    files.save_tensors(path, arrays, {"record": json.dumps(record), "settings": json.dumps(settings)})


def _resume(
    path: Path, settings: dict[str, Any], params: list[Any], means: list[Any], optimiser: Any
) -> dict[str, Any]:
    arrays, meta = files.load_tensors(path)
    before = json.loads(meta["settings"])
    if before != settings:
        raise ResumeError(f"{path} was made with {before}, not {settings}. Ask for the same, or delete it.")
    record: dict[str, Any] = json.loads(meta["record"])
    with torch.no_grad():
        for i, (p, mean) in enumerate(zip(params, means, strict=True)):
            now, averaged, first, second = (
                torch.from_numpy(arrays[f"{k}.{i}"]) for k in ("now", "mean", "first", "second")
            )
            p.copy_(now)
            mean.copy_(averaged)
            optimiser.state[p] = {"step": torch.tensor(float(record["done"])), "exp_avg": first, "exp_avg_sq": second}
    return record


def _resume_path(folder: Path, part: str) -> Path:
    return folder.with_name(f"{folder.name}.{part}.resume")


def _check(settings: dict[str, Any]) -> None:
    if settings["n_scenes"] < settings["batch_size"] or settings["steps"] < 1:
        raise RecipeError(f"Training needs a step and a batch of pictures; got {settings}.")
