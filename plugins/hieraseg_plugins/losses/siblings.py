"""Grouping the classes of a level by their parent."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from hieraseg import Hierarchy


class SiblingGroups(nn.Module):
    """Groups the channels of a level by parent; the classes of level 1 are one group.

    Groups of one size are handled together, so that there are as many operations as different
    sizes, also for thousands of groups. On a CPU this takes a quarter of the time of
    `scatter_reduce` (trees of 10 to 200 classes).

    Args:
        hierarchy: the class tree.

    Attributes:
        shapes: number of groups and number of classes in each, for each size, per level.
    """

    def __init__(self, hierarchy: Hierarchy) -> None:
        super().__init__()
        self.shapes: list[list[tuple[int, int]]] = []
        for level, parents in enumerate(hierarchy.parents):
            group = parents.clamp(min=0)
            self.register_buffer(f"parents_{level}", group, persistent=False)
            sizes = group.bincount()
            rank = sizes.argsort(stable=True).argsort()  # of each group, ordered by size
            classes = rank[group].argsort(stable=True)
            self._keep(f"classes_{level}", classes)
            self._keep(f"places_{level}", classes.argsort())
            self._keep(f"ranks_{level}", rank)
            self._keep(f"by_size_{level}", rank.argsort())
            different, numbers = sizes.unique(return_counts=True)
            self.shapes.append(list(zip(numbers.tolist(), different.tolist(), strict=True)))

    def _keep(self, name: str, order: Int[Tensor, " C"]) -> None:
        """Register an order of channels, or None if it is the order that they have."""
        unchanged = torch.equal(order, torch.arange(len(order)))
        self.register_buffer(name, None if unchanged else order, persistent=False)

    def _ordered(self, scores: Shaped[Tensor, "B C H W"], name: str) -> Shaped[Tensor, "B C H W"]:
        order = getattr(self, name)
        return scores if order is None else scores.index_select(1, order)

    def parents(self, level: int) -> Int[Tensor, " C"]:
        """Group of each class on a level (0 is level 1): the index of its parent, or 0 there."""
        return getattr(self, f"parents_{level}")

    def split(
        self, scores: Float[Tensor, "B C H W"], level: int
    ) -> list[Float[Tensor, "B _ _ H W"]]:
        """Scores of the groups on a level, `[B, groups, size, H, W]` per size."""
        ordered = self._ordered(scores, f"classes_{level}")
        shapes = self.shapes[level]
        parts = ordered.split([groups * size for groups, size in shapes], 1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]

    def join(
        self, parts: list[Shaped[Tensor, "B _ H W"]], level: int
    ) -> Shaped[Tensor, "B parents H W"]:
        """One channel per parent, from those of the groups of each size (see `split`)."""
        return self._ordered(torch.cat(parts, 1), f"ranks_{level}")

    def spread(
        self, values: Float[Tensor, "B parents H W"], level: int
    ) -> Float[Tensor, "B C H W"]:
        """Value of the parent of each class on a level.

        Unlike with `index_select`, gradients are summed in a fixed order on CUDA too.
        """
        shapes = self.shapes[level]
        parts = self._ordered(values, f"by_size_{level}").split([n for n, _ in shapes], 1)
        wide = [
            part[:, :, None].expand(-1, -1, size, -1, -1).flatten(1, 2)
            for part, (_, size) in zip(parts, shapes, strict=True)
        ]
        return self._ordered(torch.cat(wide, 1), f"places_{level}")

    def sum_over_children(
        self, scores: Float[Tensor, "B C H W"], level: int
    ) -> Float[Tensor, "B parents H W"]:
        """Sum of each sibling group on a level, in a fixed order on CUDA too."""
        return self.join([groups.sum(2) for groups in self.split(scores, level)], level)

    def max_over_children(
        self, scores: Float[Tensor, "B C H W"], level: int
    ) -> Float[Tensor, "B parents H W"]:
        """Highest score of each sibling group on a level: one channel per parent."""
        return self.join([groups.amax(2) for groups in self.split(scores, level)], level)

    def logsumexp_over_children(
        self, scores: Float[Tensor, "B C H W"], level: int
    ) -> Float[Tensor, "B parents H W"]:
        """Logarithm of the summed exponentials of each sibling group on a level."""
        return self.join([groups.logsumexp(2) for groups in self.split(scores, level)], level)

    def best_children(
        self, scores: Float[Tensor, "B C H W"], level: int
    ) -> tuple[Float[Tensor, "B parents H W"], Int[Tensor, "B parents H W"]]:
        """Highest score of each sibling group on a level, and the class that has it, as int32."""
        highest, places, first = [], [], 0
        for groups in self.split(scores, level):
            _, number, size, _, _ = groups.shape
            best = groups.max(2)
            starts = torch.arange(first, first + number * size, size, device=scores.device)
            highest.append(best.values)
            places.append((best.indices + starts.view(1, -1, 1, 1)).int())
            first += number * size
        classes, place = getattr(self, f"classes_{level}"), self.join(places, level)
        return self.join(highest, level), place if classes is None else classes.int()[place]

    def max_over_descendants(
        self, scores: list[Float[Tensor, "B _ H W"]]
    ) -> list[Float[Tensor, "B _ H W"]]:
        """Highest score among each class and its descendants, per level."""
        highest = [scores[-1]]
        for level in range(len(scores) - 1, 0, -1):
            children = self.max_over_children(highest[0], level)
            highest.insert(0, torch.maximum(scores[level - 1], children))
        return highest
