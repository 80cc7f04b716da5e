"""Errors by their place in the class tree."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy


class TreeCounts:
    """Errors within the correct parent, and the sets of hierarchical precision and recall.

    The predicted set of a pixel holds the predicted classes of all levels on which the target is
    known, and its target set the target classes of these levels. A chain is one class, so
    background counts once, whatever the number of levels. The predictions of the levels may
    contradict each other: no ancestors are added to the set.

    Attributes:
        counts: int64 `[N]`, on the device. Per level l from 2 on `siblings_l`: pixels with a
            wrong prediction that has the same parent as the target. `set_predicted`,
            `set_truth` and `set_intersection`: sizes of the predicted sets, of the target sets
            and of their intersections, summed over pixels.

    Args:
        hierarchy: the class tree.
        images: N, the number of images.
        device: device of the counts.
    """

    def __init__(self, hierarchy: Hierarchy, images: int, device: torch.device) -> None:
        self.parents = hierarchy.on(device).parents
        # Only the nodes of a chain share a name, so the first node of a name identifies the class.
        nodes = [name for names in hierarchy.level_names for name in names]
        first = {name: index for index, name in reversed(list(enumerate(nodes)))}
        self.classes = [
            torch.tensor([first[name] for name in names], device=device)
            for names in hierarchy.level_names
        ]
        keys = [f"siblings_{level}" for level in range(2, hierarchy.num_levels + 1)]
        self.counts = {
            key: torch.zeros(images, dtype=torch.int64, device=device)
            for key in (*keys, "set_predicted", "set_truth", "set_intersection")
        }

    def add(
        self,
        rows: Int[Tensor, " B"],
        predicted: Int[Tensor, "B levels H W"],
        targets: Int[Tensor, "B levels H W"],
    ) -> None:
        """Count a batch, whose images belong to the given rows of the counts."""
        valid = targets != IGNORE_INDEX
        targets = targets.clamp(min=0)
        errors = valid & (predicted != targets)
        for level, parents in enumerate(self.parents[1:], 1):
            siblings = parents[predicted[:, level]] == parents[targets[:, level]]
            self._add(f"siblings_{level + 1}", rows, errors[:, level] & siblings)
        predicted_set = self._classes(predicted, valid)
        target_set = self._classes(targets, valid)
        self._add("set_predicted", rows, _distinct(predicted_set))
        distinct = _distinct(target_set)
        self._add("set_truth", rows, distinct)
        for level in range(valid.shape[1]):
            found = (predicted_set == target_set[:, level, None]).any(1)
            self._add("set_intersection", rows, distinct[:, level] & found)

    def _add(self, key: str, rows: Int[Tensor, " B"], where: Bool[Tensor, "B ..."]) -> None:
        self.counts[key].index_add_(0, rows, where.flatten(1).sum(1))

    def _classes(
        self, nodes: Int[Tensor, "B levels H W"], valid: Bool[Tensor, "B levels H W"]
    ) -> Int[Tensor, "B levels H W"]:
        """Number of each node's class, equal for all nodes of a chain; -1 for invalid pixels."""
        classes = [table[nodes[:, level]] for level, table in enumerate(self.classes)]
        return torch.where(valid, torch.stack(classes, dim=1), -1)


def _distinct(classes: Int[Tensor, "B levels H W"]) -> Bool[Tensor, "B levels H W"]:
    """Where the class of a level is valid and not that of a coarser level."""
    distinct = classes >= 0
    for level in range(1, classes.shape[1]):
        distinct[:, level] &= (classes[:, :level] != classes[:, level, None]).all(1)
    return distinct
