"""CLIP's text tower, trained together with the EEG.

Shape suffixes: U captions that differ, L tokens, W width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sightwave.errors import one_of
from sightwave.targets.clip_tower import EVERYWHERE, LAST, Tower

TUNINGS = ("frozen", "text-projection", *LAST, *EVERYWHERE)


class TextTower(Tower):
    """Rows of stimuli to the embeddings of their captions.

    Parameters
    ----------
    model : CLIPTextModelWithProjection
        Taken over and changed: parts that are no longer needed are dropped.
    ids_UL : Tensor of int, shape (U, L)
        Tokens of each caption, padded on the right.
    row_N : Tensor of int, shape (n_stimuli,)
        Which caption each stimulus has.
    tune : str
        One of `TUNINGS` but "frozen": the text projection learns, or the last one or two blocks without or with it, or
        adapters behind both parts of every block, or low-rank additions to the four maps of every attention ("lora"),
        or to these and the two of every MLP ("lora-all").
    rank, batch_size : int
        See `Tower`.

    Notes
    -----
    Padding needs no mask: attention is causal, and what is read out is the first end token.
    """

    ids_UL: Tensor
    end_U: Tensor
    causal_LL: Tensor

    def __init__(self, model: Any, ids_UL: Tensor, row_N: Tensor, *, tune: str, rank: int = 8, batch_size: int = 256):
        super().__init__(row_N, device=ids_UL.device, batch_size=batch_size)
        if tune not in TUNINGS[1:]:
            raise one_of("tuning of a text tower", tune, TUNINGS[1:])
        text, n = model.text_model, ids_UL.shape[1]
        self.register_buffer("ids_UL", ids_UL, persistent=False)
        self.register_buffer("end_U", _ends(ids_UL, text.eos_token_id), persistent=False)
        # with the mask written out, every implementation of attention does the same
        causal_LL = torch.full((n, n), torch.finfo(torch.float32).min, device=ids_UL.device).triu(1)
        self.register_buffer("causal_LL", causal_LL, persistent=False)
        self.embeddings, self.norm, self.projection = text.embeddings, text.final_layer_norm, model.text_projection
        self.blocks = nn.ModuleList(text.encoder.layers)
        self.free(tune, rank, text.config.hidden_size)

    def enter(self, u: Tensor) -> Tensor:
        """Look up tokens and places, (U, L, W)."""
        h_ULW: Tensor = self.embeddings(input_ids=self.ids_UL[u])
        return h_ULW

    def through(self, block: nn.Module, h_ULW: Tensor) -> Tensor:
        """Run one block; no token sees a later one."""
        out_ULW: Tensor = block(h_ULW, self.causal_LL[None, None])
        return out_ULW

    def read(self, h_ULW: Tensor, u: Tensor) -> Tensor:
        """Take the end token, (U, W)."""
        return h_ULW[torch.arange(len(u), device=u.device), self.end_U[u]]


def _ends(ids_UL: Tensor, eos: int) -> Tensor:
    """Place of the token that is read out, as transformers finds it."""
    # models from before transformers' change of 2023 call their end token 2 and mean the largest id
    return ids_UL.argmax(1) if eos == 2 else (ids_UL == eos).int().argmax(1)
