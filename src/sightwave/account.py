"""What a result says beside its scores: efficiency, sessions, curves, whom it did not test, and what it cost."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from sightwave import __version__
from sightwave.decode.captions import TEXT, Keeper
from sightwave.decode.question import question
from sightwave.decode.retrieve import Retrieve
from sightwave.judge.curves import pool_curve
from sightwave.judge.efficiency import efficiency
from sightwave.judge.score import by_session
from sightwave.recipe import Recipe
from sightwave.results import Predictions
from sightwave.split import Split
from sightwave.stimuli import Stimuli
from sightwave.train import Cost
from sightwave.trials import Trials


def ideal(recipe: Recipe, predictions: Predictions, *, repetitions: float | None = None) -> np.ndarray | None:
    """Ask the ideal observer, where the data set has one, the very question that the task asks.

    Parameters
    ----------
    recipe : Recipe
    predictions : Predictions
        Of one of its tasks.
    repetitions : float or None
        How many the ideal observer has; None gives it as many as the decoder had.

    Returns
    -------
    ndarray, shape (n_trials, n_candidates), or None
    """
    scores = recipe.dataset.ideal(predictions, repetitions=repetitions)
    task = next(t for t in recipe.tasks if t.name == predictions.task)
    return None if scores is None else task.ideally(scores, predictions)


def beside(
    recipe: Recipe, predictions: Sequence[Predictions], *, n_permutations: int, n_bootstrap: int
) -> dict[str, Any]:
    """Return what stands beside the scores in a result: ``efficiency``, ``pool`` and ``sessions``.

    Sessions are told of what each trial alone can say.

    Parameters
    ----------
    recipe : Recipe
    predictions : sequence of Predictions
        One per task and number of repetitions.
    n_permutations, n_bootstrap : int
    """
    asked = {task.name: task.metrics for task in recipe.tasks}
    alone = [p for p in predictions if not question(p.task).mark]
    sessions = by_session(alone, asked, n_permutations=n_permutations, n_bootstrap=n_bootstrap)
    return {
        "efficiency": _efficiency(recipe, predictions),
        "pool": _pools(recipe, predictions, n_bootstrap),
        # JSON has no NaN: what has no value is not said
        "sessions": sessions.drop(columns=["ceiling", "noise_free"]).dropna().to_dict("records"),
    }


def _efficiency(recipe: Recipe, predictions: Sequence[Predictions]) -> dict[str, float]:
    """Efficiency of each task's headline at the highest number of repetitions, where an ideal observer is known."""
    last = {p.task: p for p in predictions}
    values = {t.name: efficiency(last[t.name], t.metrics[0], partial(ideal, recipe)) for t in recipe.tasks}
    return {task: value for task, value in values.items() if np.isfinite(value)}


def _pools(recipe: Recipe, predictions: Sequence[Predictions], n: int) -> dict[str, dict[str, list[float]]]:
    """Score over the size of the gallery, of each plain retrieval at the highest number of repetitions."""
    last = {p.task: p for p in predictions}
    plain = [t.name for t in recipe.tasks if isinstance(t, Retrieve) and t.mode == "exact"]
    curves = {name: pool_curve(last[name], n=n) for name in plain}
    return {name: {str(c): curve[c].tolist() for c in curve} for name, curve in curves.items()}


def keepers(recipe: Recipe) -> list[Keeper]:
    """Make one for each caption space that a task searches: what is asked of captions later is answered from it.

    Parameters
    ----------
    recipe : Recipe
    """
    target = {t.space: t for t in recipe.targets}
    asked = [task for task in recipe.tasks if isinstance(task, Retrieve) and task.space.startswith(TEXT)]
    first = {task.space: task for task in reversed(asked)}
    return [
        Keeper(task.name, target[space], everything=task.gallery == "all", members=recipe.ensemble)
        for space, task in first.items()
    ]


def kept(
    some: Sequence[Keeper], predictions: Sequence[Predictions], stimuli: Stimuli, splits: Sequence[Split]
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Finish the keepers: arrays of all, and facts of each.

    Parameters
    ----------
    some : sequence of Keeper
        That were handed the decoded trials of every fold.
    predictions : sequence of Predictions
    stimuli : Stimuli
    splits : sequence of Split
        All folds; their training parts tell how often each class came.
    """
    train = pd.concat([s.trials.events.iloc[s.train_rows] for s in splits])
    prior = {str(k): int(n) for k, n in train["label"].value_counts().items()}
    done = [k.finish(t, [p for p in predictions if p.task == k.task], stimuli, prior) for t, k in enumerate(some)]
    return {name: array for arrays, _ in done for name, array in arrays.items()}, [facts for _, facts in done]


def notes(recipe: Recipe, subjects: Sequence[str], splits: Sequence[Split], opened: Sequence[Trials]) -> list[str]:
    """Say who is in no test part, by which head those are decoded that are not trained, and how many decode.

    Parameters
    ----------
    recipe : Recipe
    subjects : sequence of str
        That were asked for.
    splits : sequence of Split
    opened : sequence of Trials
        The test parts.
    """
    return [*_not_tested(subjects, opened), *_strangers(recipe, splits), *_ensemble(recipe)]


def _not_tested(subjects: Sequence[str], opened: Sequence[Trials]) -> list[str]:
    """Say which subjects are in no test part, e.g. for want of a second run."""
    tested = {s for trials in opened for s in trials.events["subject"].unique()}
    missing = [s for s in subjects if s not in tested]
    return [f"the split has no test part for subject(s) {', '.join(missing)}"] if missing else []


def _strangers(recipe: Recipe, splits: Sequence[Split]) -> list[str]:
    """Say by which head subjects are decoded that are not trained."""
    left: set[str] = set()
    for split in splits:
        subject = split.trials.events["subject"]
        left |= set(split.test.events["subject"].unique()) - set(subject.iloc[split.train_rows].unique())
    how = "the mean of what all trained subjects' heads say" if recipe.subject_heads else "one head that all share"
    return [f"subjects {', '.join(sorted(left))} are decoded without training on them, by {how}"] if left else []


def _ensemble(recipe: Recipe) -> list[str]:
    if recipe.ensemble == 1:
        return []
    return [f"{recipe.ensemble} decoders answer together for each seed, by the mean of their cosines or probabilities"]


def provenance(start: float, device: str, costs: Sequence[Cost], members: int = 1) -> dict[str, object]:
    """Tell what may differ between two runs with identical findings.

    Parameters
    ----------
    start : float
        When the run began, in seconds since the epoch.
    device : str
    costs : sequence of Cost
        One per decoder.
    members : int
        How many of them answer together: an epoch of theirs takes as many times as long.
    """
    peaks = {
        "peak_memory_mb": [c.peak_bytes for c in costs if c.peak_bytes is not None],
        "peak_gpu_memory_mb": [c.cuda_bytes for c in costs if c.cuda_bytes is not None],
    }
    return {name: round(max(found) / 1e6) for name, found in peaks.items() if found} | {
        "epoch_seconds": round(members * float(np.median([c.epoch_s for c in costs])), 3),
        "seconds": round(time.time() - start, 1),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "sightwave": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "device": device,
    }
