"""fit_stacked: several seeds in the same steps, weights stacked; each seed has the batches and dropout of its own.

Shape suffixes: S seeds, B batch, C channels, T times.

On a GPU that small networks leave idle, one step for ten seeds costs little more than a step for one. On a CPU it is
slower than one seed after the other, because stacked convolutions are grouped ones.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.overrides import TorchFunctionMode

from sightwave.align import Aligner
from sightwave.errors import RecipeError
from sightwave.losses.base import Batch, Loss
from sightwave.train.solve import solve
from sightwave.train.stages import Solve, Stage, TrialSet

Progress = Callable[[int, int], None]
Histories = list[dict[str, list[float]]]
Drop = tuple[tuple[int, ...], tuple[int, ...], float]
"""Shape, strides and probability of one dropout."""


def fit_stacked(
    aligners: Sequence[Aligner],
    stages: Sequence[Stage | Solve],
    data: TrialSet,
    towers: Mapping[str, nn.Module],
    *,
    seeds: Sequence[int],
    val: TrialSet | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Histories:
    """Train one aligner per seed in place, as `fit` would train each alone.

    Parameters
    ----------
    aligners : sequence of Aligner
        One per seed, built from it.
    stages : sequence of Stage or Solve
    data, val : TrialSet
    towers : mapping of str to Module
        As for `fit`; frozen, so one for all seeds.
    seeds : sequence of int
    device : str
        As torch names it. Not tried on a GPU so far.
    progress : callable
        Called as ``progress(epochs done, epochs)`` of the stage.

    Returns
    -------
    list of dict of str to list of float
        As `fit` returns it, one per seed.

    Raises
    ------
    RecipeError
        If something in the recipe cannot be stacked: targets that learn, heads or tokens per subject, a stage with
        patience, a loss that acts after each epoch, dropout inside an attention.

    Notes
    -----
    Data order and dropout masks are those of `fit` with the same seed, number for number on a CPU. What remains is the
    order of sums: the losses of the first epochs agree to 1e-3, then rounding grows as in any two runs on unlike
    hardware. On a GPU `fit` draws dropout inside its kernels, so there the two agree in distribution only.
    """
    if any(p.requires_grad for tower in towers.values() for p in tower.parameters()):
        raise RecipeError(f"Targets that learn are not stacked. {ALONE}")
    histories: Histories = [{"loss": [], "val": []} for _ in seeds]
    for i, stage in enumerate(stages):
        if isinstance(stage, Solve):
            for aligner in aligners:
                solve(aligner, stage, data, towers)
                aligner.to(device)
        else:
            _Stacked(aligners, stage, towers, data, device).descend(
                [(seed, i) for seed in seeds], val, histories, progress
            )
    return histories


ALONE = "Train seed by seed: leave `--together` out."


class _Stacked:
    """One stage: the seeds' weights and losses in one stack, and a function that runs all of them."""

    def __init__(
        self, aligners: Sequence[Aligner], stage: Stage, towers: Mapping[str, nn.Module], data: TrialSet, device: str
    ):
        self.stage, self.towers, self.data, self.device = stage, towers, data, device
        self.wholes = [_Whole(a.to(device), _losses(stage, towers, data, device)) for a in aligners]
        for whole in self.wholes:
            stage.freeze_parts(whole.aligner)
        self.params, self.buffers = stack_module_state(list[nn.Module](self.wholes))
        self.base = copy.deepcopy(self.wholes[0])
        self._shapes: dict[int, list[Drop]] = {}
        self.run = vmap(self._one, in_dims=(0, 0, 0, 0, 0, 0), randomness="error")

    def _one(self, params: Any, buffers: Any, masks: list[Tensor], eeg: Tensor, subject: Tensor, rest: Any) -> Tensor:
        with _Dropout(masks):
            loss: Tensor = functional_call(self.base, (params, buffers), (eeg, subject, *rest))
        return loss

    def losses(self, rows: Sequence[Tensor], masks: list[Tensor], data: TrialSet) -> Tensor:
        """Loss of each seed on its own rows, shape (S,)."""
        n, at = len(rows), torch.cat(list(rows))
        eeg, subject, stimulus = (x.unflatten(0, (n, -1)) for x in data.batch(at, self.device))
        targets = {k: tower(stimulus.flatten()).unflatten(0, (n, -1)).float() for k, tower in self.towers.items()}
        half = self.stage.precision == "bfloat16"
        with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=half), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="There is a performance drop")  # vmap, of clamp_ on one number
            try:
                found: Tensor = self.run(self.params, self.buffers, masks, eeg, subject, (stimulus, targets))
            except RuntimeError as e:  # torch's only word for what vmap cannot do
                raise RecipeError(f"This recipe cannot be stacked: {str(e).splitlines()[0]} {ALONE}") from e
        return found

    def descend(
        self, seeds: Sequence[tuple[int, int]], val: TrialSet | None, histories: Histories, progress: Progress | None
    ) -> None:
        """Train all epochs, and put the weights back where they came from."""
        stage = self.stage
        has_val = stage.has_val(val)
        learnt = [p for p in self.params.values() if p.requires_grad]
        optimiser = torch.optim.AdamW(learnt, lr=stage.lr, weight_decay=stage.weight_decay, fused=True)
        best = torch.full((len(seeds),), torch.inf)
        kept = self._state()
        for epoch in range(stage.epochs):
            optimiser.param_groups[0]["lr"] = stage.lr * stage.rate(epoch)
            means = self._epoch([stage.number(seed, epoch) for seed in seeds], optimiser)
            for history, mean in zip(histories, means.tolist(), strict=True):
                history["loss"].append(mean)
            if has_val:
                assert val is not None
                now = self._evaluate(val)
                for history, value in zip(histories, now.tolist(), strict=True):
                    history["val"].append(value)
                better = now < best
                best = torch.where(better, now, best)
                for name, value in self._state().items():
                    kept[name][better] = value[better]
            for history in histories:
                stage.check_finite(history, epoch)
            if progress:
                progress(epoch + 1, stage.epochs)
        if stage.keep == "last":
            kept = self._state()
        for s, whole in enumerate(self.wholes):
            whole.load_state_dict({name: value[s] for name, value in kept.items()}, strict=False)

    def _state(self) -> dict[str, Tensor]:
        return {k: v.detach().clone() for k, v in (*self.params.items(), *self.buffers.items())}

    def _epoch(self, numbers: Sequence[int], optimiser: torch.optim.Optimizer) -> Tensor:
        """One pass over the trials; returns the mean loss of each seed."""
        self.base.train()
        self.stage.rest_frozen(self.base.aligner)
        batches = [self.stage.batches(self.data, number) for number in numbers]
        draws = [torch.Generator().manual_seed(number) for number in numbers]
        found = []
        for rows in zip(*batches, strict=True):
            masks = [[_mask(drop, g) for drop in self._dropouts(rows[0])] for g in draws]
            losses = self.losses(rows, [torch.stack(m).to(self.device) for m in zip(*masks, strict=True)], self.data)
            optimiser.zero_grad(set_to_none=True)
            losses.sum().backward()
            optimiser.step()
            found.append(losses.detach())
        return torch.stack(found).mean(0).cpu()

    @torch.no_grad()
    def _dropouts(self, rows: Tensor) -> list[Drop]:
        """List the dropouts of one seed's pass, in its order."""
        if len(rows) not in self._shapes:
            look = copy.deepcopy(self.base)
            eeg, subject, stimulus = self.data.batch(rows, self.device)
            with _Dropout() as seen:
                look(eeg, subject, stimulus, {k: tower(stimulus).float() for k, tower in self.towers.items()})
            self._shapes[len(rows)] = seen.shapes
        return self._shapes[len(rows)]

    @torch.no_grad()
    def _evaluate(self, val: TrialSet) -> Tensor:
        """Mean loss of each seed on trials that are not trained on, weighted by trials."""
        self.base.eval()
        parts = [rows for rows in torch.arange(len(val)).split(self.stage.batch_size) if len(rows) > 1]
        each = torch.stack([self.losses([rows] * len(self.wholes), [], val).cpu() for rows in parts])
        counts = torch.tensor([float(len(rows)) for rows in parts])
        return (each * counts[:, None]).sum(0) / counts.sum()


class _Whole(nn.Module):
    """Aligner and losses of one seed: trials -> loss."""

    def __init__(self, aligner: Aligner, losses: list[Loss]):
        super().__init__()
        self.aligner, self.losses = aligner, nn.ModuleList(losses)

    def forward(self, eeg: Tensor, subject: Tensor, stimulus: Tensor, targets: dict[str, Tensor]) -> Tensor:
        z = {k: v.float() for k, v in self.aligner(eeg, subject).items()}
        batch = Batch(eeg, subject, stimulus, targets)
        return torch.stack([loss.weight * loss(z, batch) for loss in self.losses.children()]).sum()


def _losses(stage: Stage, towers: Mapping[str, nn.Module], data: TrialSet, device: str) -> list[Loss]:
    built = [make() for make in stage.losses]
    for loss in built:
        if type(loss).end_epoch is not Loss.end_epoch:
            raise RecipeError(f"{type(loss).__name__} acts after each epoch and is not stacked. {ALONE}")
        loss.prepare(towers, data.stimulus.unique().to(device))
        loss.to(device)
    if stage.patience is not None:
        raise RecipeError(f"A stage with patience ends at another epoch for each seed and is not stacked. {ALONE}")
    return built


class _Dropout(TorchFunctionMode):
    """Dropout from masks that are given; without any, note what is asked for and drop nothing."""

    def __init__(self, masks: list[Tensor] | None = None):
        super().__init__()
        self.masks, self.shapes = masks, list[Drop]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.dropout:
            return self._drop(*args, **kwargs)
        return func(*args, **kwargs)

    def _drop(self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return x
        if self.masks is None:
            self.shapes.append((tuple(x.shape), x.stride(), p))
            return x
        return x * self.masks.pop(0) / (1 - p)


def _mask(drop: Drop, generator: torch.Generator) -> Tensor:
    """Draw what dropout would draw from this generator on a CPU, which goes by the layout in memory."""
    shape, stride, p = drop
    return torch.empty_strided(shape, stride, dtype=torch.bool).bernoulli_(1 - p, generator=generator).contiguous()
