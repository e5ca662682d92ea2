"""A CLIP in a folder: found locally, in the hub's cache, or on the hub; checked, fingerprinted, and loaded whole."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import torch

from sightwave import files
from sightwave.errors import ModelMissing

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
NEEDED = {
    "image": (("config.json",), WEIGHTS, ("preprocessor_config.json", "processor_config.json")),
    "text": (("config.json",), WEIGHTS, ("tokenizer.json", "vocab.json")),
}
CONNECT_S = 5.0
"""How long the hub may take to answer, in seconds."""


def is_local(model: str | Path) -> bool:
    """Whether a model is named by a path, and not by its name on the hub."""
    return (
        isinstance(model, Path)
        or Path(model).expanduser().is_dir()
        or not re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", model)
    )


def folder_of(model: str | Path, kind: str) -> Path:
    """Return a folder that holds what ``kind`` needs, or raise `ModelMissing`."""
    if model == "phantom":
        folder = Path(str(package_files("sightwave"))) / "phantom" / "tiny_clip"
    elif is_local(model):
        folder = Path(model).expanduser()
    else:
        return _from_hub(str(model), kind)
    if not folder.is_dir():
        raise ModelMissing(f"No folder {folder}. {_how_to(str(model))}")
    missing = _missing(folder, kind)
    if missing:
        raise ModelMissing(f"{folder} is no CLIP folder for {kind}s: it lacks {' and '.join(missing)}.")
    return folder


def _missing(folder: Path, kind: str) -> list[str]:
    return [" or ".join(names) for names in NEEDED[kind] if not any((folder / n).is_file() for n in names)]


def _from_hub(name: str, kind: str) -> Path:
    """Return the snapshot of a hub model: from the hub's own cache, else downloaded without any pickled weights."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    # connection errors of the hub's client are no OSError; the class that they share is a base of this one
    unreachable: tuple[type[Exception], ...] = (OSError, ValueError, *HfHubHTTPError.__bases__)
    reasons: list[str] = []
    for local_only in (True,) if offline else (True, False):
        try:
            with _quiet():
                folder = Path(snapshot_download(
                    name, local_files_only=local_only, etag_timeout=CONNECT_S,
                    allow_patterns=["*config.json", "tokenizer*", "vocab.json", "merges.txt", "special_tokens_map.json",
                                    "model.safetensors*", "model-*.safetensors"],
                ))  # fmt: skip
        except unreachable as e:
            reasons.append(str(e).splitlines()[0] if str(e) else type(e).__name__)
            continue
        missing = _missing(folder, kind)
        if not missing:
            return folder
        reasons.append(f"it lacks {' and '.join(missing)}")
    why = "HF_HUB_OFFLINE is set, so it was not asked for" if offline else reasons[-1]
    raise ModelMissing(
        f"There is no folder {name!r}, and the model of that name could not be had from the hub ({why}). "
        f"{_how_to(name)}"
    )


def _how_to(name: str) -> str:
    hub, folder = ("openai/clip-vit-large-patch14", name) if is_local(name) else (name, Path(name).name)
    return (
        'Give a local folder: `sightwave run --clip FOLDER`, or ClipImage(model="path/to/folder"). To get one, on a '
        "machine with network:\n"
        f"  hf download {hub} --local-dir {folder}\n"
        "or take the tiny CLIP that is shipped, 'phantom', which knows the phantom's pictures and no photographs."
    )


def fingerprint(folder: Path) -> str:
    """Content of a model folder: every weight and settings file by SHA-256."""
    names = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".json", ".txt") and p.is_file())
    return ";".join(f"{p.name}:{_sha256(p, p.stat().st_mtime_ns, p.stat().st_size)}" for p in names)


@lru_cache(maxsize=64)
def _sha256(path: Path, mtime_ns: int, size: int) -> str:
    return files.sha256(path)


def load(folder: Path, model_class: Any, other_class: Any) -> tuple[Any, Any]:
    """Load a tower in float32 and its processor or tokenizer; a tower with missing weights is refused.

    Parameters
    ----------
    folder : Path
    model_class, other_class : class
        Of transformers, with ``from_pretrained``.

    Raises
    ------
    ModelMissing
        If the folder holds another kind of model, or not all of its weights.
    """
    from safetensors import SafetensorError

    try:
        kind = json.loads(files.read_text(folder / "config.json")).get("model_type", "nothing")
        if not str(kind).startswith("clip"):
            raise ModelMissing(f"{folder} holds a {kind!r} model, not a 'clip' model.")
        with _quiet():
            model, info = model_class.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
            )
            other = other_class.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as e:
        if isinstance(e, ModelMissing):
            raise
        raise ModelMissing(f"{folder} cannot be loaded as {model_class.__name__}: {e}") from e
    # transformers fills these in at random and only logs it
    if info["missing_keys"] or info["mismatched_keys"]:
        gone = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
        raise ModelMissing(f"{folder}: {len(gone)} weights of {model_class.__name__} are absent, e.g. {gone[0]}.")
    return model.eval(), other


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' load report and progress bars, and put its settings back."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
