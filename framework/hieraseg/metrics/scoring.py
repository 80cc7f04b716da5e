"""Counting the predictions of a split."""

import torch
from jaxtyping import Int, Integer
from lightning_fabric import Fabric
from torch import Tensor

from hieraseg.console import progress
from hieraseg.contracts import Prediction
from hieraseg.data.batches import label_tensor, load
from hieraseg.data.store import Store
from hieraseg.data.targets import TargetStore
from hieraseg.errors import DataError, DivergedError
from hieraseg.inference.scores import not_finite
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

    Raises:
        DataError: the targets are not those of the images.
        DivergedError: the model predicts scores that are not finite.
    """
    if targets is not None and targets.ids != store.ids:
        raise DataError(
            "data: the ids of the split differ from one call to the next; return them in the same "
            "order, such as sorted"
        )
    segmenter.model.eval()
    counts = kind(segmenter.hierarchy, len(store), fabric.device)
    rows = own_share(torch.arange(len(store)), fabric.global_rank, fabric.world_size)
    # None, where there are fewer images than processes.
    steps = [step for step in rows.split(settings.batch_size) if len(step)]
    failed = torch.zeros((), dtype=torch.int64, device=fabric.device)
    for batch in progress(load(store, steps, False), "scoring", len(steps)):
        on_device = batch.to(fabric.device)
        predictions = predict_batch(fabric, segmenter, on_device.images)
        if targets is None:
            rows, masks = on_device.rows, on_device.masks
            failed += _count(counts, segmenter, predictions, rows, masks)
            continue
        # Targets differ in size, so each image is counted by itself.
        for index, row in enumerate(batch.rows.tolist()):
            own = [select_image(prediction, index) for prediction in predictions]
            mask = label_tensor(targets.mask(row))[None].to(fabric.device)
            rows = on_device.rows[index : index + 1]
            failed += _count(counts, segmenter, own, rows, mask)
    _check_finite(failed, len(store))
    return sum_counts(counts)


def _check_finite(failed: Int[Tensor, ""], images: int) -> None:
    """Raise DivergedError, in all processes alike, if there are images without finite scores."""
    number = int(sum_over_ranks({"images": failed})["images"])
    if number:
        raise DivergedError(
            f"the scores that the model predicts are not finite in {number} of {images} images; "
            "lower optimizer.lr, or train and predict in precision 32-true"
        )


def _count(
    counts: PixelCounts | SplitCounts,
    segmenter: Segmenter,
    predictions: list[Prediction],
    rows: Int[Tensor, " B"],
    masks: Integer[Tensor, "B H W"],
) -> Int[Tensor, ""]:
    """Count images at the resolution of their masks; return how many have scores with NaN."""
    scores = segmenter.scores(predictions, masks.shape[1:])
    targets = segmenter.hierarchy.encode(masks, check=False)  # checked when they were stored
    counts.add(rows, segmenter.rule(scores), targets, scores)
    return not_finite(scores).sum()


def sum_counts(counts: PixelCounts | SplitCounts) -> Counts:
    """Sum counts over all processes."""
    counts.counts = sum_over_ranks(counts.counts)
    return counts.arrays()


def select_image(prediction: Prediction, index: int) -> Prediction:
    """The prediction of one image of a batch, as a batch of one."""
    return Prediction(tuple(level[index : index + 1] for level in prediction.logits))
