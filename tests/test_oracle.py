"""The model whose prediction is known scores 1.0 on every level."""

from pathlib import Path

from hieraseg.cli import main
from tests.support.oracle import write_oracle_recipe
from tests.support.runs import read_json


def scores(folder: Path) -> list[float]:
    """mIoU of `val` per level."""
    levels = read_json(folder / "result.json")["splits"]["val"]["levels"]
    return [level["miou"] for level in levels]


def test_with_a_loss_of_leaves(oracle_run: Path) -> None:
    assert scores(oracle_run) == [1.0, 1.0, 1.0]


def test_with_a_loss_of_all_levels(tmp_path: Path) -> None:
    recipe = write_oracle_recipe(tmp_path, "loss: weighted_ce\n")
    assert main(["run", recipe, "--out", str(tmp_path / "runs")]) == 0
    assert scores(next(tmp_path.glob("runs/*/*"))) == [1.0, 1.0, 1.0]
