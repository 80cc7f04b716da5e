"""Removing files and folders that are no longer needed, for `hieraseg clean` and `data --clean`."""

import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from hieraseg.cli.report import print_result
from hieraseg.errors import WriteError, first_few


def add_dry_run(parser: ArgumentParser) -> None:
    """Add the option `--dry-run`, which is also understood with an underscore."""
    parser.add_argument(
        "--dry-run",
        "--dry_run",
        action="store_true",
        help="print what would be removed, and keep it",
    )


def remove_and_print(found: Iterable[Path], arguments: Namespace) -> None:
    """Remove files and folders, unless `--dry-run` is given, and print each with its size.

    Raises:
        WriteError: some cannot be removed; all others are.
    """
    places = {path.parent.resolve() / path.name: path for path in found}  # each once
    sizes = {str(path): sum(map(_size, files_in(path))) for path in places.values()}
    failed: list[OSError] = []
    if not arguments.dry_run:
        for path in places.values():
            try:
                _remove(path)
            except OSError as error:
                failed.append(error)
                del sizes[str(path)]
    print_result(arguments.json, sizes, _as_text(sizes, arguments.dry_run))
    if failed:
        problems = [f"{error.filename}: cannot be removed ({error.strerror})" for error in failed]
        raise WriteError(first_few(problems, "leftovers stay"))


def files_in(path: Path) -> list[Path]:
    """A file, or a folder and all that is in it."""
    return [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]


def _as_text(sizes: dict[str, int], kept: bool) -> str:
    if not sizes:
        return "nothing to remove"
    lines = [f"{size / 1e6:8.1f} MB  {path}" for path, size in sizes.items()]
    done = "would be removed; run again without --dry-run to remove it" if kept else "removed"
    return "\n".join([*lines, f"{sum(sizes.values()) / 1e6:8.1f} MB  {done}"])


def _size(file: Path) -> int:
    with suppress(FileNotFoundError):  # another process may remove it, too
        return 0 if file.is_dir() else file.lstat().st_size
    return 0


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.suffix == ".lock":
            with suppress(Timeout), FileLock(path, timeout=0):  # only while nobody else holds it
                path.unlink()
        else:
            path.unlink()
