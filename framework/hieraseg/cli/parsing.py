"""What the parsers of several sub-commands share."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

from hieraseg.errors import RecipeError
from hieraseg.registry import plugin_files


def add_command(
    commands: Any,
    name: str,
    run: Callable[..., int],
    summary: str,
    description: str,
    examples: str,
    takes_overrides: bool = False,
) -> ArgumentParser:
    """A sub-command's parser.

    Args:
        commands: the parent's sub-parsers.
        name: of the command.
        run: takes the parsed arguments and returns the exit code.
        summary: one line for `hieraseg --help`.
        description: for the command's own help.
        examples: command lines, indented as one likes.
        takes_overrides: whether `--section.key VALUE` is collected in `arguments.overrides`.
    """
    description = dedent(description).strip()
    parser: ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description + _OVERRIDES if takes_overrides else description,
        epilog="examples:\n" + _indented(examples),
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    if takes_overrides:
        parser.set_defaults(overrides=[])
    return parser


def add_json(parser: Any) -> None:
    """The option `--json`."""
    parser.add_argument("--json", action="store_true", help="answer in JSON")


def add_device(parser: ArgumentParser) -> None:
    """The option `--device`."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where to compute; auto takes CUDA where there is one (default: auto)",
    )


def add_checkpoint(parser: ArgumentParser) -> None:
    """The option `--checkpoint`."""
    parser.add_argument(
        "--checkpoint",
        choices=("best", "last"),
        default="best",
        help="the weights of the run to take (default: best)",
    )


def add_plugins(parser: ArgumentParser) -> None:
    """The option `--plugin`."""
    parser.add_argument(
        "--plugin",
        metavar="FILE",
        dest="plugins",
        type=Path,
        action="append",
        default=[],
        help="a Python file that registers components; may be given several times",
    )


@contextmanager
def given_plugins(arguments: Namespace) -> Iterator[None]:
    """The files of `--plugin`, known to the registries inside this context.

    Raises:
        RecipeError: one of them is broken.
    """
    from hieraseg.recipe.composing import Named
    from hieraseg.recipe.plugins import open_plugins
    from hieraseg.recipe.reading import COMMAND_LINE

    named = [Named(plugin, COMMAND_LINE, "--plugin") for plugin in arguments.plugins]
    files, problems = open_plugins(named)
    if problems:
        raise RecipeError("\n".join(map(str, problems)))
    with plugin_files(files):
        yield


def count(text: str) -> int:
    """A number of things, as an argparse type."""
    number = int(text)
    if number < 0:
        raise ValueError(f"{number} is negative")
    return number


_OVERRIDES = """

Any value of the recipe can be set: --section.key VALUE, as in --training.epochs 3; or another
component: --section NAME, as in --inference NAME. VALUE is read as YAML: 3e-4, [224, 224], null."""


def _indented(text: str) -> str:
    return "\n".join(f"  {line.strip()}" for line in text.strip().splitlines())
