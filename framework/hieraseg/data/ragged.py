"""Arrays of different shapes, one after the other in a file, memory-mapped."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt


@dataclass(frozen=True)
class Ragged:
    """N arrays of different shapes.

    Attributes:
        pixels: all values, flat.
        shapes: shape of each array, int64 `[N, D]`.
        offsets: where each array starts in `pixels`, and where the last one ends, int64 `[N + 1]`.
    """

    pixels: UInt[np.ndarray, " P"]
    shapes: Int[np.ndarray, "N D"]
    offsets: Int[np.ndarray, " N+1"]

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, row: int) -> UInt[np.ndarray, "..."]:
        """The array of a row: a view, read-only if the file is."""
        start, end = self.offsets[row : row + 2]
        return self.pixels[start:end].reshape(self.shapes[row])


def open_ragged(file: Path, shapes: Int[np.ndarray, "N D"], dtype: np.dtype[Any]) -> Ragged:
    """Open arrays that were written one after the other, read-only.

    Args:
        file: their values.
        shapes: shape of each array.
        dtype: type of the values.
    """
    offsets = np.concatenate([[0], shapes.prod(1).cumsum()])
    return Ragged(np.memmap(file, dtype, "r"), shapes, offsets)
