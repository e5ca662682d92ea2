"""A tiny CLIP in transformers' own classes, trained on phantom pictures and their captions.

Flow: scenes -> `train` -> a folder that any ``CLIPModel.from_pretrained`` loads -> `targets.clip`.
The package ships one such folder, `WEIGHTS`, made by ``sightwave phantom train-clip`` in two trainings: 5,000 steps in
which every fact counted alike and no position was asked for, then ``--start`` from them 2,000 steps as `train` is now.

Shape suffixes: B batch, D joint width, C colour, H height, W width, L words.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from sightwave import files
from sightwave.errors import ModelMissing, RecipeError
from sightwave.phantom import concepts as P
from sightwave.phantom.pictures import paint_many

WEIGHTS = Path(__file__).with_name("tiny_clip")
SIDE, MEAN, STD, N_WORDS = 48, 0.55, 0.27, 28
# Training never touches nameless concepts below, nor exemplars of categories below: they are for experiments.
FIRST_CONCEPT, FIRST_EXEMPLAR = 5000, 1000
FACTS: dict[str, list[Any]] = {
    "kind": [*P.CATEGORIES, *P.OUTLINES],
    "colour": list(P.COLOURS),
    "texture": list(P.TEXTURES),
    "count": [1, 2, 3],
    "background": list(P.BACKGROUNDS),
    "place": ["on the left", "in the middle", "on the right"],
    "parts": ["", *(f"{a} {b}" for a, b in combinations(P.PARTS, 2))],
}
# Captions hardly need the place, and the kind is the hardest to see: both count more than what is learnt by itself.
_COUNTS_FOR = {"kind": 2.0, "place": 2.0}
_GLUE = (
    "a an is are there with and picture drawing of small large photo the this shape shapes arms no on in left right "
    "middle"
)


def vocabulary() -> dict[str, int]:
    """Every word that a caption can hold, in alphabetical order after four special tokens."""
    words = set(_GLUE.split())
    for pool in (P.COLOURS, P.TEXTURES, P.OUTLINES, P.ARMS, P.PARTS, P.NUMBERS, P.CATEGORIES, *P.NOUNS.values()):
        words |= {word for name in pool for word in name.split()}
    words |= {word for text in P.BACKGROUNDS.values() for word in text.split()}
    words |= {c + "s" for c in P.CATEGORIES if c not in P.NOUNS}
    # <end> must not be 2: transformers pools old checkpoints by the largest id when eos is 2
    return {w: i for i, w in enumerate(["<pad>", "<start>", "<unk>", "<end>", *sorted(words)])}


def build_tokenizer() -> Any:
    """Build a word-level tokenizer as a transformers fast tokenizer."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tok = Tokenizer(models.WordLevel(vocabulary(), unk_token="<unk>"))
    tok.normalizer = normalizers.Lowercase()
    tok.pre_tokenizer = pre_tokenizers.Whitespace()
    tok.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tok, bos_token="<start>", eos_token="<end>", pad_token="<pad>",
        unk_token="<unk>", model_max_length=N_WORDS,
    )  # fmt: skip


def build_model(*, width: int = 128, depth: int = 4, dim: int = 64) -> Any:
    """Build an untrained ``CLIPModel``: vision 48 px in 8 px patches, text of up to 28 words, joint width ``dim``."""
    from transformers import CLIPConfig, CLIPModel

    shared = dict(num_attention_heads=4, projection_dim=dim, hidden_act="relu")
    text = dict(vocab_size=len(vocabulary()), hidden_size=96, intermediate_size=384, num_hidden_layers=2,
                bos_token_id=1, eos_token_id=3, pad_token_id=0, max_position_embeddings=N_WORDS)  # fmt: skip
    vision = dict(image_size=SIDE, patch_size=8, hidden_size=width, intermediate_size=4 * width,
                  num_hidden_layers=depth)  # fmt: skip
    return CLIPModel(CLIPConfig(text_config=text | shared, vision_config=vision | shared, projection_dim=dim,
                                logit_scale_init_value=2.66))  # fmt: skip


def save(model: Any, folder: Path, log: dict[str, Any] | None = None) -> None:
    """Save weights (float16 safetensors), tokenizer, image processor and log as one transformers folder."""
    import copy
    import json

    small = copy.deepcopy(model).half()
    with files.replacing_folder(folder) as part, _quiet():
        small.save_pretrained(part)
        build_tokenizer().save_pretrained(part)
        processor = dict(image_processor_type="CLIPImageProcessor", do_resize=True, size={"shortest_edge": SIDE},
                         do_center_crop=True, crop_size={"height": SIDE, "width": SIDE}, do_rescale=True,
                         rescale_factor=1 / 255, do_normalize=True, image_mean=[MEAN] * 3, image_std=[STD] * 3,
                         do_convert_rgb=True, resample=3)  # fmt: skip
        files.write_text(part / "preprocessor_config.json", json.dumps(processor, indent=2) + "\n")
        if log is not None:
            files.write_json(part / "training_log.json", log)


def load(folder: Path = WEIGHTS) -> tuple[Any, Any]:
    """Load the model, float32 and in evaluation mode, and the tokenizer.

    Raises
    ------
    ModelMissing
        If the folder holds no weights.
    """
    from transformers import CLIPModel, PreTrainedTokenizerFast

    if not (folder / "model.safetensors").exists():
        raise ModelMissing(f"No tiny CLIP in {folder}. Train one: sightwave phantom train-clip --out {folder}")
    with _quiet():
        model = CLIPModel.from_pretrained(folder, local_files_only=True).float().eval()
        return model, PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from printing load reports and progress bars."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def training_scenes(n: int, *, seed: int = 0) -> list[P.Scene]:
    """Draw ``n`` scenes that no experiment uses: three in five are named categories."""
    rng = np.random.default_rng(seed)
    n_named = n * 3 // 5
    scenes = [P.imagine(P.CATEGORIES[i % 20], FIRST_EXEMPLAR + i) for i in range(n_named)]
    scenes += [P.imagine(f"shape{FIRST_CONCEPT + int(rng.integers(40000))}", i) for i in range(n - n_named)]
    return [scenes[i] for i in rng.permutation(n)]


def facts(scenes: Sequence[P.Scene]) -> np.ndarray:
    """Attribute indices of scenes, shape (n, 7), int64, in the order of `FACTS`."""
    rows = [
        (s.outline or s.concept, s.colour, s.texture, s.count, s.background, s.place, " ".join(s.parts)) for s in scenes
    ]
    return np.array([[pool.index(v) for pool, v in zip(FACTS.values(), row, strict=True)] for row in rows])


def positions(scenes: Sequence[P.Scene]) -> np.ndarray:
    """Where the objects are, shape (n, 4), float32: across, down, size and facing, each of about unit variance."""
    rows = [(9 * s.x - 4.5, 7 * s.y - 4.2, 10 * s.scale - 2.5, 2 * s.flip - 1) for s in scenes]
    return np.array(rows, np.float32)


def train(
    folder: Path, *, start: Path | None = None, steps: int = 5000, n_scenes: int = 40000, batch_size: int = 128,
    lr: float = 1.2e-3, seed: int = 0, workers: int = 2, report: Callable[[str], None] = print,
) -> dict[str, Any]:  # fmt: skip
    """Train from scratch or from given weights and save to ``folder``; the training log is saved beside the weights.

    The objective is CLIP's symmetric InfoNCE plus what linear heads read from the image embedding: the mean
    cross-entropy of the `FACTS`, in which kind and place count double, and the squared error of `positions`. Half of
    it again is added for the mean token of each layer, so that texture and count are linearly readable there.
    The heads speed up so short a training about threefold and are dropped when saving. Without them the embedding
    tells nothing of the place, because no caption needs it to be told from the others.

    Parameters
    ----------
    folder : Path
        Is replaced as a whole when the training ends, and every 500 steps.
    start : Path or None
        A folder whose weights the training goes on from; its own log is kept in the new one.
    steps, n_scenes, batch_size, lr, seed
        Length, pictures painted (2 ms each), pairs a step, peak learning rate, everything random.

    Returns
    -------
    dict
        Settings, seconds, and the losses every 50 steps and at the end: (step, InfoNCE, attributes, positions);
        ``start``: the SHA-256 and the log of the weights that it went on from.

    Raises
    ------
    RecipeError
        If there are fewer pictures than a batch needs, or no step.
    """
    if n_scenes < batch_size or steps < 1:
        raise RecipeError(f"Training needs a step and a batch of pictures; got steps={steps}, n_scenes={n_scenes} and "
                          f"batch_size={batch_size}.")  # fmt: skip
    before = {} if start is None else {"start": _origin(start)}
    torch.manual_seed(seed)
    rng, began = np.random.default_rng(seed), time.time()
    scenes = training_scenes(n_scenes, seed=seed)
    pixels = torch.cat(
        [to_pixels(paint_many(scenes[i : i + 8000], workers=workers)).half() for i in range(0, n_scenes, 8000)]
    )
    report(f"{n_scenes} phantom pictures painted in {time.time() - began:.0f} s")
    model, tok = build_model(), build_tokenizer()
    if start is not None:
        model.load_state_dict(load(start)[0].state_dict())
    model.set_attn_implementation("eager")  # in bfloat16 and on a CPU, several times as fast as the fused one
    truth, where = torch.from_numpy(facts(scenes)), torch.from_numpy(positions(scenes))
    heads = nn.Linear(model.config.projection_dim, sum(map(len, FACTS.values())) + where.shape[1])
    vision = model.config.vision_config
    layer_heads = nn.ModuleList(
        nn.Linear(vision.hidden_size, heads.out_features) for _ in range(vision.num_hidden_layers)
    )
    texts = [tok(list(s.captions), padding="max_length", max_length=N_WORDS)["input_ids"] for s in scenes]
    ids = torch.tensor(texts)
    params: list[nn.Parameter] = [*model.parameters(), *heads.parameters(), *layer_heads.parameters()]
    optimiser = torch.optim.AdamW(params, lr, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    log: list[tuple[int, float, float, float]] = []
    for step in range(steps):
        cosine = 0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * step / steps))
        optimiser.param_groups[0]["lr"] = lr * min(1, (step + 1) / 60) * cosine
        pick = torch.from_numpy(rng.choice(n_scenes, batch_size, replace=False))
        x_BCHW = pixels[pick].float() * float(rng.uniform(0.9, 1.1)) + float(rng.normal(0, 0.1))
        dy, dx = rng.integers(0, 5, 2)
        x_BCHW = F.pad(x_BCHW, (2, 2, 2, 2), mode="replicate")[..., dy : dy + SIDE, dx : dx + SIDE]
        # half of the captions are the fullest phrasing
        phrase = torch.from_numpy(np.where(rng.random(batch_size) < 0.5, 0, rng.integers(0, 5, batch_size)))
        t_BL = ids[pick, phrase]
        t_BL = t_BL[:, : int((t_BL > 0).sum(1).max())]
        with torch.autocast("cpu", torch.bfloat16):
            out = model(input_ids=t_BL, attention_mask=(t_BL > 0).long(), pixel_values=x_BCHW,
                        output_hidden_states=True)  # fmt: skip
        v_BD, t_BD, own_B = out.image_embeds.float(), out.text_embeds.float(), torch.arange(batch_size)
        logits_BB = model.logit_scale.exp() * v_BD @ t_BD.T
        nce = (F.cross_entropy(logits_BB, own_B) + F.cross_entropy(logits_BB.T, own_B)) / 2
        named, off = _told(heads(v_BD * 8), truth[pick], where[pick])
        hidden = out.vision_model_output.hidden_states[1:]
        inner = [
            _told(h(x.float().mean(1)), truth[pick], where[pick]) for h, x in zip(layer_heads, hidden, strict=True)
        ]
        optimiser.zero_grad()
        (nce + named + off + 0.5 * torch.stack([a + b for a, b in inner]).mean()).backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimiser.step()
        model.logit_scale.data.clamp_(0, 4.0)
        if (step + 1) % 50 == 0 or step + 1 == steps:
            log.append((step + 1, round(nce.item(), 3), round(named.item(), 3), round(off.item(), 3)))
            report(f"step {step + 1:5d} of {steps}   InfoNCE {nce.item():.3f}   attributes {named.item():.3f}"
                   f"   positions {off.item():.3f}   {time.time() - began:.0f} s")  # fmt: skip
        if (step + 1) % 500 == 0 or step + 1 == steps:
            record = dict(steps=steps, done=step + 1, n_scenes=n_scenes, batch_size=batch_size, lr=lr, seed=seed,
                          seconds=round(time.time() - began), log=log, **before)  # fmt: skip
            save(model, folder, record)
    return record


def _told(said: Tensor, truth: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of the `FACTS`, each times what it counts for, and mean squared error of the positions."""
    *parts, placed = said.split([*(len(pool) for pool in FACTS.values()), where.shape[1]], 1)
    named = [
        _COUNTS_FOR.get(fact, 1.0) * F.cross_entropy(p, truth[:, k])
        for k, (fact, p) in enumerate(zip(FACTS, parts, strict=True))
    ]
    return torch.stack(named).mean(), F.mse_loss(placed, where)


def _origin(folder: Path) -> dict[str, Any]:
    weights = files.must_exist(folder / "model.safetensors", "tiny CLIP to start from")
    log = folder / "training_log.json"
    return {"sha256": files.sha256(weights), "log": files.read_json(log) if log.exists() else None}


def to_pixels(rgb: np.ndarray) -> Tensor:
    """Turn pictures (B, H, W, 3) uint8 into normalised pixels (B, 3, 48, 48), as the saved image processor does."""
    small = np.stack([np.asarray(Image.fromarray(i).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for i in rgb])
    return (torch.from_numpy(small).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


def _mixed(first: int, per_class: int) -> list[P.Scene]:
    """Scenes of every category, and two thirds as many of nameless concepts behind them."""
    named = [P.imagine(c, first + i) for c in P.CATEGORIES for i in range(per_class)]
    return named + [P.imagine(c, first) for c in P.nameless(len(named) * 2 // 3, start=1000 + 5 * first)]


@torch.inference_mode()
def embed_images(model: Any, rgb: np.ndarray, *, layers: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Embed pictures (n, H, W, 3) uint8.

    Returns
    -------
    embeddings : ndarray, shape (n, D)
        Of unit length.
    hidden : ndarray, shape (n, n_layers + 1, width)
        Mean over the tokens of each layer, the embedded patches first; without ``layers``, shape (n, 0, 0).
    """
    out, hidden = [], []
    for i in range(0, len(rgb), 128):
        seen = model.vision_model(pixel_values=to_pixels(rgb[i : i + 128]), output_hidden_states=layers)
        out.append(F.normalize(model.visual_projection(seen.pooler_output), dim=-1))
        means = [h.mean(1) for h in seen.hidden_states] if layers else []
        hidden.append(torch.stack(means, 1) if layers else torch.empty(len(out[-1]), 0, 0))
    return torch.cat(out).numpy(), torch.cat(hidden).numpy()


@torch.inference_mode()
def embed_texts(model: Any, tokenizer: Any, texts: Sequence[str]) -> np.ndarray:
    """Embed texts; unit length, shape (n, D)."""
    out = []
    for i in range(0, len(texts), 256):
        batch = tokenizer(list(texts[i : i + 256]), padding=True, return_tensors="pt")
        seen = model.text_model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        out.append(F.normalize(model.text_projection(seen.pooler_output), dim=-1))
    return torch.cat(out).numpy()


def evaluate(
    folder: Path = WEIGHTS, *, n_groups: int = 3, per_class: int = 25, per_class_probe: int = 60
) -> dict[str, Any]:
    """Test a tiny CLIP on pictures that it was not trained on, in about half a minute.

    Parameters
    ----------
    folder : Path
    n_groups : int
        Galleries of 200 pictures, three in five of named categories, with their fullest captions.
    per_class, per_class_probe : int
        Pictures per category that are scored, and that the linear probes learn from.

    Returns
    -------
    dict
        ``data``; ``recall_at_1_of_200`` and ``recall_at_5_of_200`` (picture -> caption; ties count against),
        ``zero_shot_of_20`` (accuracy), ``embedding``: fact -> accuracy of a ridge classifier on the image embedding,
        ``layers``: ``"layer0"`` ... -> the same of the layer's mean token, ``majority``: fact -> accuracy of always
        saying the commonest,
        ``parameters``, ``megabytes``.
    """
    from sklearn.linear_model import RidgeClassifier

    model, tokenizer = load(folder)
    recalls = []
    for g in range(n_groups):
        scenes = [P.imagine(P.CATEGORIES[i % 20], 6 * g + i // 20) for i in range(120)]
        scenes += [P.imagine(c, 0) for c in P.nameless(80, start=80 * g)]
        texts = embed_texts(model, tokenizer, [scene.captions[0] for scene in scenes])
        s = embed_images(model, paint_many(scenes))[0] @ texts.T
        rank = (s >= np.diag(s)[:, None]).sum(1)
        recalls.append([(rank <= k).mean() for k in (1, 5)])
    shown = _mixed(100, per_class)
    v, hidden = embed_images(model, paint_many(shown), layers=True)
    nouns = [P.NOUNS.get(c, (c,))[0] for c in P.CATEGORIES]
    prompts = embed_texts(
        model, tokenizer, [f"a {way} of a {noun}" for way in ("picture", "drawing") for noun in nouns]
    )
    kinds = prompts.reshape(2, len(nouns), -1).sum(0)
    zero_shot = ((v[: 20 * per_class] @ kinds.T).argmax(1) == np.repeat(np.arange(20), per_class)).mean()
    learnt = _mixed(300, per_class_probe)
    v_learnt, basis = embed_images(model, paint_many(learnt), layers=True)
    y, truth = facts(learnt), facts(shown)

    def read(x: np.ndarray, x_shown: np.ndarray, alpha: float) -> dict[str, float]:
        return {
            name: round(float(RidgeClassifier(alpha=alpha).fit(x, y[:, j]).score(x_shown, truth[:, j])), 3)
            for j, name in enumerate(FACTS)
        }

    layers = {f"layer{k}": read(basis[:, k], hidden[:, k], 1.0) for k in range(hidden.shape[1])}
    recall = np.mean(recalls, 0)
    return {
        "data": "phantom: painted pictures that were not trained on",
        "recall_at_1_of_200": round(float(recall[0]), 3),
        "recall_at_5_of_200": round(float(recall[1]), 3),
        "zero_shot_of_20": round(float(zero_shot), 3),
        "embedding": read(v_learnt, v, 0.1),
        "layers": layers,
        "majority": {f: round(float(np.bincount(truth[:, j]).max() / len(truth)), 3) for j, f in enumerate(FACTS)},
        "parameters": sum(p.numel() for p in model.parameters()),
        "megabytes": round((folder / "model.safetensors").stat().st_size / 1e6, 2),
    }
