"""LogicSeg rules against their equations, class by class in float64."""

import math
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Prediction
from hieraseg.testing.cases import forget_anywhere, random_targets
from tests.support.embeddings import (
    assert_same,
    gradients,
    in_double,
    random_prediction,
    shuffled_hierarchy,
)
from tests.support.losses import IGNORED, TREE, make_loss
from tests.support.trees import SEEDS, Tree, ancestors_of, nested_trees

SIZE = (2, 3, 4)


def p_mean(values: Tensor, exponent: float) -> Tensor:
    if not len(values):
        return torch.zeros((), dtype=values.dtype)
    return values.pow(exponent).mean().pow(1 / exponent)


def published_rules(
    tree: Tree, hierarchy: Hierarchy, logits: tuple[Tensor, ...], targets: Tensor
) -> dict[str, Tensor]:
    """Weighted term of each rule at the end of its ramp, over labelled pixels."""
    ancestors = ancestors_of(tree)
    labelled = (targets != IGNORE_INDEX).any(1)
    scores = {
        (level, name): logits[level][:, index][labelled].sigmoid()
        for level, names in enumerate(hierarchy.level_names)
        for index, name in enumerate(names)
    }
    parent = {
        node: next((above for above in ancestors[node] if above[0] == node[0] - 1), None)
        for node in scores
    }
    children = {node: [child for child in scores if parent[child] == node] for node in scores}
    composition = [
        p_mean(p - p * scores[above], 5)
        for node, p in scores.items()
        if (above := parent[node]) is not None
    ]
    decomposition = [
        p_mean(p - p * torch.stack([scores[child] for child in below]).amax(0), 5)
        for node, p in scores.items()
        if (below := children[node])
    ]
    exclusion = []
    for node, p in scores.items():
        siblings = [
            other
            for other in scores
            if other != node and other[0] == node[0] and parent[other] == parent[node]
        ]
        if siblings:
            pairs = [p_mean(p * scores[other], 3) for other in siblings]
            exclusion.append(torch.stack(pairs).mean())
    rules = {
        "composition": (0.3, composition),
        "decomposition": (0.3, decomposition),
        "exclusion": (0.2, exclusion),
    }
    return {
        name: w * torch.stack(violations).mean()
        for name, (w, violations) in rules.items()
        if violations
    }


def published_focal(logits: Tensor, target: Tensor) -> Tensor:
    """Focal binary cross-entropy, alpha 0.5, gamma 2: sum over classes, mean over pixels."""
    valid = target != IGNORE_INDEX
    p = logits.sigmoid().movedim(1, -1)[valid]
    one_hot = F.one_hot(target[valid], logits.shape[1])
    cost = -0.5 * one_hot * (1 - p) ** 2 * p.log() - 0.5 * (1 - one_hot) * p**2 * (1 - p).log()
    return cost.sum() / valid.sum().clamp(min=1)


@given(nested_trees(), SEEDS, IGNORED)
def test_published_equations(tree: Tree, seed: int, ignored: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    hierarchy = shuffled_hierarchy(tree, generator)
    prediction = random_prediction(hierarchy, SIZE, generator)
    targets = forget_anywhere(random_targets(hierarchy, SIZE, generator), generator, ignored)
    exact = in_double(prediction)
    expected = published_rules(tree, hierarchy, exact.logits, targets)
    for level, logits in enumerate(exact.logits):
        term = 0.5 * published_focal(logits, targets[:, level])
        expected[f"focal_bce_level{level + 1}"] = term
    terms = make_loss("logic_rules", hierarchy)(prediction, targets)
    assert terms.keys() == expected.keys()
    for name, term in terms.items():
        slopes = gradients(term, prediction)
        assert_same({name: term.detach()}, slopes, {name: expected[name]}, exact)


def test_by_hand() -> None:
    # One pixel: x .8 with children a .5 and b .25, y .1 with child c .9.
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": ["c"]})
    roots, leaves = torch.tensor([0.8, 0.1]).logit(), torch.tensor([0.5, 0.25, 0.9]).logit()
    prediction = Prediction((roots.view(1, 2, 1, 1), leaves.view(1, 3, 1, 1)))
    terms = make_loss("logic_rules", hierarchy)(
        prediction, torch.zeros(1, 2, 1, 1, dtype=torch.int64)
    )
    composition = (0.5 * 0.2 + 0.25 * 0.2 + 0.9 * 0.9) / 3
    decomposition = (0.8 * 0.5 + 0.1 * 0.1) / 2
    exclusion = (2 * 0.8 * 0.1 + 2 * 0.5 * 0.25) / 4  # x and y, a and b; c has no sibling
    assert terms["composition"].item() == pytest.approx(0.3 * composition)
    assert terms["decomposition"].item() == pytest.approx(0.3 * decomposition)
    assert terms["exclusion"].item() == pytest.approx(0.2 * exclusion)
    focal = 0.5 * (0.2**2 * -math.log(0.8) + 0.1**2 * -math.log(0.9))
    assert terms["focal_bce_level1"].item() == pytest.approx(0.5 * focal)


@pytest.mark.parametrize(
    ("settings", "progress", "factor"),
    [
        ({}, 0.0, 0.0),
        ({}, 0.25, 0.0),
        ({}, 11 / 24, 0.5),
        ({}, 2 / 3, 1.0),
        ({}, 1.0, 1.0),
        ({"ramp": (0.0, 0.0)}, 0.0, 1.0),
        ({"ramp": (0.0, 0.5)}, 0.1, 0.2),
        ({"ramp": (0.5, 0.5)}, 0.4, 0.0),
        ({"ramp": (0.5, 0.5)}, 0.5, 1.0),
    ],
)
def test_ramp_by_hand(settings: dict[str, Any], progress: float, factor: float) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    generator = torch.Generator().manual_seed(0)
    prediction = random_prediction(hierarchy, SIZE, generator)
    targets = random_targets(hierarchy, SIZE, generator)
    loss = make_loss("logic_rules", hierarchy, **settings)
    full, ramped = loss(prediction, targets, 1.0), loss(prediction, targets, progress)
    for name, term in full.items():
        expected = term if name.startswith("focal") else factor * term
        assert ramped[name].item() == pytest.approx(expected.item(), abs=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ramp": (0.5, 0.2)}, "ramp must be ascending, got (0.5, 0.2)"),
        ({"ramp": (0.5, 1.2)}, "ramp must be in [0, 1], got 1.2 at [1]"),
    ],
)
def test_invalid_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_loss("logic_rules", Hierarchy.from_tree(TREE), **arguments)
