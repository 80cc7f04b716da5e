"""Errors by their place in the class tree."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy


class TreeCounter:
    """Counts errors within the correct parent, and the sets of hierarchical precision and recall.

    The predicted set of a pixel holds the predicted classes of all levels on which the target is
    known, and its target set the target classes of these levels. A chain is one class, so
    background counts once, whatever the number of levels. The predictions of the levels may
    contradict each other: no ancestors are added to the set.

    Args:
        hierarchy: the class tree.
        device: device of the images.
    """

    def __init__(self, hierarchy: Hierarchy, device: torch.device) -> None:
        self.parents = hierarchy.on(device).parents
        # Only the nodes of a chain share a name, so the first node of a name identifies the class.
        nodes = [name for names in hierarchy.level_names for name in names]
        first = {name: index for index, name in reversed(list(enumerate(nodes)))}
        self.classes = [
            torch.tensor([first[name] for name in names], device=device)
            for names in hierarchy.level_names
        ]

    def __call__(
        self, predicted: Int[Tensor, "B levels H W"], targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Int[Tensor, " B"]]:
        """Count each image of a batch.

        Returns:
            Per level l from 2 on `siblings_l`: pixels with a wrong prediction that has the same
            parent as the target. `set_predicted`, `set_truth` and `set_intersection`: sizes of the
            predicted sets, of the target sets and of their intersections, summed over pixels.
        """
        valid = targets != IGNORE_INDEX
        targets = targets.clamp(min=0)
        errors = valid & (predicted != targets)
        counts = {}
        for level, parents in enumerate(self.parents[1:], 1):
            siblings = torch.take(parents, predicted[:, level]) == torch.take(
                parents, targets[:, level]
            )
            counts[f"siblings_{level + 1}"] = errors[:, level] & siblings
        predicted_set = self._classes(predicted, valid)
        target_set = self._classes(targets, valid)
        distinct = _distinct(target_set)
        counts["set_predicted"] = _distinct(predicted_set)
        counts["set_truth"] = distinct
        counts["set_intersection"] = torch.stack(
            [
                distinct[:, level] & (predicted_set == target_set[:, level, None]).any(1)
                for level in range(valid.shape[1])
            ],
            dim=1,
        )
        return {key: where.flatten(1).sum(1) for key, where in counts.items()}

    def _classes(
        self, nodes: Int[Tensor, "B levels H W"], valid: Bool[Tensor, "B levels H W"]
    ) -> Int[Tensor, "B levels H W"]:
        """Number of each node's class, equal for all nodes of a chain; -1 for invalid pixels."""
        classes = [torch.take(table, nodes[:, level]) for level, table in enumerate(self.classes)]
        return torch.where(valid, torch.stack(classes, dim=1), -1)


def _distinct(classes: Int[Tensor, "B levels H W"]) -> Bool[Tensor, "B levels H W"]:
    """Where the class of a level is valid and not that of a coarser level."""
    distinct = classes >= 0
    for level in range(1, classes.shape[1]):
        distinct[:, level] &= (classes[:, :level] != classes[:, level, None]).all(1)
    return distinct
