"""The combined losses of HSSN."""

from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from hieraseg import Hierarchy, Loss, Prediction
from hieraseg.types import PositiveInt, Probability, check_arguments
from hieraseg_plugins.losses.rmi import RegionMutualInformation
from hieraseg_plugins.losses.tree_min import TreeMin
from hieraseg_plugins.losses.tree_triplet import TreeTriplet
from hieraseg_plugins.losses.weighted_ce import WeightedCrossEntropy


@check_arguments
class HSSN(Loss):
    """Combination of losses that HSSN was trained with: tree-min, cross-entropy, tree-triplet, RMI.

    `cityscapes`: 5 x `tree_min` + `weighted_ce` + `tree_triplet`. `person_part` (also LIP):
    0.5 x `rmi` + 0.5 x focal `tree_min` (gamma 2) + `weighted_ce` + `tree_triplet`. Cross-entropy
    is computed on every level; the tree-triplet loss is weighted by its own ramp. Known weakness:
    cross-entropy applies a softmax to logits that the other losses, and inference, treat as
    sigmoid logits.

    Source: Li et al. 2022, "Deep Hierarchical Semantic Segmentation", arXiv:2203.14335, and its
    released code, which halves RMI once more.

    Args:
        hierarchy: the class tree.
        published: which published combination to use.
        ramp: fraction of training after which the tree-triplet loss has its full weight.
        channels: number of embedding channels D.
        seed: random seed for the sampling of triplets.

    Raises:
        ValueError: an argument is out of range.
    """

    activation = "sigmoid"

    def __init__(
        self,
        hierarchy: Hierarchy,
        published: Literal["cityscapes", "person_part"] = "person_part",
        ramp: Probability = 1.0,
        channels: PositiveInt = 256,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.embedding_channels = channels
        self.triplet = TreeTriplet(hierarchy, ramp=ramp, channels=channels, seed=seed)
        cross_entropy = WeightedCrossEntropy(hierarchy)
        # Backwards, tree-min comes first: it needs most memory besides the gradient of the logits,
        # which the others add to.
        if published == "cityscapes":
            self.weights = [1.0, 5.0]
            self.parts = nn.ModuleList([cross_entropy, TreeMin(hierarchy)])
        else:
            self.weights = [0.5, 1.0, 0.5]
            rmi = RegionMutualInformation(hierarchy, ridge=1e-3)
            self.parts = nn.ModuleList([rmi, cross_entropy, TreeMin(hierarchy, gamma=2.0)])

    def forward(
        self,
        prediction: Prediction,
        targets: Int[Tensor, "B levels H W"],
        progress: Float[Tensor, ""] | float = 1.0,
    ) -> dict[str, Float[Tensor, ""]]:
        """Weighted terms of the combined losses, under their own names."""
        terms = {
            name: weight * term
            for weight, part in zip(self.weights, self.parts, strict=True)
            for name, term in part(prediction, targets).items()
        }
        return terms | self.triplet(prediction, targets, progress)
