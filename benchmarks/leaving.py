"""A schedule and an inference rule that end the process as soon as they are used."""

import os
from collections.abc import Sequence

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from hieraseg import Hierarchy, registry
from hieraseg_plugins.inference.best_path import BestPath


@registry.schedules.register("leaving")
def leaving(optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """End the process after the first training step, if LEAVE is `step`.

    Args:
        optimizer: optimizer whose learning rates stay as they are.
        total_steps: number of training steps.
    """

    def factor(step: int) -> float:
        if step and os.environ.get("LEAVE") == "step":
            os._exit(0)
        return 1.0

    return LambdaLR(optimizer, factor)


@registry.inference.register("leaving")
class Leaving(BestPath):
    """End the process with the first batch that is predicted, if LEAVE is `batch`.

    Args:
        hierarchy: the class tree.
    """

    def __init__(self, hierarchy: Hierarchy) -> None:
        super().__init__(hierarchy)

    def __call__(self, scores: Sequence[Tensor]) -> Tensor:
        """Class per level `[B, L, H, W]`, from scores `[B, C_l, H, W]` per level."""
        if os.environ.get("LEAVE") == "batch":
            os._exit(0)
        return super().__call__(scores)
