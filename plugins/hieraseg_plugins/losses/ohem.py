"""Another loss, of the hardest pixels of a batch."""

from typing import Annotated

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction
from hieraseg.contracts import has_argument
from hieraseg.functional import level_scores
from hieraseg.types import ArgumentError, Having, Probability, check_arguments


@check_arguments
class HardPixels(Loss):
    """Online hard example mining: another loss, of the pixels that are predicted worst.

    On each level, pixels are ignored whose score reaches `threshold`, except for the share
    `min_kept` of the valid pixels that have the lowest scores. The score of a pixel is that of its
    true class or, if that is lower, 1 minus the highest score of another class. As long as few
    pixels reach the threshold, as at the beginning of training, nearly all are kept.

    The other loss has to be a mean over pixels. One of regions, such as `dice`, needs all of them:
    add it beside this one in a `sum`. Several processes, and the parts of a batch with
    `training.accumulate`, each choose among the pixels of their own images.

    Source: Shrivastava et al. 2016, "Training Region-based Object Detectors with Online Hard
    Example Mining", arXiv:1604.03540, with a threshold as in mmsegmentation, where `min_kept` is a
    number of pixels per image: the usual 100,000 of 512 x 1024 are 0.19.

    Args:
        hierarchy: the class tree.
        loss: the other loss, written like the section `loss`, whose class says `pixelwise = True`;
            one that is no mean over pixels goes beside this one in a `sum`.
        threshold: score from which on a pixel is ignored; 0 to choose by `min_kept` alone.
        min_kept: share of the valid pixels of a level that is kept in any case; at least one is.

    Raises:
        ValueError: an argument is out of range, or the other loss trains no class scores, or is no
            mean over pixels.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        loss: Annotated[Loss, Having("pixelwise")],
        threshold: Probability = 0.7,
        min_kept: Probability = 0.2,
    ) -> None:
        super().__init__()
        if loss.levels == "none":
            raise ArgumentError("loss", "must train class scores, by which pixels are chosen")
        self.hierarchy, self.loss = hierarchy, loss
        self.threshold, self.min_kept = threshold, min_kept
        self.takes_progress = has_argument(loss.forward, "progress")
        self.levels, self.activation = loss.levels, loss.activation
        self.embedding_channels, self.standalone = loss.embedding_channels, loss.standalone
        self.capturable, self.capturable_reason = loss.capturable, loss.capturable_reason

    def forward(
        self,
        prediction: Prediction,
        targets: Int[Tensor, "B levels H W"],
        progress: Float[Tensor, ""] | float = 1.0,
    ) -> dict[str, Float[Tensor, ""]]:
        """Terms of the other loss, under their own names."""
        logits = prediction.logits if self.levels == "all" else prediction.logits[-1:]
        arguments = {"progress": progress} if self.takes_progress else {}
        hard = targets.masked_fill(self._are_easy(logits, targets), IGNORE_INDEX)
        return self.loss(Prediction(logits, prediction.embedding), hard, **arguments)

    @torch.no_grad()
    def _are_easy(
        self, logits: tuple[Float[Tensor, "B _ H W"], ...], targets: Int[Tensor, "B levels H W"]
    ) -> Bool[Tensor, "B levels H W"]:
        """Which pixels are ignored on each level."""
        scores = level_scores(logits, self.activation, self.hierarchy)
        levels = zip(scores, targets.unbind(1), strict=True)
        return torch.stack([self._are_easy_on_level(*one) for one in levels], 1)

    def _are_easy_on_level(
        self, scores: Float[Tensor, "B C H W"], target: Int[Tensor, "B H W"]
    ) -> Bool[Tensor, "B H W"]:
        valid, true = target != IGNORE_INDEX, target.clamp(min=0)[:, None]
        highest_other = scores.scatter(1, true, -torch.inf).amax(1)
        score = torch.minimum(scores.gather(1, true)[:, 0], 1 - highest_other)
        ranked = torch.where(valid, score, torch.inf).flatten().sort().values
        kept = (valid.sum().double() * self.min_kept).ceil().long()
        last_kept = ranked.gather(0, kept.view(1).clamp(min=1) - 1)
        # NaN is not easy, so that it reaches the other loss, and ends the run.
        return (score >= self.threshold) & (score > last_kept)
