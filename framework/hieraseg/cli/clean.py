"""`hieraseg clean`: remove what killed processes left behind."""

import math
import shutil
import time
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hieraseg.cli.options import add_command, add_json, non_negative_int
from hieraseg.cli.report import print_result
from hieraseg.errors import RecipeError, WriteError, first_few
from hieraseg.files.paths import expanded


def add_parser(commands: Any) -> None:
    """Add the parser of `hieraseg clean`."""
    parser = add_command(
        commands,
        "clean",
        run,
        summary="remove what killed processes left behind",
        description="""
            Remove unfinished files, previous versions of checkpoints and unused locks from run
            folders, and unfinished folders and unused locks from the cache of decoded images.
            Nothing else is removed, and nothing that changed within the last minute or that a
            running process has locked.
        """,
        examples="""
            hieraseg clean --dry_run
            hieraseg clean runs /data/runs
            hieraseg clean --stores 30
        """,
    )
    parser.add_argument(
        "folders",
        metavar="DIR",
        type=expanded,
        nargs="*",
        default=[Path("runs")],
        help="run folders, or folders of run folders (default: runs)",
    )
    parser.add_argument(
        "--stores",
        metavar="DAYS",
        type=non_negative_int,
        help="also remove decoded images that were not used for this number of days; they are "
        "decoded again when a run needs them",
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="print what would be removed, and keep it"
    )
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Find and remove leftovers, and print them with their sizes."""
    from hieraseg.data import cache
    from hieraseg.files.writing import RECENT, is_free
    from hieraseg.runs.leftovers import find_leftovers

    missing = [folder for folder in arguments.folders if not folder.is_dir()]
    if missing and arguments.folders != [Path("runs")]:
        raise RecipeError(f"{missing[0]}: no such folder; name run folders, or a folder of them")
    found = [path for folder in arguments.folders for path in find_leftovers(folder)]
    found = [path for path in found if time.time() - _changed(path) > RECENT]
    found = [path for path in found if path.suffix != ".lock" or is_free(path)]
    found += cache.find_leftovers(arguments.stores)
    places = {path.parent.resolve() / path.name: path for path in found}  # each once
    sizes = {str(path): sum(map(_size, _files_in(path))) for path in places.values()}
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
    return 0


def _as_text(sizes: dict[str, int], kept: bool) -> str:
    if not sizes:
        return "nothing to remove"
    lines = [f"{size / 1e6:8.1f} MB  {path}" for path, size in sizes.items()]
    done = "would be removed; run again without --dry_run to remove it" if kept else "removed"
    return "\n".join([*lines, f"{sum(sizes.values()) / 1e6:8.1f} MB  {done}"])


def _files_in(path: Path) -> list[Path]:
    """A file, or a folder and all that is in it."""
    return [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]


def _changed(path: Path) -> float:
    """Time of the last change of a file, or of anything in a folder; infinite if it vanishes."""
    try:
        return max(file.lstat().st_mtime for file in _files_in(path))
    except FileNotFoundError:
        return math.inf


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
