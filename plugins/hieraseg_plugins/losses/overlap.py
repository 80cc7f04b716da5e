"""The overlap of scores and targets by which Dice and Tversky losses are defined."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hieraseg import IGNORE_INDEX


class SoftTversky(nn.Module):
    """1 minus the Tversky index of the softmax scores, averaged over classes.

    Per class, over all valid pixels of the batch: `(TP + smooth) / (TP + alpha FP + beta FN +
    smooth)`. A class that does not occur costs nothing, but is included in the mean.

    Args:
        alpha: weight of false positives.
        beta: weight of false negatives, positive.
        smooth: number of pixels added to the true positives.
    """

    def __init__(self, alpha: float, beta: float, smooth: float) -> None:
        super().__init__()
        self.alpha, self.beta, self.smooth = alpha, beta, smooth

    def forward(
        self, logits: Float[Tensor, "B C H W"], target: Int[Tensor, "B H W"]
    ) -> Float[Tensor, ""]:
        pixels = (0, 2, 3)
        scores = torch.where((target != IGNORE_INDEX)[:, None], logits.softmax(1), 0)
        classes = torch.arange(logits.shape[1], device=logits.device)[:, None, None]
        positive = target[:, None] == classes
        number = positive.sum(pixels)
        correct = torch.where(positive, scores, 0).sum(pixels)
        wrong = self.alpha * (scores.sum(pixels) - correct) + self.beta * (number - correct)
        occurs = number > 0
        size = torch.where(occurs, correct + wrong + self.smooth, 1)
        return torch.where(occurs, 1 - (correct + self.smooth) / size, 0).mean()
