"""``sightwave captions``: which captions a CLIP finds for images, and which are found from EEG."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from sightwave.errors import DataError
from sightwave.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from sightwave.captions import CaptionScores
    from sightwave.results import Result

Layer = Annotated[int | None, typer.Option(min=0, help="Layer of the text model; its last output.")]
TextModel = Annotated[
    Path | None, typer.Option(help="Folder of the text model of BERTScore; the text tower of CLIP when left out.")
]


def captions(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Pictures and a `captions.txt`, or a result folder; the phantom's pictures when left out."),
    ] = None,
    clip: Annotated[str, typer.Option(help="Folder or hub name of a CLIP; the tiny one that is shipped.")] = "phantom",
    text_model: TextModel = None,
    layer: Layer = None,
    every: Annotated[
        bool, typer.Option("--every", help="Of a result: search every caption of an image, not only its fullest.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the tables as csv, the figure, or the page.")] = None,
    device: Annotated[str, typer.Option(help="`auto`, `cpu` or `cuda`.")] = "cpu",
    seed: Annotated[int, typer.Option(min=0, help="Of nulls and intervals.")] = 0,
) -> None:
    """Find captions for images by a CLIP, or from the EEG of a result: scores with chance, interval, ceiling, nulls."""
    console = Console()
    if folder is not None and (folder / "manifest.json").is_file():
        from sightwave.results import Result

        result = Result.load(folder)
        with Progress(Console(stderr=True)) as tell:
            found = from_result(result, text_model=text_model, layer=layer, every=every, seed=seed, progress=tell)
        console.print(_side_by_side(found.table, result, found))
        for note in found.notes:
            console.print(note, style="dim", highlight=False, soft_wrap=True)
        if out:
            found.save(out)
            console.print(f"Tables and page: [bold]{write_page(out / 'captions.html', result, found)}[/]")
        return
    from sightwave import captions as work
    from sightwave.phantom.tiny_clip import WEIGHTS
    from sightwave.reading.captioned import read_captioned
    from sightwave.report.captions import draw

    own_tower = WEIGHTS if clip == "phantom" else Path(clip).expanduser()
    with Progress(Console(stderr=True)) as tell:
        stimuli = work.phantom() if folder is None else read_captioned(folder)
        images, bank = work.embed(stimuli, clip, device=device)
        texts = [text for i in stimuli.ids for text in stimuli.captions(i)]
        found = work.evaluate(
            images,
            bank,
            labels=dict(zip(stimuli.ids, stimuli.table["label"], strict=True)),
            texts=texts,
            text_model=text_model or (own_tower if own_tower.is_dir() else None),
            layer=layer,
            seed=seed,
            progress=tell,
        )
    if folder is None:
        console.print("Phantom pictures, a tiny CLIP: what is shown is the method.", style="dim")
    console.print(_shown(found.table, "image -> caption"))
    if len(found.per_class):
        console.print(_shown(found.per_class, "class-aware MAP, class by class"))
    for note in found.notes:
        console.print(note, style="dim", highlight=False, soft_wrap=True)
    if out:
        found.save(out)
        draw(found.pairs, out / "clip_score.png", title=images.space)
        console.print(f"Tables and figure: [bold]{out}[/]")


def reflect(
    results: Annotated[list[Path], typer.Argument(help="Result folders, one per protocol; the first is the standard.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("reflection.html"),
    text_model: TextModel = None,
) -> None:
    """Write a page of reflection by the numbers: ceiling, class or picture, sessions, people, repetitions."""
    from sightwave.reflect import reflect as write
    from sightwave.results import Result

    loaded = [Result.load(folder) for folder in results]
    space = str(next((facts["space"] for r in loaded for facts in r.data.get("kept") or ()), ""))
    with Progress(Console(stderr=True)) as tell:
        path = write(loaded, out, text_model=text_model or _tower(loaded[0], space), progress=tell)
    Console().print(f"Reflection: [bold]{path}[/]")


def from_result(
    result: Result,
    *,
    text_model: Path | None = None,
    layer: int | None = None,
    every: bool = False,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> CaptionScores:
    """Score the first task of a result that retrieves captions; BERTScore by the CLIP's own text tower if need be."""
    from sightwave.decode.captions import kept
    from sightwave.eeg_captions import from_eeg

    tasks = kept(result)
    if not tasks:
        raise DataError(
            f"The result {result.name!r} keeps no decoded captions. Run a recipe with a task Retrieve(space) whose "
            'space is that of a ClipText, "clip-text/...".'
        )
    model = text_model or _tower(result, tasks[0].space)
    return from_eeg(tasks[0], text_model=model, layer=layer, every=every, seed=seed, progress=progress)


def write_page(path: Path, result: Result, found: CaptionScores) -> Path:
    """Write the page of a result's captions."""
    from sightwave.report import caption_page

    return caption_page.write(path, result, found, title=f"Captions from EEG: {result.name}")


def _tower(result: Result, space: str) -> Path | None:
    """Folder of the CLIP that made a space, where it lies on this machine."""
    from sightwave.phantom.tiny_clip import WEIGHTS

    if space.startswith("clip-text/tiny_clip"):
        return WEIGHTS
    for target in result.recipe.get("targets") or ():
        model = Path(str(target.get("model", ""))).expanduser() if isinstance(target, dict) else Path()
        if model.name and space.startswith(f"clip-text/{model.name}") and (model / "config.json").is_file():
            return model
    return None


def _side_by_side(table: pd.DataFrame, result: Result, found: CaptionScores) -> Table:
    """One row per score, one column per source; an interval for what is judged, and for the ceiling."""
    from sightwave.report import words
    from sightwave.report.caption_figures import SOURCES, said

    phantom = " · phantom (simulated brain)" if words.is_phantom(result) else ""
    leak = " · LEAK" if words.leaks(result) else ""
    reps = words.average(str(found.facts["repetitions"]))
    title = f"EEG -> caption · {result.name}{phantom} · {reps} · audit {words.verdict(result)}{leak}"
    shown = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), title_justify="left", pad_edge=False,
                  caption="recall, and the share above 0.7, in %", caption_justify="left")  # fmt: skip
    there = [s for s in SOURCES if s in table]
    shown.add_column("score", no_wrap=True)
    for source in there:
        name = SOURCES[source].replace("nearest training caption", "nearest\ntraining").replace(" ", "\n")
        shown.add_column(name, justify="right", no_wrap=True)
        if source == "value":
            shown.add_column("95 %\ninterval", justify="right", no_wrap=True)
    shown.add_column("chance", justify="right", no_wrap=True)
    for row in table.to_dict("records"):
        score = str(row["score"])
        cells = [said(row[s], score, unit=False) for s in there]
        interval = f"\\[{said(row['low'], score, unit=False)}, {said(row['high'], score, unit=False)}]"
        name = score.replace("class-aware", "class").replace("within-class", "within")
        shown.add_row(name, f"[bold]{cells[0]}[/]", interval, *cells[1:], said(row["chance"], score, unit=False))
    return shown


def _shown(table: pd.DataFrame, title: str) -> Table:
    """One row per score: value and interval, chance, the null of shuffled images and that of one answer for all."""
    shown = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0))
    named = ["class", "n_images"] if "class" in table else ["score"]
    for name in (*named, "value", "95 % interval", "chance", "shuffled", "most frequent"):
        left = name in ("score", "class")
        shown.add_column(name, justify="left" if left else "right", no_wrap=left or name == "95 % interval")
    for row in table.to_dict("records"):
        numbers = [
            f"{row[c]:.4f}" if math.isfinite(row[c]) else "" for c in ("value", "chance", "shuffled", "most_frequent")
        ]
        interval = f"{row['low']:.4f} .. {row['high']:.4f}"
        shown.add_row(*(str(row[c]) for c in named), numbers[0], interval, *numbers[1:])
    return shown
