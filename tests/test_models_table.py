"""Parameters and operations in docs/models.md are those of the code."""

from pathlib import Path
from typing import Any

import pytest
from benchmarks.models import COMBINATIONS, Combination, cells, cost

TABLE = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (Path(__file__).parents[1] / "docs/models.md").read_text().splitlines()
    if line.startswith("| `")
]
QUICK = (0, 6, 15)


def rows() -> list[Any]:
    marks = {index: [] if index in QUICK else [pytest.mark.slow] for index in range(len(TABLE))}
    return [
        pytest.param(*pair, id=" ".join(pair[0]), marks=marks[index])
        for index, pair in enumerate(zip(COMBINATIONS, TABLE, strict=False))
    ]


def test_every_combination_has_a_row() -> None:
    assert [row[:2] for row in TABLE] == [
        [f"`{one.backbone}`", f"`{one.decoder}`"] for one in COMBINATIONS
    ]
    assert len(set(COMBINATIONS)) == 20
    assert all(float(row[4]) > 0 for row in TABLE)


@pytest.mark.parametrize(("combination", "row"), rows())
def test_parameters_and_operations(combination: Combination, row: list[str]) -> None:
    assert cells(combination, cost(combination)) == row[:4]
