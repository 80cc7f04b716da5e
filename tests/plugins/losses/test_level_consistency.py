"""Level consistency against its equations, per pixel and class in float64."""

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hieraseg import Hierarchy, Prediction
from hieraseg.testing.loss_cases import terms_and_gradients
from tests.support.losses import IGNORED, TREE, assert_close, derive, make_loss, random_batch
from tests.support.trees import SEEDS, Tree, descendants_of, nested_trees


@given(nested_trees(), SEEDS, IGNORED, st.sampled_from([0.0, 0.5, 2.0]))
def test_equations(tree: Tree, seed: int, ignored: float, gamma: float) -> None:
    hierarchy, logits, targets = random_batch(tree, seed, ignored)
    weights = [0.5 + level for level in range(hierarchy.num_levels)]
    descendants = descendants_of(tree)

    def focal(own: list[Tensor], level: int, true: str, _: list[int]) -> Tensor:
        costs = []
        for p, name in zip(own[level].sigmoid(), hierarchy.level_names[level], strict=True):
            correct = p if name == true else 1 - p
            costs.append(-((1 - correct) ** gamma) * correct.log())
        return weights[level] * torch.stack(costs).mean()

    def gap(own: list[Tensor], level: int, true: str, _: list[int]) -> Tensor:
        if level == 0:
            return 0 * own[0].sum()
        p = dict(zip(hierarchy.level_names[level], own[level].sigmoid(), strict=True))
        gaps = []
        for index, name in enumerate(hierarchy.level_names[level - 1]):
            children = [child for depth, child in descendants[level - 1, name] if depth == level]
            gaps.append((own[level - 1][index].sigmoid() - max(p[c] for c in children)) ** 2)
        return 3 * torch.stack(gaps).mean()

    loss = make_loss(
        "level_consistency", hierarchy, gamma=gamma, level_weights=weights, consistency_weight=3.0
    )
    terms = {k: v.detach() for k, v in loss(Prediction(tuple(logits)), targets).items()}
    _, gradients = terms_and_gradients(loss, logits, targets)
    focal_terms, focal_slopes = derive(hierarchy, logits, targets, focal)
    gap_terms, gap_slopes = derive(hierarchy, logits, targets, gap)
    levels = range(1, hierarchy.num_levels + 1)
    assert_close([terms.pop(f"focal_level{level}") for level in levels], focal_terms)
    assert_close([terms.pop(f"consistency_level{level}") for level in levels[1:]], gap_terms[1:])
    assert not terms
    assert_close(gradients, list(map(np.add, focal_slopes, gap_slopes)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"level_weights": [1.0] * 4},
            "level_weights must have 3 values, one per level of the hierarchy, got 4",
        ),
        ({"gamma": -1.0}, "gamma must be non-negative, got -1.0"),
        (
            {"consistency_weight": math.inf},
            "consistency_weight must be finite and non-negative, got inf",
        ),
    ],
)
def test_invalid_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_loss("level_consistency", Hierarchy.from_tree(TREE), **arguments)
