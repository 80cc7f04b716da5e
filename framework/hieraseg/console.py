"""Log lines and progress bars on stderr, written by the main process only."""

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, track

Item = TypeVar("Item")


def is_main_process() -> bool:
    """Whether this is the first process of its node.

    Launchers of several processes set `LOCAL_RANK`, so this is known before torch is imported.
    """
    return os.environ.get("LOCAL_RANK", "0") == "0"


console = Console(stderr=True, quiet=not is_main_process())


def log(message: str) -> None:
    """Print a line on stderr, above any progress bar."""
    console.print(message, markup=False, highlight=False, soft_wrap=True)


def progress(items: Iterable[Item], title: str, total: int) -> Iterator[Item]:
    """Iterate over items with a progress bar, or without one if stderr is not a terminal."""
    if not console.is_terminal:
        return iter(items)
    return iter(track(items, title, total, console=console, transient=True))


def training_bar() -> Progress:
    """Progress bar of the training loop; its field `text` shows the loss and images/s."""
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
