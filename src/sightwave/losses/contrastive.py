"""InfoNCE, with every temperature and normalisation habit of the field as an option.

Shape suffixes: B batch, D embedding.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightwave.errors import RecipeError, ShapeError, one_of
from sightwave.losses.base import Batch, Loss

LEARNT = {"exp": True, "softplus": True, "raw": True, "fixed": False, "one": False}
POSITIVES = ("stimulus", "label")
NORMALISED = {"both": (True, True), "target": (False, True), "none": (False, False)}


def info_nce(
    eeg_BD: Tensor, target_BD: Tensor, *, scale: Tensor | float, normalise_eeg: bool = True,
    normalise_target: bool = True, symmetric: bool = True, positives: Tensor | None = None, pull: bool = False,
    weight_BB: Tensor | None = None,
) -> Tensor:  # fmt: skip
    r"""Contrast each trial's own target with the targets of the other trials of the batch.

    .. math:: s_{ij} = s \, e_i^\top v_j, \quad
              \mathcal{L}_{\rightarrow} = -\frac{1}{B} \sum_i \log
              \frac{e^{s_{ii}}}{\sum_{j \in N_i} w_{ij} e^{s_{ij}}}, \quad
              \mathcal{L} = \tfrac{1}{2} \left( \mathcal{L}_{\rightarrow}(s) + \mathcal{L}_{\rightarrow}(s^\top) \right)

    where :math:`N_i` is the whole batch, or, with ``positives``, row i and all rows of another group, and
    :math:`w_{ij} = 1` unless given. With ``pull``, all rows :math:`P_i` of the group of i are right answers:

    .. math:: \mathcal{L}_{\rightarrow} = -\frac{1}{B} \sum_i \frac{1}{|P_i|} \sum_{p \in P_i} \log
              \frac{e^{s_{ip}}}{\sum_j w_{ij} e^{s_{ij}}}

    Parameters
    ----------
    eeg_BD, target_BD : Tensor, shape (B, D)
        Decoded and true embeddings, :math:`e` and :math:`v`.
    scale : Tensor or float
        The logit scale :math:`s`, that is one over the temperature.
    normalise_eeg, normalise_target : bool
        Whether each side is brought to unit length here.
    symmetric : bool
        False keeps only :math:`\mathcal{L}_{\rightarrow}`, which picks the target for the trial.
    positives : Tensor or None, shape (B,)
        Group of each row, e.g. its stimulus; rows of one group are not each other's negatives.
    pull : bool
        Rows of one group are each other's positives, not only no negatives.
    weight_BB : Tensor or None, shape (B, B)
        How much negative j counts for anchor i, from 0 to 1, in either direction; positives are taken as 1.

    Returns
    -------
    Tensor
        A scalar, at least float32 whatever the autocast.

    Raises
    ------
    ShapeError
        If the two embeddings, the groups or the weights disagree in shape, or there are no groups to pull together.

    References
    ----------
    Oord et al. 2018, https://arxiv.org/abs/1807.03748; symmetric as in CLIP, Radford et al. 2021,
    https://arxiv.org/abs/2103.00020; several positives as in Khosla et al. 2020, https://arxiv.org/abs/2004.11362,
    equation 2; debiased in the spirit of Chuang et al. 2020, https://arxiv.org/abs/2007.00224,
    who estimate what is given here as weights.

    >>> eye = torch.eye(4)
    >>> round(info_nce(eye, eye, scale=100.0).item(), 4)
    0.0
    >>> round(info_nce(eye, eye, scale=0.0).item(), 4)  # log 4
    1.3863
    """
    if eeg_BD.ndim != 2 or eeg_BD.shape != target_BD.shape:
        raise ShapeError(
            f"InfoNCE compares embeddings of one shape (B, D), got EEG {tuple(eeg_BD.shape)} and target "
            f"{tuple(target_BD.shape)}."
        )
    if positives is not None and positives.shape != eeg_BD.shape[:1]:
        raise ShapeError(f"positives must be ({len(eeg_BD)},), one group per row, got {tuple(positives.shape)}.")
    if pull and positives is None:
        raise ShapeError("info_nce(pull=True) needs to know which rows belong together: give positives.")
    if weight_BB is not None and weight_BB.shape != (len(eeg_BD), len(eeg_BD)):
        raise ShapeError(f"weight_BB must be ({len(eeg_BD)}, {len(eeg_BD)}), got {tuple(weight_BB.shape)}.")
    # bfloat16 logits near 100 are 0.5 apart, so the loss leaves autocast
    with torch.autocast(eeg_BD.device.type, enabled=False):
        e_BD, v_BD = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (eeg_BD, target_BD))
        e_BD = F.normalize(e_BD, dim=1) if normalise_eeg else e_BD
        v_BD = F.normalize(v_BD, dim=1) if normalise_target else v_BD
        s_BB = scale * (e_BD @ v_BD.T)
        own_B = torch.arange(len(s_BB), device=s_BB.device)
        right_BB = own_B[:, None] == own_B
        if positives is not None:
            same_BB = positives[:, None] == positives
            s_BB = s_BB if pull else s_BB.masked_fill(same_BB & ~right_BB, -math.inf)
            right_BB = same_BB if pull else right_BB
        back_BB = s_BB.T
        if weight_BB is not None:
            log_BB = weight_BB.to(s_BB.dtype).log().masked_fill(right_BB, 0)
            s_BB, back_BB = s_BB + log_BB, back_BB + log_BB
        sides = (s_BB, back_BB) if symmetric else (s_BB,)
        if pull:
            # what is wrong may be at minus infinity, and nothing times that is no number
            each = [-(side.log_softmax(1).masked_fill(~right_BB, 0).sum(1) / right_BB.sum(1)).mean() for side in sides]
        else:
            each = [F.cross_entropy(side, own_B) for side in sides]
        return torch.stack(each).mean()


class InfoNCE(Loss):
    r"""`info_nce` on one space.

    "Temperature 0.07" in a paper may mean any of these. With :math:`p = \ln(1/0.07) = 2.659`:

    ============================ ===================================== ============ ====================================
    habit                        options                               logit scale  systems
    ============================ ===================================== ============ ====================================
    CLIP                         ``scale="exp"``                       14.29 learnt CLIP, Brain-HIVE
    CLIP, warmer                 ``scale="exp", temperature=0.1353``   7.39 learnt  LoRA-CLIP joint alignment
    declared but not optimised   ``scale="fixed"``                     14.29        NICE
    exp forgotten                ``scale="raw", normalise="target"``   2.659 learnt ATM
    softplus for exp             ``scale="softplus",``                 2.727 learnt UBP
                                 ``normalise="target"``
    the same, held               ``... learn=False``                   2.727        NeuroBridge, SAMGA
    none                         ``scale="one", normalise="target"``   1            Liu et al. 2026, blur with EVNet
    ============================ ===================================== ============ ====================================

    Where the EEG is not normalised, its length takes the part of the temperature.

    Parameters
    ----------
    space : str
        Space of the targets, and of the EEG's head.
    weight : float
        Factor in the sum of losses.
    scale : {"exp", "softplus", "raw", "fixed", "one"}
        How the logit scale comes from :math:`p`: :math:`e^p`, :math:`\ln(1 + e^p)`, :math:`p`, :math:`e^p` held, or 1.
    temperature : float
        Start of :math:`p = \ln(1/\mathrm{temperature})`; without meaning for "one".
    learn : bool or None
        Whether :math:`p` is trained; None trains the first three.
    max_scale : float
        Upper limit of "exp": :math:`p` is cut back in place before it is used, as CLIP does after each step.
    normalise : {"both", "target", "none"}
        What is brought to unit length in training. Retrieval is by cosine whatever stands here.
    symmetric : bool
        Average with the direction target -> EEG.
    positives : {None, "stimulus", "label"}
        Trials of the same stimulus, or of the same category in space "label", are not each other's negatives. Needed
        once trials are not averaged.
    pull : bool
        They are each other's positives, too. ``Stage(together="stimulus")`` brings them into one batch.
    negatives : callable or None
        Debiasing: ``negatives(batch, space)`` gives the weight of each negative, (B, B); see `losses.debias`.

    Raises
    ------
    UnknownName, RecipeError
        For an option that is not in the table, or a fixed scale that should be learnt.

    >>> round(InfoNCE(space="clip", scale="softplus").logit_scale().item(), 3)
    2.727
    """

    def __init__(
        self, *, space: str, weight: float = 1.0, scale: str = "exp", temperature: float = 0.07,
        learn: bool | None = None, max_scale: float = 100.0, normalise: str = "both", symmetric: bool = True,
        positives: str | None = None, pull: bool = False, negatives: Callable[[Batch, str], Tensor] | None = None,
    ):  # fmt: skip
        super().__init__()
        if scale not in LEARNT:
            raise one_of("scale of InfoNCE", scale, LEARNT)
        if normalise not in NORMALISED:
            raise one_of("normalisation of InfoNCE", normalise, NORMALISED)
        if positives not in (None, *POSITIVES):
            raise one_of("kind of positives of InfoNCE", positives, POSITIVES)
        if pull and positives is None:
            raise RecipeError(f"InfoNCE(pull=True) needs positives, one of {', '.join(POSITIVES)}.")
        if learn and not LEARNT[scale]:
            raise RecipeError(f"InfoNCE(scale={scale!r}) has nothing to learn. Say scale='exp', or leave learn out.")
        if temperature <= 0 or max_scale <= 0:
            raise RecipeError(f"InfoNCE needs positive numbers: temperature={temperature}, max_scale={max_scale}.")
        self.heads, self.weight = (space,), weight
        self.scale, self.symmetric, self.negatives = scale, symmetric, negatives
        self.positives, self.pull = positives, pull
        self.normalise_eeg, self.normalise_target = NORMALISED[normalise]
        self.log_max = math.log(max_scale)
        p = torch.tensor(0.0 if scale == "one" else -math.log(temperature))
        self.p = nn.Parameter(p, requires_grad=LEARNT[scale] if learn is None else learn)

    def logit_scale(self) -> Tensor:
        """Return the logit scale, a scalar."""
        if self.scale == "softplus":
            return F.softplus(self.p)
        if self.scale == "raw":
            return self.p
        if self.scale == "exp":
            with torch.no_grad():
                self.p.clamp_(max=self.log_max)
        return self.p.exp()

    def forward(self, z: dict[str, Tensor], batch: Batch) -> Tensor:
        """Return a scalar."""
        (space,) = self.heads
        return info_nce(
            z[space], batch.targets[space], scale=self.logit_scale(), symmetric=self.symmetric,
            normalise_eeg=self.normalise_eeg, normalise_target=self.normalise_target,
            positives=self._groups(batch), pull=self.pull,
            weight_BB=None if self.negatives is None else self.negatives(batch, space),
        )  # fmt: skip

    def _groups(self, batch: Batch) -> Tensor | None:
        """Group of each row, (B,)."""
        if self.positives != "label":
            return None if self.positives is None else batch.stimulus
        if "label" not in batch.targets:
            raise RecipeError(
                "InfoNCE(positives='label') reads space 'label', which no target makes. Add Labels() to targets."
            )
        return batch.targets["label"].argmax(1)
