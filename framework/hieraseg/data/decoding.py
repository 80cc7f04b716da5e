"""Decoding and checking all images and masks of a split."""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8

from hieraseg.console import log, progress
from hieraseg.contracts import Dataset
from hieraseg.data.cache import cache_folder
from hieraseg.data.prefetch import prefetch
from hieraseg.errors import DataError, first_few
from hieraseg.hierarchy import Hierarchy

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
        except OSError as error:  # a data set that does not raise DataError as it should
            return None, DataError(f"{ids[row]}: cannot be read ({error})")

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


def known_labels(hierarchy: Hierarchy) -> list[int]:
    """The label values that a mask may have, void included."""
    return sorted({*hierarchy.labels, *hierarchy.void})


def checked_pair(
    dataset: Dataset, id: str, known: Collection[int]
) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"]]:
    """Read an image and its mask, and check both.

    Args:
        dataset: the data set.
        id: id of the image.
        known: the label values that the hierarchy knows.

    Raises:
        DataError: they cannot be read, they differ in size, or the mask has an unknown label.
    """
    image, mask = dataset.image(id), checked_mask(dataset, id, known)
    if image.shape[:2] != mask.shape:
        raise DataError(
            f"{id}: the image is {image.shape[1]}x{image.shape[0]} pixels, but its mask is "
            f"{mask.shape[1]}x{mask.shape[0]}; export the mask again at the image's size"
        )
    return image, mask


def checked_mask(dataset: Dataset, id: str, known: Collection[int]) -> UInt8[np.ndarray, "H W"]:
    """Read a mask and check its labels (see `checked_pair`)."""
    mask = dataset.mask(id)
    unknown = sorted(set(np.unique(mask).tolist()) - set(known))
    if unknown:
        raise DataError(
            f"{id}: the mask has the label {unknown[0]}, but the hierarchy knows only "
            f"{', '.join(map(str, known))}; fix the mask, or add the label to the hierarchy"
        )
    return mask
