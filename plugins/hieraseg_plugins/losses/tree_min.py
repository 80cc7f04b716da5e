"""The tree-min loss: a class is as sure as its least sure ancestor."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction


class TreeMin(Loss):
    """Tree-min loss, binary cross-entropy of scores that obey the class tree.

    For each node v, p is the minimum of the sigmoids of v and its ancestors where v is on the
    true path, and the maximum of those of v and its descendants where it is not:
    `-(1 - p)^gamma log p` and `-p^gamma log(1 - p)`. Per level: sum over valid pixels, divided
    by their number and by the level's number of classes; summed over levels.

    Source: Li et al. 2022, "Deep Hierarchical Semantic Segmentation", arXiv:2203.14335,
    the tree-min loss (`gamma` 0) and its focal form (`gamma` 2). The published code multiplies
    the plain form by 5.

    Args:
        hierarchy: the class tree.
        gamma: exponent of the focal factor; 0 for none.

    Raises:
        ValueError: a negative gamma.
    """

    activation = "sigmoid"

    def __init__(self, hierarchy: Hierarchy, gamma: float = 0.0) -> None:
        super().__init__()
        if not 0 <= gamma < float("inf"):
            raise ValueError(f"gamma is {gamma}, but must be a number from 0 up")
        self.gamma = gamma
        self.num_classes = hierarchy.num_classes
        self.num_children: list[list[int]] = []
        for level in range(1, hierarchy.num_levels):
            parents = hierarchy.parents[level]
            self.register_buffer(f"parents_{level}", parents, persistent=False)
            # Siblings side by side, and how many there are of each parent.
            self.register_buffer(f"siblings_{level}", parents.argsort(), persistent=False)
            self.num_children.append(parents.bincount().tolist())

    def forward(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Float[Tensor, ""]]:
        """One term per level, `tree_min_level1` and so on."""
        logits = [level.float() for level in prediction.logits]
        # log and sigmoid are monotonic, so minimum and maximum are taken over logits:
        # -log(min p) = softplus(-min z), -log(1 - max p) = softplus(max z).
        least = self._least_on_true_path(logits, targets)
        most = self._most_below(logits)
        terms = {}
        for level, classes in enumerate(self.num_classes):
            target = targets[:, level]
            valid = target != IGNORE_INDEX
            true_class = target.clamp(min=0)[:, None]
            # The true class is no negative; softplus and its gradient are 0 at -inf.
            negatives = most[level].scatter(1, true_class, -torch.inf)
            pixel = self._cost(-least[level]) + self._cost(negatives).sum(1)
            total = torch.where(valid, pixel, 0).sum()
            terms[f"tree_min_level{level + 1}"] = total / (valid.sum().clamp(min=1) * classes)
        return terms

    def _cost(self, wrongness: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """-log(1 - q) with its focal factor q^gamma, of the logit of a wrong answer's score q."""
        cost = F.softplus(wrongness)
        if self.gamma == 0:
            return cost
        # Not as a power of a sigmoid: at 0, where it underflows, a root has no finite gradient.
        return cost * torch.exp(self.gamma * F.logsigmoid(wrongness))

    def _least_on_true_path(
        self, logits: list[Float[Tensor, "B _ H W"]], targets: Int[Tensor, "B levels H W"]
    ) -> list[Float[Tensor, "B H W"]]:
        """Per level: the lowest logit of the true class and its ancestors."""
        path = [targets[:, -1]]
        for level in range(len(logits) - 1, 0, -1):
            parents = getattr(self, f"parents_{level}")[path[0].clamp(min=0)]
            known = path[0] != IGNORE_INDEX
            path.insert(0, torch.where(known, parents, targets[:, level - 1]))
        least: list[Tensor] = []
        for scores, classes in zip(logits, path, strict=True):
            own = scores.gather(1, classes.clamp(min=0)[:, None])[:, 0]
            least.append(torch.minimum(own, least[-1]) if least else own)
        return least

    def _most_below(self, logits: list[Float[Tensor, "B _ H W"]]) -> list[Float[Tensor, "B _ H W"]]:
        """Per level and class: the highest logit of the class and its descendants."""
        most = [logits[-1]]
        for level in range(len(logits) - 1, 0, -1):
            siblings = most[0].index_select(1, getattr(self, f"siblings_{level}"))
            below = [group.amax(1) for group in siblings.split(self.num_children[level - 1], 1)]
            most.insert(0, torch.maximum(logits[level - 1], torch.stack(below, dim=1)))
        return most
