"""Checkpoints: everything that decides the next epoch, in one safetensors file, so a killed run goes on bit by bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sightwave import files
from sightwave.errors import ResumeError


def save(
    path: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer | None,
    kept: Mapping[str, Tensor],
    state: Mapping[str, Any],
) -> None:
    """Write weights, optimiser state, the kept epoch's weights and a JSON state, whole or not at all.

    Parameters
    ----------
    path : Path
    module : Module
        Everything that learns, and its buffers.
    optimiser : Optimizer or None
        Its per-parameter tensors are saved by position.
    kept : mapping of str to Tensor
        Weights of the epoch that would leave the stage now.
    state : mapping
        Stage, epoch, history: plain JSON.
    """
    tensors = {f"module.{k}": v for k, v in module.state_dict().items()}
    tensors |= {f"kept.{k}": v for k, v in kept.items()}
    if optimiser is not None:
        for i, slots in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{k}": torch.as_tensor(v) for k, v in slots.items()}
    files.save_tensors(path, {k: v.detach().cpu().numpy() for k, v in tensors.items()}, {"state": json.dumps(state)})


def read(path: Path, identity: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Return tensors and state of a checkpoint, or None when there is none.

    Raises
    ------
    ResumeError
        If it belongs to another run: names each field that differs.
    """
    if not path.exists():
        return None
    arrays, meta = files.load_tensors(path)
    state = json.loads(meta["state"])
    other = state["identity"]
    differ = [f"{k}: then {other.get(k)!r}, now {v!r}" for k, v in identity.items() if other.get(k) != v]
    if differ:
        raise ResumeError(
            f"{path} is of another run, so going on would not give the same result.\n  "
            + "\n  ".join(differ)
            + "\nStart anew without --resume."
        )
    return arrays, state


def part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, Tensor]:
    """Tensors under ``prefix.``, without it."""
    return {k.removeprefix(prefix + "."): torch.from_numpy(v) for k, v in arrays.items() if k.startswith(prefix + ".")}


def restore_optimiser(optimiser: torch.optim.Optimizer, arrays: Mapping[str, np.ndarray]) -> None:
    """Put saved tensors back into an optimiser of the same parameters."""
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in part(arrays, "optimiser").items():
        i, slot = name.split(".", 1)
        slots.setdefault(int(i), {})[slot] = value
    whole = optimiser.state_dict()
    optimiser.load_state_dict({"state": slots, "param_groups": whole["param_groups"]})
