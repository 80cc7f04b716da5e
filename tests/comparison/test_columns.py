"""Columns of a comparison: their cells, how they are chosen, and rows sorted by them."""

import pytest

from hieraseg.comparison import numbers
from hieraseg.comparison.choosing import choose_columns, sorted_rows
from hieraseg.comparison.columns import all_columns, main_columns
from hieraseg.errors import RecipeError
from tests.support.rows import make_row, scores_of

COST = {"parameters": 3_945_196, "flops": 2.5e9, "images_per_second": 1312.6, "seconds": 90}
ROWS = [
    make_row(
        "q/gamma10",
        [scores_of(0.4, 0.2), scores_of(0.6, None), scores_of(None, None)],
        cost=COST,
        settings={"loss": "tree_min", "loss.gamma": "10.0"},
    ),
    make_row("q/gamma2", [scores_of(0.7, 0.1)], settings={"loss.gamma": "2.0"}),
    make_row("q/flat", [scores_of(None, None, mistake_distance=2.0)], settings={"loss": "ce"}),
]


def cells(title: str) -> list[str]:
    (column,) = (one for one in all_columns(ROWS) if one.title == title)
    return [column.text(row) for row in ROWS]


def test_cells_are_means_over_seeds_with_the_sample_standard_deviation() -> None:
    """Undefined scores are left out of the mean, which is said. Costs have no spread."""
    assert cells("n") == ["3", "1", "1"]
    assert cells("mIoU L1") == ["0.500 ± 0.141 (2 of 3)", "0.700", "-"]
    assert cells("mIoU L2") == ["0.200 (1 of 3)", "0.100", "-"]
    assert cells("mistake severity") == ["-", "-", "2.000"]
    assert cells("parameters (M)") == ["3.95", "-", "-"]
    assert cells("FLOPs per image (G)") == ["2.50", "-", "-"]
    assert cells("images/s") == ["1,313", "-", "-"]
    assert cells("minutes") == ["1.50", "-", "-"]
    assert cells("loss.gamma") == ["10.0", "2.0", "-"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9713, "0.971"),
        (1, "1.00"),
        (47.92, "47.9"),
        (123.4, "123"),
        (999.7, "1,000"),
        (0, "0.00"),
    ],
)
def test_costs_have_three_digits(value: float, text: str) -> None:
    assert numbers.amount(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.0004, "<0.001"), (0.0123, "0.012"), (0.0496, "0.0496"), (0.04997, "0.04997")),
        *((0.05, "0.050"), (0.0502, "0.050"), (1.0, "1.000")),
    ],
)
def test_p_values_stay_on_their_side_of_the_significance_level(value: float, text: str) -> None:
    assert numbers.p_value(value) == text


def test_main_columns_are_those_that_people_read() -> None:
    titles = [column.title for column in main_columns(ROWS)]
    assert titles == [
        *("n", "loss", "loss.gamma", "mIoU L1", "mIoU L2", "coherence", "mistake severity"),
        *("parameters (M)", "FLOPs per image (G)", "images/s", "minutes"),
    ]


def chosen(wanted: list[str] | None = None, dropped: list[str] | None = None) -> list[str]:
    columns = choose_columns(ROWS, main_columns(ROWS), wanted, dropped or [])
    return [column.title for column in columns]


def test_columns_are_chosen_by_name_in_any_case() -> None:
    """Also those that are not shown otherwise; and by the name that they have in JSON."""
    assert chosen(["miou l2", "LOSS"]) == ["n", "mIoU L2", "loss"]
    assert chosen(["mIoU", "ece l1"]) == ["n", "mIoU L1", "mIoU L2", "ECE L1"]
    assert chosen(["mistake distance", "mistake severity"]) == ["n", "mistake severity"]
    assert "mIoU L1" not in chosen(dropped=["miou"])
    assert chosen(["loss"], ["n"]) == ["loss"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("coherense", "did you mean 'coherence'?"), ("miou l4", "did you mean 'mIoU L"), ("?", "kn")],
)
def test_a_misspelt_column_gets_a_suggestion(name: str, hint: str) -> None:
    for option, arguments in (("columns", ([name], [])), ("drop", (None, [name]))):
        with pytest.raises(RecipeError) as error:
            chosen(*arguments)
        assert str(error.value).startswith(f"--{option}: no column {name!r}; {hint}")
    with pytest.raises(RecipeError, match=r"^--sort: no column"):
        sorted_rows(ROWS, name)


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("mIoU L1", ["gamma2", "gamma10", "flat"]),
        ("mIoU L2", ["gamma10", "gamma2", "flat"]),
        ("mistake severity", ["flat", "gamma10", "gamma2"]),
        ("minutes", ["gamma10", "gamma2", "flat"]),
        ("n", ["gamma10", "gamma2", "flat"]),
        ("loss.gamma", ["gamma2", "gamma10", "flat"]),
        ("loss", ["flat", "gamma10", "gamma2"]),
        ("recipe", ["flat", "gamma2", "gamma10"]),
    ],
)
def test_sorted_rows_begin_with_the_best(name: str, order: list[str]) -> None:
    """Numbers in text are sorted by value, and what has no value comes last."""
    assert [row.title for row in sorted_rows(ROWS, name)] == [f"q/{one}" for one in order]


def test_low_costs_and_errors_are_best() -> None:
    rows = [
        make_row(name, [scores_of(0.5, mistake_distance=distance)], cost={"seconds": seconds})
        for name, distance, seconds in (("a", 3.0, 60), ("b", 2.0, 90))
    ]
    assert [row.title for row in sorted_rows(rows, "minutes")] == ["a", "b"]
    assert [row.title for row in sorted_rows(rows, "mistake severity")] == ["b", "a"]


def test_rows_are_sorted_by_one_column() -> None:
    with pytest.raises(RecipeError, match="'miou' could be 'mIoU L1', 'mIoU L2'; name one"):
        sorted_rows(ROWS, "miou")
