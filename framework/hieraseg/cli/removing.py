"""What `hieraseg clean` and `hieraseg data --clean` share: remove things, and print them."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from hieraseg.cli.layout import visible
from hieraseg.cli.report import print_result
from hieraseg.errors import WriteError, first_few
from hieraseg.files.removal import Removable, remove


def add_dry_run(parser: ArgumentParser) -> None:
    """Add the option `--dry-run`; `--dry_run` is the same."""
    parser.add_argument(
        "--dry-run",
        "--dry_run",
        action="store_true",
        help="print what would be removed, and keep it",
    )


def remove_and_print(found: Iterable[Removable], arguments: Namespace) -> None:
    """Remove files and folders, unless `--dry-run` is given, and print each with its size.

    Raises:
        WriteError: some cannot be removed; all others are.
    """
    places = {one.path.parent.resolve() / one.path.name: one for one in found}  # each once
    failed: list[OSError] = []
    if not arguments.dry_run:
        for path in list(places):
            try:
                remove(path)
            except OSError as error:
                failed.append(error)
                del places[path]
    sizes = {str(path): one.bytes for path, one in places.items()}
    print_result(arguments.json, sizes, _as_text(places, arguments.dry_run))
    if failed:
        problems = [f"{error.filename}: cannot be removed ({error.strerror})" for error in failed]
        raise WriteError(first_few(problems, "leftovers stay"))


def _as_text(places: dict[Path, Removable], kept: bool) -> str:
    if not places:
        return "nothing to remove"
    width = max(len(one.reason) for one in places.values())
    lines = [
        f"{one.bytes / 1e6:8.1f} MB  {datetime.fromtimestamp(one.last_used):%Y-%m-%d}  "
        f"{one.reason:{width}}  {visible(str(path))}"
        for path, one in places.items()
    ]
    total = sum(one.bytes for one in places.values()) / 1e6
    done = "would be removed; run again without --dry-run to remove it" if kept else "removed"
    return "\n".join([*lines, f"{total:8.1f} MB  {done}"])
