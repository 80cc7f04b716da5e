"""Cross-entropy among siblings along the true path, for the hyperbolic decoder."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import Hierarchy, Loss, Prediction
from hieraseg.functional import level_terms, mean_over_valid, true_logit


class HyperbolicLoss(Loss):
    """Negative log-likelihood of the true path, with each class normalized among its siblings.

    A softmax among siblings gives the probability of a class given its parent; the classes of
    level 1 are siblings of each other. Each level is the negative log-probability of the true
    class, averaged over valid pixels; the sum over levels is that of the whole path. A class of a
    chain has no siblings, so it costs nothing below its first node.

    Together with the `hyperbolic` decoder this is the model of the source. The loss accepts any
    logits: with another decoder it is conditional cross-entropy.

    Source: Atigh et al. 2022, "Hyperbolic Image Segmentation", arXiv:2203.05898.

    Args:
        hierarchy: the class tree.
    """

    activation = "sibling_softmax"
    pixelwise = True

    def __init__(self, hierarchy: Hierarchy) -> None:
        super().__init__()
        self.hierarchy = hierarchy

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term per level, `hyperbolic_level1` and so on."""
        parents = self.hierarchy.on(targets.device).parents
        costs = [
            mean_over_valid(_sibling_cross_entropy(logits.float(), target, parent), target)
            for logits, target, parent in zip(
                prediction.logits, targets.unbind(1), parents, strict=True
            )
        ]
        return level_terms("hyperbolic", costs)


def _sibling_cross_entropy(
    logits: Float[Tensor, "B C H W"], target: Int[Tensor, "B H W"], parents: Int[Tensor, " C"]
) -> Float[Tensor, "B H W"]:
    """Cross-entropy of each pixel over the true class and its siblings."""
    true_class = target.clamp(min=0)
    not_sibling = parents.view(1, -1, 1, 1) != parents[true_class][:, None]
    # Not F.cross_entropy, which has no deterministic algorithm on CUDA.
    return -true_logit(logits.masked_fill(not_sibling, -torch.inf).log_softmax(1), target)
