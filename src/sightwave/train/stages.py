"""What a stretch of training is: gradient descent on some losses, or heads solved in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sightwave.errors import RecipeError, SightwaveError
from sightwave.losses.base import Loss


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stretch of gradient descent with one objective.

    Parameters
    ----------
    losses : tuple of callable
        Classes or partials of `Loss`; each is built once, at the start of the stage.
    epochs, batch_size : int
        A last batch of fewer than two trials is dropped, because contrast and batch norm need two.
    drop_last : bool
        Drop any last batch that is not full, unless it is the only one: contrast among few is easy, and AdamW steps as
        far for it.
    lr, weight_decay : float
        Of AdamW.
    schedule : {"constant", "cosine"}
        Learning rate over the stage; cosine ends at a hundredth.
    towers_lr : float
        Learning rate of targets that are tuned, as a share of ``lr``: a CLIP that has learnt all it knows wants less.
    together : {None, "stimulus"}
        "stimulus": trials of one stimulus follow each other, so that a batch holds several of each it holds, as
        ``InfoNCE(positives="stimulus", pull=True)`` wants them. None: any order.
    freeze : tuple of str
        Parts that stand still, batch norm and dropout included: ``"encoder"``, ``"heads"``, or ``"towers"``, the
        targets that would be tuned.
    keep : {"last", "best"}
        Which epoch's weights leave the stage; ``"best"`` is the lowest loss on the validation part, never on test.
    patience : int or None
        With ``keep="best"``: stop after so many epochs without a better validation loss.
    precision : {"float32", "bfloat16"}
        ``"bfloat16"`` computes the forward pass under autocast; weights stay float32.
    """

    losses: tuple[Callable[[], Loss], ...]
    epochs: int = 40
    batch_size: int = 256
    drop_last: bool = False
    lr: float = 1e-3
    weight_decay: float = 1e-4
    schedule: str = "constant"
    towers_lr: float = 1.0
    together: str | None = None
    freeze: tuple[str, ...] = ()
    keep: str = "last"
    patience: int | None = None
    precision: str = "float32"

    def __post_init__(self) -> None:
        options = {"keep": ("last", "best"), "schedule": ("constant", "cosine"), "precision": ("float32", "bfloat16")}
        for field, known in options.items():
            if getattr(self, field) not in known:
                raise RecipeError(f"Stage.{field} must be one of {known}, got {getattr(self, field)!r}.")
        if self.together not in (None, "stimulus"):
            raise RecipeError(f"Stage.together must be None or 'stimulus', got {self.together!r}.")
        if self.epochs < 1 or self.batch_size < 2:
            raise RecipeError(f"Stage needs epochs >= 1 and batch_size >= 2, got {self.epochs} and {self.batch_size}.")

    @property
    def spaces(self) -> tuple[str, ...]:
        """Spaces that the losses ask for."""
        return tuple(dict.fromkeys(s for make in self.losses for s in make().heads))

    @property
    def selection(self) -> str:
        """How the epoch is chosen, in words."""
        if self.keep == "last":
            return f"fixed: the last of {self.epochs} epochs"
        return f"lowest validation loss within {self.epochs} epochs"

    def rate(self, epoch: int) -> float:
        """Share of the learning rate in an epoch, counted from 0.

        >>> Stage(losses=(), epochs=3, schedule="cosine").rate(2)
        0.01
        """
        if self.schedule == "constant":
            return 1.0
        share = epoch / max(self.epochs - 1, 1)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))

    def number(self, seed: tuple[int, int], epoch: int) -> int:
        """Return the number that an epoch's chance comes from; ``seed`` is the run's, and the stage's place."""
        return int(np.random.SeedSequence((*seed, epoch)).generate_state(1)[0])

    def batches(self, data: TrialSet, number: int) -> list[Tensor]:
        """Trials of each batch of an epoch, (B,), drawn from its number."""
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(number))
        if self.together == "stimulus":
            # each stimulus stands where the order has its first trial
            where, first = data.stimulus[order].unique(return_inverse=True)[1], torch.full((len(data),), len(data))
            first = first.scatter_reduce(0, where, torch.arange(len(data)), "amin")
            order = order[first[where].sort(stable=True).indices]
        least = min(self.batch_size, len(data)) if self.drop_last else 2
        return [rows for rows in order.split(self.batch_size) if len(rows) >= max(least, 2)]

    def freeze_parts(self, aligner: nn.Module) -> None:
        """Let the parts learn that are not frozen; one that is not there is a `RecipeError`."""
        for name in self.freeze:
            if name not in (*dict(aligner.named_children()), "towers"):
                raise RecipeError(f"Stage.freeze: there is no part {name!r}; there are encoder, heads and towers.")
        for name, child in aligner.named_children():
            child.requires_grad_(name not in self.freeze)

    def rest_frozen(self, aligner: nn.Module) -> None:
        """Put frozen parts out of training mode: neither dropout nor the running means of batch norm."""
        for name in set(self.freeze) - {"towers"}:
            getattr(aligner, name).eval()

    def has_val(self, val: TrialSet | None) -> bool:
        """Say whether there is a validation part; it is a `RecipeError` where one is needed and there is none."""
        there = val is not None and len(val) > 1
        if self.keep == "best" and not there:
            raise RecipeError("Stage(keep='best') needs a validation part. Give the split a val share, or keep='last'.")
        return there

    def check_finite(self, history: Mapping[str, Sequence[float]], epoch: int) -> None:
        """Stop training, with a `SightwaveError`, when the last loss is not finite."""
        for kind, name in (("loss", "training"), ("val", "validation")):
            if history[kind] and not math.isfinite(history[kind][-1]):
                raise SightwaveError(
                    f"The {name} loss is {history[kind][-1]} in epoch {epoch + 1}. "
                    "Lower Stage.lr, or check the EEG's unit and scale."
                )


@dataclass(frozen=True, kw_only=True)
class Solve:
    """Heads solved in closed form on the encoder's features: the linear baselines.

    The encoder's own `solve` is called first, for encoders that learn without gradients. Features are standardised
    over the training trials, and the scaling is folded into the head's weights.

    Parameters
    ----------
    spaces : tuple of str
        Whose heads to solve.
    readout : {"ridge", "logistic"}
        Ridge regression to the embeddings, its penalty chosen by leave-one-out on the training trials; or
        multinomial logistic regression, for the space ``"label"``.
    alphas : tuple of float
        Ridge penalties tried, in units of the mean eigenvalue of the features' covariance.
    C : float
        Inverse penalty of the logistic regression, as scikit-learn's.
    """

    spaces: tuple[str, ...]
    readout: str = "ridge"
    alphas: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    C: float = 1.0

    def __post_init__(self) -> None:
        if self.readout not in ("ridge", "logistic"):
            raise RecipeError(f"Solve.readout must be 'ridge' or 'logistic', got {self.readout!r}.")

    @property
    def selection(self) -> str:
        """How the fit is chosen, in words."""
        return (
            "closed form, penalty by leave-one-out on train"
            if self.readout == "ridge"
            else "closed form, fixed penalty"
        )


@dataclass(frozen=True, eq=False)
class TrialSet:
    """Trials as the loop reads them.

    Parameters
    ----------
    eeg : ndarray, shape (n_trials, n_channels, n_times)
        May be a memory map, or `OnDisk`; batches are copied out of it.
    subject, stimulus : Tensor, shape (n_trials,), int64
        Index of the subject; row in `Stimuli.ids`.
    """

    eeg: np.ndarray
    subject: Tensor
    stimulus: Tensor

    def __len__(self) -> int:
        return len(self.eeg)

    def batch(self, rows: Tensor, device: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return EEG (B, C, T) float32, subject (B,) and stimulus (B,) of some trials on a device."""
        some = self.eeg[rows.numpy()]
        # torch turns half into single precision four times as fast as numpy
        eeg = torch.from_numpy(some if some.dtype in (np.float16, np.float32) else some.astype(np.float32)).float()
        return eeg.to(device), self.subject[rows].to(device), self.stimulus[rows].to(device)
