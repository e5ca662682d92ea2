"""CLIP's image and text embeddings as targets, from any transformers folder or hub name; cached by content.

The weights are looked for in a local folder, then in the hub's cache, and only then downloaded. Nothing is fitted,
unless a tower is tuned together with the EEG (`clip_tower`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sightwave.cache import cached_rows
from sightwave.embeddings import Embeddings
from sightwave.errors import DataError, RecipeError, one_of
from sightwave.stimuli import Stimuli
from sightwave.targets import clip_tower_image, clip_tower_text
from sightwave.targets.base import Target
from sightwave.targets.clip_folder import fingerprint, folder_of, is_local, load
from sightwave.targets.views import View, check_view, content, name_of, see


@dataclass(frozen=True)
class ClipImage(Target):
    """Image embeddings of a CLIP model, projected, or one of the vision tower's hidden states.

    Parameters
    ----------
    model : str or Path
        A folder that ``CLIPModel.from_pretrained`` reads, a hub name, or "phantom" for the tiny CLIP that is shipped.
    layer : int or None
        Hidden state to take: 0 is what enters the first block, n what leaves the n-th. None takes the projected
        embedding, which shares its space with the text.
    pool : {"cls", "mean"}
        With `layer`: the class token, or the mean over the patch tokens.
    view : View or None
        Applied to each picture first, e.g. a blur; `Compose` puts several one after another.
    tune : str
        One of ``"frozen"``, ``"image-projection"``, ``"last-1"``, ``"last-1+projection"``, ``"last-2"``,
        ``"last-2+projection"``, ``"adapters"``, ``"lora"``, ``"lora-all"``: what of the vision tower learns together
        with the EEG; see `ImageTower`. The space keeps its name, as with `ClipText`.
    rank : int
        Of LoRA's matrices, or the width of an adapter.
    device : str
        "cpu", "cuda", or "auto" for CUDA where there is any.
    batch_size : int
        Pictures at a time.

    Notes
    -----
    Intermediate layers are easier to decode than the projected embedding by 20 points and more (Shallow Alignment,
    https://arxiv.org/abs/2601.21948). Vectors keep the length that the model gives them. Tried with the tiny CLIP and
    with untrained models of transformers' classes; OpenAI's own weights have not been loaded so far.
    """

    from_pictures: ClassVar[bool] = True

    model: str | Path = "phantom"
    layer: int | None = None
    pool: str = "cls"
    view: View | None = None
    tune: str = "frozen"
    rank: int = 8
    device: str = "cpu"
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.pool not in ("cls", "mean"):
            raise RecipeError(f"ClipImage.pool must be 'cls' or 'mean', got {self.pool!r}.")
        _check_tuning(self, clip_tower_image.TUNINGS)
        check_view(self)

    @property
    def space(self) -> str:
        """E.g. ``"clip-image/tiny_clip"``, ``"clip-image/tiny_clip/layer-3-mean/Blur(sigma=8)"``."""
        parts = ["clip-image", _name(self.model)]
        if self.layer is not None:
            parts.append(f"layer-{self.layer}-{self.pool}")
        if self.view is not None:
            parts.append(name_of(self.view))
        return "/".join(parts)

    def check(self) -> None:
        """Raise `ModelMissing` where the weights cannot be had."""
        folder_of(self.model, "image")

    def embed(self, stimuli: Stimuli, train: Collection[str]) -> Embeddings:
        """Embed every picture, float32, shape (n_stimuli, dim).

        Raises
        ------
        ModelMissing
            If the weights cannot be had; the message says how to give a folder.
        DataError
            If the stimuli have no pictures.
        RecipeError
            If the tower has no such layer.
        """
        return embed_layers((self,), stimuli)[0]

    def tower(self, stimuli: Stimuli, train: Collection[str]) -> nn.Module:
        """Map rows of ``stimuli.ids``, (B,), to embeddings, (B, D): a lookup table, or the tower that learns."""
        if self.tune == "frozen":
            return super().tower(stimuli, train)
        folder = folder_of(self.model, "image")
        model, processor = self._tower(folder)
        look = partial(processor, do_rescale=False, do_normalize=False)
        what = {"ids": stimuli.ids, "stimuli": stimuli.key, "view": content(self.view)}

        def rows(start: int, stop: int) -> np.ndarray:
            return self._pixels(look, stimuli, stimuli.ids[start:stop]).numpy().astype(np.uint8)

        pixels = torch.from_numpy(_made("pixels", stimuli, folder, what, rows))  # read once, for all seeds and members
        tower = clip_tower_image.ImageTower(
            model, pixels.to(model.device), torch.arange(len(stimuli)),
            mean=processor.image_mean, std=processor.image_std, tune=self.tune, layer=self.layer, pool=self.pool,
            rank=self.rank, batch_size=self.batch_size,
        )  # fmt: skip
        return tower.cpu()  # what is frozen was run where it is quick; every tower is moved when training begins

    def _tower(self, folder: Path) -> tuple[Any, Any]:
        """Load the tower and its processor."""
        import transformers

        processor_class = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
        model, processor = load(folder, transformers.CLIPVisionModelWithProjection, processor_class)
        n_layers = model.config.num_hidden_layers
        if self.layer is not None and not 0 <= self.layer <= n_layers:
            raise RecipeError(f"{folder.name} has the layers 0 to {n_layers}, got layer={self.layer}.")
        return model.to(_device(self.device)), processor

    def _pixels(self, processor: Callable[..., Any], stimuli: Stimuli, ids: np.ndarray) -> Tensor:
        images = [see(stimuli, i, self.view) for i in ids]
        pixels: Tensor = processor(images=images, return_tensors="pt", input_data_format="channels_last")[
            "pixel_values"
        ]
        return pixels

    @torch.no_grad()
    def _read(self, model: Any, pixels: Tensor, layers: Sequence[Any]) -> Tensor:
        """Return what each layer says of each picture side by side, (B, L * D); no block behind the last one is run."""
        if None in layers:
            embedded: Tensor = model(pixel_values=pixels).image_embeds
            return embedded
        vision = model.vision_model
        h_BLD = vision.pre_layrnorm(vision.embeddings(pixels))
        said = [self._pooled(h_BLD)]
        for block in vision.encoder.layers[: max(layers)]:
            h_BLD = block(h_BLD, None)
            said.append(self._pooled(h_BLD))
        return torch.cat([said[n] for n in layers], 1)

    def _pooled(self, h_BLD: Tensor) -> Tensor:
        return h_BLD[:, 0] if self.pool == "cls" else h_BLD[:, 1:].mean(1)


def embed_layers(targets: Sequence[ClipImage], stimuli: Stimuli) -> list[Embeddings]:
    """Embed every picture by several layers of one frozen tower, in one pass over pictures and tower.

    Parameters
    ----------
    targets : sequence of ClipImage
        Alike but for their layers; the projected embedding comes alone.
    stimuli : Stimuli

    Returns
    -------
    list of Embeddings
        One per target, as `ClipImage.embed` gives them.
    """
    layers = [target.layer for target in targets]
    first = targets[int(np.argmax([n or 0 for n in layers]))]  # the deepest: where it is, all are
    folder = folder_of(first.model, "image")
    what = {
        "ids": stimuli.ids,
        "stimuli": stimuli.key,
        "layer": layers if len(layers) > 1 else first.layer,
        "pool": first.pool,
        "view": content(first.view),
    }
    tower = cache(lambda: first._tower(folder))  # loaded once, and only if something is left to embed

    def rows(start: int, stop: int) -> np.ndarray:
        (model, processor), parts = tower(), []
        for i in range(start, stop, first.batch_size):
            pixels = first._pixels(processor, stimuli, stimuli.ids[i : min(i + first.batch_size, stop)])
            parts.append(first._read(model, pixels.to(model.device), layers).float().cpu().numpy())
        return np.concatenate(parts)

    side_by_side = np.split(_made(first.space, stimuli, folder, what, rows), len(targets), axis=1)
    return [Embeddings(v, stimuli.ids, target.space) for v, target in zip(side_by_side, targets, strict=True)]


@dataclass(frozen=True)
class ClipText(Target):
    """Text embeddings of the captions by a CLIP model.

    Parameters
    ----------
    model : str or Path
        As for `ClipImage`.
    phrasing : int or "mean"
        Which caption of each picture; "mean" is the mean of the unit vectors of all its captions.
    tune : str
        One of ``"frozen"``, ``"text-projection"``, ``"last-1"``, ``"last-1+projection"``, ``"last-2"``,
        ``"last-2+projection"``, ``"adapters"``, ``"lora"``, ``"lora-all"``: what of the text tower learns together with
        the EEG; see `TextTower`. The space keeps its name, for that is where training starts, and the gallery is
        embedded by the tower as it is when training ends.
    rank : int
        Of LoRA's matrices, or the width of an adapter.
    device : str
        "cpu", "cuda", or "auto" for CUDA where there is any.
    batch_size : int
        Captions at a time.

    Notes
    -----
    Tuning was tried with the tiny CLIP and with untrained models of transformers' classes, not with OpenAI's weights.
    """

    model: str | Path = "phantom"
    phrasing: int | str = 0
    tune: str = "frozen"
    rank: int = 8
    device: str = "cpu"
    batch_size: int = 256

    def __post_init__(self) -> None:
        _check_tuning(self, clip_tower_text.TUNINGS)
        if self.tune != "frozen" and self.phrasing == "mean":
            raise RecipeError("ClipText(phrasing='mean') cannot be tuned: give the number of one caption.")
        if self.phrasing != "mean" and (not isinstance(self.phrasing, int) or self.phrasing < 0):
            raise RecipeError(f"ClipText.phrasing must be 0, 1, ... or 'mean', got {self.phrasing!r}.")

    @property
    def space(self) -> str:
        """E.g. ``"clip-text/tiny_clip"``, and ``"clip-text/tiny_clip/phrasing-1"`` for other than the first caption."""
        return f"clip-text/{_name(self.model)}" + ("" if self.phrasing == 0 else f"/phrasing-{self.phrasing}")

    def check(self) -> None:
        """Raise `ModelMissing` where the weights cannot be had."""
        folder_of(self.model, "text")

    def embed(self, stimuli: Stimuli, train: Collection[str]) -> Embeddings:
        """Embed the captions of every stimulus, float32, shape (n_stimuli, dim).

        Raises
        ------
        ModelMissing
            If the weights cannot be had; the message says how to give a folder.
        DataError
            If the stimuli have no captions, or a picture has too few.
        """
        texts = [self._texts(stimuli, i) for i in stimuli.ids]
        folder = folder_of(self.model, "text")
        what = {"ids": stimuli.ids, "stimuli": stimuli.key, "texts": texts, "mean": self.phrasing == "mean"}
        return _embeddings(
            self.space, stimuli, folder, what, lambda start, stop: self._vectors(folder, texts[start:stop])
        )

    def tower(self, stimuli: Stimuli, train: Collection[str]) -> nn.Module:
        """Map rows of ``stimuli.ids``, (B,), to embeddings, (B, D): a lookup table, or the tower that learns."""
        if self.tune == "frozen":
            return super().tower(stimuli, train)
        texts, row = np.unique([self._texts(stimuli, i)[0] for i in stimuli.ids], return_inverse=True)
        model, tokenizer = self._loaded(folder_of(self.model, "text"))
        ids = _tokens(model, tokenizer, texts)["input_ids"].to(model.device)
        return clip_tower_text.TextTower(
            model, ids, torch.from_numpy(row), tune=self.tune, rank=self.rank, batch_size=self.batch_size
        ).cpu()  # as the image's

    def _loaded(self, folder: Path) -> tuple[Any, Any]:
        import transformers

        model, tokenizer = load(folder, transformers.CLIPTextModelWithProjection, transformers.AutoTokenizer)
        return model.to(_device(self.device)), tokenizer

    def _texts(self, stimuli: Stimuli, stimulus: str) -> tuple[str, ...]:
        texts = stimuli.captions(stimulus)
        wanted = texts if isinstance(self.phrasing, str) else texts[self.phrasing : self.phrasing + 1]
        if not wanted:
            raise DataError(
                f"Stimulus {str(stimulus)!r} has {len(texts)} caption(s), ClipText asks for {self.phrasing!r}."
            )
        return wanted

    def _vectors(self, folder: Path, texts: list[tuple[str, ...]]) -> np.ndarray:
        model, tokenizer = self._loaded(folder)
        unique, row = np.unique([t for group in texts for t in group], return_inverse=True)
        parts = []
        for start in range(0, len(unique), self.batch_size):
            batch = _tokens(model, tokenizer, unique[start : start + self.batch_size]).to(model.device)
            with torch.no_grad():
                out = model(batch["input_ids"], attention_mask=batch["attention_mask"])
            parts.append(out.text_embeds.float().cpu().numpy())
        each = np.concatenate(parts)[row]
        if self.phrasing != "mean":
            return each
        each /= np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-12)
        ends = np.cumsum([len(group) for group in texts])[:-1]
        return np.stack([group.mean(0) for group in np.split(each, ends)])


def _check_tuning(target: ClipImage | ClipText, tunings: tuple[str, ...]) -> None:
    if target.tune not in tunings:
        raise one_of(f"tuning of {type(target).__name__}", target.tune, tunings)
    if target.rank < 1:
        raise RecipeError(f"{type(target).__name__}.rank must be at least 1, got {target.rank}.")


def _tokens(model: Any, tokenizer: Any, texts: np.ndarray) -> Any:
    """Tokens of captions, padded to the longest of them and cut to what the model can read."""
    longest = model.config.max_position_embeddings
    return tokenizer(texts.tolist(), padding=True, truncation=True, max_length=longest, return_tensors="pt")


def _embeddings(
    space: str, stimuli: Stimuli, folder: Path, what: dict[str, Any], make: Callable[[int, int], np.ndarray]
) -> Embeddings:
    return Embeddings(_made(space, stimuli, folder, what, make), stimuli.ids, space)


def _made(
    space: str, stimuli: Stimuli, folder: Path, what: dict[str, Any], make: Callable[[int, int], np.ndarray]
) -> np.ndarray:
    """Make an array, or read it from the cache; what comes of pictures without a content key is never cached."""
    if not stimuli.key:
        return make(0, len(stimuli))
    key = {"folder": fingerprint(folder), "space": space, **what}
    name = space.replace("/", "--")[:120]  # a file's name has room for so many, and the key tells the rest
    return cached_rows(name, key, len(stimuli), make)


def _name(model: str | Path) -> str:
    """Name of the model in the name of its space."""
    if model == "phantom":
        return "tiny_clip"
    return Path(model).expanduser().resolve().name if is_local(model) else str(model).replace("/", "--")


def _device(device: str) -> str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
