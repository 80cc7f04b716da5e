"""The counts that IoU, Dice, accuracy, coherence and tree distance come from."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.metrics.counting import count_per_image


class PixelCounts:
    """Pixel counts of each image: cheap enough to be taken in every training step.

    Attributes:
        counts: int64, on the device. Per level l (1 to L) `intersection_l`, `predicted_l` and
            `truth_l` `[N, C_l]`: pixels of each class in both, in the prediction, in the truth.
            `[N]`: `pixels` (not void), `coherent` (of these, the answers form a path of the
            tree), `mistakes` (the leaf is known and answered wrongly), `distance` (the sum of
            the mistakes' tree distances in edges).

    Args:
        hierarchy: the class tree.
        images: N, the number of images (or of rows to sum them into).
        device: where to count.
    """

    def __init__(self, hierarchy: Hierarchy, images: int, device: torch.device) -> None:
        self.num_classes = hierarchy.num_classes
        self.parents = hierarchy.on(device).parents
        leaves = slice(hierarchy.offsets[-1], None)
        self.leaf_distances = hierarchy.distances[leaves, leaves].to(device)
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
        """Count a batch, as `SplitCounts.add` does; the scores are not needed."""
        for level, classes in enumerate(self.num_classes):
            answer, truth = predicted[:, level], targets[:, level]
            valid = truth != IGNORE_INDEX
            for count, of, where in (
                ("intersection", truth, valid & (answer == truth)),
                ("predicted", answer, valid),
                ("truth", truth, valid),
            ):
                found = count_per_image(of, where, classes)
                self.counts[f"{count}_{level + 1}"].index_add_(0, rows, found)
        known = targets[:, 0] != IGNORE_INDEX
        coherent = known.clone()
        for level in range(1, len(self.num_classes)):
            coherent &= self.parents[level][predicted[:, level]] == predicted[:, level - 1]
        leaf, true_leaf = predicted[:, -1], targets[:, -1]
        wrong = (true_leaf != IGNORE_INDEX) & (leaf != true_leaf)
        distance = torch.where(wrong, self.leaf_distances[true_leaf.clamp(min=0), leaf], 0)
        for key, value in (
            ("pixels", known),
            ("coherent", coherent),
            ("mistakes", wrong),
            ("distance", distance),
        ):
            self.counts[key].index_add_(0, rows, value.sum(dim=(1, 2)))

    def arrays(self) -> dict[str, Int[np.ndarray, "..."]]:
        """The counts as arrays."""
        return {key: value.cpu().numpy() for key, value in self.counts.items()}
