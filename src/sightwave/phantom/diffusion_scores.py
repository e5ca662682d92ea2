"""Score reconstructions of the tiny diffusion with a judge that did not condition them.

Flow: held-out scenes -> true embeddings -> `tiny_diffusion` -> pictures -> what the judge sees in them.

Shape suffixes: B batch, C channels, H height and width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from sightwave.phantom import tiny_clip
from sightwave.phantom import tiny_diffusion as D
from sightwave.phantom.concepts import CATEGORIES, imagine, nameless
from sightwave.phantom.pictures import paint_many


def evaluate(
    folder: Path = D.WEIGHTS, *, clip: Path = tiny_clip.WEIGHTS, n: int = 240, steps: int = 20, guidance: float = 3.0,
    seed: int = 0, grid: Path | None = None, judge_steps: int = 3000, judge_scenes: int = 10000,
) -> dict[str, Any]:  # fmt: skip
    """Measure reconstructions of held-out pictures from their true embeddings, in about six minutes of one core.

    What a picture shows is said by a small judge, trained on the pixels of other true pictures. It knows neither the
    CLIP nor the autoencoder, so it cannot favour what conditioned the reconstructions.

    Parameters
    ----------
    folder, clip : Path
    n : int
        Pictures, three in five of named categories.
    steps, guidance, seed
        As in `reconstruct`.
    grid : Path or None
        Where to write the first 64 pictures above their reconstructions.
    judge_steps, judge_scenes : int
        Steps of 64 pictures that the judge is trained for, and pictures painted for it.

    Returns
    -------
    dict
        ``data``, ``n``; ``agreement``: fact -> share of pictures for which the judge names the truth: ``true`` (on the
        pictures themselves), ``autoencoder`` (only through it and back), ``reconstructed``, and ``chance`` (the
        reconstruction of another picture). ``pixcorr``: mean correlation of pixels with the picture, for the last
        three. ``parameters`` and ``megabytes`` of all weights.
    """
    rng = np.random.default_rng(seed)
    n_named = n * 3 // 5
    scenes = [imagine(CATEGORIES[i % 20], 500 + i // 20) for i in range(n_named)]
    scenes += [imagine(c, 0) for c in nameless(n - n_named, start=2000)]
    scenes = [scenes[i] for i in rng.permutation(n)]
    rgb, truth, pipe = paint_many(scenes), tiny_clip.facts(scenes), D.load(folder)
    made = pipe(tiny_clip.embed_images(tiny_clip.load(clip)[0], rgb)[0], steps=steps, guidance=guidance, seed=seed)
    with torch.inference_mode():
        passed = [D.to_rgb(pipe.vae(D.to_pixels(x)).sample) for x in torch.from_numpy(rgb).split(64)]
    shown = {"true": rgb, "autoencoder": np.concatenate(passed), "reconstructed": made, "chance": np.roll(made, 1, 0)}
    judge = _train_judge(judge_scenes, judge_steps, seed)
    right = {name: (_judged(judge, x) == truth).mean(0) for name, x in shown.items()}
    if grid is not None:
        D.write_grid(grid, rgb[:64], made[:64])
    weights = list(folder.rglob("*.safetensors"))
    return {
        "data": "phantom: painted pictures that were not trained on",
        "n": n,
        "agreement": {
            fact: {name: round(float(share[k]), 3) for name, share in right.items()}
            for k, fact in enumerate(tiny_clip.FACTS)
        },
        "pixcorr": {name: round(_pixcorr(rgb, x), 3) for name, x in shown.items() if name != "true"},
        "parameters": sum(p.numel() for m in (pipe.vae, pipe.unet, pipe.tokens) for p in m.parameters()),
        "megabytes": round(sum(w.stat().st_size for w in weights) / 1e6, 2),
    }


def _train_judge(n_scenes: int, steps: int, seed: int) -> nn.Module:
    """Train a small convolutional net to say every fact of a true picture; shifted, dimmed and blurred at random."""
    torch.manual_seed(seed)
    scenes = tiny_clip.training_scenes(n_scenes, seed=seed + 1)
    pixels, truth = torch.from_numpy(paint_many(scenes)), torch.from_numpy(tiny_clip.facts(scenes))
    layers: list[nn.Module] = []
    for before, after in ((3, 24), (24, 48), (48, 96), (96, 96)):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.ReLU()]
    widths = [len(pool) for pool in tiny_clip.FACTS.values()]
    judge = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(16 * 96, sum(widths)))
    optimiser = torch.optim.AdamW(judge.parameters(), 2e-3, weight_decay=0.05, fused=True)
    rng = np.random.default_rng(seed)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 2e-3 * min(1, (step + 1) / 50) * (1.01 - step / steps)
        pick = torch.from_numpy(rng.integers(0, n_scenes, 64))
        x_BCHH, (dy, dx) = D.to_pixels(pixels[pick]), rng.integers(0, 5, 2)
        if rng.random() < 0.3:
            x_BCHH = F.avg_pool2d(F.pad(x_BCHH, (1, 1, 1, 1), mode="replicate"), 3, 1)
        x_BCHH = F.pad(x_BCHH, (2, 2, 2, 2), mode="replicate")[..., dy : dy + 64, dx : dx + 64]
        said = judge(x_BCHH * float(rng.uniform(0.85, 1.1))).split(widths, 1)
        now = torch.stack([F.cross_entropy(s, truth[pick, k]) for k, s in enumerate(said)]).sum()
        optimiser.zero_grad()
        now.backward()
        optimiser.step()
    return judge.eval()


@torch.inference_mode()
def _judged(judge: nn.Module, rgb: np.ndarray) -> np.ndarray:
    widths = [len(pool) for pool in tiny_clip.FACTS.values()]
    said = torch.cat([judge(D.to_pixels(x)) for x in torch.from_numpy(rgb).split(256)])
    return torch.stack([s.argmax(1) for s in said.split(widths, 1)], 1).numpy()


def _pixcorr(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean([np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)]))
