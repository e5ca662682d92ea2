"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightwave import errors

Out = Annotated[Path, typer.Option(help="Folder for results, checkpoints and the ledger of test openings.")]
Data = Annotated[Path | None, typer.Option(help="The data set's folder; the phantom needs none.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="A setting of the data set's reader, e.g. `task=rsvp`; repeatable.")
]
Subjects = Annotated[str, typer.Option(help="Subjects, e.g. `01,03`; all that are there when left out.")]
Seeds = Annotated[str, typer.Option(help="Seeds, e.g. `0`, `0,1,2` or `0-9`.")]
Device = Annotated[str, typer.Option(help="`auto`, `cpu`, `cuda`, `cuda:1`, ...")]
Smoke = Annotated[bool, typer.Option(help="Run on a small phantom for one epoch: does the recipe work at all?")]
Resume = Annotated[bool, typer.Option(help="Go on from the checkpoints of a run that was killed.")]
Clip = Annotated[str, typer.Option(help="CLIP for all targets of the recipe: a folder, a hub name, or `phantom`.")]

Start = Annotated[
    Path | None, typer.Option(help="Begin with what this result has learnt, which was saved with --save-weights.")
]


def listed(text: str) -> list[str]:
    """Read ``01, 03`` as ["01", "03"]."""
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers(text: str) -> list[int]:
    """Read ``0-2,7`` as [0, 1, 2, 7]."""
    found: list[int] = []
    for part in listed(text):
        first, dash, last = part.partition("-")
        if not (first.isdigit() and (last.isdigit() or not dash)):
            raise errors.RecipeError(f"--seeds takes numbers and ranges, such as 0,3 or 0-9; got {part!r}.")
        found += range(int(first), int(last or first) + 1)
    return found
