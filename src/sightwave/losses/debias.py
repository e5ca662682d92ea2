"""Debiased negatives: how much each other caption of a batch counts as a negative, for `InfoNCE(negatives=...)`.

Two captions of "an aeroplane" are no good negatives of each other. Each function returns weights :math:`w_{ij}` of
negative j for anchor i, from 0 (removed) to 1 (counts in full).

Shape suffixes: B batch, D embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sightwave.errors import RecipeError
from sightwave.losses.base import Batch


@torch.no_grad()
def without_nearest(target_BD: Tensor, *, k: int) -> Tensor:
    r"""Remove the negatives that resemble the anchor most.

    .. math:: w_{ij} = 0 \text{ for the } k \text{ largest } \cos(v_i, v_j), \, j \ne i; \text{ else } 1

    Parameters
    ----------
    target_BD : Tensor, shape (B, D)
        True embeddings :math:`v`.
    k : int
        How many are removed; those that tie with the k-th go, too.

    Returns
    -------
    Tensor, shape (B, B)

    >>> without_nearest(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), k=1).tolist()
    [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0]]
    """
    cos_BB = _cosine(target_BD).fill_diagonal_(-math.inf)
    k = min(k, len(cos_BB) - 1)
    if k < 1:
        return torch.ones_like(cos_BB)
    weight_BB = (cos_BB < cos_BB.topk(k, dim=1).values[:, -1:]).to(cos_BB.dtype)
    return weight_BB.fill_diagonal_(1)


@torch.no_grad()
def by_similarity(target_BD: Tensor, *, sharpness: float = 1.0, centre: bool = True) -> Tensor:
    r"""Weigh negatives down by their likeness to the anchor.

    .. math:: w_{ij} = \left( 1 - \max(0, \cos(v_i - \bar v, v_j - \bar v)) \right)^\gamma

    Parameters
    ----------
    target_BD : Tensor, shape (B, D)
        True embeddings :math:`v`.
    sharpness : float
        :math:`\gamma`; 0 leaves all negatives as they are.
    centre : bool
        Subtract the mean of the batch :math:`\bar v` first. CLIP's vectors lie in a narrow cone: without this, all
        negatives look alike and none keeps its weight.

    Returns
    -------
    Tensor, shape (B, B)

    >>> by_similarity(torch.tensor([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]]), centre=False)[0]
    tensor([1.0000, 0.4000, 1.0000])
    """
    cos_BB = _cosine(target_BD - target_BD.mean(0) if centre else target_BD)
    return (1 - cos_BB.clamp(0, 1)).pow(sharpness).fill_diagonal_(1)


@torch.no_grad()
def by_class(label_B: Tensor, *, same: float = 0.0) -> Tensor:
    r"""Weigh negatives of the anchor's class down, :math:`w_{ij} = a` where the classes are equal, else 1.

    Parameters
    ----------
    label_B : Tensor, shape (B,)
        Class of each row.
    same : float
        :math:`a`; 0 removes them.

    Returns
    -------
    Tensor, shape (B, B)

    >>> by_class(torch.tensor([0, 1, 0]), same=0.5).tolist()
    [[1.0, 1.0, 0.5], [1.0, 1.0, 1.0], [0.5, 1.0, 1.0]]
    """
    same_BB = label_B[:, None] == label_B
    return torch.where(same_BB, same, 1.0).fill_diagonal_(1)


@dataclass(frozen=True)
class WithoutNearest:
    """`without_nearest` on the targets of the loss's space."""

    k: int = 5

    def __post_init__(self) -> None:
        if self.k < 1:
            raise RecipeError(f"WithoutNearest.k counts captions, from 1 on; got {self.k}.")

    def __call__(self, batch: Batch, space: str) -> Tensor:
        """Return weights, shape (B, B)."""
        return without_nearest(batch.targets[space], k=self.k)


@dataclass(frozen=True)
class BySimilarity:
    """`by_similarity` on the targets of the loss's space."""

    sharpness: float = 1.0
    centre: bool = True

    def __post_init__(self) -> None:
        if self.sharpness < 0:
            raise RecipeError(f"BySimilarity.sharpness must not be negative, got {self.sharpness}.")

    def __call__(self, batch: Batch, space: str) -> Tensor:
        """Return weights, shape (B, B)."""
        return by_similarity(batch.targets[space], sharpness=self.sharpness, centre=self.centre)


@dataclass(frozen=True)
class ByClass:
    """`by_class` on a space of labels, which the recipe must have as a target."""

    same: float = 0.0
    labels: str = "label"

    def __post_init__(self) -> None:
        if not 0 <= self.same <= 1:
            raise RecipeError(f"ByClass.same must lie in [0, 1], got {self.same}.")

    def __call__(self, batch: Batch, space: str) -> Tensor:
        """Return weights, shape (B, B)."""
        if self.labels not in batch.targets:
            raise RecipeError(f"ByClass reads space {self.labels!r}, which no target makes. Add Labels() to targets.")
        return by_class(batch.targets[self.labels].argmax(1), same=self.same)


def _cosine(x_BD: Tensor) -> Tensor:
    x_BD = F.normalize(x_BD.to(torch.promote_types(x_BD.dtype, torch.float32)), dim=1)
    with torch.autocast(x_BD.device.type, enabled=False):
        return x_BD @ x_BD.T
