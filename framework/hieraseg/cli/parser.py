"""Parse the command line of `hieraseg`."""

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from hieraseg import __version__
from hieraseg.cli import (
    bench,
    check,
    clean,
    compare,
    data,
    evaluate,
    export,
    new,
    predict,
    resume,
    run,
    schema,
    show,
    validate,
)
from hieraseg.cli import list as list_
from hieraseg.cli.overrides import Overrides, numbers_last, split_overrides
from hieraseg.errors import did_you_mean
from hieraseg.registry import by_section

_COMMANDS = (
    *(run, resume, list_, show, validate, data, bench, new, check, schema),
    *(evaluate, predict, export, compare, clean),
)


def parse(argv: Sequence[str]) -> Namespace:
    """Parse the arguments of one command.

    Args:
        argv: command line arguments, without the program name.

    Returns:
        The parsed arguments. `run` is the function of the command; `overrides` are the overrides
        of recipe values if the command takes them.

    Raises:
        SystemExit: after `--help`, or with code 2 after a usage error.
    """
    parser = ArgumentParser(
        prog="hieraseg",
        description="Hierarchical semantic segmentation from recipes.",
        epilog="Run `hieraseg COMMAND --help` for the options and examples of a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"hieraseg {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in _COMMANDS:
        module.add_parser(commands)
    words = [word for word in argv if not word.startswith("-")]
    if words and words[0] not in commands.choices:
        hint = did_you_mean(words[0], commands.choices)
        parser.error(f"unknown command {words[0]!r}, {hint}")
    command = commands.choices[words[0]] if words else parser
    return _parse_command(argv, parser, command)


def _parse_command(
    argv: Sequence[str], parser: ArgumentParser, command: ArgumentParser
) -> Namespace:
    takes_overrides = command.get_default("overrides") is not None
    known = _options(command)
    overrides: Overrides = []
    if takes_overrides:
        argv, overrides = split_overrides(argv, command)
        known += [f"--{section}" for section in by_section()]
    for word in argv:
        # argparse takes an unknown option with a space, `--option={a: b}`, for a positional.
        option = word.partition("=")[0]
        if word.startswith("--") and " " in word and option not in known:
            command.error(_unknown(word, known))
    arguments, unknown = parser.parse_known_args(numbers_last(argv))
    if unknown:
        command.error(_unknown(unknown[0], known))
    if takes_overrides:
        arguments.overrides = overrides
    return arguments


def _options(command: ArgumentParser) -> list[str]:
    """All option strings of a command. The usage line shows all but `--help`."""
    return ["-h", "--help", *re.findall(r"--[a-z][\w.-]*", command.format_usage())]


def _unknown(word: str, known: Sequence[str]) -> str:
    """Message for an argument that the command does not take."""
    if not word.startswith("-"):
        return f"unexpected argument {word!r}"
    option = word.partition("=")[0]
    return f"unknown option {option!r}, {did_you_mean(option, known)}"
