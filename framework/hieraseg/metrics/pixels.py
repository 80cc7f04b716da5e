"""Counts for IoU, Dice, accuracy, coherence and tree distance."""

from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.metrics.counting import count_per_image
from hieraseg.metrics.joint import JointCounts


class PixelCounts:
    """Pixel counts per image, cheap enough for every training step.

    Attributes:
        counts: int64, on the device. Per level l (1 to L) `intersection_l`, `predicted_l` and
            `truth_l` `[N, C_l]`: pixels of each class in both, in the prediction and in the
            target. `[N]`: `pixels` that are not void; `coherent` pixels among these, whose
            predictions form a path of the tree; `mistakes`, pixels with a known leaf that is
            predicted wrongly; `distance`, the sum of the tree distances of these in edges.

    Args:
        hierarchy: the class tree.
        images: N, the number of images, or of rows that they are summed into.
        device: device of the counts.
    """

    def __init__(self, hierarchy: Hierarchy, images: int, device: torch.device) -> None:
        self.of_images = pixel_counter(hierarchy, device)
        self.counts = zeros(self.of_images, images, device)

    def add(
        self,
        rows: Int[Tensor, " B"],
        predicted: Int[Tensor, "B levels H W"],
        targets: Int[Tensor, "B levels H W"],
        scores: list[Float[Tensor, "B _ H W"]] | None = None,
    ) -> None:
        """Count a batch (see `SplitCounts.add`). The scores are not used."""
        for key, found in self.of_images(predicted, targets).items():
            self.counts[key].index_add_(0, rows, found)

    def arrays(self) -> dict[str, Int[np.ndarray, "..."]]:
        """The counts as NumPy arrays."""
        return {key: value.cpu().numpy() for key, value in self.counts.items()}


def pixel_counter(hierarchy: Hierarchy, device: torch.device) -> JointCounts:
    """Computes the counts of `PixelCounts` for each image of a batch; a function of tensors.

    Args:
        hierarchy: the class tree.
        device: device of the batches.
    """
    return JointCounts(hierarchy, partial(count_pixels, hierarchy), device)


def zeros(counter: JointCounts, images: int, device: torch.device) -> dict[str, Tensor]:
    """Counts of nothing, for a number of images."""
    return {
        key: torch.zeros((images, *shape), dtype=torch.int64, device=device)
        for key, shape in counter.shapes.items()
    }


def count_pixels(
    hierarchy: Hierarchy,
    predicted: Int[Tensor, "B levels H W"],
    targets: Int[Tensor, "B levels H W"],
) -> dict[str, Int[Tensor, "B ..."]]:
    """The counts of `PixelCounts` for each image of a batch."""
    tables = hierarchy.on(targets.device)
    valid = targets != IGNORE_INDEX
    correct = valid & (predicted == targets)
    counts = {}
    for level, classes in enumerate(hierarchy.num_classes):
        for count, labels, where in (
            ("intersection", targets, correct),
            ("predicted", predicted, valid),
            ("truth", targets, valid),
        ):
            found = count_per_image(labels[:, level], where[:, level].long(), classes)
            counts[f"{count}_{level + 1}"] = found
    coherent = valid[:, 0]
    for level in range(1, hierarchy.num_levels):
        above = torch.take(tables.parents[level], predicted[:, level])
        coherent = coherent & (above == predicted[:, level - 1])
    errors = valid[:, -1] & ~correct[:, -1]
    # From paths, since a table of all pairs of leaves does not fit into memory for 10,000.
    leaves = targets[:, -1].clamp(min=0), predicted[:, -1]
    steps = sum(
        torch.ne(*(torch.take(ancestor, leaf) for leaf in leaves))
        for ancestor in tables.paths.unbind(1)
    )
    of_pixels = {
        "pixels": valid[:, 0],
        "coherent": coherent,
        "mistakes": errors,
        "distance": torch.where(errors, 2 * steps, 0),
    }
    return counts | {key: value.sum(dim=(1, 2)) for key, value in of_pixels.items()}
