"""Uncertainty-aware blur: InfoNCE that also chooses, epoch by epoch, how blurred a picture each trial is aligned to.

Shape suffixes: B batch, N stimuli, D embedding.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightwave.errors import RecipeError
from sightwave.losses.base import Batch
from sightwave.losses.contrastive import InfoNCE


def chosen_level(now_B: Tensor, smooth_B: Tensor, *, z: float = 1.96) -> Tensor:
    r"""Choose a sharper picture where a trial fits its picture unusually well, a more blurred one where it does not.

    .. math:: r_i = \begin{cases} -1 & s_i > \bar m + z \, \hat\sigma \\ +1 & s_i < \bar m - z \, \hat\sigma \\
              0 & \text{else} \end{cases}

    where :math:`\bar m` and :math:`\hat\sigma` are mean and standard deviation of the smoothed similarities :math:`m`
    of the batch.

    Parameters
    ----------
    now_B : Tensor, shape (B,)
        Similarity :math:`s` of each trial with its own target.
    smooth_B : Tensor, shape (B,)
        The same, smoothed over epochs, :math:`m`.
    z : float
        Half width of the interval in standard deviations.

    Returns
    -------
    Tensor, shape (B,), int64
        -1 sharper, 0 as it is, 1 more blurred.

    >>> smooth = torch.tensor([0.0, 1.0, -1.0, 0.5, -0.5])
    >>> chosen_level(torch.tensor([0.0, 3.0, -3.0, 0.5, -0.5]), smooth).tolist()
    [0, -1, 1, 0, 0]
    """
    low, high = smooth_B.mean() - z * smooth_B.std(), smooth_B.mean() + z * smooth_B.std()
    return (now_B < low).long() - (now_B > high).long()


class BlurPrior(InfoNCE):
    r"""InfoNCE on a `targets.blur_choice.BlurChoice`, whose levels of blur it sets after each epoch.

    Each stimulus keeps a similarity that is smoothed over epochs, :math:`m \leftarrow \gamma s + (1 - \gamma) m` from
    :math:`m = 1`; `chosen_level` compares. The pictures of stimuli that are not trained on keep the middle level.

    Parameters
    ----------
    space : str
        Space of the targets, and of the EEG's head.
    weight : float
        Factor in the sum of losses.
    gamma : float
        :math:`\gamma`, share of the new value.
    z : float
        Half width of the interval in standard deviations; 1.96 is 95 %.
    direction : {"prose", "equation"}
        "prose": what fits badly is blurred more, as the paper's text and code have it. "equation": what fits badly is
        blurred less, as its equation 10 has it.
    scale : str
        As for `InfoNCE`; the similarity carries the logit scale.
    normalise : {"target", "both", "none"}
        As for `InfoNCE`.

    Raises
    ------
    RecipeError
        If an option is out of range; in `prepare`, if the target of the space has no levels to choose from.

    References
    ----------
    Wu et al. 2025 (UBP, CVPR), https://arxiv.org/abs/2503.04207.
    """

    smooth_N: Tensor
    level_N: Tensor

    def __init__(
        self, *, space: str, weight: float = 1.0, gamma: float = 0.3, z: float = 1.96, direction: str = "prose",
        scale: str = "softplus", normalise: str = "target",
    ):  # fmt: skip
        super().__init__(space=space, weight=weight, scale=scale, normalise=normalise)
        if not 0 < gamma <= 1 or z <= 0 or direction not in ("prose", "equation"):
            raise RecipeError(
                f"BlurPrior needs 0 < gamma <= 1, z > 0 and direction 'prose' or 'equation', got {gamma}, {z} and "
                f"{direction!r}."
            )
        self.gamma, self.z, self.sign = gamma, z, 1 if direction == "prose" else -1
        self.register_buffer("smooth_N", torch.ones(0))
        self.register_buffer("level_N", torch.zeros(0, dtype=torch.long))

    def prepare(self, towers: Mapping[str, nn.Module], stimulus: Tensor) -> None:
        """Make room for a similarity and a level per stimulus."""
        n_stimuli = len(_levels(towers, self.heads[0]))
        self.smooth_N = torch.ones(n_stimuli, device=stimulus.device)
        self.level_N = torch.zeros(n_stimuli, dtype=torch.long, device=stimulus.device)

    def forward(self, z: dict[str, Tensor], batch: Batch) -> Tensor:
        """Return a scalar, and remember how well each trial of training fits its target."""
        if self.training and len(self.smooth_N):
            self._remember(z[self.heads[0]].detach(), batch)
        return super().forward(z, batch)

    def end_epoch(self, towers: Mapping[str, nn.Module]) -> None:
        """Hand the levels to the tower."""
        _levels(towers, self.heads[0]).copy_(self.level_N)

    @torch.no_grad()
    def _remember(self, e_BD: Tensor, batch: Batch) -> None:
        v_BD, rows = batch.targets[self.heads[0]].float(), batch.stimulus
        e_BD = F.normalize(e_BD, dim=1) if self.normalise_eeg else e_BD
        v_BD = F.normalize(v_BD, dim=1) if self.normalise_target else v_BD
        now_B = self.logit_scale() * (e_BD * v_BD).sum(1)
        smooth_B = self.gamma * now_B + (1 - self.gamma) * self.smooth_N[rows]
        self.level_N[rows] = self.sign * chosen_level(now_B, smooth_B, z=self.z)
        self.smooth_N[rows] = smooth_B


def _levels(towers: Mapping[str, nn.Module], space: str) -> Tensor:
    """Levels of the tower of a space, (n_stimuli,): 0 is the middle one."""
    level_N = getattr(towers[space], "level_N", None)
    if not isinstance(level_N, Tensor):
        raise RecipeError(f"BlurPrior chooses levels of blur, and the target of space {space!r} has none: BlurChoice.")
    return level_N
