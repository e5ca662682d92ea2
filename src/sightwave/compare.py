"""Compare recipes and variants of recipes: each run under one protocol, then one table, one page, one csv file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from sightwave import files
from sightwave.errors import DataError, RecipeError
from sightwave.house import load_recipe, variants
from sightwave.judge.paired import paired
from sightwave.recipe import Recipe, started, with_clip
from sightwave.report import page, side_by_side
from sightwave.results import Result
from sightwave.story import run

Progress = Callable[[str, int, int], None]


def chosen(names: Sequence[str], group: str = "") -> list[tuple[str, Recipe]]:
    """Find what is compared.

    Parameters
    ----------
    names : sequence of str
        Recipes, or variants of recipes, as `load_recipe` takes them. A single recipe stands for itself and all its
        variants on the same data.
    group : str
        Of a single recipe: only the variants of this group, and the recipe itself if it is on their data.

    Returns
    -------
    list of (str, Recipe)
        Name and recipe of each, in order.

    Raises
    ------
    RecipeError
        If there is nothing to compare, or a group is asked of several recipes.
    """
    wanted = list(dict.fromkeys(names))
    if group and len(wanted) != 1:
        raise RecipeError(f"A group of variants is asked of one recipe; got {len(wanted)}.")
    if len(wanted) == 1 and not group and not variants_of(wanted[0]):
        raise RecipeError(f"{wanted[0]} has no variants, so there is nothing to compare it with. Name a second recipe.")
    if len(wanted) == 1:
        base = wanted[0]
        found = [load_recipe(name) for name in (base, *(f"{base}:{v}" for v in variants_of(base, group)))]
        of = found[-1 if group else 0][1].dataset
        return [(name, recipe) for name, recipe in found if recipe.dataset == of]
    return [load_recipe(name) for name in wanted]


def variants_of(name: str, group: str = "") -> list[str]:
    """Names of a recipe's variants; a variant has none."""
    _, colon, variant = name.rpartition(":")
    return [] if colon and "/" not in variant else list(variants(name, group))


def compare(
    names: Sequence[str],
    *,
    group: str = "",
    data: Path | None = None,
    out: Path = Path("results"),
    subjects: Sequence[str] | None = None,
    seeds: Sequence[int] = (0,),
    device: str = "auto",
    resume: bool = False,
    anew: bool = False,
    smoke: bool = False,
    clip: str = "",
    start: Path | None = None,
    progress: Progress | None = None,
) -> tuple[list[Result], pd.DataFrame | str]:
    """Run recipes one after the other; see `story.run` for the options, and `chosen` for the names.

    Parameters
    ----------
    names : sequence of str
    group : str
    anew : bool
        Run also what has a result under ``out`` already.
    clip : str
        CLIP for all targets.
    start : Path or None
        Result whose weights each recipe begins with, see `started`.

    Returns
    -------
    results : list of Result
        In the order asked for. Also written: ``out / "compare.html"`` and ``out / "compare.csv"``.
    differences : DataFrame or str
        Each against the first, see `judge.paired`, and ``out / "differences.csv"``; or why there are none.
    """
    results = []
    asked = chosen(names, group)
    for i, (name, recipe) in enumerate(asked):

        def tell(what: str, done: int, total: int, said: str = f"{name} ({i + 1} of {len(asked)})") -> None:
            if progress:
                progress(f"{said}: {what}", done, total)

        recipe = with_clip(recipe, clip) if clip else recipe
        results.append(
            run(
                started(recipe, start) if start else recipe,
                name=name,
                data=data,
                out=out,
                subjects=subjects,
                seeds=seeds,
                device=device,
                resume=resume,
                reuse=not anew,
                smoke=smoke,
                progress=tell,
            )
        )
    apart = differences(results)
    page.write(out / "compare.html", results, title="sightwave: " + ", ".join(dict.fromkeys(names)), paired=apart)
    files.write_text(out / "compare.csv", side_by_side.frame(results).to_csv(index=False))
    if isinstance(apart, pd.DataFrame):
        files.write_text(out / "differences.csv", apart.to_csv(index=False))
    return results, apart


def differences(results: Sequence[Result]) -> pd.DataFrame | str:
    """Compare each result with the first on the same test trials, or say why that cannot be done.

    Parameters
    ----------
    results : sequence of Result
    """
    try:
        return paired(results, with_first=True) if len(results) > 1 else "There is one result only."
    except DataError as e:  # other protocols test other trials
        return str(e)
