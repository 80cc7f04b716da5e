"""Finding rows by their names."""

import pytest

from hieraseg.comparison.rows import find_row
from hieraseg.errors import RecipeError
from tests.support.rows import make_row

ROWS = [make_row(f"study/{name}") for name in ("tree_min", "tree_min_gamma0", "flat")]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("study/tree_min", "study/tree_min"),
        ("tree_min", "study/tree_min"),
        ("Tree_Min", "study/tree_min"),
        ("gamma0", "study/tree_min_gamma0"),
        ("study/f", "study/flat"),
        ("runs/study/flat-seed0/", "study/flat"),
    ],
)
def test_a_name_is_a_title_or_a_part_of_one(name: str, title: str) -> None:
    assert find_row(ROWS, name).title == title


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tree", "'tree' could be 'study/tree_min', 'study/tree_min_gamma0'; write more"),
        ("falt", "no row 'falt'; did you mean 'flat'?"),
        ("study/falt", "no row 'study/falt'; did you mean 'study/flat'?"),
        ("?", "no row '?'; known: tree_min, tree_min_gamma0, flat"),
    ],
)
def test_other_names_are_one_sentence(name: str, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        find_row(ROWS, name)
    assert str(error.value).startswith(f"--baseline: {message}")
