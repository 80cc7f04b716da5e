"""`hieraseg compare`: compare runs and recipes in one table, a page or a figure."""

import json
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hieraseg.cli.options import add_command, add_no_plugins, add_split, positive_int
from hieraseg.cli.streams import write_result
from hieraseg.comparison.comparison import Comparison
from hieraseg.console import log, warn
from hieraseg.errors import RecipeError
from hieraseg.files.paths import expanded

_FORMATS = {"md": "Markdown", "csv": "CSV", "latex": "LaTeX", "json": "JSON"}
_IMAGES = 8


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
            standard deviation over n seeds, and those settings in which rows differ. Runs of other
            code or data are not averaged. Runs that did not finish or are damaged are left out,
            and so are all but the newest run of a seed. Scores are fractions: 0.654 is 65.4 points.

            With --baseline, each row is compared to one, image by image: the difference of the
            mIoU on each level; its 95 % interval, over images and seeds; the probability that it
            is positive; the p-value, corrected for all rows and levels; a verdict, from 3 seeds
            on; and the smallest difference that these images and seeds could show.
        """,
        examples="""
            hieraseg compare recipes/quickstart.yaml recipes/quickstart_ce.yaml --sort 'mIoU L3'
            hieraseg compare runs/quickstart --baseline marginal_ce --per-class
            hieraseg compare runs/study_cpu --split holdout --baseline flat --html study.html
            hieraseg compare runs/quickstart --columns 'loss,mIoU,coherence' --latex
            hieraseg compare runs/quickstart --split val@flip --drop minutes --md
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
    _add_statistics(parser)
    _add_columns(parser)
    _add_outputs(parser)


def _add_statistics(parser: Any) -> None:
    parser.add_argument(
        "--baseline",
        metavar="ROW",
        help="row that the others are compared to: its name, or a part that no other row has",
    )
    parser.add_argument(
        "--per-class", action="store_true", help="compare the IoU of each class to the baseline"
    )


def _add_columns(parser: Any) -> None:
    parser.add_argument(
        "--sort",
        metavar="COLUMN",
        help="sort rows, the best first: high scores, low costs and errors; settings and `recipe` "
        "by name",
    )
    parser.add_argument(
        "--columns",
        metavar="A,B",
        type=_names,
        help="columns to show, in any case; also those that only --csv and --json have, such as "
        "`ECE L3`; `mIoU` is that of all levels",
    )
    parser.add_argument(
        "--drop", metavar="A,B", type=_names, default=[], help="columns to leave out"
    )


def _add_outputs(parser: Any) -> None:
    formats = parser.add_mutually_exclusive_group()
    for option, title in _FORMATS.items():
        formats.add_argument(
            f"--{option}", dest="format", action="store_const", const=option, help=f"print {title}"
        )
    parser.add_argument(
        "--html", metavar="FILE", type=expanded, help="write a page that needs no network"
    )
    parser.add_argument(
        "--images",
        metavar="N",
        type=positive_int,
        help=f"number of images whose predictions the page shows (default: {_IMAGES})",
    )
    add_no_plugins(parser)  # of which only the page runs any, to predict images
    parser.add_argument(
        "--plot", metavar="FILE", type=expanded, help="write a figure: .png, .svg or .pdf"
    )
    parser.add_argument(
        "--per-image",
        metavar="FILE",
        type=expanded,
        help="write the scores of each image as CSV, for other tools of statistics",
    )


def _names(text: str) -> list[str]:
    return [name for name in map(str.strip, text.split(",")) if name]


def run(arguments: Namespace) -> int:
    """Print the table, write files, and warn if rows are not comparable."""
    from hieraseg.compare import compare
    from hieraseg.comparison.choosing import sorted_rows

    _check(arguments)
    comparison = compare(
        arguments.entries,
        arguments.split,
        arguments.runs,
        arguments.baseline,
        # The page shows classes in any case.
        per_class=arguments.per_class or bool(arguments.baseline and arguments.html),
    )
    if arguments.sort is not None:
        comparison = replace(comparison, rows=sorted_rows(comparison.rows, arguments.sort))
    _print(comparison, arguments)
    _warn(comparison)
    _write(comparison, arguments)
    return 0


def _check(arguments: Namespace) -> None:
    """Raise RecipeError for options that lack another one, and for files that cannot be."""
    if arguments.per_class and arguments.baseline is None:
        raise RecipeError("--per-class: compares classes to a baseline; add --baseline ROW")
    if arguments.images is not None and arguments.html is None:
        raise RecipeError("--images: is for the page alone; add --html FILE")
    for option in ("html", "plot", "per_image"):
        file = getattr(arguments, option)
        if file is not None and not file.parent.is_dir():
            name = option.replace("_", "-")
            raise RecipeError(f"--{name}: {file.parent}: no such folder; create it first")
    if arguments.plot is not None:
        from hieraseg.page.plot import format_of

        format_of(arguments.plot)


def _print(comparison: Comparison, arguments: Namespace) -> None:
    """Print the comparison in the requested format."""
    from hieraseg.cli import compare_report, tables
    from hieraseg.comparison.choosing import choose_columns
    from hieraseg.comparison.columns import all_columns, main_columns

    has_all = arguments.format in ("csv", "json")
    default = (all_columns if has_all else main_columns)(comparison.rows)
    columns = choose_columns(comparison.rows, default, arguments.columns, arguments.drop)
    per_class = arguments.per_class
    if not per_class:
        comparison = replace(comparison, class_differences={})
    if arguments.format is None:
        text = compare_report.as_text(comparison, columns, per_class)
    elif arguments.format == "json":
        text = json.dumps(tables.as_json(comparison, columns), indent=2)
    elif arguments.format == "csv":
        text = tables.as_csv(comparison, columns)
    elif arguments.format == "md":
        text = tables.as_markdown(comparison, columns, per_class)
    else:
        text = tables.as_latex(comparison, columns, per_class)
    write_result(text)
    if arguments.format == "csv":
        for note in comparison.notes:
            log(note)


def _warn(comparison: Comparison) -> None:
    """Warn if scores are not comparable."""
    from hieraseg.comparison.protocol import in_words, protocol_differences

    different = protocol_differences(comparison.rows)
    if different:
        warn(
            f"these runs were evaluated with different {in_words(different)}; "
            "their scores are not comparable"
        )


def _write(comparison: Comparison, arguments: Namespace) -> None:
    """Write the page, the figure and the scores of images, if they are asked for."""
    # Each imports a library that the table does not need.
    if arguments.per_image:
        from hieraseg.comparison.per_image import write_per_image

        _replace(arguments.per_image, lambda file: write_per_image(file, comparison.rows))
    if arguments.plot:
        from hieraseg.page.plot import write_plot

        _replace(arguments.plot, lambda file: write_plot(file, comparison))
    if arguments.html:
        from hieraseg.page.write import write_page

        images, run_plugins = arguments.images or _IMAGES, arguments.run_plugins
        _replace(arguments.html, lambda file: write_page(file, comparison, images, run_plugins))


def _replace(file: Path, write: Callable[[Path], None]) -> None:
    """Write a file, and say if it replaces another one."""
    existed = file.exists()
    write(file)
    log(f"{'replaced' if existed else 'wrote'} {file}")
