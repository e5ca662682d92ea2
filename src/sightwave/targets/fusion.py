"""Several frozen embeddings of each picture, one learnt mixture: levels of blur, layers, models.

``Fusion`` weighs what its parts say, ``Mapped`` puts a learnt map behind a target; each is a target again, so that they
can be put into each other. Both are towers with weights: they learn in training, and the gallery comes from them.

Shape suffixes: B batch, N stimuli, M parts, D embedding.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sightwave.describe import key
from sightwave.embeddings import Embeddings
from sightwave.errors import RecipeError
from sightwave.stimuli import Stimuli
from sightwave.targets.base import Lookup, Target
from sightwave.targets.clip import ClipImage, embed_layers
from sightwave.targets.views import BLUR_LEVELS, GaussianBlur

SCALES = ("none", "unit", "standard")
ROWS = 32
"""Stimuli that are mixed at once: twelve parts of them stay in a processor's cache."""


def blurred(
    model: str = "phantom", levels: Sequence[int] = BLUR_LEVELS, *, layer: int | None = None
) -> tuple[ClipImage, ...]:
    """Make one CLIP target per level of Gaussian blur, each cached by itself.

    Parameters
    ----------
    model : str
        As for `ClipImage`.
    levels : sequence of int
        Kernels, see `GaussianBlur`; 1 is the picture itself.
    layer : int or None
        As for `ClipImage`.
    """
    return tuple(ClipImage(model, layer=layer, view=GaussianBlur(k) if k > 1 else None) for k in levels)


@dataclass(frozen=True)
class Fusion(Target):
    r"""Weigh several embeddings of each picture by learnt weights.

    .. math:: f_d = \sum_m \mathrm{softmax}(w_{\cdot d})_m \, x_{md}

    where :math:`x_m` is what part m says, at unit length, or one of `n_default` learnt vectors that are the same for
    every picture.

    Parameters
    ----------
    parts : tuple of Target
        E.g. `blurred`. A part of another dimension than the first is brought to that by a learnt linear map.
    by : {"dimension", "part"}
        A weight for each part and dimension, or one for each part.
    n_default : int
        Learnt vectors besides the parts, zero at the start. A dimension that leans on them says little of the picture.
    start : tuple of float or None
        The :math:`w` of each part and default vector before training; None draws each from [0, 1).
    normalise : bool
        Bring each part to unit length first.

    Raises
    ------
    RecipeError
        If there are no parts, or another number of starts.

    Notes
    -----
    Liu et al. (AAAI 2026, https://doi.org/10.1609/aaai.v40i21.38813) weigh twelve levels of blur and four default
    vectors by dimension, and map the result: ``Mapped(Fusion(blurred(...)), hidden=768, dropout=0.85)``. A later
    system (https://arxiv.org/abs/2605.23996) weighs their mixture and EVNet by part, from 0.7 and 0.3, and maps it.
    SAMGA (https://arxiv.org/abs/2604.17782) weighs layers of one tower by part, from -2, -1, 0, -1 and -2.
    """

    parts: tuple[Target, ...] = field(default_factory=blurred)
    by: str = "dimension"
    n_default: int = 4
    start: tuple[float, ...] | None = None
    normalise: bool = True

    def __post_init__(self) -> None:
        if not self.parts or self.n_default < 0:
            raise RecipeError(f"Fusion needs parts, and n_default >= 0; got {len(self.parts)} and {self.n_default}.")
        if self.by not in ("dimension", "part"):
            raise RecipeError(f"Fusion.by must be 'dimension' or 'part', got {self.by!r}.")
        n = len(self.parts) + self.n_default
        if self.start is not None and len(self.start) != n:
            raise RecipeError(f"Fusion.start needs {n} numbers, one per part and default vector; got {self.start}.")

    @property
    def from_pictures(self) -> bool:  # type: ignore[override]
        """Whether a part is made of the pictures."""
        return any(part.from_pictures for part in self.parts)

    @property
    def space(self) -> str:
        """E.g. ``"fusion/12-0f3a91/clip-image/tiny_clip"``: how many parts, a key of them, and the first."""
        return f"fusion/{len(self.parts)}-{key(self)[:6]}/{self.parts[0].space}"

    def check(self) -> None:
        """Raise where a part can never be made."""
        for part in self.parts:
            part.check()

    def embed(self, stimuli: Stimuli, train: Collection[str]) -> Embeddings:
        """Return the mixture before training, float32, shape (n_stimuli, dim); what is learnt is in the tower."""
        return _untrained(self, stimuli, train)

    def tower(self, stimuli: Stimuli, train: Collection[str]) -> nn.Module:
        """Map rows of ``stimuli.ids``, (B,), to mixtures, (B, D); the weights are trained."""
        return FusionTower(
            _towers(self.parts, stimuli, train), len(stimuli), by=self.by, n_default=self.n_default, start=self.start,
            normalise=self.normalise,
        )  # fmt: skip


@dataclass(frozen=True)
class Mapped(Target):
    """Put a learnt map behind a target: linear, or with one hidden layer.

    Parameters
    ----------
    target : Target
        Frozen, or learnt itself.
    width : int or None
        Dimension of the result; None keeps that of the target.
    hidden : int or None
        Width of a hidden layer, with ELU and dropout behind it; None maps linearly.
    dropout : float
        Of the hidden layer.
    scale : {"none", "unit", "standard"}
        What is done to the target first: nothing; unit length; or centred and scaled by the training pictures, each
        dimension by itself, which needs a frozen target.

    Raises
    ------
    RecipeError
        If an option is out of range; when the tower is built, if a learnt target is to be standardised.

    Notes
    -----
    Shallow Alignment (https://arxiv.org/abs/2601.21948) maps an intermediate layer linearly, and loses 39 of 68 points
    without. Liu et al. map to 768 and back, with ELU and dropout of 0.85.
    """

    target: Target = field(default_factory=ClipImage)
    width: int | None = None
    hidden: int | None = None
    dropout: float = 0.0
    scale: str = "none"

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise RecipeError(f"Mapped.scale must be one of {SCALES}, got {self.scale!r}.")
        if not 0 <= self.dropout < 1 or min(self.width or 1, self.hidden or 1) < 1:
            raise RecipeError(
                f"Mapped needs 0 <= dropout < 1 and positive widths, got {self.dropout}, {self.width}, {self.hidden}."
            )
        if self.dropout and self.hidden is None:
            raise RecipeError("Mapped.dropout is that of the hidden layer: give hidden, or leave dropout out.")

    @property
    def from_pictures(self) -> bool:  # type: ignore[override]
        """Whether the target is made of the pictures."""
        return self.target.from_pictures

    @property
    def space(self) -> str:
        """E.g. ``"mapped/3c55f0/clip-image/tiny_clip"``: a key of the map, and the target."""
        return f"mapped/{key(self)[:6]}/{self.target.space}"

    def check(self) -> None:
        """Raise where the target can never be made."""
        self.target.check()

    def embed(self, stimuli: Stimuli, train: Collection[str]) -> Embeddings:
        """Return the map before training, float32, shape (n_stimuli, width); what is learnt is in the tower."""
        return _untrained(self, stimuli, train)

    def tower(self, stimuli: Stimuli, train: Collection[str]) -> nn.Module:
        """Map rows of ``stimuli.ids``, (B,), to the mapped target, (B, width); the map is trained."""
        inner = self.target.tower(stimuli, train)
        if self.scale == "standard":
            if not _is_frozen(inner):
                raise RecipeError(f"Mapped(scale='standard') needs a frozen target, and {self.target.space} is learnt.")
            table_ND = _table(inner, len(stimuli))
            seen = torch.from_numpy(np.isin(stimuli.ids, sorted(train)))
            sd = table_ND[seen].std(0).clamp_min(1e-6)
            inner = Lookup((table_ND - table_ND[seen].mean(0)) / sd)
        n_in = inner(torch.tensor([0])).shape[1]
        n_out = self.width or n_in
        if self.hidden is None:
            layers: nn.Module = nn.Linear(n_in, n_out)
        else:
            layers = nn.Sequential(
                nn.Linear(n_in, self.hidden), nn.ELU(), nn.Dropout(self.dropout), nn.Linear(self.hidden, n_out)
            )
        return _Behind(inner, layers, unit=self.scale == "unit")


class FusionTower(nn.Module):
    """What `Fusion` trains: frozen parts are one table, and the others stay modules.

    Parameters
    ----------
    towers : sequence of Module
        Rows (B,) to embeddings (B, D), one per part.
    n_stimuli : int
    by, n_default, start, normalise
        As for `Fusion`.
    """

    table_NMD: Tensor
    order: Tensor

    def __init__(
        self, towers: Sequence[nn.Module], n_stimuli: int, *, by: str, n_default: int,
        start: Sequence[float] | None, normalise: bool,
    ):  # fmt: skip
        super().__init__()
        first = torch.tensor([0])
        dims = [int(tower(first).shape[1]) for tower in towers]
        towers = [
            tower if dim == dims[0] else _Behind(tower, nn.Linear(dim, dims[0]), unit=normalise)
            for tower, dim in zip(towers, dims, strict=True)
        ]
        self.normalise = normalise
        still = [_is_frozen(tower) for tower in towers]
        self.learnt = nn.ModuleList(tower for tower, f in zip(towers, still, strict=True) if not f)
        tables = [self._scaled(_table(t, n_stimuli)) for t, f in zip(towers, still, strict=True) if f]
        # a row holds all views of one picture, so that a batch is one copy
        table_NMD = torch.stack(tables, 1) if tables else torch.zeros(n_stimuli, 0, dims[0])
        self.register_buffer("table_NMD", table_NMD, persistent=False)
        self.default_KD = nn.Parameter(torch.zeros(n_default, dims[0]))
        n, width = len(towers) + n_default, dims[0] if by == "dimension" else 1
        w_ND = torch.rand(n, width) if start is None else torch.tensor(start).float()[:, None].expand(n, width).clone()
        self.w_ND = nn.Parameter(w_ND)
        # frozen parts come first below
        order = [*np.flatnonzero(still), *np.flatnonzero(~np.array(still)), *range(len(towers), n)]
        self.register_buffer("order", torch.tensor(order), persistent=False)

    def weights(self) -> Tensor:
        """Return the weights, (M + K, D) or (M + K, 1), in the order of the parts; those of the K defaults are last."""
        return self.w_ND.softmax(0)

    def forward(self, stimulus_B: Tensor) -> Tensor:
        """Return (B, D)."""
        weight_ND = self.weights()[self.order]
        n = self.table_NMD.shape[1]
        out_BD = _Mix.apply(self.table_NMD, stimulus_B, weight_ND[:n])
        for tower, weight_D in zip(self.learnt, weight_ND[n:], strict=False):
            out_BD = out_BD + weight_D * self._scaled(tower(stimulus_B))
        return out_BD + (weight_ND[len(weight_ND) - len(self.default_KD) :] * self.default_KD).sum(0)

    def _scaled(self, x_BD: Tensor) -> Tensor:
        return F.normalize(x_BD, dim=1) if self.normalise else x_BD


def _towers(parts: Sequence[Target], stimuli: Stimuli, train: Collection[str]) -> list[nn.Module]:
    """Make the tower of each part; several layers of one frozen CLIP are read in one pass over the pictures."""
    alike: dict[ClipImage, dict[int, ClipImage]] = {}
    for n, part in enumerate(parts):
        if isinstance(part, ClipImage) and part.layer is not None and part.tune == "frozen":
            alike.setdefault(replace(part, layer=None), {})[n] = part
    read: dict[int, Embeddings] = {}
    for group in alike.values():
        if len(group) > 1:
            read |= zip(group, embed_layers([*group.values()], stimuli), strict=True)
    return [
        Lookup(torch.from_numpy(read[n].vectors)) if n in read else part.tower(stimuli, train)
        for n, part in enumerate(parts)
    ]


class _Mix(torch.autograd.Function):
    """Sum the parts of some rows of a table by weights, a few rows at a time: nothing of size (B, M, D) is made."""

    @staticmethod
    def forward(ctx: Any, table_NMD: Tensor, stimulus_B: Tensor, weight_MD: Tensor) -> Tensor:
        ctx.save_for_backward(table_NMD, stimulus_B, weight_MD)
        parts = stimulus_B.split(_rows(stimulus_B))
        return torch.cat([table_NMD[rows].mul_(weight_MD).sum(1) for rows in parts])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BD: Tensor) -> tuple[None, None, Tensor]:
        table_NMD, stimulus_B, weight_MD = ctx.saved_tensors
        grad_MD = torch.zeros_like(weight_MD)
        n = _rows(stimulus_B)
        for rows, grad in zip(stimulus_B.split(n), grad_BD.split(n), strict=True):
            grad_MD += table_NMD[rows].mul_(grad[:, None]).sum(0).sum_to_size(grad_MD.shape)
        return None, None, grad_MD


def _rows(stimulus_B: Tensor) -> int:
    """Stimuli at once: a GPU takes the whole batch."""
    return ROWS if stimulus_B.device.type == "cpu" else max(1, len(stimulus_B))


class _Behind(nn.Module):
    """A tower, and layers behind it."""

    def __init__(self, inner: nn.Module, layers: nn.Module, *, unit: bool):
        super().__init__()
        self.inner, self.layers, self.unit = inner, layers, unit

    def forward(self, stimulus_B: Tensor) -> Tensor:
        """Return (B, D)."""
        x_BD = self.inner(stimulus_B)
        z_BD: Tensor = self.layers(F.normalize(x_BD, dim=1) if self.unit else x_BD)
        return z_BD


def _is_frozen(tower: nn.Module) -> bool:
    """Whether a tower is a lookup table: nothing learns in it, and no state decides what it says."""
    return isinstance(tower, Lookup)


@torch.no_grad()
def _table(tower: nn.Module, n_stimuli: int) -> Tensor:
    return tower(torch.arange(n_stimuli)).float()


@torch.no_grad()
def _untrained(target: Target, stimuli: Stimuli, train: Collection[str]) -> Embeddings:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        tower = target.tower(stimuli, train).eval()
    parts = [tower(rows) for rows in torch.arange(len(stimuli)).split(1024)]
    return Embeddings(torch.cat(parts).numpy(), stimuli.ids, target.space)
