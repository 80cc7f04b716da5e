"""Counts of rows: in one order, and none that are not those of the scores."""

from pathlib import Path

import numpy as np
import pytest

from hieraseg import Hierarchy
from hieraseg.comparison.counts import image_ids, read_counts, read_split
from hieraseg.errors import RecipeError
from hieraseg.runs.counts import read_arrays
from tests.support.counted_runs import TREE, row_of, tree, write_row, write_run

IDS = ("a", "b", "c/d")


def test_counts_are_those_of_the_scores(tmp_path: Path) -> None:
    row = write_row(tmp_path, "r", (0, 1))
    for number, level in enumerate(read_counts(row)):
        scores = [run.scores["levels"][number] for run in row.runs]
        assert level.level == number + 1
        assert level.classes == list(scores[0]["iou"])
        assert level.intersection.shape == (2, 20, len(level.classes))
        np.testing.assert_allclose(level.miou(), [one["miou"] for one in scores])
        np.testing.assert_allclose(level.iou(), [list(one["iou"].values()) for one in scores])
        assert (level.truth.sum(2) == 64).all()
    assert image_ids(row) == [f"i{number:02}" for number in range(20)]


def test_runs_are_in_one_order_of_images(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", ids=IDS)
    second = write_run(tmp_path / "second", 1, ids=IDS[::-1])
    row = row_of("r", first, second)
    assert image_ids(row) == list(IDS)
    alone = read_counts(row_of("s", second))[1]
    np.testing.assert_array_equal(read_counts(row)[1].predicted[1], alone.predicted[0, ::-1])


def test_rows_are_in_one_order_of_classes(tmp_path: Path) -> None:
    """That of trees whose children are in another order."""
    turned = Hierarchy.from_tree(
        {"body": {"leg": None, "arm": None}, "background": None}, background="background"
    )
    row = row_of("r", write_run(tmp_path / "r", hierarchy=turned))
    other = row_of("o", write_run(tmp_path / "o", hierarchy=turned, accuracy=0.2))
    counts = read_split(row).levels[1]
    reordered = read_split(row).like(read_split(other)).levels[1]
    assert counts.classes == ["leg", "arm", "background"]
    np.testing.assert_array_equal(counts.truth, reordered.truth)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"ids": ("a", "b", "x")}, "other images (only one of them has 'c/d')"),
        ({"ids": ("a", "b")}, "other images (only one of them has 'c/d')"),
        ({"targets": 1}, "other target pixels on level 1"),
        ({"hierarchy": tree(background=None)}, "other background"),
        ({"hierarchy": Hierarchy.from_tree({"x": None, **TREE})}, "other classes on level 1"),
        ({"hierarchy": Hierarchy.from_tree({"all": TREE})}, "3 and 2 levels"),
    ],
)
def test_other_data_are_refused(
    tmp_path: Path, options: dict[str, tuple[str, ...]], problem: str
) -> None:
    own = row_of("own", write_run(tmp_path / "own", ids=IDS))
    other = row_of("other", write_run(tmp_path / "other", **{"ids": IDS, **options}))
    with pytest.raises(RecipeError) as error:
        read_split(other).like(read_split(own))
    assert str(error.value).startswith("other: cannot be compared with own image by image: ")
    assert problem in str(error.value)


def test_runs_of_a_row_on_other_images_are_refused(tmp_path: Path) -> None:
    runs = write_run(tmp_path / "a", ids=IDS), write_run(tmp_path / "b", ids=("a", "b", "x"))
    with pytest.raises(RecipeError, match=r"b: cannot be compared with .*a image by image"):
        read_counts(row_of("r", *runs))


def test_counts_of_other_scores_are_refused(tmp_path: Path) -> None:
    row = write_row(tmp_path, "r", (0, 1))
    one, other = (run.path / "evaluation/val.npz" for run in row.runs)
    one.write_bytes(other.read_bytes())
    with pytest.raises(RecipeError, match=r"val\.npz: its counts of level 1 do not give the sc"):
        read_counts(row)


def test_older_scores_without_a_tree_are_refused(tmp_path: Path) -> None:
    row = write_row(tmp_path, "r", (0,))
    del row.runs[0].scores["tree"]
    with pytest.raises(RecipeError, match="do not say which class is background; run `hieraseg"):
        read_counts(row)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"ids": np.arange(20)}, "ids: expected a string per image"),
        ({"ids": np.array(["a"] * 20)}, "ids: expected a string per image"),
        ({"truth_1": np.zeros((20, 2))}, "truth: expected integers of shape (20, 2), got float64"),
        ({"truth_2": np.zeros((20, 2), int)}, "level 2: truth: expected integers of shape (20, 3)"),
        ({"truth_2": np.zeros((20, 3), int)}, "more pixels are predicted correctly than there are"),
        ({"truth_2": np.array([None])}, "Object arrays cannot be loaded"),
        ({"truth_2": None}, "truth_2 is not a file in the archive"),
    ],
)
def test_damaged_counts_are_refused(
    tmp_path: Path, change: dict[str, np.ndarray | None], problem: str
) -> None:
    row = write_row(tmp_path, "r", (0,))
    file = row.runs[0].path / "evaluation/val.npz"
    arrays = {**np.load(file), **change}
    np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(RecipeError) as error:
        read_counts(row)
    assert problem in str(error.value)
    assert str(error.value).startswith(f"{file}: is damaged (")
    assert "\n" not in str(error.value)


def test_missing_counts_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "val.npz"
    with pytest.raises(RecipeError, match=r"val\.npz: no such file; restore"):
        read_arrays(file, ["ids"])
    file.mkdir()
    with pytest.raises(RecipeError, match=r"val\.npz: cannot be read \(Is a directory\); restore"):
        read_arrays(file, ["ids"])
    file.rmdir()
    file.touch()
    with pytest.raises(RecipeError, match=r"val\.npz: is damaged"):
        read_arrays(file, ["ids"])
