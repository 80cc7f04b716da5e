"""Inference of the path with the highest sum of scores."""

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import Hierarchy


class BestPath:
    """The path with the highest sum of scores over all levels.

    The prediction is always a path of the hierarchy.

    Source: Li et al. 2022, "Deep Hierarchical Semantic Segmentation", arXiv:2203.14335, who apply
    it to sigmoid scores.

    Args:
        hierarchy: the class tree.
    """

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy

    def __call__(self, scores: Sequence[Float[Tensor, "B _ H W"]]) -> Int[Tensor, "B levels H W"]:
        """Class per level `[B, L, H, W]`, from scores `[B, C_l, H, W]` per level."""
        total = scores[0]
        tables = self.hierarchy.on(total.device)
        for level in range(1, len(scores)):
            total = scores[level] + total[:, tables.parents[level]]
        # On a CPU, max over channels is ten times as fast as argmax.
        return tables.paths[total.max(1).indices].movedim(-1, 1)
