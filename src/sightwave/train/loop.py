"""fit: the one training loop, over stages.

The order of trials and every random draw of an epoch are functions of (seed, stage, epoch), never of an iterator's
state: so a run that was killed and resumed ends with the same bits. The validation part alone may choose an epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sightwave.align import Aligner
from sightwave.losses.base import Batch
from sightwave.train import checkpoint as ckpt
from sightwave.train.solve import solve
from sightwave.train.stages import Solve, Stage, TrialSet

Progress = Callable[[int, int], None]
SAVE_EVERY_S = 10.0
MOST_FEATURES = 200_000_000
"""Numbers that a frozen encoder's features may take in memory, 0.8 GB: then it is run once per stage."""


def fit(
    aligner: Aligner,
    stages: Sequence[Stage | Solve],
    data: TrialSet,
    towers: Mapping[str, nn.Module],
    *,
    seed: int = 0,
    val: TrialSet | None = None,
    device: str = "cpu",
    checkpoint: Path | None = None,
    resume: bool = False,
    identity: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, list[float]]:
    """Train in place, stage after stage.

    Parameters
    ----------
    aligner : Aligner
    stages : sequence of Stage or Solve
    data, val : TrialSet
        What is trained on; what may choose the epoch.
    towers : mapping of str to Module
        Space -> module from stimulus rows (B,) to embeddings (B, D): a lookup table when the target is frozen, the
        tower itself when it is tuned.
    seed : int
    device : str
        As torch names it. Only the CPU has been tried so far.
    checkpoint : Path or None
        Written at least every ten seconds, at the end of an epoch; with ``resume`` the training goes on from it.
    identity : mapping
        Plain JSON that must be equal for a checkpoint to be continued.
    progress : callable
        Called as ``progress(epochs done, epochs)`` of the stage.

    Returns
    -------
    dict of str to list of float
        ``"loss"`` and ``"val"`` per epoch; ``"val"`` is empty without a validation part.

    Raises
    ------
    RecipeError
        If ``keep="best"`` is asked without a validation part.
    ResumeError
        If the checkpoint belongs to another run.
    SightwaveError
        If the loss is not finite: training stops at once.
    """
    learning = nn.ModuleDict({"aligner": aligner, "towers": nn.ModuleList(towers.values())}).to(device)
    tuned = [p for p in learning["towers"].parameters() if p.requires_grad]
    who = {**(identity or {}), "seed": seed, "threads": torch.get_num_threads(), "torch": torch.__version__}
    saved = ckpt.read(checkpoint, who) if checkpoint and resume else None
    history: dict[str, list[float]] = saved[1]["history"] if saved else {"loss": [], "val": []}
    first = saved[1]["stage"] if saved else 0
    if saved and not saved[1]["epoch"]:  # killed between two stages, or after the last
        learning.load_state_dict(ckpt.part(saved[0], "module"))
    for i, stage in enumerate(stages):
        if i < first:
            continue
        if isinstance(stage, Solve):
            solve(aligner, stage, data, towers)
            learning.to(device)
        else:
            mine = saved if saved and i == first and saved[1]["epoch"] else None

            def keep(
                epoch: int, module: nn.Module, optimiser: Any, kept: Mapping[str, Tensor], best: float, i: int = i
            ) -> None:
                state = {"identity": who, "history": history, "stage": i, "epoch": epoch, "best": best}
                if checkpoint:
                    ckpt.save(checkpoint, module, optimiser, kept, state)

            _descend(
                learning,
                stage,
                data,
                towers,
                tuned,
                seed=(seed, i),
                val=val,
                device=device,
                history=history,
                saved=mine,
                save=keep,
                progress=progress,
            )
        if checkpoint:
            done = {"identity": who, "history": history, "stage": i + 1, "epoch": 0, "best": None}
            ckpt.save(checkpoint, learning, None, {}, done)
    return history


def _descend(
    learning: nn.ModuleDict,
    stage: Stage,
    data: TrialSet,
    towers: Mapping[str, nn.Module],
    tuned: Sequence[nn.Parameter],
    *,
    seed: tuple[int, int],
    val: TrialSet | None,
    device: str,
    history: dict[str, list[float]],
    saved: Any,
    save: Callable[..., None],
    progress: Progress | None,
) -> None:
    """One stage of gradient descent."""
    aligner = learning["aligner"]
    assert isinstance(aligner, Aligner)  # for the type checker
    has_val = stage.has_val(val)
    stage.freeze_parts(aligner)
    for p in tuned:
        p.requires_grad_("towers" not in stage.freeze)
    built = [make() for make in stage.losses]
    for loss in built:
        loss.prepare(towers, data.stimulus.unique().to(device))
    losses = nn.ModuleList(built).to(device)
    whole = nn.ModuleDict({**learning, "losses": losses})
    groups = [
        {"params": [p for part in parts for p in part.parameters() if p.requires_grad], "lr": lr}
        for parts, lr in (((aligner, losses), stage.lr), ((learning["towers"],), stage.lr * stage.towers_lr))
    ]
    optimiser = torch.optim.AdamW([g for g in groups if g["params"]], weight_decay=stage.weight_decay, fused=True)
    rates = [group["lr"] for group in optimiser.param_groups]
    start, best, kept = 0, math.inf, {}
    if saved:
        arrays, state = saved
        whole.load_state_dict(ckpt.part(arrays, "module"))
        ckpt.restore_optimiser(optimiser, arrays)
        kept, start = ckpt.part(arrays, "kept"), state["epoch"]
        best = math.inf if state["best"] is None else state["best"]
    since = time.monotonic()
    known = _features(aligner, data, device, stage), _features(aligner, val, device, stage)
    val_losses = history["val"][len(history["val"]) - start :] if start else []
    for epoch in range(start, stage.epochs):
        if stage.patience is not None and stage.keep == "best" and val_losses:
            waited = len(val_losses) - 1 - int(np.argmin(val_losses))
            if waited >= stage.patience:
                break
        for group, lr in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = lr * stage.rate(epoch)
        history["loss"].append(
            _epoch(whole, stage, data, towers, optimiser, stage.number(seed, epoch), device, known[0])
        )
        for loss in built:
            loss.end_epoch(towers)
        if has_val:
            assert val is not None
            val_losses.append(_evaluate(whole, stage, val, towers, device, known[1]))
            history["val"].append(val_losses[-1])
        stage.check_finite(history, epoch)
        if stage.keep == "best" and val_losses[-1] < best:
            best, kept = val_losses[-1], {k: v.detach().clone() for k, v in whole.state_dict().items()}
        if progress:
            progress(epoch + 1, stage.epochs)
        if time.monotonic() - since > SAVE_EVERY_S:
            save(epoch + 1, whole, optimiser, kept, best if math.isfinite(best) else None)
            since = time.monotonic()
    if stage.keep == "best":
        whole.load_state_dict(kept)


@torch.no_grad()
def _features(aligner: Aligner, data: TrialSet | None, device: str, stage: Stage) -> Tensor | None:
    """Run an encoder that stands still once over all trials, where what it says of them fits into memory."""
    if data is None or "encoder" not in stage.freeze or len(data) * aligner.encoder.width > MOST_FEATURES:
        return None
    aligner.encoder.eval()
    with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=stage.precision == "bfloat16"):
        parts = [aligner.encoder(*data.batch(r, device)[:2]) for r in torch.arange(len(data)).split(512)]
    return torch.cat(parts) if parts else None


def _forward(
    whole: nn.ModuleDict,
    stage: Stage,
    data: TrialSet,
    towers: Mapping[str, nn.Module],
    rows: Tensor,
    device: str,
    known: Tensor | None,
) -> Tensor:
    aligner = whole["aligner"]
    assert isinstance(aligner, Aligner)  # for the type checker
    eeg_BCT, subject_B, stimulus_B = data.batch(rows, device)
    with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=stage.precision == "bfloat16"):
        targets = {space: tower(stimulus_B) for space, tower in towers.items()}
        z = aligner(eeg_BCT, subject_B) if known is None else aligner.project(known[rows.to(device)], subject_B)
    z, targets = ({k: v.float() for k, v in found.items()} for found in (z, targets))
    batch = Batch(eeg_BCT, subject_B, stimulus_B, targets)
    terms = [loss.weight * loss(z, batch) for loss in whole["losses"].children()]
    return torch.stack(terms).sum()


def _epoch(
    whole: nn.ModuleDict,
    stage: Stage,
    data: TrialSet,
    towers: Mapping[str, nn.Module],
    optimiser: torch.optim.Optimizer,
    number: int,
    device: str,
    known: Tensor | None,
) -> float:
    """One pass over the trials; returns the mean loss."""
    whole.train()
    stage.rest_frozen(whole["aligner"])
    # summed in place: a tensor kept from each batch would pin the memory around it, gigabytes over a long epoch
    total_loss, n_batches = torch.zeros((), dtype=torch.float64, device=device), 0
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(number)
        for rows in stage.batches(data, number):
            total = _forward(whole, stage, data, towers, rows, device, known)
            optimiser.zero_grad(set_to_none=True)
            total.backward()
            optimiser.step()
            total_loss += total.detach()
            n_batches += 1
    return float(total_loss) / n_batches if n_batches else math.nan


@torch.no_grad()
def _evaluate(
    whole: nn.ModuleDict,
    stage: Stage,
    data: TrialSet,
    towers: Mapping[str, nn.Module],
    device: str,
    known: Tensor | None,
) -> float:
    """Mean loss on trials that are not trained on, weighted by trials."""
    whole.eval()
    parts = [rows for rows in torch.arange(len(data)).split(stage.batch_size) if len(rows) > 1]
    losses = torch.stack([_forward(whole, stage, data, towers, rows, device, known) for rows in parts])
    counts = torch.tensor([float(len(rows)) for rows in parts], device=losses.device)
    return float((losses * counts).sum() / counts.sum())


@torch.no_grad()
def decode(aligner: Aligner, data: TrialSet, *, device: str = "cpu", batch_size: int = 512) -> dict[str, np.ndarray]:
    """Decode trials into every space of the aligner.

    Parameters
    ----------
    aligner : Aligner
    data : TrialSet

    Returns
    -------
    dict of str to ndarray, shape (n_trials, D), float32
        Space -> embeddings; ``"features"`` holds the encoder's own output.
    """
    aligner.to(device).eval()
    parts = [aligner(*data.batch(rows, device)[:2]) for rows in torch.arange(len(data)).split(batch_size)]
    return {s: torch.cat([p[s] for p in parts]).float().cpu().numpy() for s in ("features", *aligner.spaces)}
