"""Scores of batches that come one by one, for a loop of one's own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.metrics.pixels import PixelCounts
from hieraseg.metrics.split import TOTALS, SplitCounts
from hieraseg.metrics.summary import summarize

Array = Tensor | np.ndarray
_BLOCK = 256
"""Images that are counted together: tables are made once for them, and memory grows by them."""


class Scores:
    """The scores of a split, as `result.json` has them (see `hieraseg.metrics.summarize`).

    >>> hierarchy = Hierarchy.from_tree({"sky": None, "body": ["head", "arm"]})
    >>> targets = hierarchy.encode(torch.tensor([[[0, 1, 2, 2]]]))
    >>> scores = Scores(hierarchy)
    >>> scores.update(hierarchy.encode(torch.tensor([[[0, 1, 2, 1]]])), targets)
    >>> [round(level["miou"], 3) for level in scores.compute()["levels"]]
    [1.0, 0.667]

    Counts are kept on the device of the targets.

    Args:
        hierarchy: the class tree.
    """

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._blocks: list[PixelCounts | SplitCounts] = []
        self._images = 0

    def update(
        self,
        predicted: Array,
        targets: Array,
        scores: Sequence[Array] | None = None,
    ) -> None:
        """Count a batch.

        Args:
            predicted: predicted class per level, `[B, L, H, W]`.
            targets: target class per level, `[B, L, H, W]`, as `hierarchy.encode(masks)` gives it.
                Pixels with -100 are ignored on that level.
            scores: scores in 0..1 of all classes, `[B, C_l, H, W]` per level. With them, the
                calibration errors, the boundary IoU and the hierarchical scores are computed, too,
                which takes several times as long. Either all batches have them or none.

        Raises:
            ValueError: shapes do not fit, a class is out of range, or only some batches have
                scores.
        """
        predicted, targets = _tensors(predicted, targets)
        self._check_classes(predicted, targets)
        kind: type[PixelCounts] | type[SplitCounts] = PixelCounts
        found: list[Tensor] = []
        if scores is not None:
            kind, found = SplitCounts, [torch.as_tensor(one).to(targets.device) for one in scores]
            self._check_scores(found, targets)
        if self._blocks and not isinstance(self._blocks[0], kind):
            raise ValueError("some batches have scores, others none; pass them always or never")
        start = 0  # of the images that are not counted yet
        while start < len(targets):
            place = self._images % _BLOCK
            if place == 0:
                self._blocks.append(kind(self.hierarchy, _BLOCK, targets.device))
            some = slice(start, start + _BLOCK - place)
            rows = torch.arange(place, place + len(targets[some]), device=targets.device)
            _add(
                self._blocks[-1], rows, predicted[some], targets[some], [one[some] for one in found]
            )
            self._images += len(rows)
            start += len(rows)

    def compute(self) -> dict[str, Any]:
        """The scores of all batches so far. Undefined scores are None.

        Raises:
            ValueError: there was no batch.
        """
        if not self._images:
            raise ValueError("there are no scores without images; call `update` first")
        blocks = [block.arrays() for block in self._blocks]
        counts = {
            key: np.sum([block[key] for block in blocks], axis=0)
            if key.startswith(TOTALS)
            else np.concatenate([block[key] for block in blocks])[: self._images]
            for key in blocks[0]
        }
        return summarize(counts, self.hierarchy)

    def _check_classes(self, predicted: Int[Tensor, "..."], targets: Int[Tensor, "..."]) -> None:
        """Raise ValueError unless these are classes: others would be counted as some class."""
        levels = self.hierarchy.num_levels
        if predicted.shape != targets.shape or targets.ndim != 4 or targets.shape[1] != levels:
            raise ValueError(
                f"expected predictions and targets of shape [B, {levels}, H, W], got "
                f"{list(predicted.shape)} and {list(targets.shape)}"
            )
        known = torch.where(targets == IGNORE_INDEX, 0, targets)
        for name, classes in (("predictions", predicted), ("targets", known)):
            for level, size in enumerate(self.hierarchy.num_classes):
                wrong = classes[:, level][(classes[:, level] < 0) | (classes[:, level] >= size)]
                if len(wrong):
                    raise ValueError(
                        f"{name} of level {level + 1} must be in 0..{size - 1}, got {wrong[0]}; "
                        "label values become classes with `hierarchy.encode`"
                    )

    def _check_scores(
        self, scores: Sequence[Float[Tensor, "..."]], targets: Int[Tensor, "B levels H W"]
    ) -> None:
        images, _, height, width = targets.shape
        expected = [[images, size, height, width] for size in self.hierarchy.num_classes]
        shapes = [list(one.shape) for one in scores]
        if shapes != expected:
            raise ValueError(f"expected scores of shapes {expected}, got {shapes}")


def _tensors(predicted: Array, targets: Array) -> tuple[Int[Tensor, "..."], Int[Tensor, "..."]]:
    """Both as int64, on the device of the targets."""
    labels = torch.as_tensor(targets)
    both = torch.as_tensor(predicted).to(labels.device), labels
    if any(one.is_floating_point() or one.dtype == torch.bool for one in both):
        types = " and ".join(str(one.dtype) for one in both)
        raise ValueError(f"predictions and targets must be class indices, got {types}")
    return both[0].long(), both[1].long()


def _add(
    counts: PixelCounts | SplitCounts,
    rows: Int[Tensor, " B"],
    predicted: Int[Tensor, "B levels H W"],
    targets: Int[Tensor, "B levels H W"],
    scores: list[Float[Tensor, "B _ H W"]],
) -> None:
    counts.add(rows, predicted, targets, scores)
    if isinstance(counts, SplitCounts):
        size = (targets.shape[2], targets.shape[3])
        counts.boundaries(rows, size).add(predicted, targets)
