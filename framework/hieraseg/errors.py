"""What can go wrong through no fault of the program, each kind with its exit code.

The message of each is one clear sentence that names the place and the fix; the command line
prints it without a traceback.
"""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from pathlib import Path


class HierasegError(Exception):
    """Base of every mistake that the user can mend."""

    exit_code = 2


class RecipeError(HierasegError):
    """A recipe, a command line, a checkpoint or a weights file that cannot be used (exit 2)."""


class DataError(HierasegError):
    """Images, masks or lists of a data set that cannot be used (exit 3)."""

    exit_code = 3


class DivergedError(HierasegError):
    """The loss is no longer a finite number (exit 4)."""

    exit_code = 4


def from_here(path: str | Path) -> str:
    """A path from the working directory, if it lies below it."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else str(path)


def first_few(problems: Sequence[str], what: str, shown: int = 5) -> str:
    """One message for many bad files: how many there are, and the first few of them."""
    if len(problems) == 1:
        return problems[0]
    rest = f"\n  ... and {len(problems) - shown} more" if len(problems) > shown else ""
    return f"{len(problems)} {what}:\n  " + "\n  ".join(problems[:shown]) + rest


def did_you_mean(word: str, known: Collection[str]) -> str:
    """A hint for an unknown word: the closest known one, or all of them."""
    close = get_close_matches(word, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(known)}" if known else "there are none"
