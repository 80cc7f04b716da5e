"""The folders of a split in the cache: its decoded images with an index, or the index alone."""

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from jaxtyping import Shaped

from hieraseg.console import log
from hieraseg.data.checking import CheckedDataset
from hieraseg.data.shapes import resized_shape
from hieraseg.data.stores.cache import build_folder, cache_folder, folder_for, is_whole
from hieraseg.errors import DataError
from hieraseg.settings import Input

_INDEX = "index.npz"
_SAMPLE = 32


@dataclass(frozen=True)
class Built:
    """What was built of a split.

    Attributes:
        folder: the folder of the cache.
        is_decoded: whether decoded images are used.
        index: what is known of the split, by name.
    """

    folder: Path
    is_decoded: bool
    index: dict[str, Shaped[np.ndarray, "..."]]


def build(
    name: str,
    key: tuple[Any, ...],
    settings: Input,
    content: str,
    estimate: Callable[[], int],
    write: Callable[[Path, bool], dict[str, Any]],
) -> Built:
    """Find what a split needs, or build it.

    The folder with decoded images has an index, too, which serves for reading files as well.

    Args:
        name: first part of the folders' names.
        key: everything that the content depends on.
        settings: whether decoded images are kept.
        content: what is decoded, for messages, as in `12 images of split 'train'`.
        estimate: estimates the bytes of the decoded images.
        write: decodes all images, writes them into a folder if the second argument is true, and
            returns the index.

    Raises:
        DataError: there is no space for what the recipe wants; raised by `write`.
    """
    decoded, estimate = folder_for(name, key), cache(estimate)
    is_decoded = settings.store != "files" and (
        os.path.exists(decoded) or _keeps_decoded(settings, estimate(), content)
    )
    folder = decoded if is_decoded or is_whole(decoded) else folder_for(f"{name}-index", key)

    def write_all(unfinished: Path) -> None:
        if folder == decoded:
            log(
                f"preparing {content}, once: about {size_text(estimate())} in {cache_folder()} "
                "(input.store: files keeps none)"
            )
        else:
            log(f"checking {content}, once")
        write_index(unfinished, write(unfinished, folder == decoded))

    build_folder(folder, write_all)
    return Built(folder, is_decoded, read_index(folder))


def write_index(folder: Path, index: dict[str, Any]) -> None:
    """Write arrays as the index of a folder."""
    np.savez(folder / _INDEX, **index)


def read_index(folder: Path) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The index in a folder of the cache."""
    with np.load(folder / _INDEX, allow_pickle=False) as index:
        return dict(index)


def _keeps_decoded(settings: Input, needed: int, content: str) -> bool:
    """Whether decoded images are kept: for `auto`, if they need less than half of the free space.

    Raises:
        DataError: they must be kept, but do not fit.
    """
    root = cache_folder()
    free = shutil.disk_usage(
        next(path for path in (root, *root.parents) if os.path.isdir(path))
    ).free
    sizes = f"about {size_text(needed)} of the {size_text(free)} that are free in {root}"
    if settings.store == "decoded" and needed > free:
        raise DataError(
            f"input.store: decoded, the {content} take {sizes}; set it to files, or HIERASEG_CACHE "
            "to a folder with enough space"
        )
    if settings.store == "decoded" or needed < free / 2:
        return True
    log(f"{content} are decoded whenever they are needed; input.store: decoded would take {sizes}")
    return False


def estimated_pixels(dataset: CheckedDataset, ids: Sequence[str], settings: Input) -> int:
    """Estimated number of pixels of all images of a split after resizing.

    It is exact for `input.resize: stretch`. Else it follows from the masks of 32 random images.

    Args:
        dataset: the data set.
        ids: ids of the split.
        settings: how images are resized.
    """
    if settings.resize == "stretch":
        return len(ids) * settings.size[0] * settings.size[1]
    pixels = []
    for id in Random(0).sample(ids, min(len(ids), _SAMPLE)):
        with suppress(DataError):  # all problems are reported when all images are decoded
            height, width = resized_shape(dataset.label_values(id).shape, settings)
            pixels.append(height * width)
    return sum(pixels) * len(ids) // max(len(pixels), 1)


def size_text(size: int) -> str:
    """A number of bytes, as in `1.3 GB`."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"
