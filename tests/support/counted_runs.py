"""Run folders with scores and counts of random predictions, which no training wrote."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import yaml

from hieraseg import Hierarchy
from hieraseg.comparison.rows import Row
from hieraseg.hierarchy.identity import record
from hieraseg.metrics.pixels import count_pixels
from hieraseg.metrics.summary import summarize
from hieraseg.runs.finished import read_finished
from hieraseg.runs.folder import RunFolder

TREE = {"background": None, "body": {"arm": None, "leg": None}}


def tree(**options: str | None) -> Hierarchy:
    """Background, and a body of two parts."""
    return Hierarchy.from_tree(TREE, **{"background": "background", **options})


def write_run(
    folder: Path,
    seed: int = 0,
    accuracy: float = 0.7,
    ids: Sequence[str] = tuple(f"i{number:02}" for number in range(20)),
    hierarchy: Hierarchy | None = None,
    targets: int = 0,
    leaves: int | None = None,
) -> Path:
    """Write a run that predicts a share of the pixels right, and the others at random.

    Args:
        folder: its folder.
        seed: its seed, and that of its predictions.
        accuracy: share of the pixels that are predicted right.
        ids: its images. Their targets depend on their ids alone.
        hierarchy: the class tree; by default `tree()`.
        targets: a number on which the targets depend, too.
        leaves: number of leaves that are in targets; by default all.
    """
    hierarchy = hierarchy or tree()
    truth = np.stack([_targets(id, targets, leaves or len(hierarchy.paths)) for id in ids])
    random = np.random.default_rng([seed, round(1000 * accuracy)])
    guesses = random.integers(0, len(hierarchy.paths), (len(ids), 8, 8))
    predicted = np.where(random.random(guesses.shape) < accuracy, truth, guesses)
    as_levels = [
        hierarchy.paths[torch.from_numpy(maps)].movedim(-1, 1) for maps in (predicted, truth)
    ]
    counts = {key: value.numpy() for key, value in count_pixels(hierarchy, *as_levels).items()}
    scores = {
        **summarize(counts, hierarchy),
        "resolution": "native",
        "data": "d",
        "checkpoint": "best",
        "tree": record(hierarchy),
    }
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(yaml.dump({"training": {"seed": seed, "epochs": 1}}))
    RunFolder(folder).write_scores("val", scores, counts, list(ids), {"steps": 1})
    return folder


def row_of(title: str, *folders: Path) -> Row:
    """The row of some runs."""
    return Row(title, tuple(read_finished(RunFolder(folder), "val") for folder in folders))


def write_row(folder: Path, title: str, seeds: Sequence[int] = (0, 1, 2), **options: float) -> Row:
    """Write the runs of a row (see `write_run`)."""
    runs = [write_run(folder / f"{title}-seed{seed}", seed, **options) for seed in seeds]
    return row_of(title, *runs)


def _targets(id: str, salt: int, leaves: int) -> np.ndarray:
    random = np.random.default_rng([*id.encode(), salt])
    return random.integers(0, leaves, (8, 8))
