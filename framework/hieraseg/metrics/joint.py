"""Counts of images from the joint histogram of their targets and predictions."""

from collections.abc import Callable
from math import prod

import torch
from jaxtyping import Int
from torch import Tensor

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.metrics.counting import count_values

Count = Callable[
    [Int[Tensor, "B levels H W"], Int[Tensor, "B levels H W"]], dict[str, Int[Tensor, "B ..."]]
]
"""Predicted and target class per level -> counts of each image, which are sums over its pixels."""

_LARGEST = 2**21  # values in the table of counts: 16 MB


class JointCounts:
    """Counts of images which are sums over pixels, each by the classes of that pixel only.

    They are the number of pixels with each combination of target and predicted classes, times
    the counts of one such pixel. Where there are fewer combinations than pixels, each pixel is
    therefore looked at once, however many counts there are.

    Args:
        hierarchy: the class tree.
        count: counts of images; a pure function of tensors.
        device: device of the images.

    Attributes:
        shapes: shape of each of the counts of an image.
    """

    def __init__(self, hierarchy: Hierarchy, count: Count, device: torch.device) -> None:
        self.count, levels = count, hierarchy.num_levels
        nothing = torch.empty((0, levels, 1, 1), dtype=torch.int64, device=device)
        found = count(nothing, nothing)
        self.shapes = {key: tuple(value.shape[1:]) for key, value in found.items()}
        # One more for targets, which can be void.
        self.sizes = [*(classes + 1 for classes in hierarchy.num_classes), *hierarchy.num_classes]
        self.combinations = prod(self.sizes)
        self.widths = [prod(shape) for shape in self.shapes.values()]
        self.table: Tensor | None = None
        if self.combinations * sum(self.widths) <= _LARGEST:
            indices = torch.arange(self.combinations, device=device)
            classes = torch.stack(torch.unravel_index(indices, self.sizes), 1)[..., None, None]
            targets = classes[:, :levels] - 1
            targets = torch.where(targets < 0, IGNORE_INDEX, targets)
            found = count(classes[:, levels:], targets)
            table = [value.view(self.combinations, -1) for value in found.values()]
            self.table = torch.cat(table, 1).double()

    def __call__(
        self, predicted: Int[Tensor, "B levels H W"], targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Int[Tensor, "B ..."]]:
        """The counts of each image.

        Args:
            predicted: predicted class per level.
            targets: target class per level. Pixels with -100 are ignored on that level.
        """
        if self.table is None or self.combinations > prod(targets.shape[2:]):
            return self.count(predicted, targets)
        # Exact: integers below 2**53.
        found = (self.histogram(predicted, targets).double() @ self.table).long()
        parts = found.split(self.widths, 1)
        return {
            key: part.reshape(len(targets), *shape)
            for (key, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def histogram(
        self, predicted: Int[Tensor, "B levels H W"], targets: Int[Tensor, "B levels H W"]
    ) -> Int[Tensor, "B combinations"]:
        """Number of pixels of each image with each combination of targets and predictions."""
        images = len(targets)
        shape = (images, *targets.shape[2:])
        index = torch.arange(images, device=targets.device)[:, None, None].expand(shape).clone()
        known = (level.clamp(min=-1).add_(1) for level in targets.unbind(1))
        for digit, size in zip((*known, *predicted.unbind(1)), self.sizes, strict=True):
            index.mul_(size).add_(digit)
        found = count_values(index, torch.ones_like(index), images * self.combinations)
        return found.view(images, self.combinations)
