"""Overrides of recipe values on the command line: `--loss tree_min --loss.gamma 2`."""

from argparse import ArgumentParser
from collections.abc import Sequence

from hieraseg.registry import by_section
from hieraseg.registry.sections import SECTIONS

Overrides = list[tuple[str, str]]
NUMBER_LISTS = ("--seeds", "--scales")
"""Options that take any number of numbers."""


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
        if word.startswith("--") and key in SECTIONS:
            parser.error(f"--{key} is a section; set a key of it, as in --{key}.KEY VALUE")
        elif not word.startswith("--") or ("." not in key and key not in by_section()):
            others.append(word)
        elif equals:
            overrides.append((key, value))
        elif not words or words[0].startswith("--"):
            parser.error(f"--{key} needs a value, as in --{key} VALUE")
        else:
            overrides.append((key, words.pop(0)))
    return others, overrides


def numbers_last(argv: Sequence[str]) -> list[str]:
    """Move options that take several numbers to the end, where they take nothing else.

    `--seeds 0 1 RECIPE` becomes `RECIPE --seeds 0 1`, because argparse takes all words that follow
    such an option for its values.
    """
    others: list[str] = []
    moved: list[str] = []
    words = list(argv)
    while words and words[0] != "--":
        option = words.pop(0)
        if option not in NUMBER_LISTS or not (words and _is_number(words[0])):
            others.append(option)
            continue
        moved.append(option)
        while words and _is_number(words[0]):
            moved.append(words.pop(0))
    return [*others, *moved, *words]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
