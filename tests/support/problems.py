"""What the tests of problems share: recipe files in an empty folder, refused by two commands."""

import textwrap
from pathlib import Path

import pytest

from hieraseg.cli import main
from tests.support.problem_cases import Expected

Captured = pytest.CaptureFixture[str]


def put(name: str, text: str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


def refused(capsys: Captured, *words: str, code: int = 2) -> list[str]:
    """The problems of `validate` and of `run`, which have to be the same."""
    assert main(["validate", "r.yaml", *words]) == code
    out_of_validate, err = capsys.readouterr()
    assert not err
    lines = out_of_validate.splitlines()
    assert main(["run", "r.yaml", *words]) == code
    out, err = capsys.readouterr()
    assert not out
    assert err == "hieraseg: error:" + (" " if len(lines) == 1 else "\n") + out_of_validate
    return lines


def check(lines: list[str], *expected: Expected) -> None:
    """Each line has its place, its key and its words, and there is no other line.

    Lines are in the order of the file; those of the command line are put last.
    """
    lines = sorted(lines, key=lambda line: line.startswith("command line: "))
    assert len(lines) == len(expected), lines
    for line, (place, key, words) in zip(lines, expected, strict=True):
        start = f"{place}: {key}: " if key else f"{place}: "
        assert line.startswith(start), line
        text = line.removeprefix(start)
        for word in [words] if isinstance(words, str) else words:
            assert word in text, line
            text = text.partition(word)[2]
