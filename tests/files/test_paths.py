"""Paths in commands that messages name."""

import shlex
from pathlib import Path

import pytest

from hieraseg.files.paths import quoted


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("runs/quickstart/lr=0.1~3f2a1b-seed0", "runs/quickstart/lr=0.1~3f2a1b-seed0"),
        (Path("my runs/base"), "'my runs/base'"),
        ("a~ b", "'a~ b'"),
        ("~/runs", "'~/runs'"),  # a folder of this name
        ("[64, 64]", "'[64, 64]'"),
        ("it's", "'it'\"'\"'s'"),
    ],
)
def test_a_shell_reads_the_path(path: str | Path, expected: str) -> None:
    assert quoted(path) == expected
    assert shlex.split(expected) == [str(path)]
