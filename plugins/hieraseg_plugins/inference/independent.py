"""Independent inference of each level."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Independent:
    """The class with the highest score on each level; levels may contradict each other."""

    def __call__(self, scores: Sequence[Float[Tensor, "B _ H W"]]) -> Int[Tensor, "B levels H W"]:
        """Class per level `[B, L, H, W]`, from scores `[B, C_l, H, W]` per level."""
        # On a CPU, max over channels is ten times as fast as argmax.
        return torch.stack([level.max(1).indices for level in scores], dim=1)
