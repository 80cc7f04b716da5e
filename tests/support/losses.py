"""Batches for the tests of losses, and references to compare them with, in float64."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, registry
from hieraseg.testing.cases import forget_anywhere, random_logits, random_targets
from hieraseg.testing.loss_cases import terms_and_gradients
from tests.support.trees import Node, Tree, descendants_of

SIZE = (2, 1, 3)
"""Batch, height and width."""

TREE: Tree = {"background": None, "x": {"a": None, "b": None}, "y": {"c": {"d": None, "e": None}}}

IGNORED = st.sampled_from([0.0, 0.3, 0.9])
"""Fractions of targets that are ignored."""

Pixel = tuple[int, int, int]
"""Index in the batch, row, column."""


def make_loss(name: str, hierarchy: Hierarchy, **arguments: Any) -> Loss:
    """Build a shipped loss."""
    return registry.losses.get(name)(hierarchy=hierarchy, **arguments)


def random_batch(tree: Tree, seed: int, ignored: float) -> tuple[Hierarchy, list[Tensor], Tensor]:
    """A hierarchy, logits per level, and targets of which any level can be ignored."""
    hierarchy = Hierarchy.from_tree(tree)
    generator = torch.Generator().manual_seed(seed)
    logits = random_logits(hierarchy, SIZE, generator)
    targets = forget_anywhere(random_targets(hierarchy, SIZE, generator), generator, ignored)
    return hierarchy, logits, targets


def terms_and_leaf_gradient(
    loss: Loss, logits: list[Tensor], targets: Tensor
) -> tuple[list[Tensor], Tensor]:
    """Terms of a loss that uses the leaf logits only, and their gradient."""
    terms, gradients = terms_and_gradients(loss, logits[-1:], targets)
    return terms, gradients[0]


def valid_pixels(target: Tensor) -> Iterator[tuple[Pixel, int]]:
    """Position and class of each pixel that is not ignored."""
    for position, index in np.ndenumerate(target.numpy()):
        if index != IGNORE_INDEX:
            yield position, int(index)


def assert_close(found: list[Tensor], expected: list[Any]) -> None:
    """Compare float32 results with a reference."""
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.double().numpy(), other, rtol=2e-4, atol=2e-6)


def derive(
    hierarchy: Hierarchy,
    logits: list[Tensor],
    targets: Tensor,
    cost: Callable[[list[Tensor], int, str, list[int]], Tensor],
) -> tuple[list[Any], list[Any]]:
    """Mean cost of the valid pixels of each level, and the gradients of the sum over levels.

    Args:
        hierarchy: the class tree.
        logits: `[B, C, H, W]` per level.
        targets: class per level.
        cost: cost of a pixel on a level, from its logits per level, the level, the name of its
            class there, and its targets on all levels.
    """
    doubles = [level.detach().double().requires_grad_() for level in logits]
    terms = []
    for level, names in enumerate(hierarchy.level_names):
        pixels = list(valid_pixels(targets[:, level]))
        total = 0 * sum(z.sum() for z in doubles)
        for (b, y, x), true in pixels:
            own = [z[b, :, y, x] for z in doubles]
            total = total + cost(own, level, names[true], targets[b, :, y, x].tolist())
        terms.append(total / max(len(pixels), 1))
    gradients = torch.autograd.grad(torch.stack(terms).sum(), doubles)
    return [term.detach().numpy() for term in terms], [g.numpy() for g in gradients]


def binary_cross_entropy(scores: list[Tensor], true: int) -> Tensor:
    """Mean over classes of the binary cross-entropy of a pixel's scores in 0..1."""
    costs = [
        -torch.log(p) if index == true else -torch.log(1 - p) for index, p in enumerate(scores)
    ]
    return torch.stack(costs).mean()


def mean_binary_cross_entropy(logits: list[Tensor], targets: Tensor) -> list[Tensor]:
    """Mean over classes and valid pixels of each level, by torch; 0 without valid pixels."""
    terms = []
    for level, scores in enumerate(logits):
        valid = targets[:, level] != IGNORE_INDEX
        classes = targets[:, level].clamp(min=0)
        one_hot = F.one_hot(classes, scores.shape[1]).movedim(-1, 1).double()
        cost = F.binary_cross_entropy_with_logits(
            scores.detach().double(), one_hot, reduction="none"
        ).mean(1)
        terms.append(cost[valid].sum() / valid.sum().clamp(min=1))
    return terms


def leaf_sum(own: list[Tensor], tree: Tree, hierarchy: Hierarchy, node: Node) -> Tensor:
    """Sum of the leaf softmax scores below a node, for one pixel."""
    scores = own[-1].exp() / own[-1].exp().sum()
    below = {name for level, name in descendants_of(tree)[node] if level == len(own) - 1}
    names = hierarchy.level_names[-1]
    return sum((p for p, name in zip(scores, names, strict=True) if name in below), 0 * own[-1][0])
