"""Differences of rows, from their run folders."""

from dataclasses import replace
from pathlib import Path

import pytest

from hieraseg.comparison.difference import Difference
from hieraseg.comparison.differences import differences_to, limits
from hieraseg.comparison.rows import Row
from hieraseg.errors import RecipeError
from tests.support.counted_runs import row_of, write_row, write_run

RESAMPLES = 500


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    """Rows of three seeds, of which one is much better and one is the baseline's recipe again."""
    folder = tmp_path_factory.mktemp("rows")
    return {
        "baseline": write_row(folder, "baseline", accuracy=0.6),
        "again": write_row(folder, "again", (3, 4, 5, 6), accuracy=0.6),
        "better": write_row(folder, "better", accuracy=0.7),
    }


def compared(rows: dict[str, Row], *names: str, per_class: bool = False) -> list[list[Difference]]:
    others = [rows[name] for name in names]
    found = differences_to(others, rows["baseline"], per_class, RESAMPLES)
    return [found[name] for name in names if name != "baseline"]


def test_verdicts(rows: dict[str, Row]) -> None:
    again, better = compared(rows, "again", "better")
    assert [one.level for one in better] == [1, 2]
    for found in better:
        assert found.verdict == "better"
        assert 0.05 < found.difference < 0.2
        assert 0 < found.interval[0] < found.difference < found.interval[1]
        assert found.p < 0.02
        assert found.probability_better == 1
        assert 0 < found.detectable < found.difference
    for found in again:
        assert found.verdict == "not distinguishable"
        assert found.interval[0] < 0 < found.interval[1]
        assert found.p > 0.05


def test_differences_are_those_of_the_scores(rows: dict[str, Row]) -> None:
    (found,) = compared(rows, "better", per_class=True)
    for one in found:
        means = []
        for row in (rows["better"], rows["baseline"]):
            levels = [run.scores["levels"][one.level - 1] for run in row.runs]
            scores = [
                level["iou"][one.class_name] if one.class_name else level["miou"]
                for level in levels
            ]
            means.append(sum(scores) / len(scores))
        assert one.difference == pytest.approx(means[0] - means[1])
    names = [one.class_name for one in found]
    assert names == [None, "background", "body", None, "background", "arm", "leg"]


def test_a_worse_row(rows: dict[str, Row]) -> None:
    found = differences_to([rows["baseline"]], rows["better"], resamples=RESAMPLES)["baseline"]
    assert [one.verdict for one in found] == ["worse", "worse"]
    assert all(one.interval[1] < 0 and one.probability_better == 0 for one in found)


def test_the_order_of_rows_does_not_matter(rows: dict[str, Row]) -> None:
    again, better = compared(rows, "again", "better")
    assert compared(rows, "better", "baseline", "again") == [better, again]


def test_more_rows_make_p_larger(rows: dict[str, Row]) -> None:
    """But change nothing else; and classes do not change those of the levels."""
    (alone,) = compared(rows, "better")
    _, beside = compared(rows, "again", "better")
    assert [replace(one, p=0) for one in alone] == [replace(one, p=0) for one in beside]
    assert all(one.p > other.p for one, other in zip(beside, alone, strict=True))
    (with_classes,) = compared(rows, "better", per_class=True)
    assert [one for one in with_classes if one.class_name is None] == alone


def test_classes_of_other_rows_do_not_matter(rows: dict[str, Row]) -> None:
    """Or 10,000 permutations would find none among 171 classes of ten rows."""
    (alone,) = compared(rows, "better", per_class=True)
    _, beside = compared(rows, "again", "better", per_class=True)
    of_classes = [[one for one in found if one.class_name] for found in (alone, beside)]
    assert of_classes[0] == of_classes[1]
    assert any(one.verdict == "better" for one in of_classes[0])


def test_no_verdict_where_none_could_be_significant(rows: dict[str, Row]) -> None:
    """With 39 permutations no p is below 1/40, which is 0.05 for two levels."""
    better = [rows["better"]]
    for resamples, verdicts in ((39, [None, None]), (40, ["better", "better"])):
        found = differences_to(better, rows["baseline"], resamples=resamples)["better"]
        assert [one.verdict for one in found] == verdicts


def test_no_verdict_where_few_images_could_show_none(tmp_path: Path) -> None:
    """Among the 32 ways to swap 6 images are two that change nothing: no p is below 1/16."""
    pair = [
        write_row(tmp_path, name, accuracy=accuracy, ids=[f"i{number}" for number in range(6)])
        for name, accuracy in (("flat", 0.1), ("better", 1.0))
    ]
    (found,) = differences_to(pair, pair[0], resamples=RESAMPLES).values()
    assert [one.verdict for one in found] == [None, None]
    assert all(one.interval[0] > 0.3 and one.p > 0.03 for one in found)


def test_too_many_differences_are_said() -> None:
    level = Difference(1, None, 0.1, (0.1, 0.1), 1.0, 0.01, 0.01, None)
    one = replace(level, class_name="a")
    assert limits({}, 2) == []
    assert limits({"a": [level] * 500, "b": [one] * 500, "c": [one] * 500}, 15) == []
    assert limits({"a": [level] * 400, "b": [level] * 101, "c": [one] * 501}, 100) == [
        "no verdict on levels: 10,000 permutations are too few for 501 differences; compare fewer "
        "rows",
        "no verdict on the classes of a row: 10,000 permutations are too few for 501 differences; "
        "compare fewer rows",
    ]


def test_too_few_images_are_said() -> None:
    level = Difference(1, None, 0.1, (0.1, 0.1), 1.0, 0.01, 0.01, None)
    assert limits({"a": [level]}, 6) == []
    advice = "compare fewer rows, or on more images"
    assert limits({"a": [level]}, 5) == [
        f"no verdict on levels: 5 images are too few for 1 difference; {advice}"
    ]
    assert limits({"a": [level] * 2}, 6) == [
        f"no verdict on levels: 6 images are too few for 2 differences; {advice}"
    ]


def test_no_verdict_with_two_seeds(rows: dict[str, Row]) -> None:
    two = replace(rows["better"], runs=rows["better"].runs[:2])
    for pair in ((two, rows["baseline"]), (rows["baseline"], two)):
        found = differences_to([pair[0]], pair[1], resamples=RESAMPLES)
        assert [one.verdict for one in found[pair[0].title]] == [None, None]


def test_identical_runs_are_not_distinguishable(rows: dict[str, Row]) -> None:
    copy = replace(rows["baseline"], title="copy")
    for found in differences_to([copy], rows["baseline"], True, RESAMPLES)["copy"]:
        assert found.difference == 0
        assert found.p == 1
        assert found.verdict == "not distinguishable"
        assert found.interval[0] <= 0 <= found.interval[1]


def test_one_image_says_nothing(tmp_path: Path) -> None:
    rows = [row_of(name, write_run(tmp_path / name, ids=("a",))) for name in "ab"]
    with pytest.raises(RecipeError, match="a: was scored on 1 image, which says nothing"):
        differences_to(rows, rows[0])


def test_rows_on_other_images_are_refused(rows: dict[str, Row], tmp_path: Path) -> None:
    other = row_of("other", write_run(tmp_path / "other", ids=("a", "b")))
    with pytest.raises(RecipeError, match="other: cannot be compared with baseline image by image"):
        differences_to([other], rows["baseline"], resamples=RESAMPLES)


@pytest.mark.parametrize(
    ("leaves", "names"),
    [(1, []), (2, [None, "background", "body", None, "background", "arm"])],
)
def test_what_no_target_has_is_left_out(
    leaves: int, names: list[str | None], tmp_path: Path
) -> None:
    """A level without foreground has no score to compare, and neither has a class by itself."""
    rows = [write_row(tmp_path, title, (0,), leaves=leaves) for title in "ab"]
    found = differences_to(rows, rows[0], per_class=True, resamples=50)["b"]
    assert [one.class_name for one in found] == names
