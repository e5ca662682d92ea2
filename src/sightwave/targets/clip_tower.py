"""CLIP's towers as modules that are trained together with the EEG: what ``tune`` of a target puts into training.

What stays frozen below the first part that learns is run once per caption or picture and kept; a step runs only what is
above.

Shape suffixes: B rows asked for, U captions or pictures that differ, L tokens, W width, R bottleneck, D embedding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightwave.errors import ExtraMissing, RecipeError

LAST = ("last-1", "last-1+projection", "last-2", "last-2+projection")
EVERYWHERE = ("adapters", "lora", "lora-all")
_ATTENTION = ["q_proj", "k_proj", "v_proj", "out_proj"]
LORA_ON = {"lora": _ATTENTION, "lora-all": [*_ATTENTION, "fc1", "fc2"]}


class Tower(nn.Module, ABC):
    """Rows of stimuli to embeddings, by blocks and a projection of which a part learns.

    Parameters
    ----------
    row_N : Tensor of int, shape (n_stimuli,)
        Which caption or picture each stimulus has.
    device : str or device
    batch_size : int
        Captions or pictures at a time where no gradient is needed.

    Notes
    -----
    A caption or picture that several rows of a batch share is run once. The norm behind the last block stays frozen
    always. The hidden states that are kept take 4 L W bytes each. Only what learns is in the state dict, for the rest
    comes from the model's folder.

    References
    ----------
    Adapters: Houlsby et al. 2019, https://arxiv.org/abs/1902.00751, whose layer norms learn, too. LoRA: Hu et al. 2021,
    https://arxiv.org/abs/2106.09685, by peft, with alpha = 2 rank and no dropout.
    """

    entrance: tuple[str, ...] = ("embeddings",)
    """What is needed before the first block alone."""
    row_N: Tensor
    start_ULW: Tensor | None
    end_UW: Tensor | None
    blocks: nn.ModuleList
    norm: nn.Module
    projection: nn.Module

    def __init__(self, row_N: Tensor, *, device: Any, batch_size: int):
        super().__init__()
        self.batch_size = batch_size
        # buffers move to the device with the module; what the model's folder tells is not saved
        self.register_buffer("row_N", row_N.to(device), persistent=False)
        self.register_buffer("start_ULW", None, persistent=False)
        self.register_buffer("end_UW", None, persistent=False)

    def free(self, tune: str, rank: int, width: int) -> None:
        """Free what shall learn, run what stays frozen below it, and drop what is no longer needed.

        Parameters
        ----------
        tune : str
        rank : int
            Width of an adapter R, or rank of LoRA's matrices.
        width : int
            W.

        Raises
        ------
        RecipeError
            If the tower has fewer blocks than shall be freed.
        ExtraMissing
            If LoRA is asked for and peft is not installed.
        """
        blocks: list[Any] = list(self.blocks)
        n_free = int(tune[5]) if tune.startswith("last-") else 0
        if n_free > len(blocks):
            raise RecipeError(f"tune={tune!r} frees {n_free} blocks, and the tower has {len(blocks)}.")
        self.requires_grad_(False)
        if tune.endswith("-projection"):
            self.end_UW = self._frozen(lambda u: self._above(self._below(u), u))
            self.drop("blocks", "norm")
        elif tune not in EVERYWHERE:
            self.blocks = nn.ModuleList(blocks[: len(blocks) - n_free])
            self.start_ULW = self._frozen(self._below)
            self.blocks = nn.ModuleList(blocks[len(blocks) - n_free :])
        if tune not in EVERYWHERE:
            self.drop(*self.entrance)
        if tune == "adapters":
            for block in blocks:
                block.self_attn = Adapted(block.self_attn, width, rank)
                block.mlp = Adapted(block.mlp, width, rank)
        elif tune in LORA_ON:
            _add_lora(self.blocks, rank, LORA_ON[tune])
        elif n_free:
            self.blocks.requires_grad_(True)
        if "projection" in tune:
            self.projection.requires_grad_(True)
        self._stands = [name for name, p in self.named_parameters() if not p.requires_grad]
        self.register_state_dict_post_hook(_leave_out)
        self.register_load_state_dict_pre_hook(_fill_in)

    def forward(self, rows_B: Tensor) -> Tensor:
        """Return embeddings, shape (B, D)."""
        u, back_B = self.row_N[rows_B].unique(return_inverse=True)
        if torch.is_grad_enabled():
            return self._embed(u)[back_B]
        return torch.cat([self._embed(some) for some in u.split(self.batch_size)])[back_B]

    @abstractmethod
    def enter(self, u: Tensor) -> Tensor:
        """Return what enters the first block, (U, L, W)."""

    @abstractmethod
    def through(self, block: nn.Module, h_ULW: Tensor) -> Tensor:
        """Run one block."""

    @abstractmethod
    def read(self, h_ULW: Tensor, u: Tensor) -> Tensor:
        """Return the hidden state that stands for the whole, (U, W)."""

    def drop(self, *names: str) -> None:
        """Forget modules and buffers."""
        for name in names:
            delattr(self, name)

    def _embed(self, u: Tensor) -> Tensor:
        h_UW = self._above(self._below(u), u) if self.end_UW is None else self.end_UW[u]
        z_UD: Tensor = self.projection(h_UW)
        return z_UD

    def _below(self, u: Tensor) -> Tensor:
        """Hidden states at the last place that is run, (U, L, W)."""
        h_ULW = self.enter(u) if self.start_ULW is None else self.start_ULW[u]
        for block in self.blocks:
            h_ULW = self.through(block, h_ULW)
        return h_ULW

    def _above(self, h_ULW: Tensor, u: Tensor) -> Tensor:
        h_UW: Tensor = self.norm(self.read(h_ULW, u))
        return h_UW

    @torch.no_grad()
    def _frozen(self, run: Callable[[Tensor], Tensor]) -> Tensor:
        """Run something over all captions or pictures, a batch at a time."""
        every = torch.arange(int(self.row_N.max()) + 1, device=self.row_N.device)
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


def _add_lora(blocks: nn.ModuleList, rank: int, maps: list[str]) -> None:
    """Put peft's low-rank additions beside some maps of every block; they alone learn."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as e:
        raise ExtraMissing("LoRA needs peft, which is not installed:\n  pip install 'sightwave[lora]'") from e
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=maps), blocks)


def _leave_out(tower: Any, state: dict[str, Tensor], prefix: str, _: Any) -> None:
    for name in tower._stands:
        state.pop(prefix + name, None)


def _fill_in(tower: Any, state: dict[str, Tensor], prefix: str, *_: Sequence[Any]) -> None:
    own = dict(tower.named_parameters())
    for name in tower._stands:
        state.setdefault(prefix + name, own[name].detach())
