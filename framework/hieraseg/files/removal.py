"""Files and folders that are no longer needed."""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout


@dataclass(frozen=True)
class Removable:
    """A file or folder that can be removed.

    Attributes:
        path: the file or folder.
        reason: what it is, in a word or two.
        bytes: its size.
        last_used: when it was last opened or changed, in seconds since 1970.
    """

    path: Path
    reason: str
    bytes: int
    last_used: float


def removable(path: Path, reason: str) -> Removable:
    """Describe what can be removed.

    Raises:
        FileNotFoundError: another process has removed it.
    """
    last_used = path.lstat().st_mtime
    return Removable(path, reason, sum(map(_size, files_in(path))), last_used)


def remove(path: Path) -> None:
    """Remove a file, a link, a folder or a lock, unless another process did, or holds the lock.

    Raises:
        OSError: it cannot be removed.
    """
    with suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.suffix == ".lock":
            with suppress(Timeout), FileLock(path, timeout=0):
                path.unlink()
        else:
            path.unlink()


def files_in(path: Path) -> list[Path]:
    """A file, or a folder and all that is in it. Links are not followed."""
    return [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]


def _size(file: Path) -> int:
    with suppress(FileNotFoundError):  # another process may remove it, too
        return 0 if file.is_dir() else file.lstat().st_size
    return 0
