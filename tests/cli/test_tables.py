"""Comparison tables: which columns each format has, and differences to a baseline."""

import csv
import math
import re
import string
from dataclasses import replace
from typing import Any

import pytest

from hieraseg.cli.tables import (
    Cells,
    as_csv,
    as_difference_table,
    as_json,
    as_latex,
    as_markdown,
    as_table,
    escape_latex,
    escape_markdown,
)
from hieraseg.comparison.columns import all_columns, main_columns
from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.difference import Difference
from hieraseg.comparison.rows import Row
from tests.support.rows import PROTOCOL, make_row, scores_of
from tests.support.scores import random_case
from tests.support.trees import Tree

TREE: Tree = {"background": None, "x": {"a": None, "b": None}, "y": {"c": {"d": None, "e": None}}}


def table(*rows: Row) -> Cells:
    return as_table(rows, main_columns(rows))


def json_of(*rows: Row, **fields: Any) -> dict[str, Any]:
    return as_json(Comparison("val", rows, **fields), all_columns(rows))


def csv_of(*rows: Row, **fields: Any) -> list[dict[str, str]]:
    text = as_csv(Comparison("val", rows, **fields), all_columns(rows))
    return list(csv.DictReader(text.splitlines(keepends=True)))


def test_json_and_csv_have_all_scores_and_tables_the_main_ones() -> None:
    case = random_case(TREE, 3)
    row = make_row("quickstart/base", [{**case.summary(), **PROTOCOL}])
    header, _ = table(row)
    assert header[2:] == ["mIoU L1", "mIoU L2", "mIoU L3", "coherence", "mistake severity"]
    (in_json,) = json_of(row)["rows"]
    leaves = case.summary()["levels"][-1]
    assert in_json["class-wise ECE L3"] == [leaves["classwise_ece"]]
    assert in_json["boundary IoU L3"] == [leaves["mean_boundary_iou"]]
    assert in_json["hierarchical F1"] == [case.summary()["hierarchical_f1"]]
    assert in_json["mistake distance"] == [case.summary()["mistake_distance"]]
    assert "class-wise ECE L2" in csv_of(row)[0]


def test_a_row_says_how_many_seeds_which_settings_and_marks() -> None:
    row = make_row(
        "a/base",
        [scores_of(0.4), scores_of(0.6), scores_of(None)],
        cost={"seconds": 90},
        settings={"loss": "ce"},
        marks=("†", "§"),
    )
    header, cells = table(row)
    assert dict(zip(header, cells, strict=True)) == {
        "recipe": "a/base †§",
        "n": "3",
        "loss": "ce",
        "mIoU L1": "0.500 ± 0.141 (2 of 3)",
        "coherence": "-",
        "mistake severity": "-",
        "minutes": "1.50",
    }
    (in_json,) = json_of(row)["rows"]
    assert (in_json["recipe"], in_json["seeds"]) == ("a/base", [0, 1, 2])
    assert (in_json["settings"], in_json["marks"]) == ({"loss": "ce"}, ["†", "§"])
    assert in_json["runs"] == [f"runs/a/base-seed{seed}" for seed in range(3)]
    assert in_json["mIoU L1"] == [0.4, 0.6, None]


def test_csv_has_numbers_that_programs_read() -> None:
    first, second = csv_of(
        make_row("a", [scores_of(0.25), scores_of(0.75)], settings={"loss.gamma": "2.0"}),
        make_row("b", [scores_of(1 / 3)]),
    )
    assert float(first["mIoU L1"]) == 0.5
    assert float(first["mIoU L1 sd"]) == pytest.approx(0.5 / 2**0.5, abs=1e-6)
    assert (first["seeds"], first["n"], first["loss.gamma"]) == ("0,1", "2", "2.0")
    assert float(second["mIoU L1"]) == pytest.approx(1 / 3, abs=1e-6)
    assert second["mIoU L1 sd"] == second["loss.gamma"] == ""


BETTER = Difference(1, None, 0.0214, (0.009, 0.034), 0.9993, 0.0004, 0.0181, "better")
UNCLEAR = Difference(2, None, -0.004, (-0.02, 0.012), 0.31, 1.0, 0.023, "not distinguishable")
HEAD = replace(UNCLEAR, class_name="head", verdict=None)
ROWS = [make_row("flat"), make_row("tree", marks=("†",)), make_row("other", marks=("‡",))]
COMPARED = Comparison("val", ROWS, ROWS[0], {"tree": [BETTER, UNCLEAR]}, {"tree": [HEAD]}, ["note"])


def test_differences_are_one_line_per_level() -> None:
    """The title is in the first one. Rows that are not compared are left out."""
    assert as_difference_table(COMPARED)[1:] == [
        ["tree †", "L1", "+0.021", "[+0.009, +0.034]", ">0.99", "<0.001", "better", "0.018"],
        ["", "L2", "-0.004", "[-0.020, +0.012]", "0.31", "1.000", "not distinguishable", "0.023"],
    ]
    (_, (title, name, *_, verdict, _)) = as_difference_table(COMPARED, per_class=True)
    assert (title, name, verdict) == ("tree †", "L2 head", "-")


def test_differences_in_json() -> None:
    found = as_json(COMPARED, [])
    assert (found["split"], found["baseline"], found["notes"]) == ("val", "flat", ["note"])
    baseline, row, other = found["rows"]
    assert baseline["baseline"] is True
    assert "levels" not in baseline
    assert other["levels"] == []
    first, second = row["levels"]
    assert first == {
        "level": 1,
        "difference": 0.0214,
        "interval": [0.009, 0.034],
        "probability_better": 0.9993,
        "p": 0.0004,
        "detectable": 0.0181,
        "verdict": "better",
    }
    assert second["classes"]["head"]["verdict"] is None
    assert "classes" not in first
    assert "levels" not in json_of(*ROWS)["rows"][1]


def test_differences_in_other_formats() -> None:
    markdown = as_markdown(COMPARED, main_columns(ROWS), per_class=True)
    titles, rows, to_flat, levels, of_classes, classes, notes = markdown.split("\n\n")
    assert "split val, mean ± standard deviation over n seeds" in titles
    assert to_flat == "difference of mIoU to flat"
    assert of_classes == "difference of IoU of classes to flat"
    assert len(rows.splitlines()) == 2 + len(ROWS)
    assert "| tree † | L1 | +0.021 |" in levels
    assert "L2 head" in classes
    assert notes == "- note"
    latex = as_latex(COMPARED, main_columns(ROWS))
    assert latex.count("tabular") == 4
    assert "not distinguishable" in latex
    assert "footnotesize note" in latex
    assert "footnotesize split val" in latex
    assert "footnotesize difference of mIoU to flat" in latex
    assert "$-$0.004 & {[}$-$0.020, +0.012{]}" in latex
    _, row, _ = csv_of(*ROWS, baseline=ROWS[0], differences=COMPARED.differences)
    found = [float(row[f"{key} L1"]) for key in ("difference", "low", "high")]
    assert found == [0.0214, 0.009, 0.034]
    assert row["verdict L2"] == "not distinguishable"
    assert (row["split"], row["baseline"]) == ("val", "flat")


def test_a_difference_without_noise_could_show_nothing() -> None:
    found = replace(COMPARED, differences={"tree": [replace(UNCLEAR, detectable=math.nan)]})
    assert as_difference_table(found)[1][-1] == "-"
    assert as_json(found, [])["rows"][1]["levels"][0]["detectable"] is None


def test_rows_of_other_protocols_are_not_comparable() -> None:
    rows = [make_row("a", [scores_of(0.5, tta="flip")]), make_row("b")]
    assert not json_of(*rows)["comparable"]
    assert json_of(rows[1])["comparable"]


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
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "§": r"$^\S$",
}


@pytest.mark.parametrize("character", [*string.punctuation, *"±†‡§é"])
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
    row = make_row(title)
    header, cells = table(row)
    comparison = Comparison("val", [row])
    *_, line = as_markdown(comparison, main_columns([row])).splitlines()
    assert len(re.findall(r"(?<!\\)\|", line)) == len(cells) + 1
    (*_, line, _, _) = as_latex(comparison, main_columns([row])).splitlines()
    assert len(re.findall(r"(?<!\\)&", line)) == len(cells) - 1
    assert line.endswith(r" \\")
    assert csv_of(row)[0]["recipe"] == title
    assert header[0] == "recipe"


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("--split", "-{}-split"),
        ("-0.1", "$-$0.1"),
        ("lr=-1", "lr=$-$1"),
        ("1e-3", "1e-3"),
        ("base-2", "base-2"),
    ],
)
def test_hyphens_are_no_dashes_in_latex_and_minuses_no_hyphens(text: str, latex: str) -> None:
    assert escape_latex(text) == latex
