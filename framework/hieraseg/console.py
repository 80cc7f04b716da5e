"""Log lines and progress bars on stderr, written by the main process only."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from hieraseg.launch import is_main_process

Item = TypeVar("Item")


class _StderrConsole(Console):
    """A console that draws with the characters of stderr."""

    @property
    def encoding(self) -> str:
        return (getattr(self.file, "encoding", None) or "utf-8").lower()


# Names may hold `[...]` and `:...:`, which are no markup.
console = _StderrConsole(
    stderr=True, markup=False, emoji=False, highlight=False, quiet=not is_main_process()
)


def log(message: str) -> None:
    """Print a line on stderr, above any progress bar."""
    console.print(message, soft_wrap=True)


def warn(message: str) -> None:
    """Print a line of what may be wrong, although the command goes on."""
    log(f"warning: {message}")


def progress(items: Iterable[Item], title: str, total: int) -> Iterator[Item]:
    """Iterate over items with a progress bar, or without one if stderr is not a terminal."""
    if not console.is_terminal:
        yield from items
        return
    with progress_bar(text_column("{task.description}"), BarColumn(), TimeRemainingColumn()) as bar:
        yield from bar.track(items, total, description=title)


def training_bar() -> Progress:
    """Progress bar of the training loop; its field `text` shows the loss and images/s."""
    return progress_bar(
        text_column("{task.description}"),
        BarColumn(),
        text_column("{task.completed}/{task.total}"),
        text_column("{task.fields[text]}"),
        TimeRemainingColumn(),
    )


def progress_bar(*columns: ProgressColumn, auto_refresh: bool = True) -> Progress:
    """A progress bar on stderr that disappears at its end; none if stderr is not a terminal."""
    return Progress(
        *columns,
        console=console,
        auto_refresh=auto_refresh,
        transient=True,
        speed_estimate_period=24 * 60 * 60,  # also of jobs; of steps it takes the last 1000
        disable=not console.is_terminal,
    )


def text_column(text: str) -> TextColumn:
    """A column of a progress bar, whose text is no markup."""
    return TextColumn(text, markup=False)
