"""The commands of ``sightwave phantom``; each imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sightwave.errors import one_of

phantom = typer.Typer(help="The embedded default: a simulated seer whose brain is known.", no_args_is_help=True)


@phantom.command("show")
def phantom_show(
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("phantom.png"),
    subject: Annotated[int, typer.Option(min=1, help="Whose brain.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another species of brains.")] = 0,
) -> None:
    """Draw the phantom: its pictures, the sources on a head, the evoked response and its scalp maps over time."""
    from sightwave.phantom.poster import draw

    draw(out, subject=subject, seed=seed)
    print(out)


@phantom.command("write")
def phantom_write(
    folder: Annotated[Path, typer.Argument(help="Where to write; an empty folder, or one written before.")],
    like: Annotated[str, typer.Option(help="`things-eeg2`, `things-eeg2-raw`, `mss` or `cvpr40`.")] = "things-eeg2",
    subjects: Annotated[int, typer.Option(help="How many subjects.")] = 2,
    small: Annotated[bool, typer.Option(help="A toy size: seconds and about 100 MB a subject.")] = False,
    seed: Annotated[int, typer.Option(help="Everything random.")] = 0,
) -> None:
    """Write a phantom in the files of a real data set, to try readers and pipelines on."""
    from sightwave.phantom.layouts import LAYOUTS, SMALL

    if like not in LAYOUTS:
        raise one_of("layout", like, LAYOUTS)
    options: dict[str, Any] = dict(SMALL[like]) if small else {}
    LAYOUTS[like](folder, subjects=tuple(range(1, subjects + 1)), seed=seed, **options)
    print(f"{folder}: a phantom in the layout of {like}, {subjects} subject(s)")


@phantom.command("train-clip")
def phantom_train_clip(
    out: Annotated[Path, typer.Option(help="Folder for weights, tokenizer, image processor and log.")],
    start: Annotated[Path | None, typer.Option(help="A CLIP folder to go on from; from scratch when left out.")] = None,
    steps: Annotated[int, typer.Option(help="Steps of 128 pairs; about 0.3 s each on one core.")] = 5000,
    scenes: Annotated[int, typer.Option(help="Pictures painted to train on.")] = 40000,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1.2e-3,
    seed: Annotated[int, typer.Option(help="Everything random.")] = 0,
) -> None:
    """Train the tiny CLIP, from scratch or from given weights; training_log.json tells how the shipped were made."""
    from sightwave.phantom.tiny_clip import train

    train(out, start=start, steps=steps, n_scenes=scenes, lr=lr, seed=seed)
    print(out)


@phantom.command("evaluate-clip")
def phantom_evaluate_clip(
    folder: Annotated[Path | None, typer.Option(help="A CLIP folder; the shipped one when left out.")] = None,
) -> None:
    """Measure a tiny CLIP on held-out phantom pictures."""
    import json

    from sightwave.phantom.tiny_clip import WEIGHTS, evaluate

    print(json.dumps(evaluate(folder or WEIGHTS), indent=1))


@phantom.command("train-diffusion")
def phantom_train_diffusion(
    out: Annotated[
        Path, typer.Option(help="Folder for the pipeline and its log; a finished autoencoder in it is kept.")
    ],
    clip: Annotated[Path | None, typer.Option(help="The CLIP whose embeddings it paints; the shipped one.")] = None,
    start: Annotated[Path | None, typer.Option(help="A pipeline to go on from; from scratch when left out.")] = None,
    steps: Annotated[int, typer.Option(help="Steps of the UNet, 64 pictures each; about 0.4 s.")] = 6000,
    autoencoder_steps: Annotated[int, typer.Option(help="Steps of the autoencoder, 16 pictures each.")] = 5000,
    scenes: Annotated[int, typer.Option(help="Pictures painted to train the UNet on.")] = 20000,
    lr: Annotated[float, typer.Option(help="Peak learning rate of the UNet.")] = 2e-3,
    seed: Annotated[int, typer.Option(help="Everything random.")] = 0,
) -> None:
    """Train the tiny diffusion, or go on where it was stopped; training_log.json tells how the shipped was made."""
    from sightwave.phantom.diffusion_training import train
    from sightwave.phantom.tiny_clip import WEIGHTS

    train(out, clip=clip or WEIGHTS, start=start, steps=steps, autoencoder_steps=autoencoder_steps, n_scenes=scenes,
          lr=lr, seed=seed)  # fmt: skip
    print(out)


@phantom.command("evaluate-diffusion")
def phantom_evaluate_diffusion(
    folder: Annotated[Path | None, typer.Option(help="A pipeline's folder; the shipped one when left out.")] = None,
    grid: Annotated[Path | None, typer.Option(help="PNG of pictures above their reconstructions.")] = None,
) -> None:
    """Measure reconstructions of held-out phantom pictures by a judge that did not condition them."""
    import json

    from sightwave.phantom.diffusion_scores import evaluate
    from sightwave.phantom.tiny_diffusion import WEIGHTS

    print(json.dumps(evaluate(folder or WEIGHTS, grid=grid), indent=1))
