"""A small study: real runs that take half a second each, and their comparison."""

from pathlib import Path

import pytest

from hieraseg.cli import main
from hieraseg.compare import compare
from hieraseg.comparison.comparison import Comparison
from tests.support.oracle import write_oracle_recipe

SMALL = """\
data: {name: rectangles, images: 16, shape: [24, 40], shown: 4}
decoder: linear
optimizer: {name: adamw, lr: 0.5}
inference: independent
training: {epochs: 2, batch_size: 4, max_steps: 4}
trackers: []
"""
"""Sections over those of `tests.support.oracle`: a classifier of colors, which learns a little."""
ROWS = {
    "--loss marginal_ce": (0, 1, 2),
    "--loss weighted_ce": (0, 1, 2),
    "--loss hxe --inference best_path --schedule poly --optimizer.weight_decay 0": (0,),
}
"""The overrides of each row, which name it, and its seeds."""


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the runs of the study. Tests must not change it."""
    folder = tmp_path_factory.mktemp("study")
    recipe = write_oracle_recipe(folder, SMALL)
    for overrides, seeds in ROWS.items():
        command = ["run", recipe, "--out", str(folder / "runs"), *overrides.split()]
        assert main([*command, "--seeds", *map(str, seeds)]) == 0
    return folder / "runs"


@pytest.fixture(scope="session")
def comparison(study: Path) -> Comparison:
    """The study with `weighted_ce` as the baseline. Tests must not change it."""
    return compare([study], baseline="loss=weighted_ce", per_class=True)
