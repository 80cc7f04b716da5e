"""The single figure of `hieraseg compare --plot`."""

from dataclasses import replace
from pathlib import Path

import pytest

from hieraseg.comparison.comparison import Comparison
from hieraseg.errors import RecipeError, WriteError
from hieraseg.page.plot import write_plot

STARTS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.mark.parametrize("suffix", STARTS)
@pytest.mark.parametrize("with_baseline", [True, False])
def test_formats(suffix: str, with_baseline: bool, comparison: Comparison, tmp_path: Path) -> None:
    path = tmp_path / f"figure.{suffix.upper()}"
    write_plot(path, comparison if with_baseline else replace(comparison, baseline=None))
    assert path.read_bytes().startswith(STARTS[suffix])
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_that_of_the_rows(comparison: Comparison, tmp_path: Path) -> None:
    rows = [replace(comparison.rows[0], title="x/$a_1$ <b>"), *comparison.rows[1:]]
    write_plot(tmp_path / "figure.svg", replace(comparison, rows=rows, baseline=None))
    text = (tmp_path / "figure.svg").read_text()
    for expected in ("$a_", "1$ ", "&lt;b&gt;", "level 3", "mIoU"):
        assert expected in text


def test_differences_name_their_baseline(comparison: Comparison, tmp_path: Path) -> None:
    assert comparison.baseline is not None
    write_plot(tmp_path / "figure.svg", comparison)
    name = comparison.baseline.title.rpartition("/")[2]
    text = (tmp_path / "figure.svg").read_text()
    assert f"difference in mIoU on val to {name} (n = 3)" in text
    assert "(95 % interval; filled: better or worse)" in text


def test_rows_without_a_difference_are_not_drawn(comparison: Comparison, tmp_path: Path) -> None:
    """As those of another protocol, which would be empty lines."""
    first, second = comparison.differences
    kept = {first: comparison.differences[first]}
    write_plot(tmp_path / "figure.svg", replace(comparison, differences=kept))
    text = (tmp_path / "figure.svg").read_text()
    assert text.count("(n = ") == 2, "that of the row and of the baseline"
    assert second.rpartition("/")[2] not in text


def test_the_number_of_seeds_is_said(comparison: Comparison, tmp_path: Path) -> None:
    """Beside each name if rows have different ones, since an interval of one seed is too short."""
    write_plot(tmp_path / "figure.svg", replace(comparison, baseline=None))
    text = (tmp_path / "figure.svg").read_text()
    assert "mIoU on val (mean ± sd)" in text
    assert (text.count("(n = 3)"), text.count("(n = 1)")) == (2, 1)
    alike = [row for row in comparison.rows if len(row.runs) == 3]
    write_plot(tmp_path / "figure.svg", replace(comparison, rows=alike, baseline=None))
    text = (tmp_path / "figure.svg").read_text()
    assert "mIoU on val (mean ± sd, n = 3)" in text
    assert text.count("n = ") == 1


@pytest.mark.parametrize(("suffix", "lines"), [("png", 1), ("svg", 0)])
def test_characters_without_a_glyph_are_one_warning(
    suffix: str,
    lines: int,
    comparison: Comparison,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [replace(comparison.rows[0], title="x/日本語"), *comparison.rows[1:]]
    path = tmp_path / f"figure.{suffix}"
    write_plot(path, replace(comparison, rows=rows, baseline=None))
    error = " ".join(capsys.readouterr().err.split())
    assert error.count("the font lacks some characters") == error.count("warning") == lines


def test_other_formats_are_refused(comparison: Comparison, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"figure\.gif: figures are \.png, \.svg or \.pdf"):
        write_plot(tmp_path / "figure.gif", comparison)


def test_a_baseline_alone_is_no_figure(comparison: Comparison, tmp_path: Path) -> None:
    alone = [row for row in comparison.rows if row is comparison.baseline]
    with pytest.raises(RecipeError, match="no row is compared to the baseline"):
        write_plot(tmp_path / "figure.png", replace(comparison, rows=alone))


def test_a_folder_that_is_not_there(comparison: Comparison, tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="cannot be written"):
        write_plot(tmp_path / "missing/figure.png", comparison)
