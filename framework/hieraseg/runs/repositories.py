"""The git repositories that the code and the recipe of a run are in, and their uncommitted changes.

Neither addresses of remotes nor environment variables are read, which can hold secrets.
"""

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hieraseg.files.writing import write_bytes
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.records import sha256

LARGEST_DIFF = 2 * 2**20
"""Bytes of the largest patch that is kept."""

_MOST_UNTRACKED = 100
_SECONDS = 30  # that git has
_PLACES = {
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"),
    *("GIT_NAMESPACE", "GIT_PREFIX"),
}
"""Variables, as of hooks of git, that name one repository for all folders."""


@dataclass(frozen=True)
class Repository:
    """A git repository.

    Attributes:
        root: its working tree.
        revision: hash of the commit that is checked out; None if there is none yet.
        diff: uncommitted changes of files that git knows, as a patch; None if git does not say,
            such as before the first commit, or where it takes too long.
        untracked: files that git does not know, without those that it ignores; the first 100.
    """

    root: Path
    revision: str | None
    diff: bytes | None
    untracked: tuple[str, ...]


def repositories_of(files: Iterable[Path]) -> list[Repository]:
    """The repositories that know at least one of some files.

    A file may be below a repository that does not know it, as packages are that are installed
    there.
    """
    by_root: dict[Path, list[Path]] = {}
    for file in dict.fromkeys(one.resolve() for one in files):
        root = next((folder for folder in file.parents if (folder / ".git").exists()), None)
        if root is not None:
            by_root.setdefault(root, []).append(file)
    return [
        _read(root)
        for root, inside in sorted(by_root.items())
        if _git(root, "ls-files", "-z", "--", *map(str, inside))
    ]


def _read(root: Path) -> Repository:
    revision = _git(root, "rev-parse", "HEAD")
    untracked = _git(root, "ls-files", "-z", "--others", "--exclude-standard") or b""
    names = [name for name in untracked.decode(errors="replace").split("\0") if name]
    return Repository(
        root=root,
        revision=None if revision is None else revision.decode().strip(),
        diff=_git(root, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD"),
        untracked=tuple(names[:_MOST_UNTRACKED]),
    )


def save_changes(folder: RunFolder, repositories: Iterable[Repository]) -> list[dict[str, Any]]:
    """Write the uncommitted changes of repositories into a run folder, as `changes/<name>.diff`.

    Returns:
        For each repository its `root`, `revision` and `untracked` files; and `changes`, None
        without any, else their `bytes`, and the `file`, relative to the run folder, with its
        `sha256`. Larger ones than `LARGEST_DIFF` have no file; if it is not known whether there
        are any, there are no bytes either.

    Raises:
        WriteError: they cannot be written.
    """
    return [
        {
            "root": str(one.root),
            "revision": one.revision,
            "changes": None if one.diff == b"" else _save(folder, one.root, one.diff),
            "untracked": list(one.untracked),
        }
        for one in repositories
    ]


def _save(folder: RunFolder, root: Path, diff: bytes | None) -> dict[str, Any]:
    record: dict[str, Any] = {"bytes": None if diff is None else len(diff), "file": None}
    if diff is None or len(diff) > LARGEST_DIFF:
        return record
    path = folder.new_copy(folder.changes, Path(f"{root.name or 'root'}.diff"))
    write_bytes(path, diff)
    return record | {"file": path.relative_to(folder.path).as_posix(), "sha256": sha256(path)}


def _git(folder: Path, *arguments: str) -> bytes | None:
    """What git prints; None if there is none, or it fails."""
    own = {name: value for name, value in os.environ.items() if name not in _PLACES}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            timeout=_SECONDS,
            env={**own, "GIT_OPTIONAL_LOCKS": "0"},  # nobody else waits for this
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
