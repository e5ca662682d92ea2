"""The command line: thin doors to the library; each command imports what it needs when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sightwave import __version__, errors

app = typer.Typer(
    help="Decode what a person sees from their EEG, with no number without its doubt.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
phantom = typer.Typer(help="The embedded default: a simulated seer whose brain is known.", no_args_is_help=True)
app.add_typer(phantom, name="phantom")

Out = Annotated[Path, typer.Option(help="Folder for results, checkpoints and the ledger of test openings.")]
Data = Annotated[Path | None, typer.Option(help="The data set's folder; the phantom needs none.")]
Subjects = Annotated[str, typer.Option(help="Subjects, e.g. `01,03`; all that are there when left out.")]
EXIT = {
    errors.DataError: 65,
    errors.ShapeError: 65,
    errors.MissingFile: 66,
    errors.ModelMissing: 66,
    errors.LeakError: 77,
    errors.ResumeError: 75,
}


def main() -> None:
    """Run the command line; an error of ours is printed in words, with an exit status of its own."""
    try:
        app()
    except errors.SightwaveError as e:
        Console(stderr=True, highlight=False).print(f"[bold red]{type(e).__name__}[/]: ", end="")
        print(e, file=sys.stderr)
        sys.exit(next((code for kind, code in EXIT.items() if isinstance(e, kind)), 64))


def _version(wanted: bool) -> None:
    if wanted:
        print(f"sightwave {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Decode what a person sees from their EEG, with no number without its doubt."""


@app.command()
def demo(
    out: Out = Path("results"),
    subjects: Annotated[str, typer.Option(help="Phantom subjects, `01` to `10`.")] = "01,02",
    smoke: Annotated[bool, typer.Option(help="A toy world, one epoch: seconds instead of minutes.")] = False,
) -> None:
    """Decode a phantom's EEG into categories, images and captions, and write one HTML page. Needs no data."""
    from sightwave.demo import demo as run_demo
    from sightwave.report import words
    from sightwave.report.tables import rich_table

    console = Console()
    with _progress(console) as tell:
        results, confound, page = run_demo(out=out, subjects=tuple(_listed(subjects)), smoke=smoke, progress=tell)
    for result in (*results, *confound):
        console.print(rich_table(result, metrics=1))
        if said := words.efficiencies(result):
            console.print(said, highlight=False)
    console.print(f"Report: [bold]{page}[/]")


@app.command()
def run(
    recipe: Annotated[
        str, typer.Argument(help="A recipe's name (see `sightwave list`), or the path of a Python file.")
    ],
    data: Data = None,
    out: Out = Path("results"),
    device: Annotated[str, typer.Option(help="`auto`, `cpu`, `cuda`, `cuda:1`, ...")] = "auto",
    subjects: Subjects = "",
    seeds: Annotated[str, typer.Option(help="Seeds, e.g. `0`, `0,1,2` or `0-9`.")] = "0",
    smoke: Annotated[
        bool, typer.Option(help="Run on a small phantom for one epoch: does the recipe work at all?")
    ] = False,
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoints of a run that was killed.")] = False,
) -> None:
    """Train and judge a recipe; prints the scores and writes a result folder and its HTML page."""
    from sightwave.house import load_recipe
    from sightwave.report import page, words
    from sightwave.report.tables import rich_table
    from sightwave.story import run as run_recipe

    name, found = load_recipe(recipe)
    console = Console()
    with _progress(console) as tell:
        result = run_recipe(
            found,
            name=name,
            data=data,
            out=out,
            subjects=_listed(subjects) or None,
            seeds=_numbers(seeds),
            device=device,
            resume=resume,
            smoke=smoke,
            progress=tell,
        )
    written = page.write(out / f"{name}.html", [result], title=f"sightwave: {name}")
    for file, reason in result.data["left_out"].items():
        console.print(f"left out of {file}: {reason}", highlight=False, soft_wrap=True)
    console.print(rich_table(result, subjects=True))
    for note in filter(None, [words.efficiencies(result), *words.notes(result)]):
        console.print(note, style="dim", highlight=False)
    console.print(f"Report: [bold]{written}[/]")


@app.command("list")
def list_(
    room: Annotated[
        str, typer.Argument(help="`recipes`, `datasets`, `encoders`, `losses`, `targets`, ...")
    ] = "recipes",
) -> None:
    """List what there is, one line each."""
    from sightwave.house import find, names

    width = max(len(n) for n in names(room))
    for name in names(room):
        print(f"{name:<{width}}  {(find(room, name).__doc__ or '').strip().splitlines()[0]}")


@app.command()
def show(recipe: Annotated[str, typer.Argument(help="A recipe's name or file.")]) -> None:
    """Show a recipe: what it does, its command, its expected numbers, and every setting with defaults spelt out."""
    import json

    from sightwave.describe import describe
    from sightwave.house import find, load_recipe

    name, found = load_recipe(recipe)
    if name == recipe:
        print((find("recipes", name).__doc__ or "").strip() + "\n")
    print(json.dumps(describe(found), indent=1))


@app.command()
def check(folder: Annotated[Path, typer.Argument(help="A folder of your own recordings.")]) -> None:
    """Check a folder of your own: what was recognised, how many trials, what is wrong and what to do."""
    from sightwave.datasets.own import Own
    from sightwave.judge.confounds import block_design

    dataset = Own()
    trials, stimuli = dataset.load(folder, dataset.subjects(folder))
    for field, value in trials.describe().items():
        print(f"{field:<14} {value}")
    print(f"{'pictures':<14} {'yes' if stimuli.read is not None else 'none'}")
    print(f"{'captions':<14} {'yes' if 'captions' in stimuli.table else 'none'}")
    order = block_design(trials.events["label"].to_numpy(), _runs(trials))
    print(f"{'label order':<14} {order.verdict}")
    print(f"{'fingerprint':<14} {trials.fingerprint()}")


@app.command()
def audit(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or file: its data set and its split are audited.")],
    data: Data = None,
    subjects: Subjects = "",
) -> None:
    """Audit a recipe's split for leaks and confounds, without training anything. Fails with status 77."""
    from sightwave.house import load_recipe
    from sightwave.story import audited

    _, found = load_recipe(recipe)
    verdict = audited(found, data=data, subjects=_listed(subjects) or None)[-1]
    print(verdict.verdict)
    for finding in verdict.findings:
        print(f"  {finding.level:<4} {finding.kind}: {finding.message}")
    verdict.raise_if_failed()


@app.command()
def report(
    results: Annotated[list[Path], typer.Argument(help="Result folders.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    title: Annotated[str, typer.Option(help="Its title.")] = "sightwave report",
) -> None:
    """Write one HTML page from result folders."""
    from sightwave.report import page
    from sightwave.results import Result

    print(page.write(out, [Result.load(r) for r in results], title=title))


@phantom.command("show")
def phantom_show(out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("phantom.png")) -> None:
    """Paint a contact sheet of the phantom's pictures."""
    from sightwave.phantom.pictures import contact_sheet

    contact_sheet(out)
    print(out)


@phantom.command("write")
def phantom_write(
    folder: Annotated[Path, typer.Argument(help="Where to write; an empty folder, or one written before.")],
    like: Annotated[str, typer.Option(help="`things-eeg2`, `mss` or `cvpr40`.")] = "things-eeg2",
    subjects: Annotated[int, typer.Option(help="How many subjects.")] = 2,
    small: Annotated[bool, typer.Option(help="A toy size: seconds and about 100 MB a subject.")] = False,
    seed: Annotated[int, typer.Option(help="Everything random.")] = 0,
) -> None:
    """Write a phantom in the files of a real data set, to try readers and pipelines on."""
    from sightwave.phantom.layouts import LAYOUTS, SMALL

    if like not in LAYOUTS:
        raise errors.one_of("layout", like, LAYOUTS)
    options: dict[str, Any] = dict(SMALL[like]) if small else {}
    LAYOUTS[like](folder, subjects=tuple(range(1, subjects + 1)), seed=seed, **options)
    print(f"{folder}: a phantom in the layout of {like}, {subjects} subject(s)")


@phantom.command("train-clip")
def phantom_train_clip(
    out: Annotated[Path, typer.Option(help="Folder for weights, tokenizer, image processor and log.")],
    steps: Annotated[int, typer.Option(help="Steps of 128 pairs; about half a second each on one core.")] = 5000,
    scenes: Annotated[int, typer.Option(help="Pictures painted to train on.")] = 40000,
    seed: Annotated[int, typer.Option(help="Everything random.")] = 0,
) -> None:
    """Train the tiny CLIP from scratch: how the shipped weights were made."""
    from sightwave.phantom.tiny_clip import train

    train(out, steps=steps, n_scenes=scenes, seed=seed)
    print(out)


@phantom.command("evaluate-clip")
def phantom_evaluate_clip(
    folder: Annotated[Path | None, typer.Option(help="A CLIP folder; the shipped one when left out.")] = None,
) -> None:
    """Measure a tiny CLIP on held-out phantom pictures."""
    import json

    from sightwave.phantom.tiny_clip import WEIGHTS, evaluate

    print(json.dumps(evaluate(folder or WEIGHTS), indent=1))


def _runs(trials: Any) -> Any:
    e = trials.events
    return (e["subject"] + "/" + e["session"] + "/" + e["run"]).to_numpy()


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str) -> list[int]:
    """Read ``0-2,7`` as [0, 1, 2, 7]."""
    numbers: list[int] = []
    for part in _listed(text):
        first, dash, last = part.partition("-")
        if not (first.isdigit() and (last.isdigit() or not dash)):
            raise errors.RecipeError(f"--seeds takes numbers and ranges, such as 0,3 or 0-9; got {part!r}.")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


class _progress:
    """Show one bar for whatever is being done; silent when the output is no terminal, but for one line each."""

    def __init__(self, console: Console):
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.console = console
        self.bars = Progress(
            TextColumn("{task.description:<44}"),
            BarColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=False,
        )
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> Any:
        self.bars.start()
        return self.tell

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def tell(self, what: str, done: int, total: int) -> None:
        """Move the bar of ``what``."""
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(what, total=total)
        self.bars.update(self.tasks[what], completed=done, total=total)


if __name__ == "__main__":
    main()
