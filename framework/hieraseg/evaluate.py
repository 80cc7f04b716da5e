"""Job: score a split with a run's model, and draw some of its predictions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hieraseg.console import log, warn
from hieraseg.data.stores.targets import open_scored
from hieraseg.devices import precision_of
from hieraseg.errors import RecipeError
from hieraseg.files.strict_yaml import inline
from hieraseg.metrics import summarize
from hieraseg.metrics.protocol import protocol, score_key
from hieraseg.metrics.scoring import score_split
from hieraseg.recipe.dataset import build_dataset, data_digest
from hieraseg.runs.figures import output_path, save_split_figures
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.loading import load_run
from hieraseg.training.memory import explaining_memory


def evaluate(
    run: str | Path,
    split: str = "val",
    checkpoint: str = "best",
    device: str = "auto",
    figures: tuple[Path | None, int] | None = None,
    tta: Mapping[str, Any] | None = None,
    run_plugins: bool = True,
    data_root: Path | None = None,
) -> dict[str, Any]:
    """Score a split with a run's checkpoint, and add the scores to the run folder.

    Scores of another protocol than the run's own are kept beside those (see
    `metrics.protocol.score_key`).

    Args:
        run: the run folder.
        split: split of the run's data set.
        checkpoint: `best` or `last`.
        device: `auto`, `cpu` or `cuda`.
        figures: folder and number of figures to draw, or None. The default folder is one in the
            run folder, for this split and protocol.
        tta: settings of `Evaluation` that replace those of the recipe, such as `flip`.
        run_plugins: whether plugin files of the run folder may be run.
        data_root: folder of the data set; None for that of the recipe.

    Returns:
        The scores of the split, as in `result.json`.

    Raises:
        RecipeError: there is no such run, split or checkpoint, or CUDA is not available.
        DataError: the data cannot be used.
        UnwrittenScoresError: the scores cannot be written; the error has them.
    """
    moved = [] if data_root is None else [("data.root", inline(str(data_root.absolute())))]
    loaded = load_run(run, checkpoint, device, tta, run_plugins, moved)
    recipe, segmenter, fabric = loaded.recipe, loaded.segmenter, loaded.fabric
    dataset = build_dataset(recipe, segmenter.hierarchy)
    if split not in dataset.splits:
        raise RecipeError(f"--split {split}: the data set has {', '.join(dataset.splits)}")
    key = score_key(split, checkpoint, recipe.evaluation, loaded.own_protocol)
    drawn, count = figures or (None, 0)
    if figures is not None:
        drawn = drawn or output_path(loaded.folder.figures, key, "")
        loaded.folder.make_folder(drawn)
    store, targets = open_scored(
        dataset,
        split,
        segmenter.hierarchy,
        segmenter.seen,
        recipe.evaluation,
        data_digest(recipe, dataset),
    )
    with explaining_memory(recipe, scores=True):
        counts = score_split(fabric, segmenter, targets, store)
    scores = {
        **summarize(counts, segmenter.hierarchy),
        **protocol(
            store,
            recipe.input,
            segmenter.hierarchy,
            recipe.evaluation,
            precision_of(fabric),
            checkpoint,
            loaded.metadata["epoch"],
            loaded.metadata.get("step"),
        ),
    }
    replaced = loaded.folder.write_scores(key, scores, counts, store.ids)
    _log_changes(loaded.folder, key, scores, replaced or {})
    if drawn is not None:
        save_split_figures(drawn, fabric, segmenter, store, count)
        log(f"figures are in {drawn}")
    return scores


def _log_changes(
    folder: RunFolder, key: str, scores: Mapping[str, Any], replaced: Mapping[str, Any]
) -> None:
    """Say where the scores are, and what is not as it was when the run was trained or scored."""
    log(f"scores are kept as {key!r} in {folder.result}")
    parts = ("data", "tree", "resolution", "tta", "epoch", "step")
    changed = [part for part in parts if part in replaced and replaced[part] != scores[part]]
    if changed:
        warn(f"these scores replace earlier ones that differ in {', '.join(changed)}")
    try:
        trained = folder.read_provenance().get("data", {})
    except RecipeError as error:
        warn(str(error))
        return
    split = key.partition("@")[0]
    if trained.get(split, scores["data"]) != scores["data"]:
        warn(f"the data of split {split!r} has changed since the run was trained")
