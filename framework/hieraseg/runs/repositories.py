"""The git repositories that the code and the recipe of a run are in, and their uncommitted changes.

Neither addresses of remotes nor environment variables are read, which can hold secrets.
"""

import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from threading import Timer
from typing import IO, Any, cast

from hieraseg.console import warn
from hieraseg.files.paths import quoted
from hieraseg.files.writing import write_bytes
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.records import sha256

LARGEST_DIFF = 2 * 2**20
"""Bytes of the largest patch that is kept."""

_MOST_NAMES = 100
_SECONDS = 30  # that git has
_DIFF = (
    *("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--full-index"),
    *("--src-prefix=a/", "--dst-prefix=b/"),
)
# Whole folders, since many repositories have the files of all runs in them; but none in which
# everything is ignored, as virtual environments.
_UNTRACKED = (
    *("ls-files", "-z", "--others", "--exclude-standard", "--directory", "--no-empty-directory"),
)
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
        revision: hash of the commit that is checked out; None if there is none yet, or if git does
            not read the repository.
        diff: uncommitted changes of files that git knows, as a patch; None if git does not say,
            such as before the first commit, or where it takes too long.
        left_out: changed binary files whose content is not in it, since the patch would be larger
            than `LARGEST_DIFF`; the first 100.
        untracked: files and whole folders that git does not know, without those that it ignores;
            the first 100.
    """

    root: Path
    revision: str | None
    diff: bytes | None
    left_out: tuple[str, ...]
    untracked: tuple[str, ...]


def repositories_of(files: Iterable[Path]) -> list[Repository]:
    """The repositories that know at least one of some files.

    A file may be below a repository that does not know it, as packages are that are installed
    there. A repository that git does not read is one of them, after a warning.
    """
    by_root: dict[Path, list[Path]] = {}
    for file in dict.fromkeys(one.resolve() for one in files):
        root = next((folder for folder in file.parents if (folder / ".git").exists()), None)
        if root is not None:
            by_root.setdefault(root, []).append(file)
    known = {
        root: _git(root, "ls-files", "-z", "--", *map(str, inside))
        for root, inside in sorted(by_root.items())
    }
    unread = [root for root, listed in known.items() if listed is None]
    if unread:
        warn(_notice(unread))
    return [
        Repository(root, None, None, (), ()) if listed is None else _read(root)
        for root, listed in known.items()
        if listed != b""
    ]


def _notice(unread: Sequence[Path]) -> str:
    """Which repositories git does not read, why, and what to do."""
    if which("git") is None:
        problem, fix = "git is not installed", "install it"
    else:
        said = [_error_of_git(root).splitlines() for root in unread]
        reason = next(iter(said[0]), "no message").removeprefix("fatal: ")
        allow = [line.strip() for lines in said for line in lines if "safe.directory" in line]
        problem = f"cannot be read by git ({reason})"
        fix = f"run `{' && '.join(allow) or f'git -C {quoted(unread[0])} status'}`"
    return (
        f"{', '.join(map(str, unread))}: {problem}, so provenance.json has neither the revision "
        f"nor the uncommitted changes; {fix}"
    )


def _error_of_git(root: Path) -> str:
    """What git says of a repository that it does not read, in English."""
    command = ["git", "-C", str(root), "ls-files", "--", ".git"]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_SECONDS, env=_environment() | {"LC_ALL": "C"}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stderr.decode(errors="replace")


def _read(root: Path) -> Repository:
    revision = _git(root, "rev-parse", "HEAD")
    diff, left_out = _changes(root)
    return Repository(
        root=root,
        revision=None if revision is None else revision.decode().strip(),
        diff=diff,
        left_out=left_out,
        untracked=_names(_git(root, *_UNTRACKED)),
    )


def _changes(root: Path) -> tuple[bytes | None, tuple[str, ...]]:
    """See `Repository.diff` and `Repository.left_out`."""
    whole = _git(root, *_DIFF, "--binary", "HEAD", most=LARGEST_DIFF)
    if whole is not None:
        return whole, ()
    lines = _git(root, *_DIFF, "--numstat", "-z", "HEAD") or b""
    binary = [line[4:] for line in lines.split(b"\0") if line.startswith(b"-\t-\t")]
    return _git(root, *_DIFF, "HEAD"), _names(b"\0".join(binary))


def _names(listed: bytes | None) -> tuple[str, ...]:
    """The first of some names that git separates by zeros."""
    names = (listed or b"").decode(errors="replace").split("\0")
    return tuple(list(filter(None, names))[:_MOST_NAMES])


def save_changes(folder: RunFolder, repositories: Iterable[Repository]) -> list[dict[str, Any]]:
    """Write the uncommitted changes of repositories into a run folder, as `changes/<name>.diff`.

    Returns:
        For each repository its `root`, `revision` and `untracked` files; and `changes`, None
        without any, else their `bytes`, the `file`, relative to the run folder, with its `sha256`,
        and the binary files that are `left_out`. Larger ones than `LARGEST_DIFF` have no file; if
        it is not known whether there are any, there are no bytes either.

    Raises:
        WriteError: they cannot be written.
    """
    return [
        {
            "root": str(one.root),
            "revision": one.revision,
            "changes": None if one.diff == b"" else _save(folder, one),
            "untracked": list(one.untracked),
        }
        for one in repositories
    ]


def _save(folder: RunFolder, repository: Repository) -> dict[str, Any]:
    diff, root = repository.diff, repository.root
    record: dict[str, Any] = {"bytes": None if diff is None else len(diff), "file": None}
    if diff is None or len(diff) > LARGEST_DIFF:
        return record
    path = folder.new_copy(folder.changes, Path(f"{root.name or 'root'}.diff"))
    write_bytes(path, diff)
    record |= {"file": path.relative_to(folder.path).as_posix(), "sha256": sha256(path)}
    return record | {"left_out": list(repository.left_out)}


def _git(folder: Path, *arguments: str, most: int | None = None) -> bytes | None:
    """What git prints.

    Args:
        folder: a folder of the repository.
        arguments: those of the command.
        most: number of bytes of which no more are read.

    Returns:
        None if there is no git, it fails or takes too long, or prints more.
    """
    try:
        with subprocess.Popen(
            ["git", "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        ) as git:
            printed = _read_pipe(git, most)
    except OSError:
        return None
    return printed if git.returncode == 0 else None


def _environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name not in _PLACES}
    return {**own, "GIT_OPTIONAL_LOCKS": "0"}  # nobody else waits for this


def _read_pipe(git: subprocess.Popen[bytes], most: int | None) -> bytes | None:
    """What a process prints until it ends; None if that is more, or takes too long."""
    timer = Timer(_SECONDS, git.kill)
    timer.start()
    try:
        printed = cast(IO[bytes], git.stdout).read(-1 if most is None else most + 1)
        if most is not None and len(printed) > most:
            return None
        git.wait()
        return printed
    finally:
        timer.cancel()
        git.kill()  # without an effect on one that has ended
