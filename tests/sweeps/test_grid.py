"""Swept keys of the command line."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hieraseg.errors import RecipeError
from hieraseg.files import strict_yaml
from hieraseg.sweeps.grid import combinations, read_grid, split_values

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0,1,2", ["0", "1", "2"]),
        ("tree_min", ["tree_min"]),
        ("[128,128],[224, 224]", ["[128,128]", "[224, 224]"]),
        ("{name: sum, losses: [a, b]},c", ["{name: sum, losses: [a, b]}", "c"]),
        ('\'a,b\',"c\\",d"', ["'a,b'", '"c\\",d"']),
        ("it's,that's", ["it's", "that's"]),
        ("a,,b,", ["a", "", "b", ""]),
    ],
)
def test_values_are_split_outside_of_brackets_and_quotes(text: str, expected: list[str]) -> None:
    assert list(split_values(text)) == expected


@given(st.lists(VALUES, min_size=1, max_size=4))
def test_whatever_yaml_can_write_is_one_value(values: list[object]) -> None:
    texts = [strict_yaml.inline(value) for value in values]
    assert list(split_values(",".join(texts))) == texts


def test_keys_have_their_values_in_order() -> None:
    grid = read_grid(["loss.gamma=0, 1e-3", "loss.name=tree_min,marginal_ce"])
    assert {key: [one.text for one in values] for key, values in grid.items()} == {
        "loss.gamma": ["0", "1e-3"],
        "loss": ["tree_min", "marginal_ce"],
    }


def test_all_problems_are_reported() -> None:
    texts = ["loss.gamma", "=1", "a.b=1,,2", "a.c=1,1", "a.d=1", "a.d=2", "training.seed=1"]
    with pytest.raises(RecipeError) as caught:
        read_grid(texts)
    lines = [line.removeprefix("command line: --sweep ") for line in str(caught.value).splitlines()]
    assert [line.partition(",")[0] for line in lines] == [
        "loss.gamma: expected KEY=VALUE",
        ": expected KEY=VALUE",
        "a.b: empty value in '1",
        "a.c: duplicate 1; give each value once",
        "a.d: duplicate key; give all of its values in one --sweep",
        "training.seed: cannot be swept like other keys; use seeds",
    ]


def test_combinations() -> None:
    grid, typed = read_grid(["a.x=1,2"]), read_grid(["b.y=3,4", "c.z=5,6"])
    every = [tuple(one.text for one in cell) for cell in combinations(grid, typed, zipped=False)]
    assert every == list(itertools.product("12", "34", "56"))
    paired = [tuple(one.text for one in cell) for cell in combinations(grid, typed, zipped=True)]
    assert paired == [("1", "3", "5"), ("1", "4", "6"), ("2", "3", "5"), ("2", "4", "6")]
    assert combinations({}, {}, zipped=False) == [()]


@pytest.mark.parametrize(
    ("texts", "problem"),
    [(["a.x=1,2", "b.y=3"], "a.x has 2, b.y has 1"), (["a.x=1,2"], "pairs two or more --sweep")],
)
def test_values_that_cannot_be_paired(texts: list[str], problem: str) -> None:
    with pytest.raises(RecipeError, match=f"--zip: .*{problem}"):
        combinations({}, read_grid(texts), zipped=True)
