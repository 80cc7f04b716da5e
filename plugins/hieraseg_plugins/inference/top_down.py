"""Top-down inference."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import Hierarchy


class TopDown:
    """The best class of level 1, then the best of its children, down to a leaf.

    The prediction is always a path of the hierarchy. Level 1 is the same as with `independent`. A
    leaf with a high score is not predicted if another class than its parent has the highest
    score.

    Args:
        hierarchy: the class tree.
    """

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy

    def __call__(self, scores: Sequence[Float[Tensor, "B _ H W"]]) -> Int[Tensor, "B levels H W"]:
        """Class per level `[B, L, H, W]`, from scores `[B, C_l, H, W]` per level."""
        tables = self.hierarchy.on(scores[0].device)
        # On a CPU, max over channels is ten times as fast as argmax.
        chosen = [scores[0].max(1).indices]
        for level, parents in zip(scores[1:], tables.parents[1:], strict=True):
            is_child = parents[:, None, None] == chosen[-1][:, None]
            chosen.append(level.where(is_child, -torch.inf).max(1).indices)
        return torch.stack(chosen, dim=1)
