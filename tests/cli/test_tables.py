"""Comparison tables: their columns, and the mean over seeds."""

import csv
import re
import string
from typing import Any

import pytest

from hieraseg.cli.tables import (
    as_csv,
    as_json,
    as_latex,
    as_markdown,
    as_table,
    escape_latex,
    escape_markdown,
)
from hieraseg.compare import Row, differences
from tests.support.scores import random_case
from tests.support.trees import Tree

TREE: Tree = {"background": None, "x": {"a": None, "b": None}, "y": {"c": {"d": None, "e": None}}}
PROTOCOL = {"data": "d", "resolution": "native", "checkpoint": "best", "tta": "scales 1"}


def test_json_and_csv_have_all_scores_and_tables_the_main_ones() -> None:
    case = random_case(TREE, 3)
    row = Row("quickstart/base", [0], [{**case.summary(), **PROTOCOL}], [{}])
    (header, _) = as_table([row])
    assert header[2:-2] == ["mIoU L1", "mIoU L2", "mIoU L3", "coherence", "mistake distance"]
    (in_json,) = as_json([row])["rows"]
    leaves = case.summary()["levels"][-1]
    assert in_json["class-wise ECE L3"] == [leaves["classwise_ece"]]
    assert in_json["boundary IoU L3"] == [leaves["mean_boundary_iou"]]
    assert in_json["hierarchical F1"] == [case.summary()["hierarchical_f1"]]
    assert "class-wise ECE L2" in as_csv([row])


def _scores(miou: float | None, **changes: str) -> dict[str, Any]:
    return {"levels": [{"level": 1, "miou": miou, "iou": {"a": miou}}], **PROTOCOL, **changes}


def test_cells_are_means_over_seeds() -> None:
    """With the sample standard deviation; undefined scores are left out of the mean."""
    rows = [
        Row("a/base", [0, 1, 2], [_scores(0.4), _scores(0.6), _scores(None)], [{"seconds": 90}]),
        Row("b/base", [0], [_scores(None)], [{}]),
    ]
    header, first, second = as_table(rows)
    assert header == ["recipe", "seeds", *header[2:]]
    assert dict(zip(header, first, strict=True)) == {
        "recipe": "a/base",
        "seeds": "0,1,2",
        "mIoU L1": "0.500 ± 0.141",
        "coherence": "-",
        "mistake distance": "-",
        "parameters (M)": "-",
        "minutes": "1.500",
    }
    assert second[:3] == ["b/base", "0", "-"]


def test_differences_of_protocols() -> None:
    """Distinct values are in the order of the rows."""
    rows = [
        Row("a/base", [0], [_scores(0.5, tta="scales 1, flip")], [{}]),
        Row("b/base", [0, 1], [_scores(0.5), _scores(0.5)], [{}, {}]),
    ]
    assert differences(rows) == {"tta": ["scales 1, flip", "scales 1"]}
    assert differences(rows[1:]) == {}
    assert not as_json(rows)["comparable"]


LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",
    "]": "{]}",
    "±": r"$\pm$",
}


@pytest.mark.parametrize("character", [*string.punctuation, "±", "é"])
def test_special_characters_of_latex(character: str) -> None:
    """Each is printed as it is (Knuth's ten special characters, and those that OT1 misprints)."""
    assert escape_latex(f"a{character}b") == f"a{LATEX.get(character, character)}b"


@pytest.mark.parametrize("character", string.punctuation)
def test_special_characters_of_markdown(character: str) -> None:
    """A backslash before punctuation is that character (CommonMark, section 2.4)."""
    escaped = escape_markdown(f"a{character}b")
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", escaped) == f"a{character}b"
    if character in "\\`*_[]<>#|~$&":
        assert escaped == f"a\\{character}b"


@pytest.mark.parametrize("title", ["a|b & c_d\n100% `x` *y*", "[a]", "a\r\nb", ";,\"'"])
def test_tables_with_special_characters(title: str) -> None:
    """Each row stays one line with the same number of cells."""
    row = Row(title, [0], [_scores(0.5)], [{}])
    header, cells = as_table([row])
    _, _, line = as_markdown([row]).splitlines()
    assert len(re.findall(r"(?<!\\)\|", line)) == len(cells) + 1
    (_, _, _, _, line, _, _) = as_latex([row]).splitlines()
    assert len(re.findall(r"(?<!\\)&", line)) == len(cells) - 1
    assert line.endswith(r" \\")
    assert list(csv.reader(as_csv([row]).splitlines(keepends=True)))[1][0] == title
    assert header[0] == "recipe"
