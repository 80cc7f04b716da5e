"""Small runs of the quickstart recipe."""

import json
from pathlib import Path
from typing import Any

from hieraseg.cli import main

ROOT = Path(__file__).parents[2]
QUICKSTART = str(ROOT / "recipes/quickstart.yaml")
SMALL = (
    *(
        "--data.image_size",
        "[64, 64]",
        "--input.size",
        "[64, 64]",
        "--data.train_images",
        "12",
        "--data.val_images",
        "5",
    ),
    *("--data.holdout_images", "3", "--training.batch_size", "4", "--decoder.width", "8"),
    *("--backbone.weights", "null"),
)
"""Overrides that make a run take seconds."""


def run_recipe(out: Path, *arguments: str, recipe: str = QUICKSTART) -> Path:
    """Run a recipe with the overrides `SMALL`; return the folder of its only run."""
    assert main(["run", recipe, "--out", str(out), *SMALL, *arguments]) == 0
    return next(out.glob("*/*/result.json")).parent


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text())


def read_metrics(run_folder: Path) -> list[dict[str, Any]]:
    """The records of `metrics.jsonl`, one per epoch."""
    lines = (run_folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]
