"""Overrides of recipe values on the command line: `--loss tree_min --loss.gamma 2`."""

from argparse import ArgumentParser
from collections.abc import Sequence

from hieraseg.errors import did_you_mean
from hieraseg.registry import by_section

Overrides = list[tuple[str, str]]


def split_overrides(argv: Sequence[str], parser: ArgumentParser) -> tuple[list[str], Overrides]:
    """The words that are no overrides, and the overrides as pairs of dotted key and text.

    An override is `--section.key VALUE`, `--section.key=VALUE` or `--section NAME`. It is taken
    out before argparse reads the words, as argparse would take its value for a recipe.
    """
    rest: list[str] = []
    overrides: Overrides = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            return [*rest, word, *words], overrides
        key, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or ("." not in key and key not in by_section()):
            rest.append(word)
        elif equals:
            overrides.append((key, text))
        elif not words or words[0].startswith("--"):
            parser.error(f"--{key} needs a value, as in --{key} VALUE")
        else:
            overrides.append((key, words.pop(0)))
    return rest, overrides


def unknown_option(word: str, parser: ArgumentParser, takes_overrides: bool) -> str:
    """The sentence on a word that no option or positional argument takes."""
    if not word.startswith("-"):
        return f"unexpected argument {word!r}"
    option = word.partition("=")[0]
    known = [name for action in parser._actions for name in action.option_strings]
    if takes_overrides:
        known += [f"--{section}" for section in by_section()]
    return f"unknown option {option!r}, {did_you_mean(option, known)}"
