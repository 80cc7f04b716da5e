"""Hierarchical cross-entropy against its equation, per pixel and class in float64."""

import math
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hieraseg import Hierarchy
from tests.support.losses import (
    IGNORED,
    TREE,
    assert_close,
    derive,
    leaf_sum,
    make_loss,
    random_batch,
    terms_and_leaf_gradient,
)
from tests.support.trees import SEEDS, Tree, ancestors_of, nested_trees


@given(nested_trees(), SEEDS, IGNORED, st.sampled_from([0.0, 0.1, 0.9]))
def test_published_equation(tree: Tree, seed: int, ignored: float, alpha: float) -> None:
    hierarchy, logits, targets = random_batch(tree, seed, ignored)

    def cost(own: list[Tensor], level: int, true: str, _: list[int]) -> Tensor:
        child = leaf_sum(own, tree, hierarchy, (level, true))
        parent = torch.ones(())
        if level > 0:
            above = sorted(ancestors_of(tree)[level, true])[-2][1]
            parent = leaf_sum(own, tree, hierarchy, (level - 1, above))
        depth = level + 1  # edges from the root above level 1
        return -math.exp(-alpha * depth) * torch.log(child / parent)

    expected, slopes = derive(hierarchy, logits, targets, cost)
    terms, gradient = terms_and_leaf_gradient(
        make_loss("hxe", hierarchy, alpha=alpha), logits, targets
    )
    assert_close(terms, expected)
    assert_close([gradient], slopes[-1:])


@given(nested_trees(), SEEDS)
def test_alpha_0_is_the_cross_entropy_of_leaves(tree: Tree, seed: int) -> None:
    hierarchy, logits, targets = random_batch(tree, seed, 0.0)
    terms, gradient = terms_and_leaf_gradient(
        make_loss("hxe", hierarchy, alpha=0.0), logits, targets
    )
    reference = F.cross_entropy(logits[-1], targets[:, -1])
    assert_close([torch.stack(terms).sum()], [reference.item()])
    assert_close([gradient], [torch.autograd.grad(reference, logits[-1])[0].numpy()])


def test_by_hand() -> None:
    # Equal scores: the leaves d and e are below c below y, so y has 2/5, c all of y, d half of c.
    hierarchy = Hierarchy.from_tree(TREE)
    leaves = torch.zeros(1, 5, 1, 1, requires_grad=True)
    d = hierarchy.level_names[-1].index("d")
    terms, _ = terms_and_leaf_gradient(
        make_loss("hxe", hierarchy, alpha=0.5), [leaves], hierarchy.paths[d].view(1, 3, 1, 1)
    )
    assert_close(terms, [math.exp(-0.5) * math.log(5 / 2), 0, math.exp(-1.5) * math.log(2)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": -0.1}, "alpha must be non-negative, got -0.1"),
        ({"alpha": math.nan}, "alpha must be finite and non-negative, got nan"),
    ],
)
def test_invalid_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_loss("hxe", Hierarchy.from_tree(TREE), **arguments)
