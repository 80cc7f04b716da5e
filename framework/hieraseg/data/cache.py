"""The cache of decoded data. Each of its folders is built once, and is complete or absent."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from jaxtyping import UInt8
from numpy.lib.format import open_memmap

from hieraseg.errors import DataError
from hieraseg.paths import expanded


def cache_folder() -> Path:
    """The root of the cache: $HIERASEG_CACHE, or `hieraseg` in the user's cache folder."""
    own = os.environ.get("HIERASEG_CACHE")
    if own:
        return expanded(own)
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "hieraseg"


def cached_folder(prefix: str, key: tuple[Any, ...], write: Callable[[Path], None]) -> Path:
    """Return a folder of the cache, and build it if it does not exist.

    One process builds while the others wait. An interrupted build leaves nothing that is used.

    Args:
        prefix: first part of the folder's name, for people.
        key: everything that the content depends on, as JSON can represent it.
        write: writes the content into an empty folder.

    Raises:
        DataError: the cache is not writable, or raised by `write`.
    """
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:20]
    folder = cache_folder() / f"{prefix}-{digest}"
    if folder.exists():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                _build(folder, write)
    except OSError as error:
        raise DataError(
            f"{folder.parent}: the cache cannot be written ({error}); "
            "set HIERASEG_CACHE to a folder with enough space"
        ) from error
    return folder


def _build(folder: Path, write: Callable[[Path], None]) -> None:
    """Write into a temporary folder, then rename it. The caller holds the lock."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # left by a killed process
    unfinished.mkdir()
    try:
        write(unfinished)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def create_array(file: Path, shape: tuple[int, ...]) -> UInt8[np.memmap, "..."]:
    """Create a memory-mapped uint8 array whose space on disk is allocated.

    Without that, a write to the array would kill the process with SIGBUS on a full disk.

    Raises:
        OSError: the disk is full.
    """
    array = open_memmap(file, "w+", np.uint8, shape)
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    return array


def open_array(file: Path) -> UInt8[np.memmap, "..."]:
    """Open an array of the cache, memory-mapped and read-only."""
    return np.load(file, mmap_mode="r", allow_pickle=False)
