"""Images at half and at a quarter of their size, from which smaller scales are sampled."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from hieraseg.console import log
from hieraseg.data.decoding import decode_all
from hieraseg.data.stores.building import read_index, write_index
from hieraseg.data.stores.cache import build_folder
from hieraseg.data.stores.ragged import open_ragged, writing
from hieraseg.data.stores.rows import Damage, FromCache, Read, checksum


def open_levels(
    image: Read,
    ids: Sequence[str],
    shapes: Int[np.ndarray, "N 2"],
    levels: int,
    split: str,
    folder: Path | None,
) -> tuple[Read, ...]:
    """How the images of a split are read at each level, the first of which is `image` itself.

    Args:
        image: reads an image at its own size.
        ids: ids of the split.
        shapes: height and width of the images.
        levels: number of levels, each at half of the size of the one before.
        split: name of the split, for messages.
        folder: folder of the cache for the smaller images; None to compute them when they are
            read.

    Raises:
        DataError: the cache cannot be written.
    """
    if levels == 1:
        return (image,)
    reads = [image if folder is not None else _keeping_last(image)]
    for _ in range(1, levels):
        reads.append(_halved(reads[-1]))
    if folder is None:
        return tuple(reads)
    build_folder(folder, lambda unfinished: _write(unfinished, image, ids, levels, split))
    checksums, damage = read_index(folder)["checksums"], Damage(folder)
    for level in range(1, levels):
        size = with_channels(-(-shapes // 2**level))
        ragged = open_ragged(_file(folder, level), size, np.dtype(np.uint8))
        reads[level] = FromCache(ragged, checksums[:, level - 1], reads[level], damage)
    return tuple(reads)


def with_channels(shapes: Int[np.ndarray, "N 2"]) -> Int[np.ndarray, "N 3"]:
    """Shapes of RGB images from their heights and widths."""
    return np.insert(shapes, 2, 3, axis=1)


def halve(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """An image at half of its size: each pixel is the rounded average of 2 x 2.

    Of an odd side, the last pixel averages what there is.
    """
    half = np.asarray(Image.fromarray(image).reduce(2))
    half.flags.writeable = False
    return half


def _keeping_last(read: Read) -> Read:
    """Read an image once for all of its sizes that a thread reads one after the other."""
    last = threading.local()

    def read_once(row: int) -> UInt8[np.ndarray, "H W 3"]:
        if getattr(last, "row", None) != row:
            last.image, last.row = read(row), row
        return last.image

    return read_once


def _halved(read: Read) -> Read:
    return lambda row: halve(read(row))


def _file(folder: Path, level: int) -> Path:
    return folder / f"level{level}.bin"


def _write(folder: Path, image: Read, ids: Sequence[str], levels: int, split: str) -> None:
    def halve_all(row: int) -> list[UInt8[np.ndarray, "_ _ 3"]]:
        found = [image(row)]
        for _ in range(1, levels):
            found.append(halve(found[-1]))
        return found[1:]

    log(f"preparing {len(ids)} smaller images of split {split!r} in {folder.parent}, once")
    checksums = []
    with writing(*(_file(folder, level) for level in range(1, levels))) as append:
        for found in decode_all(halve_all, ids, split):
            append(*found)
            checksums.append([checksum(array) for array in found])
    write_index(folder, {"checksums": np.array(checksums, np.uint32)})
