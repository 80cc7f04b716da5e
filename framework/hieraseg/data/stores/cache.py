"""The cache of what is computed from data sets. Each of its folders is complete or absent."""

import hashlib
import json
import math
import os
import re
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Any

from filelock import FileLock

from hieraseg.console import log
from hieraseg.errors import DataError, WriteError
from hieraseg.files.paths import absolute
from hieraseg.files.removal import Removable, removable
from hieraseg.files.writing import RECENT, is_free, write_folder

FORMAT = 6
"""Part of each key: increase it when the content of a folder changes."""

LARGE = ".bin"
"""Suffix of files whose content is checked when it is read, and not when their folder is opened."""

_CHECKSUMS = "checksums.json"
_NAME = re.compile(
    r"(?P<folder>.+-[0-9a-f]{20})(\.lock|\.previous|\.[0-9a-f]{8}\.unfinished)?", re.DOTALL
)


def cache_folder() -> Path:
    """The root of the cache: $HIERASEG_CACHE, or `hieraseg` in the user's cache folder."""
    own = os.environ.get("HIERASEG_CACHE")
    if own:
        return absolute(own)
    return absolute(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "hieraseg"


def folder_for(prefix: str, key: tuple[Any, ...]) -> Path:
    """The folder of the cache with this content, whether it exists or not.

    Args:
        prefix: first part of the folder's name, for people.
        key: everything that the content depends on, as JSON can represent it.
    """
    digest = hashlib.sha256(json.dumps((FORMAT, *key)).encode()).hexdigest()[:20]
    return cache_folder() / f"{prefix}-{digest}"


def build_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Build a folder of the cache, unless it is whole (see `is_whole`).

    One process builds while the others wait. An interrupted build leaves nothing that is used.

    Args:
        folder: see `folder_for`.
        write: writes the content into an empty folder.

    Raises:
        DataError: the cache is not writable, or raised by `write`.
    """
    if is_whole(folder):
        with suppress(OSError):  # the cache may be read-only
            os.utime(folder)  # for find_removable
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not is_whole(folder):
                if os.path.lexists(folder):
                    log(f"{folder}: is damaged, so it is built again")
                write_folder(folder, lambda unfinished: _write_with_checksums(unfinished, write))
    except (OSError, WriteError) as error:
        cause = error.__cause__ or error
        raise DataError(
            f"{folder.parent}: the cache cannot be written "
            f"({getattr(cause, 'strerror', None) or cause}); "
            "set HIERASEG_CACHE to a folder with enough space"
        ) from error


def is_whole(folder: Path) -> bool:
    """Whether a folder has all files of its build: large ones by their size, others unchanged."""
    try:
        return bool(json.loads((folder / _CHECKSUMS).read_bytes()) == _checksums(folder))
    except (OSError, ValueError, RecursionError):
        return False


def _write_with_checksums(folder: Path, write: Callable[[Path], None]) -> None:
    write(folder)
    (folder / _CHECKSUMS).write_text(json.dumps(_checksums(folder)))


def _checksums(folder: Path) -> dict[str, Any]:
    """Size of each file in a folder, and the CRC-32 of those that are not large."""
    files: dict[str, list[int]] = {}
    for path in folder.iterdir():
        if path.suffix == LARGE:
            files[path.name] = [path.stat().st_size]
        elif path.name != _CHECKSUMS:
            content = path.read_bytes()
            files[path.name] = [len(content), zlib.crc32(content)]
    return {"format": FORMAT, "files": files}


def find_removable(unused_days: int | None = None) -> list[Removable]:
    """Find what killed processes left: unfinished folders, and locks that no process holds.

    Args:
        unused_days: find folders too that were not opened for this number of days, and those of
            other versions of hieraseg, which this one does not use.
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
        with suppress(FileNotFoundError):  # another process may remove it, too
            used = folder.stat().st_mtime
            if (folder / _CHECKSUMS).exists() and used < latest:
                found.append(removable(folder, "unused"))
            elif unused_days is not None and used < now - RECENT and _is_outdated(folder):
                found.append(removable(folder, "other version"))
        for path in sorted(root.glob(f"{escape(folder.name)}.*")):
            if names.get(path.name):
                with suppress(FileNotFoundError):
                    found.append(removable(path, "lock" if path == lock else "unfinished"))
    return found


def _is_outdated(folder: Path) -> bool:
    """Whether a folder of the cache has another format than this version writes."""
    try:
        content = json.loads((folder / _CHECKSUMS).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("format") != FORMAT
