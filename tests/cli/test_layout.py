"""Columns and tables: whole names and numbers at any width of the terminal."""

import re
from collections.abc import Callable

import pytest

from hieraseg.cli import layout
from hieraseg.cli.layout import align_columns, format_table, shortened, table_width, wrapped

HEADER = ("recipe", "seeds", "mIoU L1", "mIoU L2", "coherence", "parameters (M)", "minutes")
OPTIONAL = ("minutes", "parameters (M)", "coherence")
Terminal = Callable[[int | None], None]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Sets the width of the terminal; None for a pipe."""

    def set_width(width: int | None) -> None:
        monkeypatch.setattr(layout, "terminal_width", lambda: width)

    return set_width


def rows(name: str) -> list[list[str]]:
    return [
        [name, "0,1,2", "0.500 ± 0.141", "0.400 ± 0.020", "0.999 ± 0.001", "24.1", "2.324"],
        ["q/base", "0", "0.512", "0.410", "-", "24.1", "10.1"],
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 100, None])
@pytest.mark.parametrize("name", ["celeb/base", "celeb/epochs=3,lr=1e-3,size=64,64,loss=tree_min"])
def test_tables_fit_the_terminal(width: int | None, name: str, terminal: Terminal) -> None:
    """Names, numbers and words of headings are whole, and what is left out is named."""
    terminal(width)
    text = format_table(HEADER, rows(name), "split val", OPTIONAL)
    title, *lines = text.splitlines()
    assert title == "split val"
    left_out = text.partition("left out, for a wider terminal: ")[2].replace("\n", " ")
    missing = [heading for heading in HEADER if heading in left_out]
    if width is None:
        assert lines[0].split("  ")[0] == "recipe"
        assert all(heading in lines[0] for heading in HEADER)
    else:
        assert all(len(line) <= width or line == name for line in lines)
    shown = [index for index, heading in enumerate(HEADER) if heading not in missing]
    words = set(re.split(r"\s{2,}|\n", text)) | set(text.split())
    for row in (rows(name)[0], rows(name)[1]):
        assert {row[index] for index in shown} <= words
    assert {word for index in shown for word in HEADER[index].split()} <= words
    # The finest level is never left out, and others only after the optional ones.
    assert "mIoU L2" not in missing
    assert "mIoU L1" not in missing or set(OPTIONAL) <= set(missing)


def test_a_narrow_table(terminal: Terminal) -> None:
    terminal(40)
    assert (
        format_table(HEADER[:4], [row[:4] for row in rows("celeb/base")])
        == """\
recipe
  seeds        mIoU L1        mIoU L2
-------------------------------------
celeb/base
  0,1,2  0.500 ± 0.141  0.400 ± 0.020
q/base
      0          0.512          0.410"""
    )


def test_the_last_of_aligned_columns_is_wrapped(terminal: Terminal) -> None:
    listed = [("NAME", "SUMMARY"), ("tree_min", "Binary cross-entropy of scores.")]
    terminal(None)
    assert align_columns(listed) == "NAME      SUMMARY\ntree_min  Binary cross-entropy of scores."
    terminal(32)
    assert align_columns(listed).splitlines() == [
        "NAME      SUMMARY",
        "tree_min  Binary cross-entropy",
        "          of scores.",
    ]


@pytest.mark.parametrize("name", ["door [open]", "a[/b]", ":smile:", "世界", "a\\[b]"])
def test_names_are_printed_as_they_are(name: str) -> None:
    """They are no markup, and columns are aligned even with characters of two columns."""
    text = format_table(("class", "iou"), [[name, "0.500"], ["b", "0.250"]], title=name)
    assert text.splitlines()[0] == name
    assert text.splitlines()[3].split("  ")[0] == name


def test_control_characters_are_escaped() -> None:
    """A terminal would obey them."""
    text = format_table(("class", "iou"), [["a\x1b[31m\nb", "0.500"]])
    assert "a\\x1b[31m\\nb  0.500" in text


def test_rows_without_a_name_belong_to_the_one_above(terminal: Terminal) -> None:
    """Names can move to their own lines before a column is lost."""
    lines = [["celeb/base", "L1", "+0.021", "better"], ["", "L2", "-0.004", "worse"]]
    header = ["recipe", "", "difference", "verdict"]
    terminal(None)
    first, second = format_table(header, lines).splitlines()[2:]
    assert first.split() == ["celeb/base", "L1", "+0.021", "better"]
    assert second.split() == ["L2", "-0.004", "worse"]
    terminal(30)
    assert format_table(header, lines, "", ["verdict"], names_first=True).splitlines()[-3:] == [
        "celeb/base",
        "  L1      +0.021   better",
        "  L2      -0.004    worse",
    ]
    assert "left out" in format_table(header, lines, "", ["verdict"])


def test_the_width_of_a_table(terminal: Terminal) -> None:
    header, cells = ["recipe", "parameters (M)"], [["a", "1"]]
    terminal(table_width(header, cells))
    assert max(map(len, format_table(header, cells).splitlines())) == len("recipe  parameters")


def test_long_names_are_shortened_as_long_as_they_differ() -> None:
    assert shortened(["study/base", "q"], 10) == ["study/base", "q"]
    assert shortened(["study/size=64,loss=tree_min"], 16) == ["study…s=tree_min"]
    names = ["study/loss=a,size=64,64,epochs=3", "study/loss=b,size=64,64,epochs=3"]
    short = shortened(names, 12)
    assert len(set(short)) == 2
    assert all(len(one) < len(names[0]) for one in short)
    assert shortened([], 10) == []


def test_sentences_are_wrapped_on_a_terminal(terminal: Terminal) -> None:
    terminal(16)
    assert wrapped("† best epoch chosen on it", "  ").splitlines() == [
        "† best epoch",
        "  chosen on it",
    ]
    terminal(None)
    assert wrapped("a " * 99) == "a " * 99
