"""The second job: score a split, and draw what the model answers."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import UInt8
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor

from hieraseg.checkpoint import load_checkpoint, read_about
from hieraseg.components import build, build_backbone, build_model
from hieraseg.contracts import Dataset, Prediction
from hieraseg.data.batches import load, own_share, read_ahead
from hieraseg.data.store import Store, open_store
from hieraseg.device import start_fabric
from hieraseg.errors import RecipeError
from hieraseg.inference import Segmenter
from hieraseg.metrics import Counts, PixelCounts, SplitCounts, summarize
from hieraseg.progress import progress
from hieraseg.recipe import Recipe
from hieraseg.run_folder import RunFolder
from hieraseg.settings import Evaluation
from hieraseg.visualize import draw


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


def with_views(recipe: Recipe, views: Mapping[str, Any]) -> Recipe:
    """A recipe with other settings of its evaluation. Raises RecipeError for a bad value."""
    try:
        return replace(recipe, evaluation=replace(recipe.evaluation, **views))
    except ValueError as error:
        raise RecipeError(f"evaluation: {error}") from error


def load_segmenter(
    folder: RunFolder, recipe: Recipe, which: str, fabric: Fabric
) -> tuple[Segmenter, dict[str, Any]]:
    """The model of a run's checkpoint, ready to answer, and what was saved about it."""
    path = folder.checkpoint(which)
    hierarchy = build(recipe["hierarchy"])
    about = read_about(path)
    if about.get("classes", hierarchy.level_names) != hierarchy.level_names:
        raise RecipeError(
            f"hierarchy: {recipe['hierarchy'].name} no longer has the classes that {path} was "
            "trained for; restore the class tree, or run the recipe again"
        )
    model = build_model(
        recipe,
        build_backbone(recipe, False),
        hierarchy,
        about["num_classes"],
        about.get("embedding_channels", 0),
    )
    load_checkpoint(path, model)
    model = model.to(fabric.device).to(memory_format=torch.channels_last).eval()
    rule = build(recipe["inference"], hierarchy=hierarchy)
    views = recipe.evaluation.views
    return Segmenter(model, about["activation"], rule, hierarchy, views), about


def score_split(
    fabric: Fabric,
    segmenter: Segmenter,
    dataset: Dataset,
    store: Store,
    settings: Evaluation,
    kind: type[PixelCounts] | type[SplitCounts] = SplitCounts,
) -> Counts:
    """Counts of all images of a split, whichever process saw them.

    Each process takes its share of the images and fills its rows; the rows are then added up.

    Args:
        fabric: the processes.
        segmenter: the model, and how its logits become classes.
        dataset: has the truth at its own resolution.
        store: the split's images.
        settings: the protocol.
        kind: which counts.
    """
    segmenter.model.eval()
    hierarchy = segmenter.hierarchy
    counts = kind(hierarchy, len(store), fabric.device)
    rows = own_share(torch.arange(len(store)), fabric.global_rank, fabric.world_size)
    steps = list(rows.split(settings.batch_size))
    truths = read_ahead(dataset.mask, [store.ids[row] for row in rows], settings.batch_size)
    for batch in progress(load(store, steps, False), "scoring", len(steps)):
        batch = batch.to(fabric.device)
        predictions = answer(fabric, segmenter, batch.images)
        if settings.resolution == "input":
            scores = segmenter.scores(predictions, batch.masks.shape[1:])
            counts.add(batch.rows, segmenter.rule(scores), hierarchy.encode(batch.masks), scores)
            continue
        for image, row in enumerate(batch.rows.split(1)):
            truth = torch.from_numpy(next(truths)).to(fabric.device)[None]
            own = [only(prediction, image) for prediction in predictions]
            scores = segmenter.scores(own, truth.shape[1:])
            counts.add(row, segmenter.rule(scores), hierarchy.encode(truth), scores)
    return all_counts(fabric, counts)


def all_counts(fabric: Fabric, counts: PixelCounts | SplitCounts) -> Counts:
    """The counts of all processes, added up."""
    if fabric.world_size > 1:
        for key, value in counts.counts.items():
            counts.counts[key] = cast(Tensor, fabric.all_reduce(value, reduce_op="sum"))
    return counts.arrays()


def answer(
    fabric: Fabric, segmenter: Segmenter, images: UInt8[Tensor, "B 3 H W"]
) -> list[Prediction]:
    """What the model answers to each view of uint8 images."""
    with torch.inference_mode(), fabric.autocast():
        return segmenter.predictions(images.float() / 255)


def only(prediction: Prediction, image: int) -> Prediction:
    """The prediction for one image of a batch."""
    return Prediction(tuple(level[image : image + 1] for level in prediction.logits))


def draw_rows(
    fabric: Fabric, segmenter: Segmenter, store: Store, rows: list[int]
) -> list[Image.Image]:
    """Pictures of some of a store's images (see `visualize.draw`)."""
    segmenter.model.eval()
    pictures = []
    for batch in load(store, [torch.tensor([row]) for row in rows], False):
        predictions = answer(fabric, segmenter, batch.to(fabric.device).images)
        classes = segmenter.rule(segmenter.scores(predictions, batch.masks.shape[1:]))
        truth = segmenter.hierarchy.encode(batch.masks)
        image = batch.images[0].permute(1, 2, 0).numpy()
        pictures.append(
            draw(image, classes[0].cpu().numpy(), segmenter.hierarchy, truth[0].numpy())
        )
    return pictures


def spread_rows(images: int, wanted: int) -> list[int]:
    """Rows of the images to draw, spread over the split, the same each time."""
    return np.linspace(0, images - 1, min(wanted, images)).round().astype(int).tolist()


def protocol(
    store: Store, settings: Evaluation, checkpoint: str, epoch: int
) -> dict[str, str | int]:
    """How a split was scored, as `result.json` says it beside the scores."""
    return {
        "resolution": settings.resolution,
        "views": str(settings.views),
        "data": store.fingerprint,
        "checkpoint": checkpoint,
        "epoch": epoch,
    }
