"""The scores of a split."""

from typing import cast

import torch
from jaxtyping import UInt8
from lightning_fabric import Fabric
from torch import Tensor

from hieraseg.console import progress
from hieraseg.contracts import Dataset, Prediction
from hieraseg.data.batches import load, read_ahead
from hieraseg.data.store import Store
from hieraseg.inference.segmenter import Segmenter
from hieraseg.metrics import Counts, PixelCounts, SplitCounts
from hieraseg.processes import own_share
from hieraseg.settings import Evaluation


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


def protocol(
    store: Store, settings: Evaluation, checkpoint: str, epoch: int
) -> dict[str, str | int]:
    """How a split was scored, as `result.json` says it beside the scores."""
    return {
        "resolution": settings.resolution,
        "tta": settings.tta,
        "data": store.fingerprint,
        "checkpoint": checkpoint,
        "epoch": epoch,
    }
