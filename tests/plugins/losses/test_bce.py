"""Binary cross-entropy against its equation, per pixel and class in float64."""

import re
from typing import Any

import pytest
from hypothesis import given
from torch import Tensor

from hieraseg import Hierarchy
from hieraseg.testing.loss_cases import terms_and_gradients
from tests.support.losses import (
    IGNORED,
    TREE,
    assert_close,
    binary_cross_entropy,
    derive,
    make_loss,
    random_batch,
)
from tests.support.trees import SEEDS, Tree, nested_trees


@given(nested_trees(), SEEDS, IGNORED)
def test_equation(tree: Tree, seed: int, ignored: float) -> None:
    hierarchy, logits, targets = random_batch(tree, seed, ignored)
    weights = [0.5 + level for level in range(hierarchy.num_levels)]

    def cost(own: list[Tensor], level: int, true: str, _: list[int]) -> Tensor:
        index = hierarchy.level_names[level].index(true)
        return weights[level] * binary_cross_entropy(list(own[level].sigmoid()), index)

    terms, gradients = terms_and_gradients(
        make_loss("bce", hierarchy, level_weights=weights), logits, targets
    )
    expected, slopes = derive(hierarchy, logits, targets, cost)
    assert_close(terms, expected)
    assert_close(gradients, slopes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"level_weights": [1.0]},
            "level_weights must have 3 values, one per level of the hierarchy, got 1",
        )
    ],
)
def test_invalid_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_loss("bce", Hierarchy.from_tree(TREE), **arguments)
