"""The files of a folder."""

import os
from pathlib import Path
from unicodedata import normalize

from hieraseg.errors import DataError


def list_files(root: Path, prefix: str, levels: int | None) -> list[str]:
    """Paths of the files below `root/prefix`, relative to the root, in any order.

    Hidden files and folders are left out. Links are followed, but for one that leads back to a
    folder which it lies in.

    Args:
        root: the folder.
        prefix: a folder inside it; empty for the root itself.
        levels: how many folders deep files are searched for; None for any number.

    Raises:
        DataError: a folder cannot be read.
    """
    start = locate(root, prefix)
    files: list[str] = []
    if start is not None and (root / start).is_dir():
        _walk(str(root / start), f"{start}/" if start else "", levels, frozenset(), files)
    return files


def locate(root: Path, path: str) -> str | None:
    """A path relative to a root as the disk writes it, which can be in NFC or NFD; None if absent.

    macOS decomposes letters such as ü in the names of files, and editors compose them.
    """
    written = dict.fromkeys((path, normalize("NFC", path), normalize("NFD", path)))
    return next((one for one in written if os.path.lexists(root / one)), None)


def _walk(
    folder: str,
    above: str,
    levels: int | None,
    parents: frozenset[tuple[int, int]],
    files: list[str],
) -> None:
    """Add the paths of a folder's files.

    Args:
        folder: the folder.
        above: what its files' paths start with.
        levels: see `list_files`.
        parents: device and inode of each folder above it, by which loops are found.
        files: what the paths are added to.
    """
    try:
        status = os.stat(folder)
        visible = [one for one in os.scandir(folder) if not one.name.startswith(".")]
        entries = [(one, one.is_dir()) for one in visible]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
    parents |= {(status.st_dev, status.st_ino)}
    for entry, is_folder in entries:
        if not is_folder:
            # A broken link is reported when it is read, but reading a pipe would never end.
            if entry.is_symlink() or entry.is_file():
                files.append(above + entry.name)
        elif levels != 0 and not (entry.is_symlink() and _identity(entry.path) in parents):
            below = None if levels is None else levels - 1
            _walk(entry.path, f"{above}{entry.name}/", below, parents, files)


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
