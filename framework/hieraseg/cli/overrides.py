"""Overrides of recipe values on the command line: `--loss tree_min --loss.gamma 2`."""

from argparse import ArgumentParser
from collections.abc import Sequence

from hieraseg.registry import by_section

Overrides = list[tuple[str, str]]


def split_overrides(argv: Sequence[str], parser: ArgumentParser) -> tuple[list[str], Overrides]:
    """Separate overrides from other command line arguments.

    An override is `--section.key VALUE`, `--section.key=VALUE` or `--section NAME`. Overrides are
    removed before argparse runs, which would take their values for positional arguments.

    Args:
        argv: command line arguments.
        parser: parser of the command; reports an override without a value.

    Returns:
        The other arguments, and the overrides as pairs of dotted key and unparsed value.
    """
    others: list[str] = []
    overrides: Overrides = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            return [*others, word, *words], overrides
        key, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or ("." not in key and key not in by_section()):
            others.append(word)
        elif equals:
            overrides.append((key, value))
        elif not words or words[0].startswith("--"):
            parser.error(f"--{key} needs a value, as in --{key} VALUE")
        else:
            overrides.append((key, words.pop(0)))
    return others, overrides
