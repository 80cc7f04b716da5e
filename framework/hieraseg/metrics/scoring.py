"""Counting the predictions of a split."""

import torch
from jaxtyping import Int, UInt8
from lightning_fabric import Fabric
from torch import Tensor

from hieraseg.console import progress
from hieraseg.contracts import Prediction
from hieraseg.data.batches import load
from hieraseg.data.store import Store
from hieraseg.data.targets import TargetStore
from hieraseg.inference.segmenter import Segmenter, predict_batch
from hieraseg.metrics import Counts, PixelCounts, SplitCounts
from hieraseg.processes import own_share, sum_over_ranks
from hieraseg.settings import Evaluation


def score_split(
    fabric: Fabric,
    segmenter: Segmenter,
    targets: TargetStore | None,
    store: Store,
    settings: Evaluation,
    kind: type[PixelCounts] | type[SplitCounts] = SplitCounts,
) -> Counts:
    """Predict all images of a split and count the pixels.

    Each process predicts its share of the images. All processes return the counts of all images.

    Args:
        fabric: the processes and the device.
        segmenter: the model and its inference rule. The model is put into evaluation mode.
        targets: masks at their own resolution, for `settings.resolution` "native"; None to
            score at the model's resolution, with the masks of the store.
        store: the images of the split.
        settings: the evaluation protocol.
        kind: `PixelCounts`, or all counts, which take several times as long.
    """
    segmenter.model.eval()
    counts = kind(segmenter.hierarchy, len(store), fabric.device)
    rows = own_share(torch.arange(len(store)), fabric.global_rank, fabric.world_size)
    steps = list(rows.split(settings.batch_size))
    for batch in progress(load(store, steps, False), "scoring", len(steps)):
        on_device = batch.to(fabric.device)
        predictions = predict_batch(fabric, segmenter, on_device.images)
        if targets is None:
            _count(counts, segmenter, predictions, on_device.rows, on_device.masks)
            continue
        # Targets differ in size, so each image is counted by itself.
        for index, row in enumerate(batch.rows.tolist()):
            own = [select_image(prediction, index) for prediction in predictions]
            mask = torch.from_numpy(targets.mask(row))[None].to(fabric.device)
            _count(counts, segmenter, own, on_device.rows[index : index + 1], mask)
    return sum_counts(fabric, counts)


def _count(
    counts: PixelCounts | SplitCounts,
    segmenter: Segmenter,
    predictions: list[Prediction],
    rows: Int[Tensor, " B"],
    masks: UInt8[Tensor, "B H W"],
) -> None:
    """Count images at the resolution of their masks."""
    scores = segmenter.scores(predictions, masks.shape[1:])
    counts.add(rows, segmenter.rule(scores), segmenter.hierarchy.encode(masks), scores)


def sum_counts(fabric: Fabric, counts: PixelCounts | SplitCounts) -> Counts:
    """Sum counts over all processes."""
    counts.counts = sum_over_ranks(fabric, counts.counts)
    return counts.arrays()


def select_image(prediction: Prediction, index: int) -> Prediction:
    """The prediction of one image of a batch, as a batch of one."""
    return Prediction(tuple(level[index : index + 1] for level in prediction.logits))


def protocol(
    store: Store, settings: Evaluation, checkpoint: str, epoch: int
) -> dict[str, str | int]:
    """How a split was scored: written into `result.json` beside the scores."""
    return {
        "resolution": settings.resolution,
        "tta": settings.tta,
        "data": store.fingerprint,
        "checkpoint": checkpoint,
        "epoch": epoch,
    }
