"""Bars on the terminal that tell how far something is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from rich.console import Console

from sightwave.cache import watched


class Progress:
    """Show one bar for whatever is being done; silent when the output is no terminal, but for one line each.

    Inside of ``with Progress(console) as tell`` there is a bar for each target that is being embedded, too.

    Parameters
    ----------
    console : Console
        Of rich.
    """

    def __init__(self, console: Console):
        from rich import progress as rich
        from rich.text import Text

        class Rate(rich.ProgressColumn):
            """Pictures or captions that are embedded, per second."""

            def render(self, task: rich.Task) -> Text:
                speed = task.finished_speed or task.speed
                return Text(
                    f"{speed:,.0f}/s" if speed and task.description.startswith("embedding") else "", style="dim"
                )

        self.console = console
        self._watch = ExitStack()
        self.bars = rich.Progress(
            rich.TextColumn("{task.description:<44}"),
            rich.BarColumn(),
            Rate(),
            rich.TimeElapsedColumn(),
            rich.TimeRemainingColumn(),
            console=console,
            transient=False,
        )
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> Callable[[str, int, int], None]:
        self._watch.enter_context(watched(self.tell))
        return self.tell

    def __exit__(self, *_: object) -> None:
        self._watch.close()
        if self.tasks:
            self.bars.stop()

    def tell(self, what: str, done: int, total: int) -> None:
        """Move the bar of one thing that is being done.

        Parameters
        ----------
        what : str
            Its name; a new name gets a new bar.
        done, total : int
            Steps.
        """
        self.bars.start()  # not before: even an empty set of bars prints a line
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(what, total=total)
        self.bars.update(self.tasks[what], completed=done, total=total)
