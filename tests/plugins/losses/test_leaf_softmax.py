"""Losses whose parents are sums over a leaf softmax: marginal_ce and hxe."""

import math

import pytest
import torch

from hieraseg import IGNORE_INDEX, Hierarchy
from tests.support.losses import TREE, assert_close, make_loss, terms_and_leaf_gradient


def test_inner_label_does_not_favour_any_leaf_below() -> None:
    # The label is y: its leaves d and e gain in proportion to their scores, all others lose.
    hierarchy = Hierarchy.from_tree(TREE)
    y = hierarchy.level_names[0].index("y")
    targets = torch.tensor([y, IGNORE_INDEX, IGNORE_INDEX]).view(1, 3, 1, 1)
    leaves = torch.zeros(1, 5, 1, 1, requires_grad=True)
    for name, factor in (("marginal_ce", 1.0), ("hxe", math.exp(-0.1))):
        terms, gradient = terms_and_leaf_gradient(make_loss(name, hierarchy), [leaves], targets)
        assert_close(terms, [factor * math.log(5 / 2), 0, 0])
        # p - p / p(y) below y, else p, where p is 1/5.
        signs = [-0.3 if leaf in "de" else 0.2 for leaf in hierarchy.level_names[-1]]
        assert gradient.flatten().tolist() == pytest.approx([factor * sign for sign in signs])


@pytest.mark.parametrize("name", ["marginal_ce", "hxe"])
def test_parent_with_a_tiny_score_does_not_underflow(name: str) -> None:
    # exp(-200) is 0 in float32, and its log -inf. The cost is 200 - log 2. Both leaves of x have
    # half of its score.
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": ["c"]})
    leaves = torch.tensor([-200.0, -200.0, 0.0]).view(1, 3, 1, 1).requires_grad_()
    targets = torch.tensor([0, IGNORE_INDEX]).view(1, 2, 1, 1)
    loss = make_loss(name, hierarchy)
    terms, gradient = terms_and_leaf_gradient(loss, [leaves], targets)
    factor = math.exp(-0.1) if name == "hxe" else 1.0
    assert terms[0].item() == pytest.approx(factor * (200 - math.log(2)))
    assert gradient.flatten().tolist() == pytest.approx(
        [-factor / 2, -factor / 2, factor], rel=1e-5
    )
