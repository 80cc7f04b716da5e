"""Scores per level from pixel counts that are kept per image, and streamed on the device.

Counts per image are all that any protocol needs (per data set, per image, any bootstrap), so they
are what a run keeps; predictions are not.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy

Counts = Mapping[str, Shaped[np.ndarray, "N ..."]]


class PixelCounts:
    """Pixel counts of each image of a split.

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
    ) -> None:
        """Count a batch; `rows` says which row of the counts each image belongs to."""
        for level, classes in enumerate(self.num_classes):
            answer, truth = predicted[:, level], targets[:, level]
            valid = truth != IGNORE_INDEX
            for count, of, where in (
                ("intersection", truth, valid & (answer == truth)),
                ("predicted", answer, valid),
                ("truth", truth, valid),
            ):
                found = _histogram(of, where, classes)
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

    def arrays(self) -> dict[str, Shaped[np.ndarray, "N ..."]]:
        """The counts as arrays."""
        return {key: value.cpu().numpy() for key, value in self.counts.items()}


def _histogram(
    values: Int[Tensor, "B H W"], where: Shaped[Tensor, "B H W"], classes: int
) -> Int[Tensor, "B C"]:
    """How many of each class, per image; the rest is counted in a class of its own, and cut."""
    images = len(values)
    own = torch.arange(images, device=values.device)[:, None, None] * (classes + 1)
    index = own + torch.where(where, values, classes)
    found = torch.bincount(index.flatten(), minlength=images * (classes + 1))
    return found.view(images, classes + 1)[:, :classes]


def summarize(counts: Counts, hierarchy: Hierarchy) -> dict[str, Any]:
    """The scores of a split, as `result.json` holds them. A score that nothing defines is None.

    * `miou`: intersection over union of each class from the counts summed over the split, mean
      over the classes without background; a class that is absent from both truth and prediction
      is left out, one that is only predicted counts 0. `miou_with_background` beside it.
    * `miou_per_image`: IoU per image and class, mean over the pairs that exist, background left
      out. Only for comparing with results that were published that way.
    * `coherence`: share of the pixels whose answers form a path of the tree.
    * `mistake_distance`: mean tree distance of wrong leaves in edges, where every leaf has a node
      on each level (so mistaking a leaf for one that shares no ancestor is 2 L edges).
    """
    levels = []
    for level, names in enumerate(hierarchy.level_names):
        per_image = _iou(
            *(counts[f"{count}_{level + 1}"] for count in ("intersection", "predicted", "truth"))
        )
        iou = _iou(
            *(
                counts[f"{count}_{level + 1}"].sum(0)
                for count in ("intersection", "predicted", "truth")
            )
        )
        background = hierarchy.background_index(level)
        foreground = np.arange(len(names)) != (-1 if background is None else background)
        levels.append(
            {
                "level": level + 1,
                "miou": _mean(iou[foreground]),
                "miou_with_background": _mean(iou),
                "miou_per_image": _mean(per_image[:, foreground]),
                "iou": {name: _number(value) for name, value in zip(names, iou, strict=True)},
            }
        )
    total = {key: int(counts[key].sum()) for key in ("pixels", "coherent", "mistakes", "distance")}
    return {
        "levels": levels,
        "coherence": total["coherent"] / total["pixels"] if total["pixels"] else None,
        "mistake_distance": total["distance"] / total["mistakes"] if total["mistakes"] else None,
        "images": len(counts["pixels"]),
    }


def _iou(
    intersection: Int[np.ndarray, "*N C"],
    predicted: Int[np.ndarray, "*N C"],
    truth: Int[np.ndarray, "*N C"],
) -> Float[np.ndarray, "*N C"]:
    """Intersection over union; NaN where a class is in neither."""
    union = predicted + truth - intersection
    return np.where(union > 0, intersection / np.maximum(union, 1), np.nan)


def _mean(values: Float[np.ndarray, "..."]) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
