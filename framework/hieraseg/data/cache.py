"""The cache of decoded data. Each of its folders is built once, and is complete or absent."""

import hashlib
import json
import math
import os
import re
import shutil
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from jaxtyping import UInt
from numpy.lib.format import open_memmap

from hieraseg.console import log
from hieraseg.errors import DataError, WriteError
from hieraseg.files.paths import absolute
from hieraseg.files.writing import RECENT, is_free, write_folder

_CHECKSUMS = "checksums.json"
_NAME = re.compile(
    r"(?P<folder>.+-[0-9a-f]{20})(\.lock|\.previous|\.[0-9a-f]{8}\.unfinished)?", re.DOTALL
)
_PART = 1 << 24  # bytes that a checksum covers


def cache_folder() -> Path:
    """The root of the cache: $HIERASEG_CACHE, or `hieraseg` in the user's cache folder."""
    own = os.environ.get("HIERASEG_CACHE")
    if own:
        return absolute(own)
    return absolute(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "hieraseg"


def cached_folder(prefix: str, key: tuple[Any, ...], write: Callable[[Path], None]) -> Path:
    """Return a folder of the cache, and build it if it does not exist or is damaged.

    All files are read and compared with the checksums of their build. One process builds while
    the others wait. An interrupted build leaves nothing that is used.

    Args:
        prefix: first part of the folder's name, for people.
        key: everything that the content depends on, as JSON can represent it.
        write: writes the content into an empty folder.

    Raises:
        DataError: the cache is not writable, or raised by `write`.
    """
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:20]
    folder = cache_folder() / f"{prefix}-{digest}"
    if _is_whole(folder):
        _note_use(folder)
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not _is_whole(folder):
                if os.path.lexists(folder):
                    log(f"{folder}: is damaged, so it is built again")
                _build(folder, write)
    except (OSError, WriteError) as error:
        cause = error.__cause__ or error
        raise DataError(
            f"{folder.parent}: the cache cannot be written "
            f"({getattr(cause, 'strerror', None) or cause}); "
            "set HIERASEG_CACHE to a folder with enough space"
        ) from error
    return folder


def find_leftovers(unused_days: int | None = None) -> list[Path]:
    """Find unfinished folders and locks in the cache that no process uses.

    Args:
        unused_days: find folders too that were not returned by `cached_folder` for this number of
            days.
    """
    now = time.time()
    latest = -math.inf if unused_days is None else now - max(unused_days * 86400, RECENT)
    root, found = cache_folder(), []
    # HIERASEG_CACHE can be any folder, so nothing is found but what has a name of the cache.
    names = {path.name: _NAME.fullmatch(path.name) for path in root.glob("*-*")}
    for folder in sorted({root / match["folder"] for match in names.values() if match}):
        lock = Path(f"{folder}.lock")
        if lock.exists() and not is_free(lock):
            continue
        if (folder / _CHECKSUMS).exists() and folder.stat().st_mtime < latest:
            found.append(folder)
        beside = sorted(root.glob(f"{escape(folder.name)}.*"))
        found += [path for path in beside if names.get(path.name)]
    return found


def _note_use(folder: Path) -> None:
    """Record that a folder is used now, if the cache is writable."""
    with suppress(OSError):
        os.utime(folder)


def _build(folder: Path, write: Callable[[Path], None]) -> None:
    """Build a folder with its checksums. The caller holds the lock."""

    def write_all(unfinished: Path) -> None:
        write(unfinished)
        (unfinished / _CHECKSUMS).write_text(json.dumps(_checksums(unfinished)))

    write_folder(folder, write_all)


def _is_whole(folder: Path) -> bool:
    """Whether a folder has all files of its build, unchanged."""
    try:
        return json.loads((folder / _CHECKSUMS).read_bytes()) == _checksums(folder)
    except (OSError, ValueError, RecursionError):
        return False


def _checksums(folder: Path) -> dict[str, list[int]]:
    """For each file its size, and a checksum of each part. Threads read the parts."""
    files = [path for path in folder.iterdir() if path.name != _CHECKSUMS]
    sizes = {path: path.stat().st_size for path in files}
    parts = [(path, start) for path in files for start in range(0, sizes[path], _PART)]
    checksums = {path.name: [sizes[path]] for path in files}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (path, _), checksum in zip(parts, pool.map(_checksum, parts), strict=True):
            checksums[path.name].append(checksum)
    return checksums


def _checksum(part: tuple[Path, int]) -> int:
    path, start = part
    with path.open("rb") as file:
        file.seek(start)
        return zlib.crc32(file.read(_PART))


def create_array(
    file: Path, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> UInt[np.memmap, "..."]:
    """Create a memory-mapped array whose space on disk is allocated.

    Without that, a write to the array would kill the process with SIGBUS on a full disk.

    Raises:
        OSError: the disk is full, or has less space than the array needs.
    """
    needed, free = math.prod(shape) * dtype.itemsize, shutil.disk_usage(file.parent).free
    if needed > free:  # allocating would take all of it before it fails
        reason = f"{file.name} needs {needed >> 20:,} MiB, but {free >> 20:,} are free"
        raise OSError(f"No space left on device: {reason}")
    array = open_memmap(file, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    return array


def open_array(file: Path) -> UInt[np.memmap, "..."]:
    """Open an array of the cache, memory-mapped and read-only."""
    return np.load(file, mmap_mode="r", allow_pickle=False)
