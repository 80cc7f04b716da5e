"""Job: score a split with a run's model, and draw some of its predictions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hieraseg.data.store import open_store
from hieraseg.data.targets import open_targets
from hieraseg.errors import RecipeError
from hieraseg.metrics import summarize
from hieraseg.metrics.scoring import protocol, score_split
from hieraseg.recipe.build import build
from hieraseg.runs.figures import draw_rows, spread_rows
from hieraseg.runs.loading import load_run


def evaluate(
    run: str | Path,
    split: str = "val",
    checkpoint: str = "best",
    device: str = "auto",
    figures: tuple[Path, int] | None = None,
    tta: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Score a split with a run's checkpoint, and add the scores to the run folder.

    Args:
        run: the run folder.
        split: split of the run's data set.
        checkpoint: `best` or `last`.
        device: `auto`, `cpu` or `cuda`.
        figures: folder and number of figures to draw, or None.
        tta: settings of `Evaluation` that replace those of the recipe, such as `flip`.

    Returns:
        The scores of the split, as in `result.json`.

    Raises:
        RecipeError: there is no such run, split or checkpoint, or CUDA is not available.
        DataError: the data cannot be used.
    """
    loaded = load_run(run, checkpoint, device, tta)
    recipe, segmenter, fabric = loaded.recipe, loaded.segmenter, loaded.fabric
    dataset = build(recipe["data"], hierarchy=segmenter.hierarchy)
    if split not in dataset.splits:
        raise RecipeError(f"--split {split}: the data set has {', '.join(dataset.splits)}")
    if figures is not None:
        figures[0].mkdir(parents=True, exist_ok=True)
    code = recipe["data"].code
    store = open_store(dataset, split, segmenter.hierarchy, code)
    native = recipe.evaluation.resolution == "native"
    targets = open_targets(dataset, split, segmenter.hierarchy, code) if native else None
    counts = score_split(fabric, segmenter, targets, store, recipe.evaluation)
    scores = {
        **summarize(counts, segmenter.hierarchy),
        **protocol(store, recipe.evaluation, checkpoint, loaded.metadata["epoch"]),
    }
    loaded.folder.write_scores(split, scores, counts, store.ids)
    if figures is not None:
        rows = spread_rows(len(store), figures[1])
        drawn = draw_rows(fabric, segmenter, store, rows)
        for row, figure in zip(rows, drawn, strict=True):
            figure.save(figures[0] / f"{store.ids[row]}.png")
    return scores
