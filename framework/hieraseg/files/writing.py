"""Writing files and folders whole: a reader sees the old one or the new one, never a part.

Content is written beside its place under a unique name, forced to the disk, and renamed. No writer
follows a symbolic link: run folders are passed around, and a link in one could name any file.
"""

import errno
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hieraseg.errors import DivergedError, WriteError

RECENT = 60
"""Seconds after a change in which a process may still be writing."""

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # Windows has none
_UNFINISHED = re.compile(r"([0-9a-f]{16}|.+\.[0-9a-f]{8})\.unfinished")
_FIXES = {
    errno.ENOSPC: "free space on its disk",
    errno.EDQUOT: "free space in your quota",
    errno.EROFS: "choose a disk that is writable",
    errno.EACCES: "make its folder writable",
    errno.EPERM: "make its folder writable",
    errno.ENOENT: "its folder was removed meanwhile, so start again",
    errno.ENOTDIR: "its folder was replaced by a file, so move that away",
    errno.ELOOP: "it is a symbolic link, so remove that",
    errno.EISDIR: "a folder is in its place, so move that away",
}


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Raise an OSError of writing a file as a `WriteError`: one sentence with the path."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or next(iter(str(error).splitlines()), type(error).__name__)
        fix = _FIXES.get(error.errno or 0, "check its folder and disk")
        raise WriteError(f"{path}: cannot be written ({reason}); {fix}") from error


def check_writable(folder: Path) -> None:
    """Raise WriteError if no file can be created in a folder, before what takes long."""
    with write_errors(folder):
        tempfile.TemporaryFile(dir=folder).close()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replace a file in one step. The value is an empty file beside it for the new content.

    If the block raises, the file stays as it is, and the new content is removed.

    Raises:
        WriteError: the file cannot be written.
    """
    with write_errors(path):
        _check_replaceable(path)
        unfinished = path.with_name(f"{secrets.token_hex(8)}.unfinished")
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o666))
        try:
            yield unfinished
            _sync(unfinished)
            os.replace(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _check_replaceable(path: Path) -> None:
    """Raise WriteError for a device or a pipe, which root could replace, and OSError for a folder.

    That is before the content is computed, which can take long.
    """
    if path.is_dir() and not path.is_symlink():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise WriteError(f"{path}: is a device or a pipe, which is not replaced; name a file")


def write_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Replace a file in one step.

    Args:
        path: the file.
        write: function that writes the content to another path in the same folder.

    Raises:
        WriteError: the file cannot be written.
    """
    with replacing(path) as unfinished:
        write(unfinished)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file in one step."""
    write_file(path, lambda unfinished: unfinished.write_bytes(content))


def write_text(path: Path, text: str) -> None:
    """Replace a UTF-8 text file in one step."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Replace a JSON file in one step.

    Raises:
        WriteError: the file cannot be written.
        DivergedError: a number is not finite.
    """
    write_text(path, to_json(path, content, indent=2) + "\n")


def to_json(path: Path, content: Any, indent: int | None = None) -> str:
    """Content of a file as JSON, which has no NaN and no infinity.

    Raises:
        DivergedError: a number is not finite.
    """
    try:
        return json.dumps(content, indent=indent, allow_nan=False)
    except ValueError as error:
        raise DivergedError(
            f"{path}: not written, because a score in it is not finite; "
            "lower optimizer.lr, or train in precision 32-true"
        ) from error


def append_line(path: Path, line: str) -> None:
    """Append a line to a UTF-8 text file: all of it or, if that fails, nothing.

    Raises:
        WriteError: the file cannot be written.
    """
    with write_errors(path):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _NO_FOLLOW
        with open(os.open(path, flags, 0o666), "ab", buffering=0) as file:
            size, rest = os.fstat(file.fileno()).st_size, f"{line}\n".encode()
            try:
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
        if size == 0:  # it may be new
            _sync_folder(path.parent)


def write_folder(folder: Path, write: Callable[[Path], Any], keep: int = 1) -> None:
    """Replace a folder, after its new content is complete. One process at a time may do so.

    The folder that it is in is created, but none above that. What processes that were killed left
    beside the folder is removed.

    No system call swaps two folders, so the old one is moved aside first. If the process ends at
    that moment, `existing_folder` finds it there.

    Args:
        folder: the folder.
        write: function that writes the files to another, empty folder beside it.
        keep: number of versions to keep (see `versions`).

    Raises:
        WriteError: the folder cannot be written.
    """
    with write_errors(folder):
        if not folder.parent.is_dir():
            folder.parent.mkdir(exist_ok=True)
            _sync_folder(folder.parent.parent)
        tidy_folder(folder, keep)
        unfinished = _new_unfinished(folder)
        unfinished.mkdir()
        try:
            write(unfinished)
            _finish(unfinished)
            if os.path.lexists(folder):
                folder.rename(_previous(folder))
            unfinished.rename(folder)
        except BaseException:
            _remove(unfinished)
            _restore_previous(folder)
            raise
        _sync_folder(folder.parent)
        _retire(folder, keep)


def tidy_folder(folder: Path, keep: int = 1) -> None:
    """Finish or undo what processes that were killed were doing to a folder.

    Args:
        folder: a folder that `write_folder` writes, in a folder that exists.
        keep: number of versions to keep.

    Raises:
        WriteError: the folder that it is in cannot be written.
    """
    with write_errors(folder):
        _restore_previous(folder)
        _retire(folder, keep)
        for leftover in folder.parent.glob(f"{escape(folder.name)}.*unfinished"):
            _remove(leftover)


def versions(folder: Path) -> list[Path]:
    """The versions of a folder that are there, the newest first."""
    numbered = {
        int(match[1]): path
        for path in folder.parent.glob(f"{escape(folder.name)}_*")
        if (match := re.fullmatch(rf"{re.escape(folder.name)}_(\d+)", path.name))
    }
    paths = [folder, _previous(folder), *(numbered[one] for one in sorted(numbered))]
    return [path for path in paths if path.is_dir()]


def restore_version(folder: Path, version: Path) -> None:
    """Let an older version of a folder be the newest one, and remove those that were newer.

    Raises:
        WriteError: it cannot be moved.
    """
    with write_errors(folder):
        for path in versions(folder):
            if path == version:
                break
            _remove_version(path, folder)
        if version != folder:
            version.rename(folder)
        _sync_folder(folder.parent)


def _restore_previous(folder: Path) -> None:
    """Undo that a version was moved aside, if there is no new one."""
    if _previous(folder).is_dir() and not folder.exists():
        _previous(folder).rename(folder)


def _retire(folder: Path, keep: int) -> None:
    """Keep the version that was moved aside as the newest of the older ones, if there is one."""
    previous = _previous(folder)
    if not previous.is_dir() or previous.is_symlink() or keep == 1:
        _remove_version(previous, folder)
    older = [folder.with_name(f"{folder.name}_{number}") for number in range(2, keep + 1)]
    if previous.is_dir():
        _remove_version(older[-1], folder)
        for newer, target in zip(reversed(older[:-1]), reversed(older[1:]), strict=True):
            if newer.is_dir():
                newer.rename(target)
        previous.rename(older[0])
    for left in set(versions(folder)) - {folder, *older}:
        _remove_version(left, folder)  # of a run that kept more


def existing_folder(folder: Path) -> Path:
    """The folder, or its newest version if a process ended while it was being replaced."""
    found = [] if folder.exists() else versions(folder)
    return found[0] if found else folder


def is_unfinished(name: str) -> bool:
    """Whether a file or folder has the name that this module gives to unfinished ones."""
    return _UNFINISHED.fullmatch(name) is not None


def is_free(lock: Path) -> bool:
    """Whether no process holds a lock; a link is none, and older filelocks empty its target."""
    if lock.is_symlink():
        return True
    try:
        with FileLock(lock, timeout=0):
            return True
    except (Timeout, OSError):
        return False


def _previous(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.previous")


def _new_unfinished(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.unfinished")


def _remove_version(path: Path, folder: Path) -> None:
    """Remove a version of a folder, so that no part of it is ever taken for the whole."""
    if path.is_dir() and not path.is_symlink():
        path = path.rename(_new_unfinished(folder))
    _remove(path)


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _finish(folder: Path) -> None:
    """Force the files of a new folder to the disk, with the permissions that the umask gives."""
    mode = folder.stat().st_mode & 0o666  # libraries that write to temporary files use 0o600
    for file in folder.iterdir():
        file.chmod(mode)
        _sync(file)
    _sync_folder(folder)


def _sync(file: Path) -> None:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def _sync_folder(folder: Path) -> None:
    """Force a folder's entries to the disk, where the system can do so."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
