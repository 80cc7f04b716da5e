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


def relative_luminance(color: np.ndarray) -> float:
    """That of an RGB color, as WCAG 2 defines it."""
    linear = ((color / 255 + 0.055) / 1.055) ** 2.4
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("percent", [0, 10, 21, 23, 41, 60, 100])
def test_numbers_have_the_better_contrast(percent: int) -> None:
    """Of black and white, to the color of their cell, which the upper left corner of it has."""
    picture = draw_confusion(np.array([[percent, 100 - percent], [0, 0]]), ["a", "b"], "")
    cell = np.asarray(picture)[-8 - 68 : -8 - 34, :300]
    left = int(np.flatnonzero((cell[0] != 255).any(-1))[0])
    cell = cell[:, left : left + 34]
    luminance = relative_luminance(cell[0, 0])
    is_black = (1.05 / (luminance + 0.05)) < (luminance + 0.05) / 0.05
    darker, brighter = (cell < cell[0, 0]).any(), (cell > cell[0, 0]).any()
    assert (darker, brighter) == (is_black, not is_black)


@pytest.mark.parametrize("other", ["b" + 60 * "a", 60 * "a" + "b"])
def test_long_names_can_be_told_apart(other: str) -> None:
    """Whichever end they differ at."""
    pictures = [draw_confusion(np.eye(1, dtype=int), [name], "") for name in (61 * "a", other)]
    assert pictures[0].tobytes() != pictures[1].tobytes()
