"""Recipe: everything that decides a result, in one frozen object; and where recipes are found."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import dropwhile
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from sightwave.datasets.base import Dataset
from sightwave.decode.base import Task
from sightwave.encoders.base import Encoder
from sightwave.errors import RecipeError
from sightwave.files import must_exist
from sightwave.preprocess import Step
from sightwave.results import spaces_learnt
from sightwave.split import Splitter
from sightwave.targets.base import Target
from sightwave.targets.clip import ClipImage, ClipText
from sightwave.train import Solve, Stage

NEXT_MEMBER = 1000
"""What is added to a seed for each further decoder of an ensemble."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to run. Where and how often (paths, device, subjects, seeds) belongs to `run`.

    Things without weights are given as objects; things with weights as classes, or as ``functools.partial`` of them,
    so that every seed builds its own.

    Parameters
    ----------
    dataset : Dataset
    split : Splitter
    steps : tuple of Step
        Fitted on the training part of each fold, in this order.
    targets : tuple of Target
        The spaces that stages and tasks speak of.
    encoder : callable
        An `Encoder` class or partial; called with ``n_channels`` and ``n_times``.
    head : callable
        ``head(n_in, n_out)`` makes a head, from features to one space: ``nn.Linear``, or a class or partial of `align`.
    subject_heads : bool
        One head per subject and space, instead of one for all.
    unknown_subjects : {"refuse", "mean"}
        With subject heads, what becomes of test subjects that are not trained: an error, or the mean of all heads.
        The third way is one head for all.
    stages : tuple of Stage or Solve
    start : Path or None
        Folder of a finished result that was saved with its weights: each fold and seed begins with the encoder and the
        heads that it learnt there. See `started`.
    tasks : tuple of Task
        The first metric of the first task is the headline.
    repetitions : tuple of int or None
        How many repetitions of a stimulus are averaged before a test trial is decoded: 1 is single trials, None all
        that there are. Each is scored, and printed with the score.
    ensemble : int
        Decoders that are trained for one seed and answer together: by the mean of their cosines or probabilities.
    leaks : tuple of str
        Kinds of leak that the audit finds and this recipe runs all the same; every table then carries the mark.
    smoke : Dataset or None
        Small stand-in that ``--smoke`` runs on; None makes a small phantom.

    Raises
    ------
    RecipeError
        If an encoder, head or loss is already built, a space is never trained, or a target is missing.
    """

    dataset: Dataset
    split: Splitter
    steps: tuple[Step, ...] = ()
    targets: tuple[Target, ...]
    encoder: Callable[..., Encoder]
    head: Callable[[int, int], nn.Module] = nn.Linear
    subject_heads: bool = False
    unknown_subjects: str = "refuse"
    stages: tuple[Stage | Solve, ...]
    tasks: tuple[Task, ...]
    repetitions: tuple[int | None, ...] = (1,)
    ensemble: int = 1
    leaks: tuple[str, ...] = ()
    start: Path | None = None
    smoke: Dataset | None = None

    def __post_init__(self) -> None:
        losses = [loss for stage in self.stages if isinstance(stage, Stage) for loss in stage.losses]
        for part in (self.encoder, self.head, *losses):
            if isinstance(part, nn.Module):
                name = type(part).__name__
                raise RecipeError(
                    f"The recipe holds a built {name}, so seeds would share its weights. "
                    f"Give the class: partial({name}, ...)."
                )
        if not (self.stages and self.tasks and self.repetitions):
            raise RecipeError("A recipe needs at least one stage, one task and one number of repetitions.")
        if mark := self.tasks[0].mark:
            raise RecipeError(
                f"The first task is the headline, and {self.tasks[0].name!r} is {mark}. Put a task before it that "
                "answers each trial by itself, e.g. Retrieve(space)."
            )
        names = [t.name for t in self.tasks]
        if len(set(names)) < len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise RecipeError(f"Two tasks are called {twice!r}: they ask the same. Remove one.")
        if any(n is not None and n < 1 for n in self.repetitions):
            raise RecipeError(f"Recipe.repetitions are counts from 1 on, or None for all; got {self.repetitions}.")
        if self.ensemble < 1:
            raise RecipeError(f"Recipe.ensemble is a number of decoders from 1 on, got {self.ensemble}.")
        if self.unknown_subjects not in ("refuse", "mean"):
            raise RecipeError(f"Recipe.unknown_subjects must be 'refuse' or 'mean', got {self.unknown_subjects!r}.")
        known = {t.space for t in self.targets}
        if len(known) < len(self.targets):
            raise RecipeError(f"Two targets make one space; targets make {', '.join(t.space for t in self.targets)}.")
        for space in self.spaces:
            if space not in known:
                raise RecipeError(
                    f"Space {space!r} is trained but no target makes it; targets make {', '.join(sorted(known))}."
                )
        for task in self.tasks:
            for space in task.spaces:
                if space not in self.spaces:
                    raise RecipeError(
                        f"Task {task.name!r} reads space {space!r}, which no stage trains; stages train "
                        f"{', '.join(self.spaces) or 'none'}."
                    )

    @property
    def spaces(self) -> tuple[str, ...]:
        """Spaces that some stage trains a head for."""
        return tuple(dict.fromkeys(space for stage in self.stages for space in stage.spaces))

    def seeds_of(self, seed: int) -> list[int]:
        """Return the seeds of the decoders that answer together for one seed; the first is the seed itself.

        Raises
        ------
        RecipeError
            If another seed's ensemble could have one of them, too.
        """
        if self.ensemble > 1 and not 0 <= seed < NEXT_MEMBER:
            raise RecipeError(f"Seeds of an ensemble are numbers below {NEXT_MEMBER}, got {seed}.")
        return [seed + NEXT_MEMBER * m for m in range(self.ensemble)]

    @property
    def selection(self) -> str:
        """How the epoch is chosen, in words."""
        return "; then ".join(dict.fromkeys(stage.selection for stage in self.stages))


def started(recipe: Recipe, folder: Path) -> Recipe:
    """Let a recipe begin with what a finished result has learnt, and leave out its stages that would learn it again.

    Parameters
    ----------
    recipe : Recipe
        Its leading stages are left out, as long as they train only spaces that were trained there.
    folder : Path
        The result's, saved with its weights.

    Raises
    ------
    MissingFile, RecipeError
        If there are no weights, or no stage is left.
    """
    learnt = spaces_learnt(folder)
    stages = tuple(dropwhile(lambda stage: set(stage.spaces) <= learnt, recipe.stages))
    if not stages:
        raise RecipeError(f"{folder} has learnt all that this recipe trains: {', '.join(recipe.spaces)}.")
    return replace(recipe, start=folder, stages=stages)


def small(recipe: Recipe) -> Recipe:
    """Shrink a recipe for a smoke run: a small phantom and its CLIP, one epoch a stage; the rest stays as it is."""
    from sightwave.datasets.phantom import Phantom

    recipe = _with_targets(recipe, _phantom_clip)
    dataset = recipe.smoke
    if dataset is None:
        base = recipe.dataset if isinstance(recipe.dataset, Phantom) else Phantom()
        dataset = replace(base, n_train=6, n_test=2, train_repetitions=2, test_repetitions=2, n_subjects=2)
    stages = tuple(replace(s, epochs=1) if isinstance(s, Stage) else s for s in recipe.stages)
    return replace(recipe, dataset=dataset, stages=stages)


def with_clip(recipe: Recipe, model: str | Path) -> Recipe:
    """Exchange the CLIP model of every target, and the name of its space wherever the recipe speaks of it.

    Parameters
    ----------
    recipe : Recipe
    model : str or Path
        As for `ClipImage`: a folder, a hub name, or "phantom".

    Raises
    ------
    RecipeError
        If no target is a CLIP, or a space is named where it cannot be exchanged.
    """
    found: list[Target] = []

    def change(target: Target) -> Target:
        if not isinstance(target, ClipImage | ClipText):
            return target
        found.append(target)
        return replace(target, model=model)

    changed = _with_targets(recipe, change)
    if not found:
        raise RecipeError("This recipe has no CLIP to exchange: none of its targets is a ClipImage or a ClipText.")
    return changed


def with_target(recipe: Recipe, target: Target) -> Recipe:
    """Exchange the one target of a recipe, and the name of its space wherever the recipe speaks of it.

    Raises
    ------
    RecipeError
        If the recipe has several targets.
    """
    if len(recipe.targets) != 1:
        raise RecipeError(f"with_target exchanges the only target of a recipe; this one has {len(recipe.targets)}.")
    return _with_targets(recipe, lambda t: target if t == recipe.targets[0] else t)


def _phantom_clip(target: Target) -> Target:
    if isinstance(target, ClipImage):
        return replace(target, model="phantom", layer=None)  # a layer of a large tower may not be there in the small
    return replace(target, model="phantom") if isinstance(target, ClipText) else target


def _with_targets(recipe: Recipe, change: Callable[[Target], Target]) -> Recipe:
    """Change targets, those inside others first, and the names of their spaces in losses, solved heads and tasks."""

    def inside(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(inside, value))
        if not isinstance(value, Target):
            return value
        parts = {f.name: inside(getattr(value, f.name)) for f in fields(value) if f.init}
        return change(replace(value, **parts))

    targets: tuple[Target, ...] = inside(recipe.targets)
    new = {old.space: t.space for old, t in zip(recipe.targets, targets, strict=True) if old.space != t.space}

    def renamed(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(renamed, value))
        return new.get(value, value) if isinstance(value, str) else value

    def loss(make: Callable[[], Any]) -> Callable[[], Any]:
        if not isinstance(make, partial):
            return make
        options = {k: renamed(v) for k, v in make.keywords.items()}
        return partial(make.func, *map(renamed, make.args), **options)

    def part(p: Any) -> Any:
        return replace(p, **{f.name: renamed(getattr(p, f.name)) for f in fields(p) if f.init})

    stages = tuple(replace(s, losses=tuple(map(loss, s.losses))) if isinstance(s, Stage) else part(s)
                   for s in recipe.stages)  # fmt: skip
    return replace(recipe, targets=targets, stages=stages, tasks=tuple(map(part, recipe.tasks))) if new else recipe


def from_file(path: Path) -> Recipe:
    """Load ``recipe`` from a Python file of the user's; errors as for `module_from`."""
    found: Recipe = module_from(path).recipe
    return found


def module_from(path: Path) -> ModuleType:
    """Run a Python file of the user's that defines ``recipe``, and perhaps ``variants``.

    Raises
    ------
    MissingFile, RecipeError
        If the file is absent, fails to run, or defines no `Recipe` named ``recipe``.
    """
    spec = importlib.util.spec_from_file_location(path.stem, must_exist(path, "recipe"))
    if spec is None or spec.loader is None:
        raise RecipeError(f"{path} is not a Python file. Give a recipe's name, or a .py file that defines `recipe`.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, ImportError, NameError, TypeError, AttributeError) as e:
        raise RecipeError(f"{path} does not run: {type(e).__name__}: {e}") from e
    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, Recipe):
        raise RecipeError(f"{path} must define `recipe = Recipe(...)`; found {type(recipe).__name__}.")
    return module
