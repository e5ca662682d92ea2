"""Where and when the information sits: the same question of parts of the EEG, by time, by region and by frequency.

Each part has a linear decoder of its own, in closed form, trained on the same training part and scored on the same test
trials as everything else. A part without information scores chance; parts do not add up, for what two of them hold may
be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from sightwave.decode.base import Task
from sightwave.encoders.spectrum import Spectrum
from sightwave.encoders.time_bins import TimeBins
from sightwave.errors import RecipeError
from sightwave.fold import Fold
from sightwave.judge.paired import holm
from sightwave.judge.score import score
from sightwave.preprocess import REGIONS, Crop, PickChannels, Step, region_of
from sightwave.recipe import Recipe
from sightwave.results import Predictions
from sightwave.split import Split
from sightwave.stimuli import Stimuli
from sightwave.train import Solve
from sightwave.trials import Trials

BANDS = ((1.0, 4.0), (4.0, 8.0), (8.0, 13.0), (13.0, 30.0), (30.0, 45.0))
"""Delta, theta, alpha, beta and low gamma, in Hz."""
BIN_S = 0.02
WINDOW_S = 0.1

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Part:
    """A part of the EEG, and how a linear decoder reads it.

    Parameters
    ----------
    by : {"time", "region", "frequency"}
    name : str
        ``"100 to 200 ms"``, ``"occipital"``, ``"8 to 13 Hz"``.
    low, high : float
        Edges in seconds or Hz; for a region, 0 and its number of channels.
    encoder : callable
    first, last : tuple of Step
        Put before and behind the recipe's own steps: channels are picked before they are mixed by a whitening, and
        times are cut after what needs a baseline.
    """

    by: str
    name: str
    low: float
    high: float
    encoder: Callable[..., Any]
    first: tuple[Step, ...] = ()
    last: tuple[Step, ...] = ()


def parts(trials: Trials, *, window_s: float = WINDOW_S) -> list[Part]:
    """Cut the EEG into parts: windows that overlap by half, regions of the head, and bands.

    Parameters
    ----------
    trials : Trials
        Tell channels, times and sampling rate.
    window_s : float
        Length of a window.

    Returns
    -------
    list of Part
        Regions only where channel names say them, bands only below half the sampling rate and not slower than a trial.
    """
    made, t, n_times = list[Part](), trials.times, trials.eeg.shape[2]
    length_s, n = n_times / trials.sfreq, max(2, round(window_s * trials.sfreq))
    for start in range(0, n_times - n + 1, max(1, n // 2)):
        a, b = float(t[start]), float(t[start + n - 1])
        bins = partial(TimeBins, n_bins=max(1, min(n, round(window_s / BIN_S))))
        name = f"{round(1e3 * a)} to {round(1e3 * (b + 1 / trials.sfreq))} ms"
        made.append(Part("time", name, a, b + 1 / trials.sfreq, bins, last=(Crop(a, b),)))
    whole = partial(TimeBins, n_bins=max(1, min(n_times, round(length_s / (2 * BIN_S)))))
    found = [region_of(c) for c in trials.ch_names]
    for region in REGIONS[:-1]:  # the last is two of the others together
        if count := found.count(region):
            made.append(Part("region", region, 0.0, float(count), whole, first=(PickChannels(regions=(region,)),)))
    for low, high in BANDS:
        if high <= trials.sfreq / 2 and low * length_s >= 1 and (high - low) * length_s >= 1:
            encoder = partial(Spectrum, sfreq=trials.sfreq, l_freq=low, h_freq=high)
            made.append(Part("frequency", f"{low:g} to {high:g} Hz", low, high, encoder))
    return made


def linear(recipe: Recipe) -> Recipe:
    """Make the linear recipe with the same data, split, steps and headline: heads solved on binned EEG.

    Parameters
    ----------
    recipe : Recipe

    Raises
    ------
    RecipeError
        If the headline reads no space that a closed form could be solved for.
    """
    task = _headline(recipe)
    targets = tuple(t for t in recipe.targets if t.space in task.spaces)
    encoder = partial(TimeBins, n_bins=25)
    stages = (Solve(spaces=task.spaces),)
    return replace(
        recipe,
        targets=targets,
        encoder=encoder,
        head=nn.Linear,
        stages=stages,
        tasks=(task,),
        repetitions=(None,),
        ensemble=1,
    )


def where(
    recipe: Recipe,
    splits: Sequence[Split],
    opened: Sequence[Trials],
    stimuli: Stimuli,
    *,
    subjects: Sequence[str],
    device: str = "cpu",
    n_permutations: int = 1000,
    n_bootstrap: int = 1000,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Score a recipe's headline from parts of the EEG.

    Parameters
    ----------
    recipe : Recipe
        Its data, split, steps and first task count; what it trains does not.
    splits : sequence of Split
    opened : sequence of Trials
        The folds' opened test trials, averaged or not, before any step.
    stimuli : Stimuli
    subjects : sequence of str
    device : str
    n_permutations, n_bootstrap : int
    progress : callable
        Called as ``progress(what, done, total)``.

    Returns
    -------
    list of dict
        One row per part: `by name low_edge high_edge task metric repetitions value chance low high p p_holm n_trials`;
        `p_holm` is corrected over the parts of one kind.
    """
    task, rows = _headline(recipe), list[dict[str, Any]]()
    todo = parts(splits[0].trials)
    for i, part in enumerate(todo):
        if progress:
            progress("where", i, len(todo))
        steps = (*part.first, *recipe.steps, *part.last)
        small = replace(linear(recipe), steps=steps, encoder=part.encoder)
        said = []
        for split, raw in zip(splits, opened, strict=True):
            fold = Fold(small, split, stimuli, subjects=subjects, device=device)
            decoder = fold.train(0)
            (decoded,) = fold.decode(decoder, [fold.prepare(raw)])
            said += fold.ask(decoded)
        scores = score(
            [Predictions.pool(said)], {task.name: task.metrics[:1]}, n_permutations=n_permutations,
            n_bootstrap=n_bootstrap,
        )  # fmt: skip
        found = scores[scores["subject"] == "all"].iloc[0]
        columns = ("task", "metric", "repetitions", "value", "chance", "low", "high", "p", "n_trials")
        row = {c: found[c].item() if hasattr(found[c], "item") else found[c] for c in columns}
        rows.append({"by": part.by, "name": part.name, "low_edge": part.low, "high_edge": part.high} | row)
    for by in dict.fromkeys(row["by"] for row in rows):
        mine = [row for row in rows if row["by"] == by]
        for row, p in zip(mine, holm(np.array([row["p"] for row in mine])), strict=True):
            row["p_holm"] = float(p)
    return rows


def _headline(recipe: Recipe) -> Task:
    task = next((t for t in recipe.tasks if t.spaces and not t.mark), None)
    if task is None:
        raise RecipeError("To tell where the information sits needs a task that reads a space: Classify or Retrieve.")
    return task
