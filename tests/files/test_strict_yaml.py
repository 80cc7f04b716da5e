"""Strict YAML: types of scalars, limits, and the line of every error."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hieraseg.files.strict_yaml import (
    LARGEST,
    InvalidYAMLError,
    Loader,
    StringLoader,
    compose,
    inline,
    plain,
    read_plain,
    unquoted,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
    ),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("3E4", 3e4),
        ("1.", 1.0),
        (".5", 0.5),
        ("+7", 7),
        ("1_000", 1000),
        (".inf", math.inf),
        ("yes", "yes"),
        ("off", "off"),
        ("True", True),
        ("~", None),
        ("", None),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("=", "="),
        ("'5'", "5"),
        ("!!float 5", 5.0),
    ],
)
def test_types_of_scalars(text: str, value: object) -> None:
    found = plain(compose(text))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["3", "1.5", "yes", "off", "010", "2020-01-01", "<<", "nullable"])
def test_string_loader_reads_strings(text: str) -> None:
    assert plain(compose(f"[{text}, null, ~]", StringLoader)) == [text, None, None]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [1\n", 2, "not valid YAML: "),
        ("a: 1\nb: c: d\n", 2, "not valid YAML: mapping values are not allowed here"),
        ("a: &x 1\nb: *x\n", 2, "not valid YAML: aliases (*name) are not supported; write"),
        ("a: {b: c/{id}.png}\n", 1, "but got '{'; a value with {...} or * in it needs quotes"),
        ("a:\n  b: **/{id}.png\n", 2, "; a value with {...} or * in it needs quotes"),
        ('a:\n  b: "^(seq\\d+)"\n', 2, "'d'; in single quotes, a backslash is a plain character"),
        ("a: 1\n---\nb: 2\n", 2, "not valid YAML: but found another document"),
        ("a: 1\nb: '\x01'\n", 2, "not valid YAML: special characters are not allowed: '\\x01'"),
        ('a: "\\UFFFFFFFF"\n', 1, "not valid YAML: "),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 4, "duplicate key 'c' (first on line 3); keep one"),
        ("a: 1\n5: 2\n5: 3\n", 3, "duplicate key 5 (first on line 2); keep one"),
        ("a: 1\n[b]: 2\n", 2, "a key must be a string or a number, got a list or mapping"),
        ("a: 1\n~: 2\n", 2, "a key must be a string or a number, got '~'"),
        ("a: 1\n<<: {b: 2}\n", 2, "merge keys (<<) are not supported; write the value out"),
        ("a:\n  !!python/name:os.system x\n", 2, "the tag 'tag:yaml.org,2002:python/name:os.sys"),
        ("a:\n- !!set {b}\n", 2, "the tag 'tag:yaml.org,2002:set' is not supported"),
        ("a:\n- !!float x\n", 2, "cannot be read as float: could not convert string"),
        ("a: 1e999\n", 1, "cannot be read as float: 1e999 is beyond the largest float"),
        ("a: " + 5_000 * "9" + "\n", 1, "cannot be read as int: "),
    ],
)
def test_errors_have_a_line(text: str, line: int, words: str, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(InvalidYAMLError) as caught:
        read_plain(path)
    assert caught.value.line == line
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("loader", [Loader, StringLoader])
def test_depth_limit(loader: type[Loader]) -> None:
    def nested(depth: int) -> str:
        return depth * "[\n" + depth * "]"

    value = plain(compose(nested(loader.max_depth), loader), lambda node: node.value)
    for _ in range(loader.max_depth - 1):
        (value,) = value
    assert value == []
    with pytest.raises(InvalidYAMLError, match="not valid YAML: nested too deeply") as caught:
        compose(nested(5_000), loader)
    assert caught.value.line == loader.max_depth + 2


@given(VALUES)
def test_values_survive_a_round_trip(value: Any) -> None:
    text = inline(value)
    assert "\n" not in text
    assert plain(compose(text)) == value == yaml.safe_load(text)


@given(st.text(alphabet="0123456789eE+-._:xnul~'", max_size=6))
def test_unquoted_is_the_value_of_a_scalar(text: str) -> None:
    try:
        node = compose(f"- {text}")
        (expected,) = plain(node)
    except InvalidYAMLError:
        return
    if node is not None and node.value[0].value == text and node.value[0].style is None:
        assert repr(unquoted(text)) == repr(expected)


def test_read_plain(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: [1, 2e-3]\r\nb: {5: null}\r\n")
    assert read_plain(path) == {"a": [1, 2e-3], "b": {5: None}}
    path.write_bytes(b"a: 1\rb: 2\r")
    assert read_plain(path) == {"a": 1, "b": 2}
    path.write_text("# only a comment\n")
    assert read_plain(path) is None
    path.write_bytes(b"a: \xff\n")
    with pytest.raises(InvalidYAMLError, match="not a UTF-8 text file"):
        read_plain(path)
    with pytest.raises(FileNotFoundError):
        read_plain(tmp_path / "missing.yaml")


def test_huge_files_are_refused(tmp_path: Path) -> None:
    """Whatever reads them; they could fill the memory, and parsing them takes minutes."""
    from hieraseg import Hierarchy
    from hieraseg.errors import RecipeError
    from hieraseg.recipe import load

    path = tmp_path / "huge.yaml"
    path.write_text("# " + "x" * LARGEST)
    for read, error in (
        (read_plain, InvalidYAMLError),
        (load, RecipeError),
        (Hierarchy.from_file, ValueError),
    ):
        with pytest.raises(error, match="larger than 4 MiB"):
            read(path)


def test_torch_is_not_imported() -> None:
    program = "import sys, hieraseg.files.strict_yaml; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
