"""Learn from CLIP itself: be near the true caption, or rank all captions as CLIP ranks them for the picture.

Shape suffixes: B batch, M captions, D embedding.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightwave.errors import RecipeError, ShapeError, one_of
from sightwave.losses.base import Batch, Loss

BANKS = ("batch", "train")


def cosine_distance(eeg_BD: Tensor, target_BD: Tensor) -> Tensor:
    r"""Mean distance of each trial from its own target, by the angle between them.

    .. math:: \mathcal{L} = \frac{1}{B} \sum_i \left( 1 - \frac{e_i^\top v_i}{\|e_i\| \|v_i\|} \right)

    Parameters
    ----------
    eeg_BD, target_BD : Tensor, shape (B, D)
        Decoded and true embeddings, :math:`e` and :math:`v`.

    Returns
    -------
    Tensor
        A scalar from 0 to 2, at least float32.

    Raises
    ------
    ShapeError
        If the two disagree in shape.

    >>> cosine_distance(torch.eye(2), torch.tensor([[3.0, 0.0], [0.0, -1.0]])).item()
    1.0
    """
    if eeg_BD.ndim != 2 or eeg_BD.shape != target_BD.shape:
        raise ShapeError(
            f"cosine_distance compares embeddings of one shape (B, D), got {tuple(eeg_BD.shape)} and "
            f"{tuple(target_BD.shape)}."
        )
    return 1 - (_unit(eeg_BD) * _unit(target_BD)).sum(1).mean()


def logit_distillation(
    eeg_BD: Tensor, image_BD: Tensor, caption_MD: Tensor, *, tau_t: float = 0.01, tau_s: float = 0.07
) -> Tensor:
    r"""Make the EEG weigh captions as the picture does: Kullback-Leibler divergence of two softmaxes.

    .. math:: q_{ij} = \frac{e^{\cos(v_i, t_j) / \tau_t}}{\sum_k e^{\cos(v_i, t_k) / \tau_t}}, \quad
              p_{ij} = \frac{e^{\cos(e_i, t_j) / \tau_s}}{\sum_k e^{\cos(e_i, t_k) / \tau_s}}, \quad
              \mathcal{L} = \frac{1}{B} \sum_i \sum_j q_{ij} \log \frac{q_{ij}}{p_{ij}}

    Parameters
    ----------
    eeg_BD : Tensor, shape (B, D)
        Decoded embeddings :math:`e`, the student's.
    image_BD : Tensor, shape (B, D)
        The pictures' embeddings :math:`v`, the teacher's; no gradient flows into them.
    caption_MD : Tensor, shape (M, D)
        The captions :math:`t`: of the batch, or of a whole bank.
    tau_t, tau_s : float
        Temperatures of teacher and student. CLIP's own is 0.01.

    Returns
    -------
    Tensor
        A scalar, at least float32. There is no factor :math:`\tau^2`.

    Raises
    ------
    ShapeError
        If batch sizes or dimensions differ.

    References
    ----------
    Hinton et al. 2015, https://arxiv.org/abs/1503.02531; for CLIP, Yang et al. 2024, https://arxiv.org/abs/2307.12732.

    >>> eye = torch.eye(3)
    >>> round(logit_distillation(eye, eye, eye, tau_t=0.5, tau_s=0.5).item(), 6)
    0.0
    """
    if eeg_BD.ndim != 2 or eeg_BD.shape != image_BD.shape or caption_MD.shape[1:] != eeg_BD.shape[1:]:
        raise ShapeError(
            f"logit_distillation needs EEG and images (B, D) and captions (M, D), got {tuple(eeg_BD.shape)}, "
            f"{tuple(image_BD.shape)} and {tuple(caption_MD.shape)}."
        )
    caption_MD = _unit(caption_MD)
    with torch.autocast(eeg_BD.device.type, enabled=False):
        log_q_BM = (_unit(image_BD).detach() @ caption_MD.detach().T / tau_t).log_softmax(1)
        log_p_BM = (_unit(eeg_BD) @ caption_MD.T / tau_s).log_softmax(1)
        return F.kl_div(log_p_BM, log_q_BM, reduction="batchmean", log_target=True)


class Cosine(Loss):
    """`cosine_distance` in one space.

    Parameters
    ----------
    space : str
        Space of the targets, and of the EEG's head.
    weight : float
        Factor in the sum of losses.
    """

    def __init__(self, *, space: str, weight: float = 1.0):
        super().__init__()
        self.heads, self.weight = (space,), weight

    def forward(self, z: dict[str, Tensor], batch: Batch) -> Tensor:
        """Return a scalar."""
        (space,) = self.heads
        return cosine_distance(z[space], batch.targets[space])


class Distillation(Loss):
    """`logit_distillation`, over the captions of the batch or of all training pictures.

    As a warm-up, give it a `Stage` of its own in front of the stage with the contrast.

    Parameters
    ----------
    space : str
        Space of the captions, and of the EEG's head.
    teacher : str or None
        Space of the pictures, which the recipe must have as a target; None lets each trial's own caption teach, so
        that captions that resemble it are no plain negatives.
    bank : {"batch", "train"}
        Which captions are weighed. "train": those of all training stimuli, each once, as they are when the stage
        begins.
    tau_t, tau_s : float
        Temperatures of teacher and student.
    weight : float
        Factor in the sum of losses.

    Raises
    ------
    UnknownName, RecipeError
        If there is no such bank, or a temperature is not positive; in `forward`, if nothing makes the teacher's space.
    """

    captions_MD: Tensor | None

    def __init__(
        self, *, space: str, teacher: str | None = None, bank: str = "batch", tau_t: float = 0.01, tau_s: float = 0.07,
        weight: float = 1.0,
    ):  # fmt: skip
        super().__init__()
        if bank not in BANKS:
            raise one_of("bank of Distillation", bank, BANKS)
        if tau_t <= 0 or tau_s <= 0:
            raise RecipeError(f"Distillation needs positive temperatures, got tau_t={tau_t} and tau_s={tau_s}.")
        self.heads, self.weight, self.teacher, self.bank = (space,), weight, teacher or space, bank
        self.tau_t, self.tau_s = tau_t, tau_s
        # a checkpoint holds the bank: a text tower that is tuned has moved on by the time a run is resumed
        self.register_buffer("captions_MD", None)

    @torch.no_grad()
    def prepare(self, towers: Mapping[str, nn.Module], stimulus: Tensor) -> None:
        """Embed the captions of the bank."""
        if self.bank == "train":
            self.captions_MD = towers[self.heads[0]].eval()(stimulus).clone()

    def forward(self, z: dict[str, Tensor], batch: Batch) -> Tensor:
        """Return a scalar."""
        (space,) = self.heads
        if self.teacher not in batch.targets:
            raise RecipeError(
                f"Distillation learns from space {self.teacher!r}, which no target makes; targets make "
                f"{', '.join(sorted(batch.targets))}."
            )
        captions_MD = batch.targets[space] if self.captions_MD is None else self.captions_MD
        return logit_distillation(
            z[space], batch.targets[self.teacher], captions_MD, tau_t=self.tau_t, tau_s=self.tau_s
        )


def _unit(x_BD: Tensor) -> Tensor:
    """Rows of unit length, at least float32 whatever the autocast."""
    return F.normalize(x_BD.to(torch.promote_types(x_BD.dtype, torch.float32)), dim=1)
