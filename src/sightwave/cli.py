"""The command line: thin doors to the library; each command imports what it needs when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sightwave import __version__, errors
from sightwave.cli_captions import captions, from_result, reflect, write_page
from sightwave.cli_compare import compare
from sightwave.cli_options import (
    Clip,
    Data,
    Device,
    Out,
    Resume,
    Seeds,
    Settings,
    Smoke,
    Start,
    Subjects,
    listed,
    numbers,
)
from sightwave.cli_phantom import phantom
from sightwave.cli_where import where
from sightwave.progress import Progress

app = typer.Typer(
    help="Decode what a person sees from their EEG, with no number without its doubt.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(phantom, name="phantom")
prepare = typer.Typer(help="Preprocess the raw recordings of a public data set.", no_args_is_help=True)
app.add_typer(prepare, name="prepare")

Like = Annotated[str, typer.Option(help="Take it for this data set (`sightwave list datasets`), and ask no other.")]
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
    with Progress(console) as tell:
        results, confound, page = run_demo(out=out, subjects=tuple(listed(subjects)), smoke=smoke, progress=tell)
    for result in (*results, *confound):
        console.print(rich_table(result, metrics=1))
        if said := words.efficiencies(result):
            console.print(said, highlight=False)
    console.print(f"Report: [bold]{page}[/]")


@app.command()
def run(
    recipe: Annotated[
        str,
        typer.Argument(help="A recipe's name (see `sightwave list`), a variant (`name:variant`), or a Python file."),
    ],
    data: Data = None,
    out: Out = Path("results"),
    device: Device = "auto",
    subjects: Subjects = "",
    seeds: Seeds = "0",
    smoke: Smoke = False,
    together: Annotated[
        bool, typer.Option(help="Train the seeds in one stack of weights: for a GPU; slower on a CPU.")
    ] = False,
    resume: Resume = False,
    where: Annotated[
        bool,
        typer.Option("--where", help="Also score linear decoders of parts of the EEG: by time, region, frequency."),
    ] = False,
    peek: Annotated[
        bool, typer.Option("--peek", help="Also tell what choosing the epoch on test would add. Not a result.")
    ] = False,
    set_: Settings = None,
    clip: Clip = "",
    start: Start = None,
    save_weights: Annotated[bool, typer.Option(help="Keep the weights beside the result, for --start.")] = False,
    new_images: Annotated[
        bool, typer.Option("--new-images", help="Run it again with the test pictures held out; both in one report.")
    ] = False,
) -> None:
    """Train and judge a recipe; prints the scores and writes a result folder and its HTML page."""
    from sightwave.recipe import started, with_clip
    from sightwave.report import page, words
    from sightwave.report.tables import rich_table, session_lines
    from sightwave.story import run as run_recipe

    name, found = _recipe(recipe, set_)
    found = with_clip(found, clip) if clip else found
    found = started(found, start) if start else found
    console = Console()
    recipes = {name: found} | (_new_images(name, found) if new_images else {})
    with Progress(console) as tell:
        results = [
            run_recipe(
                one,
                name=called,
                data=data,
                out=out,
                subjects=listed(subjects) or None,
                seeds=numbers(seeds),
                device=device,
                together=together,
                resume=resume,
                save_weights=save_weights,
                smoke=smoke,
                where=where,
                peek=peek,
                progress=tell,
            )
            for called, one in recipes.items()
        ]
    written = page.write(out / f"{name}.html", results, title=f"sightwave: {name}")
    for file, reason in results[0].data["left_out"].items():
        console.print(f"left out of {file}: {reason}", highlight=False, soft_wrap=True)
    for result in results:
        console.print(rich_table(result, subjects=True))
        if words.leaks(result):
            console.print(f"LEAK: {words.VERDICTS['FAIL']}", style="bold red", highlight=False)
            for said in result.audit["findings"]:
                if said["level"] == "FAIL":
                    console.print(f"  {said['kind']}: {said['message']}", style="red", highlight=False, markup=False)
        for line in session_lines(result):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        for note in filter(None, [words.efficiencies(result), words.peek(result), *words.notes(result)]):
            console.print(note, style="dim", highlight=False)
    console.print(f"Report: [bold]{written}[/]")
    for result in results:
        if result.data.get("kept"):
            with Progress(console) as tell:
                scores = from_result(result, progress=tell)
            console.print(f"Captions: [bold]{write_page(out / f'{result.name}.captions.html', result, scores)}[/]")


app.command()(compare)
app.command()(where)
app.command()(captions)
app.command()(reflect)


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
    from sightwave.house import find, load_recipe, variants

    name, found = load_recipe(recipe)
    if name == recipe:
        print((find("recipes", name).__doc__ or "").strip() + "\n")
        if known := variants(name):
            print(f"Variants: {', '.join(f'{name}:{v}' for v in known)}\n")
    print(json.dumps(describe(found), indent=1))


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="A folder of EEG: a public data set, a BIDS tree, or your own.")],
    like: Like = "",
    set_: Settings = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw evoked responses, label order and channel quality, as a PNG.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Read every subject, not only so many as make two gigabytes.")
    ] = False,
) -> None:
    """Check a folder: which data set it is, what it holds, what is missing or wrong, and what to do."""
    from sightwave.report.survey import draw, lines
    from sightwave.survey import survey

    with Progress(Console(stderr=True)) as tell:
        found = survey(folder, like=like, settings=_pairs(set_), every=every, progress=tell)
    width = max(len(name) for name, _ in lines(found))
    for name, value in lines(found):
        print(f"{name:<{width}}  {value}")
    for file, reason in found.left_out.items():
        print(f"{'not used':<{width}}  {file}: {reason}")
    if picture:
        draw(found, picture)
        print(f"{'picture':<{width}}  {picture}")
    if found.wrong:
        told = "\n".join(f"  {s}: {reason}" for s, reason in found.wrong.items())
        raise errors.DataError(f"{len(found.wrong)} of {len(found.subjects)} subjects cannot be read:\n{told}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A public data set, such as `n170`, `mss` or `things-eeg2`.")],
    data: Annotated[Path | None, typer.Option(help="Folder to fill; `data/NAME` when left out.")] = None,
    subjects: Subjects = "",
    set_: Settings = None,
    accept_licence: Annotated[bool, typer.Option(help="Accept the licence that is shown, without a question.")] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="Print address, size, SHA-256 and place of each file, and fetch none.")
    ] = False,
) -> None:
    """Download a public data set: resumed where it broke, each file checked. Status 66 where it cannot be reached."""
    from sightwave.fetch import order

    wanted = order(name, data, subjects=listed(subjects), settings=_pairs(set_))
    print(wanted.table() if list_ else wanted.told())
    if list_:
        return
    if (
        wanted.absent
        and not accept_licence
        and not (sys.stdin.isatty() and typer.confirm("Do you accept the licence?"))
    ):
        raise errors.RecipeError("Nothing was downloaded: the licence was not accepted. Say so with --accept-licence.")
    with Progress(Console(stderr=True)) as tell:
        wanted.download(tell)
    print(f"Next:    sightwave check {wanted.folder}")


@app.command()
def convert(
    folder: Annotated[Path, typer.Argument(help="A folder that `sightwave check` recognises.")],
    out: Annotated[Path, typer.Argument(help="Where to write; a new or empty folder, or one written before.")],
    to: Annotated[
        str,
        typer.Option(
            help="`npy` (eeg.npy, trials.csv, info.json), `parquet` (with trials.parquet) or `bids-derivatives` (FIF)."
        ),
    ] = "npy",
    like: Like = "",
    set_: Settings = None,
    subjects: Subjects = "",
    pictures: Annotated[bool, typer.Option(help="Write the pictures as well.")] = True,
) -> None:
    """Write a folder anew in a form that everybody reads. What is simulated stays marked."""
    from sightwave.convert import convert as convert_

    with Progress(Console(stderr=True)) as tell:
        convert_(folder, out, to=to, like=like, settings=_pairs(set_), subjects=listed(subjects), pictures=pictures,
                 progress=tell)  # fmt: skip
    print(f"Next: sightwave check {out}")


@app.command()
def audit(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or file: its data set and its split are audited.")],
    data: Data = None,
    subjects: Subjects = "",
    set_: Settings = None,
) -> None:
    """Audit a recipe's split for leaks and confounds, without training anything. Fails with status 77."""
    from sightwave.story import audited

    _, found = _recipe(recipe, set_)
    verdict = audited(found, data=data, subjects=listed(subjects) or None)[-1]
    print(verdict.verdict)
    for finding in verdict.findings:
        print(f"  {finding.level:<4} {finding.kind}: {finding.message}")
    if verdict.allowed:
        print(f"The recipe names {', '.join(verdict.allowed)}, so it runs, and every table carries the mark LEAK.")
    verdict.raise_if_failed()


@app.command()
def report(
    results: Annotated[list[Path], typer.Argument(help="Result folders.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    title: Annotated[str, typer.Option(help="Its title.")] = "sightwave report",
) -> None:
    """Write one HTML page from result folders; several are compared pair by pair, on the same test trials."""
    from sightwave.judge.paired import paired
    from sightwave.report import differences, page
    from sightwave.results import Result

    loaded = [Result.load(r) for r in results]
    apart: Any = ""
    if len(loaded) > 1:
        try:
            apart = paired(loaded)
            Console().print(differences.rich_table(apart))
        except errors.DataError as e:
            apart = str(e)
            print(f"No paired differences: {e}", file=sys.stderr)
    print(page.write(out, loaded, title=title, paired=apart))


@prepare.command("things-eeg2")
def prepare_things_eeg2(
    raw: Annotated[Path, typer.Argument(help="Folder of the raw recordings, `sub-01/ses-01/raw_eeg_training.npy` ...")],
    out: Annotated[Path, typer.Argument(help="Where to write `sub-01/preprocessed_eeg_training.npy` ...")],
    like: Annotated[
        str, typer.Option(help="`official` (17 channels, 100 Hz) or `nice` (63 channels, 250 Hz).")
    ] = "official",
    mvnn: Annotated[
        str,
        typer.Option(help="Whiten by `train` trials, by `train+test` (as in the official files: a leak) or `none`."),
    ] = "train",
    subjects: Subjects = "",
    train_repetitions: Annotated[int, typer.Option(help="Repetitions of a training picture kept per session.")] = 2,
    test_repetitions: Annotated[int, typer.Option(help="Repetitions of a test picture kept per session.")] = 20,
) -> None:
    """Cut, resample, sort and whiten the raw recordings of THINGS-EEG2, in the published layout."""
    from sightwave.preprocess import prepare_things_eeg2 as prepare_

    chosen, kept = tuple(listed(subjects)) or None, (train_repetitions, test_repetitions)
    with Progress(Console()) as tell:
        written = prepare_(raw, out, like=like, mvnn=mvnn, subjects=chosen, repetitions=kept, progress=tell)
    for path in written:
        print(path)


def _new_images(name: str, recipe: Any) -> dict[str, Any]:
    """Make the same recipe with the test pictures held out of training."""
    from dataclasses import replace

    from sightwave.splits import NewImages

    if "stimulus" in recipe.split.holds_out:
        raise errors.RecipeError(f"--new-images: the split of {name} holds out pictures as it is.")
    return {f"{name}_new_images": replace(recipe, split=NewImages(recipe.split))}


def _recipe(recipe: str, settings: list[str] | None) -> tuple[str, Any]:
    """Find a recipe, and change settings of its data set."""
    from sightwave.house import load_recipe

    return load_recipe(recipe, _pairs(settings))


def _pairs(settings: list[str] | None) -> dict[str, str]:
    from sightwave.house import pairs

    return pairs(settings or ())


if __name__ == "__main__":
    main()
