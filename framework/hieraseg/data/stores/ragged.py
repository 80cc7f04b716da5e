"""Arrays of different shapes, one after the other in a file, memory-mapped."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt


@dataclass(frozen=True)
class Ragged:
    """N arrays of different shapes.

    Attributes:
        values: all values, flat and read-only.
        shapes: shape of each array, int64 `[N, D]`.
        offsets: where each array starts in `values`, and where the last one ends, int64 `[N + 1]`.
    """

    values: UInt[np.ndarray, " P"]
    shapes: Int[np.ndarray, "N D"]
    offsets: Int[np.ndarray, " N+1"]

    def __getitem__(self, row: int) -> UInt[np.ndarray, "..."]:
        """The array of a row, as a view."""
        start, end = self.offsets[row : row + 2]
        return self.values[start:end].reshape(self.shapes[row])


@contextmanager
def writing(*paths: Path) -> Iterator[Callable[..., None]]:
    """Write arrays one after the other into each of several new files.

    The value is a function that takes the next array of each file.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]

        def append(*arrays: UInt[np.ndarray, "..."]) -> None:
            for file, array in zip(files, arrays, strict=True):
                file.write(np.ascontiguousarray(array).data)

        yield append


def open_ragged(file: Path, shapes: Int[np.ndarray, "N D"], dtype: np.dtype[Any]) -> Ragged:
    """Open arrays that `writing` wrote into a file.

    Args:
        file: their values.
        shapes: shape of each array.
        dtype: type of the values.
    """
    offsets = np.concatenate([[0], shapes.prod(1).cumsum()])
    # As a plain array, whose slices are cheaper than those of `memmap`.
    return Ragged(np.memmap(file, dtype, "r").view(np.ndarray), shapes, offsets)
