"""Counting the predictions of a split."""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Bool, Int, Integer
from torch import Tensor

from hieraseg.console import progress
from hieraseg.data.batches.stacks import read_stacks
from hieraseg.data.stores.store import Store
from hieraseg.data.stores.targets import TargetStore
from hieraseg.devices import Fabric
from hieraseg.errors import DataError, DivergedError
from hieraseg.inference.bands import Band, batches, predict_images
from hieraseg.inference.scores import not_finite
from hieraseg.inference.segmenter import Segmenter
from hieraseg.metrics import Counts, PixelCounts, SplitCounts
from hieraseg.processes import own_share, sum_over_ranks


def score_split(
    fabric: Fabric,
    segmenter: Segmenter,
    targets: TargetStore | None,
    store: Store,
    kind: type[PixelCounts] | type[SplitCounts] = SplitCounts,
    stop: Callable[[], bool] = lambda: False,
) -> Counts:
    """Predict all images of a split and count the pixels.

    Each process predicts its share of the images. All processes return the counts of all images.

    Args:
        fabric: the processes and the device.
        segmenter: the model and the evaluation protocol. The model is put into evaluation mode.
        targets: masks at their own resolution, for `evaluation.resolution` "native"; None to
            score at the resolution of the store, with its masks.
        store: the images of the split, resized by `segmenter.seen`.
        kind: `PixelCounts`, or all counts, which take several times as long.
        stop: whether to stop between two batches, with counts of fewer images.

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
    masks = store if targets is None else targets
    # None, where there are fewer images than processes.
    own = own_share(torch.arange(len(store)), fabric.global_rank, fabric.world_size).numpy()
    shapes, sizes = (list(map(tuple, one.shapes[own].tolist())) for one in (store, masks))
    steps = [
        [own[stack].tolist() for stack in step]
        for step in batches(segmenter, shapes, sizes, fabric.device)
    ]
    counts = kind(segmenter.hierarchy, len(store), fabric.device)
    failed = torch.zeros(len(store), dtype=torch.bool, device=fabric.device)
    ahead = segmenter.settings.batch_size
    for step in progress(
        read_stacks(store, masks, steps, ahead, fabric.device), "scoring", len(steps)
    ):
        if stop():
            break
        images = [stack.images for stack in step]
        scored = [(stack.masks.shape[1], stack.masks.shape[2]) for stack in step]
        predicted = predict_images(fabric, segmenter, images, scored)
        for stack, bands in zip(step, predicted, strict=True):
            rows = stack.rows.to(fabric.device, non_blocking=True)
            failed[rows] = _count(counts, segmenter, rows, bands, stack.masks)
    _check_finite(failed)
    return sum_counts(counts)


def _check_finite(failed: Bool[Tensor, " N"]) -> None:
    """Raise DivergedError, in all processes alike, if there are images without finite scores."""
    number = int(sum_over_ranks({"images": failed.sum()})["images"])
    if number:
        raise DivergedError(
            f"the scores that the model predicts are not finite in {number} of {len(failed)} "
            "images; lower optimizer.lr, or train and predict in precision 32-true"
        )


def _count(
    counts: PixelCounts | SplitCounts,
    segmenter: Segmenter,
    rows: Int[Tensor, " n"],
    bands: Iterable[Band],
    masks: Integer[Tensor, "n H W"],
) -> Bool[Tensor, " n"]:
    """Count images at the resolution of their masks; return whether they have scores with NaN."""
    size = (masks.shape[1], masks.shape[2])
    boundaries = counts.boundaries(rows, size) if isinstance(counts, SplitCounts) else None

    def count(band: Band) -> Bool[Tensor, " n"]:
        labels = masks[:, band.rows].to(rows.device, non_blocking=True)
        targets = segmenter.hierarchy.encode(labels, check=False)  # checked when they were stored
        predicted = segmenter.rule(band.scores)
        counts.add(rows, predicted, targets, band.scores)
        if boundaries is not None:
            boundaries.add(predicted, targets)
        return not_finite(band.scores)

    # A loop would keep the scores of a band while the next one is predicted.
    return torch.stack(list(map(count, bands))).any(0)


def sum_counts(counts: PixelCounts | SplitCounts) -> Counts:
    """Sum counts over all processes."""
    counts.counts = sum_over_ranks(counts.counts)
    return counts.arrays()
