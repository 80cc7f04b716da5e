"""Fuzzy logic rules about the class tree, combined with focal binary cross-entropy."""

from itertools import chain

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction
from hieraseg.functional import (
    Ramp,
    binary_cross_entropy,
    gather,
    level_terms,
    mean_over_valid,
    ramp,
)
from hieraseg.types import check_arguments
from hieraseg_plugins.losses.siblings import SiblingGroups

Logits = list[Float[Tensor, "B _ H W"]]
Valid = Bool[Tensor, "B 1 H W"]


@check_arguments
class LogicRules(Loss):
    """Focal binary cross-entropy and three fuzzy logic rules about the class tree (LogicSeg).

    With p the sigmoid of a class's logit, the violations of the rules at a pixel are
    composition, "a class implies its parent": `p_c - p_c p_parent`;
    decomposition, "a parent implies one of its children": `p_parent - p_parent max_c p_c`;
    exclusion, "siblings exclude each other": `p_i p_j`, where roots are siblings too.
    Each violation is aggregated over pixels by a p-mean (exponent 5; 3 for exclusion), for each
    child, parent or pair; then averaged over children, over parents, and, for exclusion, over the
    siblings of each class and over all classes with siblings. The loss is
    `0.5 focal + 0.3 f (composition + decomposition + 2/3 exclusion)`, where f grows linearly from
    0 to 1 during training. Focal: alpha 0.5, gamma 2; each level is summed over classes and
    averaged over valid pixels.

    The rules need no labels, and apply to every pixel that is labelled on some level.

    Source: Li et al. 2023, "LogicSeg: Parsing Visual Semantics with Neural Logic Learning and
    Reasoning", arXiv:2309.13556; weights and exponents are those of the released code for
    Pascal-Part. That code differs: it takes a single p-mean over pixels and classes, makes all
    classes of a level exclude each other (at uncertain pixels only), and includes void pixels.

    Args:
        hierarchy: the class tree.
        ramp: fractions of training at which f starts to grow and at which it reaches 1.

    Raises:
        ValueError: the ramp is not ascending, or not within 0 and 1.
    """

    activation = "sigmoid"

    def __init__(self, hierarchy: Hierarchy, ramp: Ramp = (1 / 4, 2 / 3)) -> None:
        super().__init__()
        self.ramp = ramp
        self.groups = SiblingGroups(hierarchy)
        shapes = chain(*self.groups.shapes)
        self.with_siblings = sum(groups * size for groups, size in shapes if size > 1)

    def forward(
        self,
        prediction: Prediction,
        targets: Int[Tensor, "B levels H W"],
        progress: Float[Tensor, ""] | float = 1.0,
    ) -> dict[str, Float[Tensor, ""]]:
        """`focal_bce_level1` and so on, and one term for each rule that applies to the tree."""
        logits = [level.float() for level in prediction.logits]
        valid = (targets != IGNORE_INDEX).any(1, keepdim=True)
        focal = [0.5 * _focal(*level) for level in zip(logits, targets.unbind(1), strict=True)]
        terms = level_terms("focal_bce", focal)
        weight = 0.3 * ramp(progress, *self.ramp, shape="linear")
        if len(logits) > 1:
            terms["composition"] = weight * self._composition(logits, valid)
            terms["decomposition"] = weight * self._decomposition(logits, valid)
        if self.with_siblings:
            terms["exclusion"] = 2 / 3 * weight * self._exclusion(logits, valid)
        return terms

    def _composition(self, logits: Logits, valid: Valid) -> Float[Tensor, ""]:
        violations = []
        for level in range(1, len(logits)):
            parents = self.groups.spread(logits[level - 1], level)
            log_violation = F.logsigmoid(logits[level]) + F.logsigmoid(-parents)
            violations.append(_p_mean(log_violation, valid))
        return torch.cat(violations).mean()

    def _decomposition(self, logits: Logits, valid: Valid) -> Float[Tensor, ""]:
        violations = []
        for level in range(1, len(logits)):
            highest = self.groups.max_over_children(logits[level], level)
            log_violation = F.logsigmoid(logits[level - 1]) + F.logsigmoid(-highest)
            violations.append(_p_mean(log_violation, valid))
        return torch.cat(violations).mean()

    def _exclusion(self, logits: Logits, valid: Valid) -> Float[Tensor, ""]:
        violations = []
        # All pairs of a group at once: the sums of p_i^3 p_j^3 over pixels are the entries of a
        # matrix product, which autocast would compute in half precision.
        with torch.autocast(valid.device.type, enabled=False):
            for level, scores in enumerate(logits):
                cubes = torch.where(valid, torch.exp(3 * F.logsigmoid(scores)), 0)
                for groups in self.groups.split(cubes, level):
                    size = groups.shape[2]
                    if size > 1:
                        flat = groups.movedim(0, 2).flatten(2)
                        pairs = gather(flat @ flat.mT).sum(0).triu(1) / _count(valid)
                        # Each pair counts for both of its classes, averaged over siblings.
                        violations.append(2 * _cube_root(pairs).sum() / (size - 1))
        return torch.stack(violations).sum() / self.with_siblings


def _focal(logits: Float[Tensor, "B C H W"], target: Int[Tensor, "B H W"]) -> Float[Tensor, ""]:
    """Focal loss of one level: alpha 0.5, gamma 2, summed over classes."""
    cost = binary_cross_entropy(logits, target, gamma=2.0)
    return 0.5 * logits.shape[1] * mean_over_valid(cost, target)


def _p_mean(
    log_values: Float[Tensor, "B C H W"], valid: Valid, exponent: float = 5.0
) -> Float[Tensor, " C"]:
    """p-mean over the valid pixels of all processes of values given as logarithms.

    It is 0 if no pixel is valid.

    Computed on logarithms throughout: where powers underflow to 0, a root has no finite gradient.
    """
    lowest = torch.finfo(log_values.dtype).min
    total = torch.where(valid, exponent * log_values, lowest).logsumexp((0, 2, 3))
    return torch.exp((gather(total).logsumexp(0) - _count(valid).log()) / exponent)


def _count(valid: Valid) -> Int[Tensor, ""]:
    """Number of valid pixels of all processes, at least 1."""
    return gather(valid.sum()).sum(0).clamp(min=1)


def _cube_root(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Cube root of non-negative values, with gradient 0 at 0, where its slope is infinite."""
    positive = values > 0
    return torch.where(positive, torch.where(positive, values, 1) ** (1 / 3), 0)
