"""The demo: simulate, split, audit, train, decode, judge, and one HTML page, on a laptop in minutes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sightwave.house import find
from sightwave.judge.paired import paired
from sightwave.recipe import Recipe
from sightwave.report import page
from sightwave.results import Result
from sightwave.splits import LeaveOneSessionOut
from sightwave.story import run

Progress = Callable[[str, int, int], None]

INTRO = (
    "Everything on this page is a phantom: pictures, captions, a tiny CLIP and a simulated brain that saw them, made "
    "on this machine. What it shows is the method, on data whose truth is known: what can be decoded, how sure one "
    "may be, and how a bad design would have fooled us."
)


def demo(
    *,
    out: Path = Path("results"),
    subjects: tuple[str, ...] = ("01", "02"),
    smoke: bool = False,
    progress: Progress | None = None,
) -> tuple[list[Result], list[Result], Path]:
    """Run the main job and its trap on the phantom, and write the page.

    Parameters
    ----------
    out : Path
        Results go to folders in it; the page to ``out / "demo.html"``.
    subjects : tuple of str
    smoke : bool
        A toy world, one epoch: for tests.
    progress : callable
        Called as ``progress(what, done, total)``.

    Returns
    -------
    results : list of Result
        The decoder and the linear baseline.
    confound : list of Result
        The block design, scored the naive way, and with whole blocks held out.
    page : Path
    """
    start = time.time()

    def go(name: str, recipe: Recipe, who: tuple[str, ...]) -> Result:
        def tell(what: str, done: int, total: int) -> None:
            if progress:
                progress(f"{name}: {what}", done, total)

        return run(recipe, name=name, out=out, subjects=who, smoke=smoke, progress=tell)

    results = [go(name, find("recipes", name).recipe, subjects) for name in ("demo", "ridge")]
    trap = find("recipes", "block_design").recipe
    confound = [go("block_design", trap, subjects[:1]), go("blocks_held_out", blocks_held_out(trap), subjects[:1])]
    written = page.write(
        out / "demo.html",
        results,
        title="sightwave demo: what a phantom saw",
        intro=INTRO,
        confound=confound,
        paired=paired(results),
    )
    if progress:
        progress(f"done in {time.time() - start:.0f} s", 1, 1)
    return results, confound, written


def blocks_held_out(trap: Recipe) -> Recipe:
    """Return the same brain and design over six sessions, each with its blocks in another order, each left out."""
    dataset = replace(trap.dataset, n_sessions=6, train_repetitions=6, test_repetitions=6)  # type: ignore[call-arg]
    return replace(trap, dataset=dataset, split=LeaveOneSessionOut(), leaks=())
