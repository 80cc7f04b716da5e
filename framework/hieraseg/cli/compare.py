"""`hieraseg compare`: compare runs and recipes in one table."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from hieraseg.cli.layout import format_table
from hieraseg.cli.options import add_command, add_split
from hieraseg.cli.streams import write_result
from hieraseg.console import warn
from hieraseg.files.paths import expanded

_FORMATS = {"md": "Markdown", "csv": "CSV", "latex": "LaTeX", "json": "JSON"}


def add_parser(commands: Any) -> None:
    """Add the parser of `hieraseg compare`."""
    parser = add_command(
        commands,
        "compare",
        run,
        summary="compare runs or recipes in one table",
        description="""
            Compare the scores of runs in one table. A recipe stands for all of its finished runs.
            Runs that differ only in their seeds share a row, which shows the mean and the
            standard deviation. Runs that did not finish or are damaged are left out, and so are
            all but the newest run of a seed.
        """,
        examples="""
            hieraseg compare runs/quickstart/base-seed0 runs/quickstart/base-seed1
            hieraseg compare recipes/quickstart.yaml recipes/other.yaml --md
            hieraseg compare runs/quickstart --split val@flip
        """,
    )
    parser.add_argument(
        "entries",
        metavar="RUN_OR_RECIPE",
        type=expanded,
        nargs="+",
        help="run folder, folder of run folders, or recipe",
    )
    add_split(parser, "to compare on")
    parser.add_argument(
        "--runs",
        metavar="DIR",
        type=expanded,
        default=Path("runs"),
        help="folder to search for the runs of a recipe (default: runs)",
    )
    formats = parser.add_mutually_exclusive_group()
    for option, title in _FORMATS.items():
        formats.add_argument(
            f"--{option}", dest="format", action="store_const", const=option, help=f"print {title}"
        )


def run(arguments: Namespace) -> int:
    """Print the table, and warn if its rows are not comparable."""
    from hieraseg.cli import tables
    from hieraseg.compare import compare, differences

    rows = compare(arguments.entries, arguments.split, arguments.runs)
    if arguments.format is None:
        header, *lines = tables.as_table(rows)
        title = f"split {arguments.split}, mean ± standard deviation over seeds"
        write_result(format_table(header, lines, title, tables.OPTIONAL_COLUMNS))
    elif arguments.format == "json":
        write_result(json.dumps(tables.as_json(rows), indent=2))
    else:
        formats = {"md": tables.as_markdown, "csv": tables.as_csv, "latex": tables.as_latex}
        write_result(formats[arguments.format](rows))
    different = differences(rows)
    if different:
        warn(_difference(different))
    return 0


def _difference(different: dict[str, list[str]]) -> str:
    # Hashes and lists of classes are too long to read.
    parts = [
        key if key in ("data", "classes", "tree", "labels") else f"{key} ({' | '.join(values)})"
        for key, values in different.items()
    ]
    return (
        f"these runs were evaluated with different {', '.join(parts)}; "
        "their scores are not comparable"
    )
