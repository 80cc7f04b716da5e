"""Errors that a user can fix, each kind with its exit code.

Every message is one sentence that names the place and the fix. The command line prints it without
a traceback.
"""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

INTERRUPTED = 130
"""Exit code of a command that the user interrupts."""


DIFFERENT = 5
"""Exit code of a repetition that did not give the same results."""


class Stopped(KeyboardInterrupt):
    """The system ends a command by SIGTERM or SIGHUP; it may be given again (exit code 75)."""

    exit_code = 75


def interrupt_code(interrupt: KeyboardInterrupt) -> int:
    """Exit code of a command that ends by an interrupt."""
    return getattr(interrupt, "exit_code", INTERRUPTED)


class HierasegError(Exception):
    """Base class of errors that a user can fix."""

    exit_code = 2


class RecipeError(HierasegError):
    """A recipe, command line, checkpoint or weights file cannot be used (exit code 2)."""


class DataError(HierasegError):
    """Images, masks or id lists of a data set cannot be used (exit code 3)."""

    exit_code = 3


class DivergedError(HierasegError):
    """The loss, the weights or the scores are not finite (exit code 4)."""

    exit_code = 4


class WriteError(HierasegError):
    """A file of a run or of a job's output cannot be written (exit code 2)."""


class UnwrittenScoresError(WriteError):
    """Scores that could not be written, so that they can still be printed.

    Args:
        message: why.
        scores: the scores of a split.
    """

    def __init__(self, message: str, scores: dict[str, Any]) -> None:
        super().__init__(message)
        self.scores = scores


def exhausted_memory(error: BaseException) -> str | None:
    """Which memory an error says is full: `GPU`, `main`, or None for any other error."""
    if type(error).__name__ == "OutOfMemoryError":  # of torch, which is not imported here
        return "GPU"
    # What torch's allocator of main memory says on Linux and macOS, and on Windows.
    refused = ("can't allocate memory", "not enough memory")
    is_refused = isinstance(error, RuntimeError) and any(text in str(error) for text in refused)
    return "main" if isinstance(error, MemoryError) or is_refused else None


def from_here(path: str | Path) -> str:
    """A path relative to the working directory, if it is below it."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else str(path)


def first_few(problems: Sequence[str], what: str, shown: int = 5) -> str:
    """One message for many problems: their number, and the first few of them.

    Args:
        problems: one message each.
        what: rest of the first line, after the number.
        shown: number of problems to show.
    """
    if len(problems) == 1:
        return problems[0]
    rest = f"\n  ... and {len(problems) - shown} more" if len(problems) > shown else ""
    return f"{len(problems)} {what}:\n  " + "\n  ".join(problems[:shown]) + rest


def did_you_mean(word: str, known: Collection[str]) -> str:
    """A hint for an unknown word: the closest known one, or all of them."""
    same = [one for one in known if one.casefold() == word.casefold()]
    close = same or get_close_matches(word, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(known)}" if known else "there are none"
