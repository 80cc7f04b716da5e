"""Counting the predictions of a split."""

from collections.abc import Iterable
from itertools import islice

import numpy as np
import torch
from jaxtyping import Bool, UInt, UInt8
from torch import Tensor

from hieraseg.console import progress
from hieraseg.data.batches.batch import label_tensor
from hieraseg.data.prefetch import prefetch
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
    masks = store if targets is None else targets
    failed = torch.zeros(len(store), dtype=torch.bool, device=fabric.device)
    # None, where there are fewer images than processes.
    own = own_share(torch.arange(len(store)), fabric.global_rank, fabric.world_size).tolist()
    shapes = [(height, width) for height, width in store.shapes[own].tolist()]
    steps = [[own[index] for index in step] for step in batches(segmenter, shapes)]

    def read(row: int) -> tuple[UInt8[np.ndarray, "_ _ 3"], UInt[np.ndarray, "_ _"]]:
        return store.image(row), masks.mask(row)

    # Images may be files that are decoded here, so each is read by a thread of its own.
    threads = torch.get_num_threads()
    ahead = max(threads + 1, segmenter.settings.batch_size)
    loaded = prefetch(read, [row for rows in steps for row in rows], ahead, threads)
    for rows in progress(steps, "scoring", len(steps)):
        pairs = list(islice(loaded, len(rows)))
        images, sizes = [image for image, _ in pairs], [mask.shape for _, mask in pairs]
        predicted = predict_images(fabric, segmenter, images, sizes)
        for row, (_, mask), bands in zip(rows, pairs, predicted, strict=True):
            failed[row] = _count(counts, segmenter, row, bands, mask)
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
    row: int,
    bands: Iterable[Band],
    mask: UInt[np.ndarray, "H W"],
) -> Bool[Tensor, ""]:
    """Count an image at the resolution of its mask; return whether it has scores with NaN."""
    device = counts.counts["pixels"].device
    rows = torch.tensor([row], device=device)
    size = (mask.shape[0], mask.shape[1])
    boundaries = counts.boundaries(rows, size) if isinstance(counts, SplitCounts) else None

    def count(band: Band) -> Bool[Tensor, ""]:
        labels = label_tensor(np.array(mask[band.rows]))[None].to(device)
        targets = segmenter.hierarchy.encode(labels, check=False)  # checked when they were stored
        predicted = segmenter.rule(band.scores)
        counts.add(rows, predicted, targets, band.scores)
        if boundaries is not None:
            boundaries.add(predicted, targets)
        return not_finite(band.scores)[0]

    # A loop would keep the scores of a band while the next one is predicted.
    return torch.stack(list(map(count, bands))).any()


def sum_counts(counts: PixelCounts | SplitCounts) -> Counts:
    """Sum counts over all processes."""
    counts.counts = sum_over_ranks(counts.counts)
    return counts.arrays()
