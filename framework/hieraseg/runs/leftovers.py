"""What killed processes leave in run folders."""

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from hieraseg.files.removal import Removable, files_in, removable
from hieraseg.files.writing import RECENT, is_free, is_unfinished
from hieraseg.runs.folder import RECORDS

_JOB_LOCK = re.compile(r"\..+-seed\d+\.lock")


def find_leftovers(folder: Path) -> list[Path]:
    """Find what killed processes left below a folder, and locks that nobody needs any more.

    In run folders these are unfinished files and folders, previous versions of folders that are
    whole, `result.lock` and `run.lock`; elsewhere, only what has the exact name of an unfinished
    file or folder, or of the lock of a job. A process that is running now may still use some of
    them.
    """
    found: list[Path] = []
    runs: set[str] = set()  # run folders and the folders in them
    for root, folders, files in os.walk(folder):
        if os.path.dirname(root) in runs or not set(RECORDS).isdisjoint(files):
            runs.add(root)
        names = sorted((*folders, *files))
        here = [
            Path(root, name)
            for name in names
            if is_unfinished(name)
            or _JOB_LOCK.fullmatch(name)
            or (root in runs and _is_leftover(root, name))
        ]
        found += here
        folders[:] = sorted(set(folders) - {path.name for path in here})
    return found


def removable_leftovers(folder: Path) -> list[Removable]:
    """The leftovers below a folder that no running process uses, as far as that can be known.

    What changed within the last minute may be in use.
    """
    found = []
    for path in find_leftovers(folder):
        with suppress(FileNotFoundError):  # another process may remove it, too
            if time.time() - _changed(path) <= RECENT:
                continue
            if path.suffix != ".lock":
                found.append(removable(path, "unfinished"))
            elif is_free(path):
                found.append(removable(path, "lock"))
    return found


def _changed(path: Path) -> float:
    """Time of the last change of a file, or of anything in a folder."""
    return max(file.lstat().st_mtime for file in files_in(path))


def _is_leftover(root: str, name: str) -> bool:
    """Whether a file or folder in a run folder is a leftover."""
    stem, _, suffix = name.rpartition(".")
    return (
        suffix == "unfinished"
        or name in ("result.lock", "run.lock")
        or (suffix == "previous" and _has_all_of(Path(root, stem), Path(root, name)))
    )


def _has_all_of(folder: Path, previous: Path) -> bool:
    """Whether a folder has all files of its previous version: a copy of it may be cut off."""
    names = [{file.name for file in one.glob("*")} for one in (folder, previous)]
    return folder.is_dir() and names[0] >= names[1]
