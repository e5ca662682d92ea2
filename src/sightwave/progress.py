"""Bars on the terminal that tell how far something is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console


class Progress:
    """Show one bar for whatever is being done; silent when the output is no terminal, but for one line each.

    Parameters
    ----------
    console : Console
        Of rich.
    """

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

    def __enter__(self) -> Callable[[str, int, int], None]:
        return self.tell

    def __exit__(self, *_: object) -> None:
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
