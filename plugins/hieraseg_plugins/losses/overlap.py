"""The overlap of scores and targets by which Dice and Tversky losses are defined."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import IGNORE_INDEX


def tversky_loss(
    logits: Float[Tensor, "B C H W"],
    target: Int[Tensor, "B H W"],
    alpha: float,
    beta: float,
    smooth: float,
) -> Float[Tensor, ""]:
    """1 minus the Tversky index of the softmax scores, averaged over classes.

    Per class, over all valid pixels of the batch: `(TP + smooth) / (TP + alpha FP + beta FN +
    smooth)`. A class that does not occur costs nothing, but is included in the mean.

    Args:
        logits: logits of one level, `[B, C, H, W]`.
        target: class of each pixel on that level, `[B, H, W]`.
        alpha: weight of false positives.
        beta: weight of false negatives, positive.
        smooth: number of pixels added to the true positives.
    """
    pixels = (0, 2, 3)
    scores = torch.where((target != IGNORE_INDEX)[:, None], logits.softmax(1), 0)
    classes = torch.arange(logits.shape[1], device=logits.device)[:, None, None]
    positive = target[:, None] == classes
    # A sum of booleans in int64 would first copy all of them to int64.
    number = positive.sum(pixels, dtype=torch.int32)
    correct = torch.where(positive, scores, 0).sum(pixels)
    wrong = alpha * (scores.sum(pixels) - correct) + beta * (number - correct)
    occurs = number > 0
    size = torch.where(occurs, correct + wrong + smooth, 1)
    return torch.where(occurs, 1 - (correct + smooth) / size, 0).mean()
