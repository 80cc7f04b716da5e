"""Cross-entropy with soft labels against its equation, per pixel and class in float64."""

import math
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy
from tests.support.losses import (
    IGNORED,
    TREE,
    assert_close,
    derive,
    make_loss,
    random_batch,
    terms_and_leaf_gradient,
)
from tests.support.trees import SEEDS, Tree, ancestors_of, nested_trees


def soft_label(tree: Tree, hierarchy: Hierarchy, true: str, beta: float) -> list[float]:
    """Label of each leaf, from the heights of lowest common ancestors in the nested tree."""
    leaves, last = hierarchy.level_names[-1], hierarchy.num_levels - 1
    ancestors = ancestors_of(tree)

    def height(one: str, other: str) -> int:
        return last + 1 - len(ancestors[last, one] & ancestors[last, other])

    highest = max(height(one, other) for one in leaves for other in leaves) or 1
    weights = [math.exp(-beta * height(true, leaf) / highest) for leaf in leaves]
    return [weight / sum(weights) for weight in weights]


@given(nested_trees(), SEEDS, IGNORED, st.sampled_from([0.5, 4.0, 30.0]))
def test_published_equation(tree: Tree, seed: int, ignored: float, beta: float) -> None:
    hierarchy, logits, targets = random_batch(tree, seed, ignored)

    def cost(own: list[Tensor], level: int, true: str, _: list[int]) -> Tensor:
        if level < hierarchy.num_levels - 1:
            return 0 * own[level].sum()
        scores = own[-1].exp() / own[-1].exp().sum()
        label = torch.tensor(soft_label(tree, hierarchy, true, beta), dtype=torch.float64)
        return -(label * scores.log()).sum()

    expected, slopes = derive(hierarchy, logits, targets, cost)
    loss = make_loss("soft_labels", hierarchy, beta=beta)
    terms, gradient = terms_and_leaf_gradient(loss, logits, targets)
    assert_close(terms, expected[-1:])
    assert_close([gradient], slopes[-1:])


def test_by_hand() -> None:
    # Seen from d: e is also below c, height 1; all others meet d at the root, the maximum of 3.
    hierarchy = Hierarchy.from_tree(TREE)
    near, far = math.exp(-3.0), math.exp(-9.0)
    total = 1 + near + 3 * far
    by_hand = {"d": 1 / total, "e": near / total} | dict.fromkeys("ab", far / total)
    targets = hierarchy.paths[hierarchy.level_names[-1].index("d")].view(1, 3, 1, 1)
    leaves = torch.zeros(1, 5, 1, 1, requires_grad=True)
    _, gradient = terms_and_leaf_gradient(
        make_loss("soft_labels", hierarchy, beta=9.0), [leaves], targets
    )
    found = dict(zip(hierarchy.level_names[-1], (1 / 5 - gradient).flatten().tolist(), strict=True))
    assert found == pytest.approx(by_hand | {"background": far / total}, abs=1e-6)


@given(nested_trees(), SEEDS)
def test_large_beta_gives_hard_labels(tree: Tree, seed: int) -> None:
    hierarchy, logits, targets = random_batch(tree, seed, 0.0)
    terms, _ = terms_and_leaf_gradient(
        make_loss("soft_labels", hierarchy, beta=200.0), logits, targets
    )
    assert_close(terms, [F.cross_entropy(logits[-1], targets[:, -1]).item()])


def test_pixels_without_a_known_leaf_are_ignored() -> None:
    hierarchy, logits, targets = random_batch(TREE, 3, 0.0)
    some = targets.clone()
    some[0, -1] = IGNORE_INDEX
    terms, gradient = terms_and_leaf_gradient(make_loss("soft_labels", hierarchy), logits, some)
    expected, slope = terms_and_leaf_gradient(
        make_loss("soft_labels", hierarchy), [logits[-1][1:].detach().requires_grad_()], targets[1:]
    )
    assert_close(terms, [expected[0].numpy()])
    assert gradient[0].eq(0).all()
    assert_close([gradient[1:]], [slope.numpy()])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta": 0.0}, "beta must be positive, got 0.0"),
        ({"beta": math.inf}, "beta must be finite and positive, got inf"),
    ],
)
def test_invalid_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_loss("soft_labels", Hierarchy.from_tree(TREE), **arguments)
