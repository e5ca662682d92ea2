"""Solve the heads of an aligner in closed form: ridge or logistic regression on the encoder's features."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from sightwave.align import Aligner, SubjectHeads
from sightwave.errors import RecipeError
from sightwave.train.stages import Solve, TrialSet


@torch.no_grad()
def solve(aligner: Aligner, stage: Solve, data: TrialSet, towers: Mapping[str, nn.Module]) -> None:
    """Fit the encoder's closed form and the heads of ``stage.spaces``, in place.

    Parameters
    ----------
    aligner : Aligner
    stage : Solve
    data : TrialSet
        Training trials.
    towers : mapping of str to Module
        Space -> stimulus rows (B,) to embeddings (B, D).

    Raises
    ------
    RecipeError
        If a logistic readout is asked of a space that is not one-hot, or a head is not linear.
    """
    aligner.cpu().eval()
    if "label" in towers:
        aligner.encoder.solve(data.eeg, towers["label"].cpu()(data.stimulus).argmax(1).numpy())
    rows = torch.arange(len(data)).split(512)
    h = np.concatenate([aligner.encoder(*data.batch(r, "cpu")[:2]).numpy() for r in rows]).astype(np.float64)
    for space, head in zip(aligner.spaces, aligner.heads, strict=True):
        if space not in stage.spaces:
            continue
        assert isinstance(head, SubjectHeads)  # for the type checker
        y = towers[space].cpu()(data.stimulus).numpy().astype(np.float64)
        if stage.readout == "logistic" and not np.isin(y, (0, 1)).all():
            raise RecipeError(
                f"Solve(readout='logistic') needs one-hot targets; space {space!r} holds vectors. Use 'ridge'."
            )
        for s, linear in enumerate(head.maps):
            if not isinstance(linear, nn.Linear):
                raise RecipeError(f"Solve needs linear heads, and Recipe.head makes {type(linear).__name__}.")
            mine = np.ones(len(h), bool) if head.n_subjects == 1 else (data.subject == s).numpy()
            if mine.any():
                weight, bias = _readout(h[mine], y[mine], stage)
                linear.weight.copy_(torch.from_numpy(weight))
                linear.bias.copy_(torch.from_numpy(bias))


def _readout(h: np.ndarray, y: np.ndarray, stage: Solve) -> tuple[np.ndarray, np.ndarray]:
    """Weight (E, D) and bias (E,) of the linear map from features (n, D) to targets (n, E)."""
    from sklearn.linear_model import LogisticRegression, RidgeCV

    mean, std = h.mean(0), h.std(0)
    std[std < 1e-12] = 1.0
    x = (h - mean) / std
    if stage.readout == "ridge":
        fitted = RidgeCV(alphas=[a * len(x) for a in stage.alphas]).fit(x, y)
        weight, bias = np.atleast_2d(fitted.coef_), np.atleast_1d(fitted.intercept_)
    else:
        fitted = LogisticRegression(C=stage.C, max_iter=2000).fit(x, y.argmax(1))
        weight, bias = np.zeros((y.shape[1], x.shape[1])), np.full(y.shape[1], -1e4)
        if len(fitted.classes_) == 2:  # one row says "second class"; the first gets 0
            weight[fitted.classes_[1]], bias[fitted.classes_] = fitted.coef_[0], (0.0, fitted.intercept_[0])
        else:
            weight[fitted.classes_], bias[fitted.classes_] = fitted.coef_, fitted.intercept_
    return weight / std, bias - (weight / std) @ mean
