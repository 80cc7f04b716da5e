"""From logits to scores, so that every inference rule works with every loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hieraseg.contracts import Activation, InferenceRule, Prediction
from hieraseg.hierarchy import Hierarchy


def level_scores(
    logits: Sequence[Float[Tensor, "B _ H W"]], activation: Activation, hierarchy: Hierarchy
) -> list[Float[Tensor, "B _ H W"]]:
    """Scores in 0..1 of every level's classes, in float32.

    Args:
        logits: of each level, coarsest first; with `leaf_softmax` the last ones count.
        activation: what the loss trained them for (see `contracts.Loss`).
        hierarchy: the class tree.
    """
    if activation == "softmax":
        return [level.float().softmax(1) for level in logits]
    if activation == "sigmoid":
        return [level.float().sigmoid() for level in logits]
    leaves = logits[-1].float().softmax(1)
    scores = []
    for level, classes in enumerate(hierarchy.num_classes):
        shape = (leaves.shape[0], classes, *leaves.shape[2:])
        ancestor = hierarchy.on(leaves.device).paths[:, level]
        scores.append(torch.zeros(shape, device=leaves.device).index_add_(1, ancestor, leaves))
    return scores


@dataclass(frozen=True)
class Segmenter:
    """A model together with how its logits become classes.

    Attributes:
        model: image -> logits per level.
        activation: how the loss that trained it makes scores of logits.
        rule: scores per level -> one class per level.
        hierarchy: the class tree.
    """

    model: nn.Module
    activation: Activation
    rule: InferenceRule
    hierarchy: Hierarchy

    def classes(self, prediction: Prediction) -> Int[Tensor, "B levels H W"]:
        """One class per level and pixel."""
        return self.rule(level_scores(prediction.logits, self.activation, self.hierarchy))
