"""Marginal cross-entropy against its equation, per pixel and class in float64."""

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
from tests.support.trees import SEEDS, Tree, nested_trees


@given(nested_trees(), SEEDS, IGNORED)
def test_published_equation(tree: Tree, seed: int, ignored: float) -> None:
    hierarchy, logits, targets = random_batch(tree, seed, ignored)
    weights = [0.5 + level for level in range(hierarchy.num_levels)]

    def cost(own: list[Tensor], level: int, true: str, _: list[int]) -> Tensor:
        return -weights[level] * leaf_sum(own, tree, hierarchy, (level, true)).log()

    expected, slopes = derive(hierarchy, logits, targets, cost)
    loss = make_loss("marginal_ce", hierarchy, level_weights=weights)
    terms, gradient = terms_and_leaf_gradient(loss, logits, targets)
    assert_close(terms, expected)
    assert_close([gradient], slopes[-1:])


@given(nested_trees(), SEEDS, IGNORED, st.floats(0, 1))
def test_label_smoothing(tree: Tree, seed: int, ignored: float, smoothing: float) -> None:
    """The label of a level is spread evenly over its classes."""
    hierarchy, logits, targets = random_batch(tree, seed, ignored)

    def cost(own: list[Tensor], level: int, true: str, _: list[int]) -> Tensor:
        names = hierarchy.level_names[level]
        label = {name: smoothing / len(names) for name in names}
        label[true] += 1 - smoothing
        logs = [leaf_sum(own, tree, hierarchy, (level, name)).log() for name in names]
        return -sum(label[name] * log for name, log in zip(names, logs, strict=True))

    expected, slopes = derive(hierarchy, logits, targets, cost)
    loss = make_loss("marginal_ce", hierarchy, label_smoothing=smoothing)
    terms, gradient = terms_and_leaf_gradient(loss, logits, targets)
    assert_close(terms, expected)
    assert_close([gradient], slopes[-1:])


def test_last_level_only_is_the_flat_baseline() -> None:
    hierarchy, logits, targets = random_batch(TREE, 0, 0.3)
    loss = make_loss("marginal_ce", hierarchy, level_weights=[0.0, 0.0, 1.0])
    terms, gradient = terms_and_leaf_gradient(loss, logits, targets)
    flat = F.cross_entropy(logits[-1], targets[:, -1])
    assert_close(terms, [0, 0, flat.item()])
    assert_close([gradient], [torch.autograd.grad(flat, logits[-1])[0].numpy()])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"level_weights": []},
            "level_weights must have 3 values, one per level of the hierarchy, got 0",
        ),
        (
            {"level_weights": [0.0, 0.0, 0.0]},
            "level_weights must not all be 0, with which nothing is trained",
        ),
        (
            {"level_weights": [-1.0, 0.0, 1.0]},
            "level_weights must be non-negative, got -1.0 at [0]",
        ),
        (
            {"level_weights": [math.nan, 0.0, 1.0]},
            "level_weights must be finite and non-negative, got nan at [0]",
        ),
    ],
)
def test_invalid_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_loss("marginal_ce", Hierarchy.from_tree(TREE), **arguments)
