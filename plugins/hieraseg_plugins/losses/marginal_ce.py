"""Cross-entropy on every level, from a single softmax over the leaves."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import Hierarchy, Loss, Prediction
from hieraseg.functional import level_terms, mean_over_valid, weights_per_level
from hieraseg.types import NonNegativeFloat, Probability, check_arguments
from hieraseg_plugins.losses.leaf_softmax import log_scores_on_path, mean_log_scores
from hieraseg_plugins.losses.siblings import SiblingGroups


@check_arguments
class MarginalCrossEntropy(Loss):
    """Cross-entropy on every level, where the score of a class is the sum over its leaves.

    Scores are a single softmax over the leaves, so those of all levels are consistent with the
    hierarchy. Each level is `-log p` of the true class, averaged over valid pixels. A pixel whose
    label is an inner class trains the levels it is known on, and does not favour any leaf below.

    With all weight on the last level (`[0, 0, 1]` for three levels) this is the flat baseline:
    cross-entropy of the leaves, with parents summed at inference only. Weber et al. 2024
    ("Flattening the Parent Bias") found it no worse than losses that use the hierarchy.

    Source: Muller & Smith 2020, "A Hierarchical Loss for Semantic Segmentation".

    Args:
        hierarchy: the class tree.
        level_weights: weight of each level, coarsest first; null for 1 each.
        label_smoothing: share of each label that is spread evenly over all classes of its level
            (Szegedy et al. 2015, arXiv:1512.00567).

    Raises:
        ValueError: an argument is out of range, or there is not one weight per level.
    """

    levels = "leaves"
    activation = "leaf_softmax"
    pixelwise = True

    def __init__(
        self,
        hierarchy: Hierarchy,
        level_weights: list[NonNegativeFloat] | None = None,
        label_smoothing: Probability = 0.0,
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.groups = SiblingGroups(hierarchy)
        self.level_weights = weights_per_level(hierarchy, level_weights)

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term per level, `marginal_ce_level1` and so on."""
        path = list(targets.unbind(1))
        log_scores = log_scores_on_path(prediction.logits[-1], path, self.groups)
        if self.label_smoothing:
            spread = mean_log_scores(prediction.logits[-1], self.groups)
            log_scores = [
                torch.lerp(*pair, self.label_smoothing)
                for pair in zip(log_scores, spread, strict=True)
            ]
        costs = [
            mean_over_valid(-log_score, target)
            for log_score, target in zip(log_scores, path, strict=True)
        ]
        return level_terms("marginal_ce", costs, self.level_weights)
