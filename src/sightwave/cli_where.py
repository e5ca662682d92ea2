"""``sightwave where``: where and when the information sits, by linear decoders of parts of the EEG."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sightwave.cli_options import Clip, Data, Out, Settings, Smoke, Subjects, listed
from sightwave.progress import Progress


def where(
    recipe: Annotated[
        str, typer.Argument(help="A recipe's name or file: its data, split, steps and headline are taken.")
    ],
    data: Data = None,
    out: Out = Path("results"),
    subjects: Subjects = "",
    set_: Settings = None,
    clip: Clip = "",
    smoke: Smoke = False,
) -> None:
    """Tell where and when the information sits: linear decoders by time window, electrodes and frequency band."""
    from sightwave.house import load_recipe, pairs
    from sightwave.recipe import with_clip
    from sightwave.report import page, places
    from sightwave.story import run
    from sightwave.where import linear

    name, found = load_recipe(recipe, pairs(set_ or ()))
    console = Console()
    with Progress(console) as tell:
        result = run(
            linear(with_clip(found, clip) if clip else found),
            name=f"{name}_where",
            data=data,
            out=out,
            subjects=listed(subjects) or None,
            smoke=smoke,
            where=True,
            progress=tell,
        )
    rows = result.data["where"]
    table = Table(*places.HEADS, title=places.title(result), title_justify="left", box=SIMPLE_HEAD)
    for line in places.lines(rows):
        table.add_row(*line.values())
    console.print(table)
    console.print(f"Report: [bold]{page.write(out / f'{name}_where.html', [result], title=f'sightwave: {name}')}[/]")
