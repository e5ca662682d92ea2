"""Decoder: what one seed has learnt, alone or in an ensemble, and how its weights are copied and put back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sightwave.align import Aligner
from sightwave.errors import RecipeError
from sightwave.train import Cost


@dataclass(frozen=True, eq=False)
class Decoder:
    """What a seed has learnt.

    Parameters
    ----------
    seed : int
    aligner : Aligner
        EEG -> every space.
    towers : dict of str to Module
        Space -> what makes its targets.
    history : dict of str to list of float
        One value per epoch.
    cost : Cost
        Of the training.
    others : tuple of Decoder
        Further members of an ensemble, each trained for itself.
    """

    seed: int
    aligner: Aligner
    towers: dict[str, nn.Module]
    history: dict[str, list[float]]
    cost: Cost
    others: tuple[Decoder, ...] = ()

    @property
    def members(self) -> tuple[Decoder, ...]:
        """All that answer together."""
        return (self, *self.others)

    def weights(self) -> dict[str, np.ndarray]:
        """Copy what was learnt, as `results.read_weights` gives it back: name -> array.

        The encoder's begin with ``"encoder."``, heads with ``"heads.SPACE."``, targets that learn with
        ``"towers.SPACE."``.
        """
        return learnt(self.aligner, self.towers)

    def put(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Put back what `weights` copied."""
        for part, module in _parts(self.aligner, self.towers).items():
            own = {k: arrays[f"{part}.{k}"] for k in module.state_dict()}
            module.load_state_dict({k: torch.from_numpy(np.asarray(v)) for k, v in own.items()})


def together_as_one(decoders: Sequence[Decoder]) -> Decoder:
    """Let decoders answer as one: the first, with the others as its members.

    Parameters
    ----------
    decoders : sequence of Decoder
    """
    first, *others = decoders
    return replace(first, others=tuple(others)) if others else first


def learnt(aligner: Aligner, towers: Mapping[str, nn.Module]) -> dict[str, np.ndarray]:
    """Copy the state of all parts, as `Decoder.weights` does, while they are still trained.

    Parameters
    ----------
    aligner : Aligner
    towers : mapping of str to Module
    """
    states = {part: module.state_dict() for part, module in _parts(aligner, towers).items()}
    return {f"{part}.{k}": v.cpu().numpy().copy() for part, state in states.items() for k, v in state.items()}


def begin_with(aligner: Aligner, arrays: Mapping[str, np.ndarray], folder: Path) -> None:
    """Load the encoder, and the heads of the spaces that were trained there, too.

    Parameters
    ----------
    aligner : Aligner
    arrays : mapping of str to ndarray
        What `Decoder.weights` copied.
    folder : Path
        Where they lie, for the message.

    Raises
    ------
    RecipeError
        If a part is built in another way.
    """
    for part, module in _parts(aligner, {}).items():
        own = {k.removeprefix(f"{part}."): torch.from_numpy(v) for k, v in arrays.items() if k.startswith(f"{part}.")}
        if part != "encoder" and not own:
            continue
        try:
            module.load_state_dict(own)
        except RuntimeError as e:
            what = str(e).splitlines()[-1].strip()
            raise RecipeError(f"The {part} of {folder} is not built as this recipe builds it: {what}") from e


def _parts(aligner: Aligner, towers: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """All that training changes; a frozen target has no state."""
    parts: dict[str, nn.Module] = {"encoder": aligner.encoder}
    parts |= {f"heads.{s}": h for s, h in zip(aligner.spaces, aligner.heads, strict=True)}
    return parts | {f"towers.{s}": t for s, t in towers.items() if t.state_dict()}
