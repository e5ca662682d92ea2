"""``sightwave captions``: which captions a CLIP finds for images, without any EEG."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from sightwave.progress import Progress

if TYPE_CHECKING:
    import pandas as pd


def captions(
    folder: Annotated[
        Path | None, typer.Argument(help="Pictures and a `captions.txt`; the phantom's pictures when left out.")
    ] = None,
    clip: Annotated[str, typer.Option(help="Folder or hub name of a CLIP; the tiny one that is shipped.")] = "phantom",
    text_model: Annotated[
        Path | None, typer.Option(help="Folder of the text model of BERTScore; the text tower of CLIP when left out.")
    ] = None,
    layer: Annotated[int | None, typer.Option(min=0, help="Layer of the text model; its last output.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the tables as csv and the figure.")] = None,
    device: Annotated[str, typer.Option(help="`auto`, `cpu` or `cuda`.")] = "cpu",
    seed: Annotated[int, typer.Option(min=0, help="Of nulls and intervals.")] = 0,
) -> None:
    """Find captions for images by a CLIP: recall, MAP, BERTScore and CLIPScore, with chance, interval and nulls."""
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
    console = Console()
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
