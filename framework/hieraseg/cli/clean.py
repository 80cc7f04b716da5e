"""`hieraseg clean`: remove what killed processes left behind."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from hieraseg.cli.options import add_command, add_json, non_negative_int
from hieraseg.cli.removing import add_dry_run, remove_and_print
from hieraseg.errors import RecipeError
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
            hieraseg clean --dry-run
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
        help="also remove decoded images that were not used for this number of days, or are of "
        "other versions of hieraseg, as `hieraseg data --clean DAYS` does; they are decoded again "
        "when a run needs them",
    )
    add_dry_run(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Find and remove leftovers."""
    from hieraseg.data.stores.cache import find_removable
    from hieraseg.runs.leftovers import removable_leftovers

    missing = [folder for folder in arguments.folders if not folder.is_dir()]
    if missing and arguments.folders != [Path("runs")]:
        raise RecipeError(f"{missing[0]}: no such folder; name run folders, or a folder of them")
    found = [one for folder in arguments.folders for one in removable_leftovers(folder)]
    remove_and_print([*found, *find_removable(arguments.stores)], arguments)
    return 0
