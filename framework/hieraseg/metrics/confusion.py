"""Confusion matrices."""

import torch
from jaxtyping import Int
from torch import Tensor

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.metrics.counting import count_values


class ConfusionCounts:
    """The confusion matrix of each level, over all images.

    Attributes:
        counts: int64, on the device. Per level l `confusion_l` `[C_l, C_l]`: pixels by target
            class (row) and predicted class (column). 72 MB for 3,000 classes.

    Args:
        hierarchy: the class tree.
        device: device of the counts.
        most_classes: levels with more classes are left out; None for no such limit.
    """

    def __init__(
        self, hierarchy: Hierarchy, device: torch.device, most_classes: int | None = None
    ) -> None:
        self.levels = {
            level: classes
            for level, classes in enumerate(hierarchy.num_classes)
            if most_classes is None or classes <= most_classes
        }
        self.counts = {
            f"confusion_{level + 1}": torch.zeros((classes,) * 2, dtype=torch.int64, device=device)
            for level, classes in self.levels.items()
        }

    def add(
        self, predicted: Int[Tensor, "B levels H W"], targets: Int[Tensor, "B levels H W"]
    ) -> None:
        """Count a batch."""
        for level, classes in self.levels.items():
            prediction, target = predicted[:, level], targets[:, level]
            pairs = target.clamp(min=0) * classes + prediction
            found = count_values(pairs, (target != IGNORE_INDEX).long(), classes**2)
            self.counts[f"confusion_{level + 1}"] += found.view(classes, classes)
