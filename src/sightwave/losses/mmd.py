"""Maximum mean discrepancy: draw two clouds of embeddings together, without pairs.

Shape suffixes: B batch, N and M points, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sightwave.errors import RecipeError, ShapeError, one_of
from sightwave.losses.base import Batch, Loss

SIGMAS = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Widths of SAMGA's kernels, for vectors of unit length."""
BETWEEN = ("target", "subjects")


def mmd(x_ND: Tensor, y_MD: Tensor, *, sigmas: Sequence[float] = SIGMAS) -> Tensor:
    r"""Squared maximum mean discrepancy of two samples, by a sum of Gaussian kernels.

    .. math:: k(x, y) = \frac{1}{|\Sigma|} \sum_{\sigma \in \Sigma} e^{-\|x - y\|^2 / 2 \sigma^2}, \quad
              \mathrm{MMD}^2 = \frac{1}{N^2} \sum_{ij} k(x_i, x_j) + \frac{1}{M^2} \sum_{ij} k(y_i, y_j)
              - \frac{2}{NM} \sum_{ij} k(x_i, y_j)

    Parameters
    ----------
    x_ND, y_MD : Tensor, shape (N, D) and (M, D)
        Two samples; their rows are no pairs.
    sigmas : sequence of float
        Widths :math:`\Sigma` of the kernels.

    Returns
    -------
    Tensor
        A scalar that is not negative, at least float32. It is the biased estimate: for two samples of N points from one
        distribution its mean is :math:`2 (1 - \mathrm{E} k) / N`.

    Raises
    ------
    ShapeError
        If the two have different dimensions, or one is empty.

    References
    ----------
    Gretton et al. 2012, https://jmlr.org/papers/v13/gretton12a.html.

    >>> x = torch.eye(3)
    >>> round(mmd(x, x).item(), 6)
    0.0
    >>> round(mmd(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]), sigmas=(1.0,)).item(), 4)  # 2 - 2 exp(-1/2)
    0.7869
    """
    if x_ND.ndim != 2 or y_MD.ndim != 2 or x_ND.shape[1] != y_MD.shape[1] or not (len(x_ND) and len(y_MD)):
        raise ShapeError(f"mmd compares samples (N, D) and (M, D), got {tuple(x_ND.shape)} and {tuple(y_MD.shape)}.")
    with torch.autocast(x_ND.device.type, enabled=False):
        x_ND, y_MD = (p.to(torch.promote_types(p.dtype, torch.float32)) for p in (x_ND, y_MD))
        xx, yy, xy = _kernel(x_ND, x_ND, sigmas), _kernel(y_MD, y_MD, sigmas), _kernel(x_ND, y_MD, sigmas)
        return (xx.mean() + yy.mean() - 2 * xy.mean()).clamp_min(0)


class MMD(Loss):
    r"""`mmd` in one space: between decoded and true embeddings, or between the subjects of a batch.

    Parameters
    ----------
    space : str
        Space of the targets, and of the EEG's head.
    weight : float
        Factor in the sum of losses.
    between : {"target", "subjects"}
        "target": all decoded trials of a batch, and their targets. "subjects": the trials of each subject, and those
        of all others; the mean over subjects, and 0 where a batch holds one only.
    sigmas : tuple of float
        Widths of the kernels.
    normalise : bool
        Bring both sides to unit length first, at which the widths are meant.

    Raises
    ------
    UnknownName, RecipeError
        If there is nothing of the kind to compare, or a width is not positive.

    Notes
    -----
    SAMGA (https://arxiv.org/abs/2604.17782) trains its first twenty epochs on :math:`w \, \mathrm{MMD}^2 + (1 - w)`
    InfoNCE, where w falls from 0.9 to 0.5. Weights of a `Stage` stand still: two or three stages make the steps.
    """

    def __init__(
        self, *, space: str, weight: float = 1.0, between: str = "target", sigmas: Sequence[float] = SIGMAS,
        normalise: bool = True,
    ):  # fmt: skip
        super().__init__()
        if between not in BETWEEN:
            raise one_of("comparison of MMD", between, BETWEEN)
        if not sigmas or min(sigmas) <= 0:
            raise RecipeError(f"MMD.sigmas must be positive widths, got {tuple(sigmas)}.")
        self.heads, self.weight, self.between = (space,), weight, between
        self.sigmas, self.normalise = tuple(sigmas), normalise

    def forward(self, z: dict[str, Tensor], batch: Batch) -> Tensor:
        """Return a scalar."""
        (space,) = self.heads
        e_BD, v_BD = z[space], batch.targets[space]
        if self.normalise:
            e_BD, v_BD = F.normalize(e_BD, dim=1), F.normalize(v_BD, dim=1)
        if self.between == "target":
            return mmd(e_BD, v_BD, sigmas=self.sigmas)
        here = batch.subject.unique()
        if len(here) < 2:
            return 0.0 * e_BD.sum()
        mine = [batch.subject == s for s in here]
        return torch.stack([mmd(e_BD[m], e_BD[~m], sigmas=self.sigmas) for m in mine]).mean()


def _kernel(x_ND: Tensor, y_MD: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Mean of Gaussian kernels, (N, M)."""
    # by the binomial formula: torch.cdist has no finite gradient where two rows are equal
    square_NM = (x_ND.square().sum(1)[:, None] + y_MD.square().sum(1) - 2 * x_ND @ y_MD.T).clamp_min(0)
    return torch.stack([(-square_NM / (2 * s * s)).exp() for s in sigmas]).mean(0)
