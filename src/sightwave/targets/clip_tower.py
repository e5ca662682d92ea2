"""CLIP's text tower as a module that is trained together with the EEG: what `ClipText(tune=...)` puts into training.

What stays frozen below the first part that learns is run once per caption and kept; a step runs only what is above.

Shape suffixes: B rows asked for, U captions that differ, L tokens, W width, R bottleneck, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightwave.errors import ExtraMissing, RecipeError, one_of

_LAST = ("last-1", "last-1+projection", "last-2", "last-2+projection")
TUNINGS = ("frozen", "text-projection", *_LAST, "adapters", "lora")
LORA_ON = ["q_proj", "k_proj", "v_proj", "out_proj"]


class TextTower(nn.Module):
    """Rows of stimuli to the embeddings of their captions, by a tower of which a part learns.

    Parameters
    ----------
    model : CLIPTextModelWithProjection
        Taken over and changed: parts that are no longer needed are dropped.
    ids_UL : Tensor of int, shape (U, L)
        Tokens of each caption, padded on the right.
    caption_N : Tensor of int, shape (n_stimuli,)
        Which caption each stimulus has.
    tune : str
        One of `TUNINGS` but "frozen": the text projection learns, or the last one or two blocks without or with it, or
        adapters behind both parts of every block, or low-rank additions to the four maps of every attention.
    rank : int
        Width of an adapter R, or rank of LoRA's matrices.
    batch_size : int
        Captions at a time where no gradient is needed.

    Raises
    ------
    RecipeError
        If the tower has fewer blocks than shall be freed.
    ExtraMissing
        If LoRA is asked for and peft is not installed.

    Notes
    -----
    A caption that several rows of a batch share is run once. The norm behind the last block stays frozen always.
    The hidden states that are kept take 4 L W bytes per caption, L being the longest caption's length. Padding needs no
    mask: attention is causal, and what is read out is the first end token. Only what learns is in the state dict, for
    the rest comes from the model's folder.

    References
    ----------
    Adapters: Houlsby et al. 2019, https://arxiv.org/abs/1902.00751, whose layer norms learn, too. LoRA: Hu et al. 2021,
    https://arxiv.org/abs/2106.09685, by peft, with alpha = 2 rank and no dropout.
    """

    ids_UL: Tensor
    caption_N: Tensor
    end_U: Tensor
    causal_LL: Tensor
    start_ULW: Tensor | None
    end_UW: Tensor | None

    def __init__(
        self, model: Any, ids_UL: Tensor, caption_N: Tensor, *, tune: str, rank: int = 8, batch_size: int = 256
    ):
        super().__init__()
        if tune not in TUNINGS[1:]:
            raise one_of("tuning of a text tower", tune, TUNINGS[1:])
        text, self.batch_size = model.text_model, batch_size
        blocks, n_free = list(text.encoder.layers), int(tune[5]) if tune.startswith("last-") else 0
        if n_free > len(blocks):
            raise RecipeError(f"tune={tune!r} frees {n_free} blocks, and the text tower has {len(blocks)}.")
        model.requires_grad_(False)
        everywhere = tune in ("adapters", "lora")
        first = 0 if everywhere else len(blocks) - n_free

        # buffers move to the device with the module; what the model's folder tells is not saved
        self.register_buffer("ids_UL", ids_UL, persistent=False)
        self.register_buffer("caption_N", caption_N, persistent=False)
        self.register_buffer("end_U", _ends(ids_UL, text.eos_token_id), persistent=False)
        n = ids_UL.shape[1]
        # with the mask written out, every implementation of attention does the same
        causal_LL = torch.full((n, n), torch.finfo(torch.float32).min, device=ids_UL.device).triu(1)
        self.register_buffer("causal_LL", causal_LL, persistent=False)

        self.embeddings, self.norm, self.projection = text.embeddings, text.final_layer_norm, model.text_projection
        self.blocks = nn.ModuleList(blocks)
        self.register_buffer("start_ULW", None, persistent=False)
        self.register_buffer("end_UW", None, persistent=False)
        if tune == "text-projection":
            self.end_UW = self._frozen(lambda u: self._above(self._below(u), u))
        elif not everywhere:
            lower, self.blocks = self.blocks, nn.ModuleList(blocks[:first])
            self.start_ULW = self._frozen(self._below)
            self.blocks = lower[first:]
        if tune == "text-projection":
            del self.blocks, self.norm
        if not everywhere:
            del self.embeddings

        if tune == "adapters":
            for block in blocks:
                block.self_attn = Adapted(block.self_attn, text.config.hidden_size, rank)
                block.mlp = Adapted(block.mlp, text.config.hidden_size, rank)
        elif tune == "lora":
            _add_lora(self.blocks, rank)
        elif n_free:
            self.blocks.requires_grad_(True)
        if "projection" in tune:
            self.projection.requires_grad_(True)
        self._stands = [name for name, p in self.named_parameters() if not p.requires_grad]
        self.register_state_dict_post_hook(_leave_out)
        self.register_load_state_dict_pre_hook(_fill_in)

    def forward(self, rows_B: Tensor) -> Tensor:
        """Return embeddings, shape (B, D)."""
        u, back_B = self.caption_N[rows_B].unique(return_inverse=True)
        if torch.is_grad_enabled():
            return self._embed(u)[back_B]
        return torch.cat([self._embed(some) for some in u.split(self.batch_size)])[back_B]

    def _embed(self, u: Tensor) -> Tensor:
        h_UW = self._above(self._below(u), u) if self.end_UW is None else self.end_UW[u]
        z_UD: Tensor = self.projection(h_UW)
        return z_UD

    def _below(self, u: Tensor) -> Tensor:
        """Hidden states at the last place that is run, (U, L, W)."""
        h_ULW = self.embeddings(input_ids=self.ids_UL[u]) if self.start_ULW is None else self.start_ULW[u]
        for block in self.blocks:
            h_ULW = block(h_ULW, self.causal_LL[None, None])
        return h_ULW

    def _above(self, h_ULW: Tensor, u: Tensor) -> Tensor:
        """Hidden state of the end token, normalised, (U, W)."""
        h_UW: Tensor = self.norm(h_ULW[torch.arange(len(u), device=u.device), self.end_U[u]])
        return h_UW

    @torch.no_grad()
    def _frozen(self, run: Any) -> Tensor:
        """Run something over all captions, a batch at a time."""
        every = torch.arange(len(self.ids_UL), device=self.ids_UL.device)
        return torch.cat([run(u) for u in every.split(self.batch_size)])


class Adapted(nn.Module):
    """A part of a block with a bottleneck behind it: h + up(relu(down(h))), at first the identity.

    Parameters
    ----------
    part : Module
        Its output, or the first of its outputs, is adapted.
    width, bottleneck : int
        W and R.
    """

    def __init__(self, part: nn.Module, width: int, bottleneck: int):
        super().__init__()
        self.part, self.down, self.up = part, nn.Linear(width, bottleneck), nn.Linear(bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, *args: Any, **options: Any) -> Any:
        """Return what the part returns, adapted."""
        out = self.part(*args, **options)
        h, rest = (out[0], out[1:]) if isinstance(out, tuple) else (out, None)
        h = h + self.up(F.relu(self.down(h)))
        return h if rest is None else (h, *rest)


def _ends(ids_UL: Tensor, eos: int) -> Tensor:
    """Place of the token that is read out, as transformers finds it."""
    # models from before transformers' change of 2023 call their end token 2 and mean the largest id
    return ids_UL.argmax(1) if eos == 2 else (ids_UL == eos).int().argmax(1)


def _add_lora(blocks: nn.ModuleList, rank: int) -> None:
    """Put peft's low-rank additions beside the maps of every attention; they alone learn."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as e:
        raise ExtraMissing("tune='lora' needs peft, which is not installed:\n  pip install 'sightwave[lora]'") from e
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=LORA_ON), blocks)


def _leave_out(tower: Any, state: dict[str, Tensor], prefix: str, _: Any) -> None:
    for name in tower._stands:
        state.pop(prefix + name, None)


def _fill_in(tower: Any, state: dict[str, Tensor], prefix: str, *_: Sequence[Any]) -> None:
    own = dict(tower.named_parameters())
    for name in tower._stands:
        state.setdefault(prefix + name, own[name].detach())
