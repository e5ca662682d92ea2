"""Losses on class labels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from sightwave.errors import RecipeError, ShapeError
from sightwave.losses.base import Batch, Loss


class CrossEntropy(Loss):
    r"""Cross-entropy of the decoded logits with one-hot or soft labels.

    .. math:: \mathcal{L} = -\frac{1}{B} \sum_i \sum_k t_{ik} \log \mathrm{softmax}(z_i)_k

    Parameters
    ----------
    space : str
        Space of the labels: one dimension per class, rows that sum to 1.
    weight : float
        Factor in the sum of losses.
    smoothing : float
        Share of each label that is spread over all classes.

    Raises
    ------
    RecipeError
        If `smoothing` is not in [0, 1].
    ShapeError
        In `forward`, if logits and labels disagree.

    >>> import torch
    >>> nothing = torch.zeros(0)
    >>> batch = Batch(nothing, nothing, nothing, {"label": torch.eye(3)})
    >>> round(CrossEntropy()({"label": torch.zeros(3, 3)}, batch).item(), 4)  # log 3
    1.0986
    """

    def __init__(self, *, space: str = "label", weight: float = 1.0, smoothing: float = 0.0):
        super().__init__()
        if not 0 <= smoothing <= 1:
            raise RecipeError(f"CrossEntropy.smoothing must lie in [0, 1], got {smoothing}.")
        self.heads, self.weight, self.smoothing = (space,), weight, smoothing

    def forward(self, z: dict[str, Tensor], batch: Batch) -> Tensor:
        """Return a scalar."""
        (space,) = self.heads
        logits_BK, labels_BK = z[space], batch.targets[space]
        if logits_BK.ndim != 2 or logits_BK.shape != labels_BK.shape:
            raise ShapeError(
                f"CrossEntropy needs logits and labels of one shape (B, n_classes), got {tuple(logits_BK.shape)} "
                f"and {tuple(labels_BK.shape)} in space {space!r}."
            )
        return F.cross_entropy(logits_BK.float(), labels_BK.float(), label_smoothing=self.smoothing)
