"""Counts for IoU, Dice, accuracy, coherence and tree distance."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.metrics.counting import count_per_image


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
        self.num_classes = hierarchy.num_classes
        self.parents = hierarchy.on(device).parents
        self.paths = hierarchy.on(device).paths
        shapes: dict[str, tuple[int, ...]] = {
            f"{count}_{level}": (images, classes)
            for level, classes in enumerate(self.num_classes, 1)
            for count in ("intersection", "predicted", "truth")
        }
        shapes |= dict.fromkeys(("pixels", "coherent", "mistakes", "distance"), (images,))
        self.counts = {
            key: torch.zeros(shape, dtype=torch.int64, device=device)
            for key, shape in shapes.items()
        }

    def add(
        self,
        rows: Int[Tensor, " B"],
        predicted: Int[Tensor, "B levels H W"],
        targets: Int[Tensor, "B levels H W"],
        scores: list[Float[Tensor, "B _ H W"]] | None = None,
    ) -> None:
        """Count a batch (see `SplitCounts.add`). The scores are not used."""
        for level, classes in enumerate(self.num_classes):
            prediction, target = predicted[:, level], targets[:, level]
            valid = target != IGNORE_INDEX
            for count, labels, where in (
                ("intersection", target, valid & (prediction == target)),
                ("predicted", prediction, valid),
                ("truth", target, valid),
            ):
                found = count_per_image(labels, where, classes)
                self.counts[f"{count}_{level + 1}"].index_add_(0, rows, found)
        known = targets[:, 0] != IGNORE_INDEX
        coherent = known.clone()
        for level in range(1, len(self.num_classes)):
            coherent &= self.parents[level][predicted[:, level]] == predicted[:, level - 1]
        prediction, target = predicted[:, -1], targets[:, -1]
        errors = (target != IGNORE_INDEX) & (prediction != target)
        # From paths, since a table of all pairs of leaves does not fit into memory for 10,000.
        leaf = target.clamp(min=0)
        steps = sum(ancestor[leaf] != ancestor[prediction] for ancestor in self.paths.unbind(1))
        distance = torch.where(errors, 2 * steps, 0)
        for key, value in (
            ("pixels", known),
            ("coherent", coherent),
            ("mistakes", errors),
            ("distance", distance),
        ):
            self.counts[key].index_add_(0, rows, value.sum(dim=(1, 2)))

    def arrays(self) -> dict[str, Int[np.ndarray, "..."]]:
        """The counts as NumPy arrays."""
        return {key: value.cpu().numpy() for key, value in self.counts.items()}
