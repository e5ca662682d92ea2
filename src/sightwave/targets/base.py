"""Target: what the EEG is aligned to. Stimuli -> Embeddings. One file per kind of target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from sightwave.embeddings import Embeddings
from sightwave.stimuli import Stimuli


class Lookup(nn.Module):
    """A frozen target in training: a table that rows are looked up in.

    It is made of the cache's vectors each time, so that no checkpoint carries it.

    Parameters
    ----------
    vectors_ND : Tensor, shape (n_stimuli, D)
    """

    vectors_ND: Tensor

    def __init__(self, vectors_ND: Tensor):
        super().__init__()
        self.register_buffer("vectors_ND", vectors_ND, persistent=False)

    def forward(self, stimulus_B: Tensor) -> Tensor:
        """Return (B, D) for rows (B,)."""
        return self.vectors_ND[stimulus_B]


@dataclass(frozen=True)
class Target(ABC):
    """A space, and how to put stimuli into it.

    Attributes
    ----------
    from_pictures : bool
        It is made of the pictures, so that without them nothing can be trained.
    """

    from_pictures: ClassVar[bool] = False

    @property
    @abstractmethod
    def space(self) -> str:
        """The name of the space, e.g. ``"clip-image/tiny_clip"``."""

    def check(self) -> None:
        """Raise where this target can never be made, for want of weights say: before hours are spent on the data."""
        return

    @abstractmethod
    def embed(self, stimuli: Stimuli, train: Collection[str]) -> Embeddings:
        """Embed every stimulus, in the order of ``stimuli.ids``.

        Only the stimuli in ``train`` may be used to fit anything (k-means, a linear teacher).
        """

    def tower(self, stimuli: Stimuli, train: Collection[str]) -> nn.Module:
        """Map rows of ``stimuli.ids``, (B,), to embeddings, (B, D), during training.

        Here a frozen lookup table. Override it to tune the tower itself (LoRA, adapters).
        """
        return Lookup(torch.from_numpy(self.embed(stimuli, train).vectors))
