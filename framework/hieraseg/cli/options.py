"""Sub-command parsers, and the options that several of them share."""

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable
from textwrap import dedent
from typing import Any

from hieraseg.files.paths import expanded

RECIPE_HELP = "recipe file, or name of an installed recipe"
KIND_HELP = "kind of component, singular or plural: loss, losses"
_OVERRIDES = """

Override recipe values with --section.key VALUE, as in --training.epochs 3, and select
another component with --section NAME, as in --inference NAME. VALUE is parsed as YAML:
3e-4, [224, 224], null."""


def add_command(
    commands: Any,
    name: str,
    run: Callable[..., int],
    summary: str,
    description: str,
    examples: str,
    takes_overrides: bool = False,
) -> ArgumentParser:
    """Add the parser of a sub-command.

    Args:
        commands: sub-parsers of the `hieraseg` parser.
        name: name of the command.
        run: function that takes the parsed arguments and returns the exit code.
        summary: one line for `hieraseg --help`.
        description: text of the command's own help; common indentation is removed.
        examples: command lines, one per line.
        takes_overrides: whether `--section.key VALUE` is collected in `arguments.overrides`.
    """
    description = dedent(description).strip()
    parser: ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description + _OVERRIDES if takes_overrides else description,
        epilog="\n  ".join(["examples:", *map(str.strip, examples.strip().splitlines())]),
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    if takes_overrides:
        parser.set_defaults(overrides=[])
    return parser


def add_recipe(parser: ArgumentParser) -> None:
    """Add the positional argument `RECIPE`."""
    parser.add_argument("recipe", metavar="RECIPE", help=RECIPE_HELP)


def add_component(parser: ArgumentParser, name_help: str) -> None:
    """Add the positional arguments `KIND` and `NAME`."""
    parser.add_argument("kind", metavar="KIND", help=KIND_HELP)
    parser.add_argument("name", metavar="NAME", help=name_help)


def add_run_folder(parser: ArgumentParser) -> None:
    """Add the positional argument `RUN`."""
    parser.add_argument("run_folder", metavar="RUN", type=expanded, help="run folder")


def add_split(parser: ArgumentParser, purpose: str) -> None:
    """Add the option `--split`.

    Args:
        parser: parser of the command.
        purpose: what the split is for, as in `to evaluate`.
    """
    parser.add_argument("--split", default="val", help=f"split {purpose} (default: val)")


def add_out(parser: ArgumentParser, content: str, default: str | None = None) -> None:
    """Add the option `--out`.

    Args:
        parser: parser of the command.
        content: what is written to the folder.
        default: default folder; the option is required if None.
    """
    note = "" if default is None else f" (default: {default})"
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=expanded,
        default=default,
        required=default is None,
        help=f"folder to write {content} to{note}",
    )


def add_json(parser: Any) -> None:
    """Add the option `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_device(parser: ArgumentParser) -> None:
    """Add the option `--device`."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="device to run on; auto selects CUDA if available (default: auto)",
    )


def add_checkpoint(parser: ArgumentParser) -> None:
    """Add the option `--checkpoint`."""
    parser.add_argument(
        "--checkpoint",
        choices=("best", "last"),
        default="best",
        help="checkpoint to load (default: best)",
    )


def add_plugins(parser: ArgumentParser) -> None:
    """Add the option `--plugin`."""
    parser.add_argument(
        "--plugin",
        metavar="FILE",
        dest="plugins",
        type=expanded,
        action="append",
        default=[],
        help="Python file that registers components; can be repeated",
    )


def add_no_plugins(parser: ArgumentParser) -> None:
    """Add the option `--no-plugins`."""
    parser.add_argument(
        "--no-plugins",
        dest="run_plugins",
        action="store_false",
        help="refuse a run folder with plugin files, instead of running their code",
    )


def positive_int(value: str) -> int:
    """Type of an option that takes a positive integer."""
    if not value.isdecimal() or int(value) == 0:
        raise ArgumentTypeError(f"must be a positive integer, got {value!r}")
    return int(value)


def non_negative_int(value: str) -> int:
    """Type of an option that takes a non-negative integer."""
    if not value.isdecimal():
        raise ArgumentTypeError(f"must be a non-negative integer, got {value!r}")
    return int(value)
