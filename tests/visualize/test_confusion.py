"""Pictures of confusion matrices."""

import numpy as np
import pytest

from hieraseg.visualize.confusion import draw_confusion


@pytest.mark.parametrize("classes", [1, 12, 50])
def test_pictures_stay_small(classes: int) -> None:
    matrix = np.diag(np.arange(classes))
    picture = draw_confusion(matrix, ["a long name of a class" * 3] * classes, "validation")
    assert picture.mode == "RGB"
    assert all(200 < side < 1700 for side in picture.size)


def test_rows_are_shares_of_the_target() -> None:
    """All right is bright on the diagonal, and a class without pixels stays white."""
    right = np.asarray(draw_confusion(np.array([[5, 0], [0, 0]]), ["a", "b"], ""))
    wrong = np.asarray(draw_confusion(np.array([[0, 5], [0, 0]]), ["a", "b"], ""))
    many = np.asarray(draw_confusion(np.array([[500, 0], [0, 0]]), ["a", "b"], ""))
    assert (right != wrong).any()
    assert (right == many).all()


@pytest.mark.parametrize("other", ["b" + 60 * "a", 60 * "a" + "b"])
def test_long_names_can_be_told_apart(other: str) -> None:
    """Whichever end they differ at."""
    pictures = [draw_confusion(np.eye(1, dtype=int), [name], "") for name in (61 * "a", other)]
    assert pictures[0].tobytes() != pictures[1].tobytes()
