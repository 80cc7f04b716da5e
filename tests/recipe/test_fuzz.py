"""Thousands of damaged recipes: each is refused at a place that exists, or runs as it says.

An oracle of its own reads a case with plain YAML events and puts base recipes and overrides
together; nothing in it comes from `hieraseg.recipe`. What `hieraseg validate` accepts must be
printed by `hieraseg show` with every value that the oracle found, and with defaults elsewhere.
`HIERASEG_FUZZ_CASES` and `HIERASEG_FUZZ_SEED` change how many cases are tried, and which.
"""

import argparse
import functools
import io
import json
import os
import pkgutil
import random
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import catalogue
import jaxtyping
import pytest

from hieraseg import registry
from hieraseg.cli import main
from hieraseg.cli.streams import write_result
from hieraseg.recipe import Recipe, arguments, reading
from tests.support import shapes as shape_checks
from tests.support.fuzz_cases import Case, block, case_of, seed
from tests.support.fuzz_oracle import SECTIONS, RefusalDueError, differences, said_by
from tests.support.fuzz_recipes import FILES, RECIPES, SEEDS, VARIABLES

CASES = int(os.environ.get("HIERASEG_FUZZ_CASES", "2500"))
CHUNK = 500  # cases of one test, so that several processes share them
CHUNKS = [  # two of which every run of the tests has
    pytest.param(first, marks=pytest.mark.slow) if first >= 2 * CHUNK else first
    for first in range(0, CASES, CHUNK)
]


class Outcome(NamedTuple):
    """Whether a case was accepted, and what is wrong with the answer."""

    is_accepted: bool
    complaints: list[str]


def hieraseg(*words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr, as bytes could be written."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        code = main(words)
    out.seek(0)
    err.seek(0)
    return code, out.read(), err.read()


OF_A_FILE = (
    "not valid YAML: ",
    "the recipe is empty",
    "a recipe is a mapping of sections, got ",
    "is not a UTF-8 text file",
)
MISTAKE = re.compile(r"(?:command line|(?P<file>.+?):(?P<line>\d+)): (?P<said>.+)")


def misplaced(line: str) -> str:
    """Why a line is no problem at a place that exists; else empty."""
    found = MISTAKE.fullmatch(line)
    if found is None:
        return f"no place: {line!r}"
    if found["file"]:
        file = Path(found["file"])
        if not file.is_file():
            return f"no such file: {line!r}"
        lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", file.read_bytes().decode(errors="replace"))
        if not 1 <= int(found["line"]) <= len(lines):
            return f"no such line: {line!r}"
    if found["file"] and found["said"].startswith(OF_A_FILE):
        return ""
    key, colon, text = found["said"].partition(": ")
    return "" if key.strip() and colon and text.strip() else f"no key: {line!r}"


def try_case(case: Case, runs: bool = False) -> Outcome:
    """Validate a case, and show it if it is right.

    Args:
        case: to try.
        runs: also give it to `hieraseg run`, where training is replaced by a note.
    """
    path = Path(case.file)
    path.write_bytes(case.text.encode("utf-8", "surrogateescape"))
    given = []
    for key, text in case.overrides:
        is_one_word = len(text) % 2 and ("." in key or key in SECTIONS)
        given += [f"--{key}={text}"] if is_one_word else [f"--{key}", text]
    try:
        return _tried(path, case.overrides, given, runs)
    except Exception as error:
        return Outcome(False, [f"{type(error).__name__}: {error}"])


def _tried(path: Path, overrides: list[tuple[str, str]], given: list[str], runs: bool) -> Outcome:
    code, out, err = hieraseg("validate", str(path), *given)
    if code == 2:
        if not out and err.startswith("usage: ") and "error: unknown option" in err:
            is_usage = any("." not in key and key not in SECTIONS for key, _ in overrides)
            return Outcome(False, [] if is_usage else [f"usage: {err!r}"])
        complaints = [wrong for line in out.splitlines() if (wrong := misplaced(line))]
        if not out or err:
            complaints.append(f"stdout {out!r}, stderr {err!r}")
        if len(set(out.splitlines())) != len(out.splitlines()):
            complaints.append(f"said twice: {out!r}")
        if runs:
            run_code, run_out, _ = hieraseg("run", str(path), "--out", "runs", *given)
            if run_code != 2 or run_out or Path("runs").exists():
                complaints.append(f"refused, but `run` answers {run_code}: {run_out!r}")
        return Outcome(False, complaints)
    if code != 0:
        return Outcome(False, [f"exit code {code}"])
    complaints = []
    if not out.startswith(f"{path}: ok") or err or len(out.splitlines()) != 1:
        complaints.append(f"stdout {out!r}, stderr {err!r}")
    code, shown, err = hieraseg("show", "--json", str(path), *given)
    if code or err:
        return Outcome(True, [f"`show --json` answers {code}: {err!r}"])
    try:
        complaints += differences(said_by(path, overrides), json.loads(shown))
    except RefusalDueError as reason:
        complaints.append(f"accepted in spite of {reason}")
    code, printed, err = hieraseg("show", str(path), *given)
    copy = Path("printed", "copy.yaml")
    copy.write_text(printed, encoding="utf-8", newline="")
    if hieraseg("show", "--json", str(copy)) != (0, shown, ""):
        complaints.append(f"what is printed is read as another recipe: {printed!r}")
    if runs:
        code, ran, err = hieraseg("run", str(path), "--out", "runs", *given)
        if "no such data folder" in err:
            if code != 3:
                complaints.append(f"no data, but `run` answers {code}")
        elif ran != shown:
            complaints.append(f"`run` trains {ran!r} with exit code {code}: {err!r}")
    return Outcome(True, complaints)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with all files, where nothing trains and what is pure is kept."""
    import hieraseg.train

    shutil.copytree(RECIPES, tmp_path, dirs_exist_ok=True)
    for name, text in FILES.items():
        for place in (tmp_path, tmp_path / "pascal_part"):
            (place / name).write_text(text)
    (tmp_path / "printed").mkdir()
    monkeypatch.chdir(tmp_path)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FUZZ_FOLDER", str(tmp_path))
    monkeypatch.delenv("FUZZ_MISSING", raising=False)

    def train(recipe: Any, *_: Any) -> None:
        write_result(json.dumps(recipe.to_dict(), indent=2))

    monkeypatch.setattr(hieraseg.train, "train", train)

    # Thousands of cases in a minute: entry points and unchanged values are read once.
    groups = [f"hieraseg_{kind}" for kind in registry.by_name()]
    points = {group: list(entry_points(group=group)) for group in groups}
    monkeypatch.setattr(catalogue, "AVAILABLE_ENTRY_POINTS", points)
    unkept = arguments.Argument.read
    kept: dict[Any, Any] = {}

    def kept_read(self: arguments.Argument, value: Any, folder: Path = Path()) -> Any:
        key = (id(self), _exactly(value), folder)
        if key not in kept:
            kept[key] = (self, unkept(self, value, folder))
        return kept[key][1]

    monkeypatch.setattr(arguments.Argument, "read", kept_read)
    monkeypatch.setattr(reading, "_compose", functools.lru_cache(maxsize=64)(reading._compose))
    # Without the checks of shapes, which take half the time, and argparse's translations.
    monkeypatch.setattr(shape_checks, "checked", lambda function: function)
    monkeypatch.setattr(argparse, "_", str)
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield tmp_path
    jaxtyping.config.update("jaxtyping_disable", before)


def _exactly(value: Any) -> Any:
    if isinstance(value, list):
        return (list, *map(_exactly, value))
    if isinstance(value, dict):
        return (dict, *((_exactly(key), _exactly(one)) for key, one in value.items()))
    return type(value), repr(value)


def report(number: int, case: Case, outcome: Outcome) -> str:
    return (
        f"case {number} of {case.source} ({', '.join(case.done)}), overrides {case.overrides}:\n"
        + "\n".join(f"  {line}" for line in outcome.complaints)
        + f"\n--- {case.file}\n{case.text}"
    )


def test_the_recipes_run_as_they_say_before_they_are_damaged(folder: Path) -> None:
    for source in dict.fromkeys(SEEDS):
        case = Case(source, seed(source))
        case.text = block(case.doc, random.Random(0))
        outcome = try_case(case, runs=True)
        assert outcome == (True, []), report(-1, case, outcome)


@pytest.mark.parametrize("first", CHUNKS)
def test_a_damaged_recipe_is_refused_at_its_place_or_runs_as_it_says(
    folder: Path, first: int
) -> None:
    numbers = range(first, min(first + CHUNK, CASES))
    wrong, accepted = [], 0
    for number in numbers:
        case = case_of(number)
        outcome = try_case(case, runs=number % 10 == 0)
        accepted += outcome.is_accepted
        if outcome.complaints:
            wrong.append(report(number, case, outcome))
    print(f"{accepted} of {len(numbers)} cases accepted", file=sys.stderr)
    assert not wrong, f"{len(wrong)} cases; the first:\n\n" + "\n\n".join(wrong[:5])
    assert 0.1 * len(numbers) <= accepted <= 0.7 * len(numbers)


def spoil_note(words: str) -> Callable[[Any], Any]:
    """A checker that does not note what these words are part of."""

    def spoiled(real: Any) -> Any:
        def note(self: Any, place: Any, key: str, text: str) -> None:
            if words not in text:
                real(self, place, key, text)

        return note

    return spoiled


def spoil_convert(real: Any) -> Any:
    """Quoted numbers are taken for numbers."""
    return lambda value, *rest: real(
        reading.unquoted(value) if isinstance(value, str) else value, *rest
    )


SABOTAGE: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "unknown keys pass": (
        "hieraseg.recipe.checking.Checker.note",
        spoil_note("has no such key"),
        "said, but not printed",
    ),
    "unknown sections pass": (
        "hieraseg.recipe.checking.Checker.note",
        spoil_note("unknown section"),
        "said, but not printed",
    ),
    "duplicate keys pass": (
        "hieraseg.recipe.reading._Reader._note",
        spoil_note("duplicate key"),
        "accepted in spite of the key",
    ),
    "quoted numbers pass": ("hieraseg.recipe.arguments.convert", spoil_convert, "was printed as"),
    "keys of another component stay": (
        "hieraseg.recipe.composing._merge_section",
        lambda real: (
            lambda below, above: (
                above._replace(value={**below.value, **above.value})
                if isinstance(below.value, dict) and isinstance(above.value, dict)
                else above
            )
        ),
        "neither said nor the default",
    ),
    "overrides are lost": (
        "hieraseg.recipe.composing.override_layer",
        lambda real: lambda overrides: ({}, []),
        "was printed as",
    ),
    "variables are changed": (
        "hieraseg.recipe.reading.substitute",
        lambda real: lambda text: real(text).upper(),
        "was printed as",
    ),
    "texts are printed without quotes": (
        "hieraseg.recipe.resolved.inline",
        lambda real: str,
        "is read as another recipe",
    ),
    "another recipe is trained": (
        "hieraseg.sweeps.jobs.Source.load",
        lambda real: lambda self: _other_seed(real(self)),
        "`run` trains",
    ),
    "lines are wrong": (
        "hieraseg.recipe.reading.Place.__str__",
        lambda real: lambda self: f"{self.source}:{self.line + 500}",
        "no such line",
    ),
    "files are wrong": (
        "hieraseg.recipe.reading.Place.__str__",
        lambda real: lambda self: f"recipe:{self.line}",
        "no such file",
    ),
    "an exception escapes": (
        "hieraseg.recipe.checking.did_you_mean",
        lambda real: None,
        "TypeError",
    ),
}


def _other_seed(recipe: Recipe) -> Recipe:
    return recipe.with_seed(recipe.training.seed + 1)


@pytest.mark.parametrize("name", SABOTAGE)
def test_the_oracle_catches_a_sabotaged_checker(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, spoil, complaint = SABOTAGE[name]
    monkeypatch.setattr(target, spoil(pkgutil.resolve_name(target)))
    complaints = (
        line for number in range(400) for line in try_case(case_of(number), runs=True).complaints
    )
    assert any(complaint in line for line in complaints)
