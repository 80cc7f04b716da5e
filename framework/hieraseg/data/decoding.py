"""Decoding all images or masks of a split."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from hieraseg.console import progress
from hieraseg.data.prefetch import prefetch
from hieraseg.errors import DataError, first_few
from hieraseg.tracebacks import describe

Result = TypeVar("Result")


@contextmanager
def decoding(id: str) -> Iterator[None]:
    """Raise errors of decoding and resizing an image as DataError with its id."""
    try:
        yield
    except MemoryError as error:
        raise DataError(f"{id}: needs more memory than there is; make it smaller") from error
    except ValueError as error:  # such as an image that cannot be resized
        raise DataError(f"{id}: cannot be used ({describe(error)})") from error


def decode_all(decode: Callable[[int], Result], ids: Sequence[str], split: str) -> Iterator[Result]:
    """Yield `decode(row)` for each row of a split in order, computed by several threads.

    Args:
        decode: reads one row; thread-safe.
        ids: ids of the rows, for error messages.
        split: name of the split, for messages.

    Raises:
        DataError: at the end, if any row failed: how many, and the first few of them.
    """

    def attempt(row: int) -> tuple[Result | None, DataError | None]:
        try:
            with decoding(ids[row]):
                return decode(row), None
        except DataError as error:
            return None, error

    threads = os.cpu_count() or 1
    decoded = prefetch(attempt, range(len(ids)), 2 * threads, threads)
    problems = []
    for result, error in progress(decoded, f"preparing {split}", len(ids)):
        if error is not None:
            problems.append(str(error))
        else:
            yield result  # type: ignore[misc]  # not None without an error
    if problems:
        what = f"of {len(ids)} images of split {split!r} cannot be used"
        raise DataError(first_few(problems, what))
