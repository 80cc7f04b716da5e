"""Counts of a validation during training."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg.hierarchy import Hierarchy
from hieraseg.metrics.confusion import ConfusionCounts
from hieraseg.metrics.pixels import PixelCounts


class WatchedCounts(PixelCounts):
    """`PixelCounts`, and the confusion matrices of levels with at most 50 classes.

    Pictures of larger matrices cannot be read, and are slow to draw.
    """

    most_classes = 50

    def __init__(self, hierarchy: Hierarchy, images: int, device: torch.device) -> None:
        super().__init__(hierarchy, images, device)
        self.confusion = ConfusionCounts(hierarchy, device, self.most_classes)
        self.counts |= self.confusion.counts

    def add(
        self,
        rows: Int[Tensor, " B"],
        predicted: Int[Tensor, "B levels H W"],
        targets: Int[Tensor, "B levels H W"],
        scores: list[Float[Tensor, "B _ H W"]] | None = None,
    ) -> None:
        """Count a batch."""
        super().add(rows, predicted, targets, scores)
        self.confusion.add(predicted, targets)
