"""Scores of all levels from a single softmax over the leaves."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def log_scores_on_path(
    leaf_logits: Float[Tensor, "B leaves H W"],
    path: list[Int[Tensor, "B H W"]],
    leaf_paths: Int[Tensor, "leaves levels"],
) -> list[Float[Tensor, "B H W"]]:
    """Log-score of each pixel's class per level: the log of the sum over the leaves below it.

    Args:
        leaf_logits: logits of the finest level, `[B, leaves, H, W]`.
        path: class of each pixel per level, `[B, H, W]`; ignored pixels get the value of class 0.
        leaf_paths: path to each leaf, `[leaves, L]` (see `Hierarchy.paths`).
    """
    log_scores = leaf_logits.float().log_softmax(1)
    result = []
    for level, classes in enumerate(path):
        ancestors = leaf_paths[:, level].view(1, -1, 1, 1)
        not_below = ancestors != classes.clamp(min=0)[:, None]
        # Summed over the class's own leaves only, so that they do not underflow next to a leaf
        # with a far higher score.
        result.append(log_scores.masked_fill(not_below, -torch.inf).logsumexp(1))
    return result
