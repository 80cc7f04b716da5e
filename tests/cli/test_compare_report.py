"""The report of `hieraseg compare` on terminals of any width."""

import pytest

from hieraseg.cli import compare_report, layout
from hieraseg.comparison.columns import main_columns
from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.difference import Difference, Verdict
from tests.support.rows import make_row, scores_of

RUNS = [scores_of(0.4, 0.2, 0.1), scores_of(0.6, 0.3, 0.2), scores_of(0.5, 0.3, 0.1)]
NAMES = ["tree_min,inference=best_path", "tree_min,inference=independent", "flat"]
ROWS = [
    make_row(
        f"study/size=64,64,loss={name}",
        RUNS,
        cost={"parameters": 3e6, "seconds": 90},
        settings={"loss": name.partition(",")[0], "init.from": f"/a/long/path/to/the/run/{name}"},
        marks=("†",),
    )
    for name in NAMES
]
VERDICT: Verdict = "not distinguishable"
DIFFERENCES = [
    Difference(level, None, -0.01, (-0.02, 0.01), 0.2, 1.0, 0.02, VERDICT) for level in (1, 2, 3)
]
COMPARISON = Comparison(
    "val",
    ROWS,
    ROWS[2],
    {row.title: DIFFERENCES for row in ROWS[:2]},
    {},
    ["† a note " + "on " * 40],
)


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The report for a terminal of some width."""
    for module in (layout, compare_report):
        monkeypatch.setattr(module, "terminal_width", lambda: request.param)
    return compare_report.as_text(COMPARISON, main_columns(ROWS))


@pytest.mark.parametrize("report", [72, 80, 100, 140], indirect=True)
def test_nothing_is_wider_than_the_terminal(report: str, request: pytest.FixtureRequest) -> None:
    width = request.node.callspec.params["report"]
    assert max(map(len, report.splitlines())) <= width
    assert report.count(VERDICT) == 6
    for title in ("best_path", "independent", "flat"):
        assert title[-6:] in report


@pytest.mark.parametrize("report", [80], indirect=True)
def test_settings_that_have_no_room_are_a_list(report: str) -> None:
    rows, settings, differences, notes = report.split("\n\n")
    assert rows.startswith("study: split val, mean")
    assert rows.count("study") == 1
    assert settings.splitlines()[0] == "settings that differ"
    words = " ".join(settings.split())
    assert "loss=tree_min, init.from=/a/long" in words
    assert "=best_path" in words
    assert "level" not in differences
    assert notes.splitlines()[1].startswith("  on on")


@pytest.mark.parametrize("report", [None], indirect=True)
def test_a_file_has_whole_titles_and_all_columns(report: str) -> None:
    rows, *_ = report.split("\n\n")
    header = rows.splitlines()[1]
    assert all(column.title in header for column in main_columns(ROWS))
    assert all(row.title in rows for row in ROWS)


def test_rows_that_are_all_scored_differently(monkeypatch: pytest.MonkeyPatch) -> None:
    text = compare_report.as_text(Comparison("val", ROWS, ROWS[2]), main_columns(ROWS))
    assert f"difference of mIoU to {ROWS[2].title}: none, since no other row was scored" in text
