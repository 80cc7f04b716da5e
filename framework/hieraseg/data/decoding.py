"""Decoding all images or masks of a split."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from hieraseg.console import log, progress
from hieraseg.data.cache import cache_folder
from hieraseg.data.prefetch import prefetch
from hieraseg.errors import DataError, first_few
from hieraseg.tracebacks import describe

Result = TypeVar("Result")


def decode_all(
    decode: Callable[[int], Result], ids: Sequence[str], split: str, content: str
) -> Iterator[Result]:
    """Yield `decode(row)` for each row of a split in order, computed by several threads.

    Args:
        decode: reads one row; thread-safe.
        ids: ids of the rows, for error messages.
        split: name of the split, for messages.
        content: what is decoded, `images` or `targets`, for messages.

    Raises:
        DataError: at the end, if any row failed: how many, and the first few of them.
    """

    def attempt(row: int) -> tuple[Result | None, DataError | None]:
        try:
            return decode(row), None
        except DataError as error:
            return None, error
        except MemoryError:
            return None, DataError(f"{ids[row]}: needs more memory than there is; make it smaller")
        except ValueError as error:  # such as an image that cannot be resized
            return None, DataError(f"{ids[row]}: cannot be used ({describe(error)})")

    log(f"preparing {len(ids)} {content} of split {split!r} in {cache_folder()}, once")
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
