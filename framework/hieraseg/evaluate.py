"""The second job: score a split, and draw what the model answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hieraseg.data.store import open_store
from hieraseg.errors import RecipeError
from hieraseg.metrics import summarize
from hieraseg.metrics.scoring import protocol, score_split
from hieraseg.processes import start_fabric
from hieraseg.recipe.build import build
from hieraseg.runs.figures import draw_rows, spread_rows
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.loading import load_segmenter, with_views


def evaluate(
    run: str | Path,
    split: str = "val",
    checkpoint: str = "best",
    device: str = "auto",
    pictures: tuple[Path, int] | None = None,
    views: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Score a split with a run's checkpoint, add it to the run folder, and draw some images.

    Args:
        run: the run folder.
        split: of the run's data set.
        checkpoint: `best` or `last`.
        device: `auto`, `cpu` or `cuda`.
        pictures: folder and number of the pictures to draw, or None.
        views: settings of `Evaluation` that replace the run's own, such as `flip`.

    Returns:
        The split's scores, as in `result.json`.

    Raises:
        HierasegError: no such run, split or checkpoint; data that cannot be used; no CUDA.
    """
    folder = RunFolder.open(run)
    recipe = with_views(folder.load_recipe(), views or {})
    fabric = start_fabric(device, recipe.training.precision)
    segmenter, about = load_segmenter(folder, recipe, checkpoint, fabric)
    hierarchy = segmenter.hierarchy
    dataset = build(recipe["data"], hierarchy=hierarchy)
    if split not in dataset.splits:
        raise RecipeError(f"--split {split}: the data set has {', '.join(dataset.splits)}")
    if pictures is not None:
        pictures[0].mkdir(parents=True, exist_ok=True)
    store = open_store(dataset, split, hierarchy, recipe["data"].code)
    counts = score_split(fabric, segmenter, dataset, store, recipe.evaluation)
    scores = {
        **summarize(counts, hierarchy),
        **protocol(store, recipe.evaluation, checkpoint, about["epoch"]),
    }
    folder.write_scores(split, scores, counts, store.ids)
    if pictures is not None:
        target, wanted = pictures
        rows = spread_rows(len(store), wanted)
        for row, picture in zip(rows, draw_rows(fabric, segmenter, store, rows), strict=True):
            picture.save(target / f"{store.ids[row]}.png")
    return scores
