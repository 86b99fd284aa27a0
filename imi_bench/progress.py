"""Progress bars on standard error: rate and time left, quiet when nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Advance:
    """Advances a bar, and changes what stands before it."""

    def __init__(
        self,
        advance: Callable[[int], None] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._advance, self._say = advance, say

    def __call__(self, count: int) -> None:
        """So many are done."""
        if self._advance is not None:
            self._advance(count)

    def say(self, label: str) -> None:
        """Another label, such as one with the cost so far."""
        if self._say is not None:
            self._say(label)


@contextmanager
def progress(label: str, *, total: int, unit: str = "items") -> Iterator[Advance]:
    """Show a bar while the block runs; the yielded function advances it.

    Parameters
    ----------
    label : str
        What is being done.
    total : int
        Number of units of work; nothing is shown where there is none.
    unit : str
        What is counted, for the rate.

    Examples
    --------
    >>> with progress("embedding", total=2, unit="images") as advance:
    ...     advance(2)
    """
    if not total or not sys.stderr.isatty():
        yield Advance()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.1f} {unit}/s" if speed else f"… {unit}/s", style="dim")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(table_column=Column(no_wrap=True)),  # the bar shrinks, the unit stays
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total)
        yield Advance(
            lambda count: bar.advance(task, count),
            lambda said: bar.update(task, description=said),
        )
