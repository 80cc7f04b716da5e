"""What a command says, and its exit code, when an error or a signal ends it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from hieraseg.errors import INTERRUPTED, HierasegError, Stopped, exhausted_memory, interrupt_code
from hieraseg.launch import error_prefix

_OUT_OF_MEMORY = (
    "out of {} memory; decrease training.batch_size, evaluation.batch_size or the size of images"
)


class Failure(NamedTuple):
    """The sentence that a command prints, and its exit code."""

    message: str
    exit_code: int


def failure_of(error: BaseException) -> Failure | None:
    """What to say of an error, or None for a fault of the code, which needs its traceback."""
    text, usage = str(error), HierasegError.exit_code
    if isinstance(error, HierasegError):
        return Failure(text, error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        return Failure(text or "interrupted", interrupt_code(error))
    if isinstance(error, SystemExit):
        return Failure(f"a component called sys.exit({error.code!r}); fix the plugin", usage)
    memory = exhausted_memory(error)
    if memory is not None:
        return Failure(_OUT_OF_MEMORY.format(memory), usage)
    if isinstance(error, OSError):  # such as a full disk or a missing permission
        is_clear = error.filename and error.strerror
        return Failure(f"{error.filename}: {error.strerror}" if is_clear else text, usage)
    return None


def print_failure(failure: Failure) -> None:
    """Print a failure on stderr, once, even if several processes have it."""
    process = error_prefix()
    if process is not None:
        is_interrupt = failure.exit_code in (INTERRUPTED, Stopped.exit_code)
        prefix = "hieraseg:" if is_interrupt else "hieraseg: error:"
        separator = "\n" if "\n" in failure.message else " "
        print(prefix, process + failure.message, sep=separator, file=sys.stderr)


@contextmanager
def explaining_interrupts(advice: str) -> Iterator[None]:
    """Inside this context, an interrupt that says nothing says what to do.

    Args:
        advice: what to do.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise type(error)(str(error) or f"interrupted; {advice}") from error
