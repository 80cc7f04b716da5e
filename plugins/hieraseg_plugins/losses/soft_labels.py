"""Cross-entropy with soft labels that favour nearby leaves."""

from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import Hierarchy, Loss, Prediction
from hieraseg.functional import mean_over_valid
from hieraseg.types import PositiveFloat, check_arguments


@check_arguments
class SoftLabels(Loss):
    """Cross-entropy of the leaves with soft labels that favour leaves near the true one.

    The label for the true leaf t is the softmax of `-beta d(t, c) / max d` over the leaves c,
    where d is the height, in levels, of their lowest common ancestor. Averaged over the pixels
    whose leaf is known; a pixel whose label is an inner class has no effect.

    Source: Bertinetto et al. 2020, "Making Better Mistakes", arXiv:1912.09393.

    Args:
        hierarchy: the class tree.
        beta: sharpness of the labels (published: 4 to 30); the larger, the closer to plain
            cross-entropy.

    Raises:
        ValueError: beta is not positive.
    """

    levels = "leaves"
    activation = "leaf_softmax"
    labels: Tensor

    def __init__(self, hierarchy: Hierarchy, beta: PositiveFloat = 10.0) -> None:
        super().__init__()
        # Paths never meet again below their lowest common ancestor, so its height is the number
        # of levels on which they differ.
        heights = (hierarchy.paths[:, None] != hierarchy.paths).sum(-1)
        labels = (-beta * heights / heights.max().clamp(min=1)).softmax(1)
        self.register_buffer("labels", labels, persistent=False)

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term, `soft_labels`."""
        leaf = targets[:, -1]
        labels = self.labels[leaf.clamp(min=0)].movedim(-1, 1)
        cost = -(labels * prediction.logits[-1].float().log_softmax(1)).sum(1)
        return {"soft_labels": mean_over_valid(cost, leaf)}
