"""Inference from the scores of the leaves, summed over subtrees."""

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import Hierarchy
from hieraseg_plugins.inference.top_down import TopDown


class Marginal:
    """Top-down inference in which the score of a class is the sum of the scores of its leaves.

    The prediction is always a path of the hierarchy. Scores of the levels above the leaves are not
    used. The scores of the leaves should sum to 1, as those of a softmax do: otherwise the sums
    favor classes with many leaves.

    Source: the flat network of Weber et al. 2024, "Flattening the Parent Bias", arXiv:2404.03778.
    The released code takes the highest sum on each level independently, so that levels may
    contradict each other. Here the best child of the class above is taken instead. Both give the
    same on level 1, and wherever the published prediction is a path. For the published prediction,
    use `independent` with a loss whose activation is `leaf_softmax`.

    Args:
        hierarchy: the class tree.
    """

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy
        self.top_down = TopDown(hierarchy)

    def __call__(self, scores: Sequence[Float[Tensor, "B _ H W"]]) -> Int[Tensor, "B levels H W"]:
        """Class per level `[B, L, H, W]`, from scores `[B, C_l, H, W]` per level."""
        sums = [scores[-1]]
        parents = self.hierarchy.on(sums[0].device).parents
        batch, _, height, width = sums[0].shape
        for level in range(self.hierarchy.num_levels - 1, 0, -1):
            classes = self.hierarchy.num_classes[level - 1]
            above = sums[0].new_zeros(batch, classes, height, width)
            sums.insert(0, above.index_add_(1, parents[level], sums[0]))
        return self.top_down(sums)
