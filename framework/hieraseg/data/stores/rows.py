"""Reading arrays of a split by row: from the data set's files, or from a file of the cache.

Both ways return the same arrays, and check them by the same checksums.
"""

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

import numpy as np
from jaxtyping import UInt, UInt32

from hieraseg.console import warn
from hieraseg.data.decoding import decoding
from hieraseg.data.stores.ragged import Ragged
from hieraseg.errors import DataError

Read = Callable[[int], UInt[np.ndarray, "..."]]
"""Returns the array of a row, read-only. Thread-safe."""


def checksum(array: UInt[np.ndarray, "..."]) -> int:
    """CRC-32 of an array's shape and values."""
    return zlib.crc32(np.ascontiguousarray(array).data, zlib.crc32(repr(array.shape).encode()))


class FromFiles:
    """Arrays that are decoded whenever they are read.

    Args:
        decode: decodes the array of a row; thread-safe.
        ids: ids of the rows, for messages.
        checksums: checksum of each array when `folder` was built.
        folder: the folder of the cache that has the checksums, for messages.
    """

    def __init__(
        self, decode: Read, ids: Sequence[str], checksums: UInt32[np.ndarray, " N"], folder: Path
    ) -> None:
        self.decode, self.ids, self.checksums, self.folder = decode, ids, checksums, folder

    def __call__(self, row: int) -> UInt[np.ndarray, "..."]:
        """Decode the array of a row.

        Raises:
            DataError: it cannot be decoded, or has changed.
        """
        with decoding(self.ids[row]):
            array = self.decode(row).view()
        if checksum(array) != self.checksums[row]:
            raise DataError(
                f"{self.ids[row]}: has other pixels than when {self.folder} was built; start again "
                "if its files have changed meanwhile, else (Pillow may have changed) remove that "
                "folder"
            )
        array.flags.writeable = False
        return array


class Damage:
    """Warns once of what is damaged in a folder of the cache. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lock, self.is_reported = folder, Lock(), False

    def report(self) -> None:
        """Warn, if this is the first time."""
        with self.lock:
            if self.is_reported:
                return
            self.is_reported = True
        warn(
            f"{self.folder}: is damaged, so some images are decoded again whenever they are "
            "needed; remove this folder to have it built again"
        )


class FromCache:
    """Arrays of a file of the cache, each checked when it is first read.

    Args:
        ragged: the arrays.
        checksums: checksum of each array when the file was written.
        otherwise: reads the same arrays in another way, for those that are damaged.
        damage: is told of these.
    """

    def __init__(
        self, ragged: Ragged, checksums: UInt32[np.ndarray, " N"], otherwise: Read, damage: Damage
    ) -> None:
        self.ragged, self.checksums, self.otherwise = ragged, checksums, otherwise
        self.damage = damage
        self.checked = np.zeros(len(checksums), bool)

    def __call__(self, row: int) -> UInt[np.ndarray, "..."]:
        """Read the array of a row, a view of the file."""
        array = self.ragged[row]
        if not self.checked[row]:
            if checksum(array) != self.checksums[row]:
                self.damage.report()
                return self.otherwise(row)
            self.checked[row] = True
        return array


def joined(reads: Sequence[Read], sizes: Sequence[int]) -> Read:
    """Read the rows of several splits, one after the other.

    Args:
        reads: how the rows of each split are read.
        sizes: number of rows of each split.
    """
    ends = np.cumsum(sizes)

    def read(row: int) -> UInt[np.ndarray, "..."]:
        member = int(np.searchsorted(ends, row, "right"))
        return reads[member](row - int(ends[member] - sizes[member]))

    return read
