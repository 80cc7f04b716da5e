"""Bottom-up inference."""

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import Hierarchy


class BottomUp:
    """The path of the leaf with the highest score.

    The prediction is always a path of the hierarchy. Scores of the levels above the leaves are not
    used.

    Args:
        hierarchy: the class tree.
    """

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy

    def __call__(self, scores: Sequence[Float[Tensor, "B _ H W"]]) -> Int[Tensor, "B levels H W"]:
        """Class per level `[B, L, H, W]`, from scores `[B, C_l, H, W]` per level."""
        leaves = scores[-1]
        # On a CPU, max over channels is ten times as fast as argmax.
        return self.hierarchy.on(leaves.device).paths[leaves.max(1).indices].movedim(-1, 1)
