"""Swept keys of the command line, and how their values are combined."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

from hieraseg.errors import RecipeError
from hieraseg.recipe.reading import Override
from hieraseg.recipe.sweep import swept_key_problem

Grid = Mapping[str, Sequence[Override]]
"""Values by swept key."""

# A quoted string, or any other character; a quote inside a word is an apostrophe.
_TOKEN = re.compile(r"""(?<![^\s,:\[{])(?:'(?:[^']|'')*'|"(?:[^"\\]|\\.)*")|.""", re.DOTALL)
_EXAMPLE = "as in --sweep loss.gamma=0,1,2"


def read_grid(options: Sequence[str]) -> dict[str, list[Override]]:
    """Read options `--sweep KEY=VALUE,VALUE`.

    Args:
        options: the value of each option. Values are YAML, separated by the commas outside of
            brackets, braces and quotes.

    Raises:
        RecipeError: all problems of the options.
    """
    grid: dict[str, list[Override]] = {}
    problems = []
    for text in options:
        key, equals, values = text.partition("=")
        key = key.removesuffix(".name")
        split = [value.strip() for value in split_values(values)]
        problem = swept_key_problem(key)
        if not key or not equals:
            problem = f"expected KEY=VALUE,VALUE, {_EXAMPLE}, got {text!r}"
        elif key in grid:
            problem = "duplicate key; give all of its values in one --sweep"
        elif not all(split):
            problem = f"empty value in {values!r}; write null for no value"
        repeated = [value for index, value in enumerate(split) if value in split[:index]]
        if repeated and not problem:
            problem = f"duplicate {repeated[0]}; give each value once"
        if problem:
            problems.append(f"command line: --sweep {key}: {problem}")
        grid[key] = [Override(key, value) for value in split]
    if problems:
        raise RecipeError("\n".join(problems))
    return grid


def split_values(text: str) -> Iterator[str]:
    """Split YAML values at the commas outside of brackets, braces and quotes."""
    value, depth = "", 0
    for token in _TOKEN.findall(text):
        depth += (token in ("[", "{")) - (token in ("]", "}"))
        if token == "," and depth == 0:
            yield value
            value = ""
        else:
            value += token
    yield value


def combinations(grid: Grid, typed: Grid, zipped: bool) -> list[tuple[Override, ...]]:
    """The values of each run: all combinations of a grid and of the swept keys of the command line.

    Args:
        grid: that of the recipe, without keys of the command line.
        typed: that of the command line.
        zipped: whether the values of the command line are paired instead, the first of each key,
            the second, ...

    Raises:
        RecipeError: they are paired, but there is only one key, or one has more values.
    """
    if zipped:
        if len(typed) < 2:
            raise RecipeError(f"command line: --zip: pairs two or more --sweep, {_EXAMPLE}")
        lengths = {key: len(values) for key, values in typed.items()}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{key} has {count}" for key, count in lengths.items())
            raise RecipeError(
                f"command line: --zip: pairs the values of the swept keys, but {counts}; give each "
                "key as many"
            )
        pairs = list(zip(*typed.values(), strict=True))
        return [(*one, *pair) for one in itertools.product(*grid.values()) for pair in pairs]
    return list(itertools.product(*grid.values(), *typed.values()))
