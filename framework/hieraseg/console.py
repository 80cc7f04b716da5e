"""Progress bars and log lines, on stderr."""

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, track

Item = TypeVar("Item")
# Of several processes on one terminal, the first one speaks.
console = Console(stderr=True, quiet=os.environ.get("LOCAL_RANK", "0") != "0")


def log(message: str) -> None:
    """One line on stderr, above any progress bar."""
    console.print(message, markup=False, highlight=False, soft_wrap=True)


def progress(items: Iterable[Item], title: str, total: int) -> Iterator[Item]:
    """The items, with a bar while they are consumed; no bar where stderr is no terminal."""
    if not console.is_terminal:
        return iter(items)
    return iter(track(items, title, total, console=console, transient=True))


def training_bar() -> Progress:
    """A bar with free text (loss, images/s) for the training loop."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
