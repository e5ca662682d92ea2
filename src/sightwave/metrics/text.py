"""BERTScore: how alike two captions are by the token vectors of a text model that lies in a local folder.

Each token is matched to the most similar token of the other text; precision is the mean over the candidate's tokens,
recall over the reference's, and F1 their harmonic mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightwave import files
from sightwave.errors import DataError, ModelMissing, RecipeError

THRESHOLD = 0.7
"""F1 above which published work calls a caption a success. Of two *random* captions nearly all pass it, too: with
roberta-large a reported mean of .872 came with 100 % above .7. Without the share of random pairs beside it, the share
of successes says nothing."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """One text by its tokens.

    Parameters
    ----------
    vectors : ndarray, shape (n_tokens, dim)
        Of unit length.
    weight : ndarray, shape (n_tokens,)
        0 for the tokens that only mark start and end: they may be matched, but do not count.
    """

    vectors: np.ndarray
    weight: np.ndarray


def greedy_match(candidate: Tokens, reference: Tokens) -> tuple[float, float, float]:
    """Match tokens greedily by cosine.

    Parameters
    ----------
    candidate, reference : Tokens

    Returns
    -------
    precision, recall, f1 : float
        All 0 where a text has no token that counts.

    >>> word = np.eye(3)
    >>> a, b = Tokens(word[:2], np.ones(2)), Tokens(word[[0]], np.ones(1))
    >>> [round(x, 3) for x in greedy_match(a, b)]
    [0.5, 1.0, 0.667]
    """
    if not candidate.weight.any() or not reference.weight.any():
        return 0.0, 0.0, 0.0
    cosine = candidate.vectors @ reference.vectors.T
    precision = float(np.average(cosine.max(1), weights=candidate.weight))
    recall = float(np.average(cosine.max(0), weights=reference.weight))
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0.0


def bert_score(
    candidates: Sequence[str], references: Sequence[Sequence[str]], tokens: Mapping[str, Tokens]
) -> np.ndarray:
    """Score each candidate against its references; the reference with the highest F1 counts.

    Parameters
    ----------
    candidates : sequence of str, length N
    references : sequence of sequence of str, length N
    tokens : mapping of str to Tokens
        Every text that occurs, from `token_vectors`.

    Returns
    -------
    ndarray, shape (N, 3)
        Precision, recall, F1; not rescaled by a baseline, and no token counts by its rarity.

    References
    ----------
    Zhang et al. 2020, https://arxiv.org/abs/1904.09675. The authors' library lets padding be matched with cosine 0
    where all true cosines are negative; here it never is.
    """
    scores: dict[tuple[str, str], tuple[float, float, float]] = {}
    found = np.empty((len(candidates), 3))
    for i, (candidate, own) in enumerate(zip(candidates, references, strict=True)):
        if not own:
            raise DataError(f"Candidate {i} ({candidate!r}) has no reference to be compared with.")
        for text in own:
            if (candidate, text) not in scores:
                scores[candidate, text] = greedy_match(tokens[candidate], tokens[text])
        found[i] = max((scores[candidate, text] for text in own), key=lambda s: s[2])
    return found


def token_vectors(
    texts: Iterable[str], model: str | Path, *, layer: int | None = None, batch_size: int = 64
) -> dict[str, Tokens]:
    """Compute the token vectors of texts; nothing is downloaded.

    Parameters
    ----------
    texts : iterable of str
        Each distinct one is computed once.
    model : str or Path
        A folder of a transformers text model with its tokenizer: BERT, RoBERTa, ..., or the text tower of a CLIP.
    layer : int or None
        Hidden state to take, 0 is what enters the first block; the model's last output when left out. The library of
        the authors takes 17 for roberta-large and 9 for bert-base-uncased.
    batch_size : int

    Returns
    -------
    dict of str to Tokens

    Raises
    ------
    ModelMissing
        If the folder holds no such model.
    RecipeError
        If the model has no such layer.
    """
    import torch
    import transformers

    folder = Path(model).expanduser()
    if not (folder / "config.json").is_file():
        raise ModelMissing(
            f"No text model in {folder}: config.json is not there. Give a folder of a transformers model."
        )
    kind = json.loads(files.read_text(folder / "config.json")).get("model_type")
    loader: Any = transformers.CLIPTextModel if kind in ("clip", "clip_text_model") else transformers.AutoModel
    verbosity, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        net, info = loader.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as e:
        raise ModelMissing(f"{folder} cannot be loaded as a text model of kind {kind!r}: {e}") from e
    finally:
        transformers.logging.set_verbosity(verbosity)
        if bars:
            transformers.logging.enable_progress_bar()
    gone = sorted(str(name) for name in info["missing_keys"] if "pooler" not in str(name))  # tokens need no pooler
    if gone:
        raise ModelMissing(f"{folder}: {len(gone)} weights of the text model are absent, e.g. {gone[0]}.")
    net.eval()
    n_layers, longest = net.config.num_hidden_layers, net.config.max_position_embeddings
    if layer is not None and not 0 <= layer <= n_layers:
        raise RecipeError(f"{folder.name} has the layers 0 to {n_layers}, got layer={layer}.")
    # texts of like length side by side, so that little is padded
    distinct, found = sorted(dict.fromkeys(texts), key=len), {}
    for start in range(0, len(distinct), batch_size):
        part = distinct[start : start + batch_size]
        batch = tokenizer(part, padding=True, truncation=True, max_length=min(longest, tokenizer.model_max_length),
                          return_tensors="pt", return_special_tokens_mask=True)  # fmt: skip
        with torch.no_grad():
            out = net(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True)
        hidden = out.last_hidden_state if layer is None else out.hidden_states[layer]
        hidden = torch.nn.functional.normalize(hidden, dim=-1).numpy()
        there, special = (batch[name].numpy().astype(bool) for name in ("attention_mask", "special_tokens_mask"))
        for i, text in enumerate(part):
            found[text] = Tokens(hidden[i, there[i]], (~special[i, there[i]]).astype(float))
    return found
