"""``sightwave compare``: recipes and variants of recipes under one protocol, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sightwave.cli_options import Clip, Data, Device, Out, Resume, Seeds, Smoke, Start, Subjects, listed, numbers
from sightwave.progress import Progress


def compare(
    recipes: Annotated[
        list[str],
        typer.Argument(help="Recipes, files or variants (`category_heads:mlp`); one alone brings all its variants."),
    ],
    group: Annotated[str, typer.Option(help="Of a single recipe: only this group of variants, e.g. `baselines`.")] = "",
    data: Data = None,
    out: Out = Path("results"),
    subjects: Subjects = "",
    seeds: Seeds = "0",
    device: Device = "auto",
    smoke: Smoke = False,
    resume: Resume = False,
    anew: Annotated[bool, typer.Option(help="Run also what has a result under --out already.")] = False,
    clip: Clip = "",
    start: Start = None,
) -> None:
    """Run several recipes, or one with its variants, and print cost and score side by side; writes a page and a csv."""
    from sightwave.compare import compare as work
    from sightwave.report import differences, side_by_side

    console = Console()
    with Progress(console) as tell:
        results, apart = work(
            recipes, group=group, data=data, out=out, subjects=listed(subjects) or None, seeds=numbers(seeds),
            device=device, smoke=smoke, resume=resume, anew=anew, clip=clip, start=start, progress=tell,
        )  # fmt: skip
    console.print(side_by_side.rich_table(results))
    if isinstance(apart, str):
        console.print(f"No paired differences: {apart}", highlight=False, soft_wrap=True)
    else:
        console.print(differences.rich_table(apart))
    console.print(f"Report: [bold]{out / 'compare.html'}[/]\nNumbers: [bold]{out / 'compare.csv'}[/]")
