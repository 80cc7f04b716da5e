"""The files of a folder."""

import os
from collections.abc import Iterator
from pathlib import Path
from unicodedata import normalize

from hieraseg.errors import DataError


def list_files(root: Path, prefix: str, levels: int | None) -> list[str]:
    """Paths of the files below `root/prefix`, relative to the root, sorted.

    Hidden files and folders are left out. Links are followed, but for one that leads back to a
    folder which it lies in.

    Args:
        root: the folder.
        prefix: a folder inside it; empty for the root itself.
        levels: how many folders deep files are searched for; None for any number.

    Raises:
        DataError: a folder cannot be read.
    """
    found = locate(root, prefix)
    if found is None or not (root / found).is_dir():
        return []
    above = f"{found}/" if found else ""
    return sorted(_walk(str(root / found), above, levels, frozenset()))


def locate(root: Path, path: str) -> str | None:
    """A path relative to a root as the disk writes it, which can be in NFC or NFD; None if absent.

    macOS decomposes letters such as ü in the names of files, and editors compose them.
    """
    written = dict.fromkeys((path, normalize("NFC", path), normalize("NFD", path)))
    return next((one for one in written if os.path.lexists(root / one)), None)


def _walk(
    folder: str, above: str, levels: int | None, parents: frozenset[tuple[int, int]]
) -> Iterator[str]:
    """Paths of a folder's files, after the path `above` of the folder itself."""
    try:
        status = os.stat(folder)
        entries = list(os.scandir(folder))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
    parents |= {(status.st_dev, status.st_ino)}
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            # A broken link is reported when it is read, but reading a pipe would never end.
            if entry.is_file() or entry.is_symlink():
                yield above + entry.name
        elif levels != 0 and not (entry.is_symlink() and _identity(entry.path) in parents):
            below = None if levels is None else levels - 1
            yield from _walk(entry.path, f"{above}{entry.name}/", below, parents)


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
