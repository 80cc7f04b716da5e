"""Tree-min against its equations, per pixel and class in float64."""

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy
from hieraseg.testing.cases import forget_anywhere, random_logits, random_targets
from hieraseg.testing.loss_cases import terms_and_gradients
from tests.support.losses import (
    IGNORED,
    SIZE,
    TREE,
    assert_close,
    make_loss,
    mean_binary_cross_entropy,
    random_batch,
    valid_pixels,
)
from tests.support.trees import SEEDS, Tree, ancestors_of, descendants_of, leaf_paths, nested_trees

GAMMAS = st.sampled_from([0.0, 2.0])


def focal(p: float, gamma: float) -> tuple[float, float]:
    """-(1 - p)^gamma log p, and its derivative with respect to the logit of p."""
    value = -((1 - p) ** gamma) * math.log(p)
    by_p = -((1 - p) ** gamma) / p
    if gamma:
        by_p += gamma * (1 - p) ** (gamma - 1) * math.log(p)
    return value, by_p * p * (1 - p)


def published_tree_min(
    tree: Tree, hierarchy: Hierarchy, logits: list[Tensor], targets: Tensor, gamma: float
) -> tuple[list[float], list[np.ndarray]]:
    """Terms and gradients of Li et al. 2022, equations 3 to 6, for each class in a loop."""
    ancestors, descendants = ancestors_of(tree), descendants_of(tree)
    scores = [level.detach().double().sigmoid().numpy() for level in logits]
    terms, gradients = [], [np.zeros(level.shape) for level in logits]
    for level, names in enumerate(hierarchy.level_names):
        total, pixels = 0.0, list(valid_pixels(targets[:, level]))
        for (b, y, x), true in pixels:

            def score(node: tuple[int, str], b: int = b, y: int = y, x: int = x) -> float:
                index = hierarchy.level_names[node[0]].index(node[1])
                return float(scores[node[0]][b, index, y, x])

            for index, name in enumerate(names):
                if index == true:
                    decisive = min(ancestors[level, name], key=score)
                    value, slope = focal(score(decisive), gamma)
                else:
                    decisive = max(descendants[level, name], key=score)
                    value, slope = focal(1 - score(decisive), gamma)
                    slope = -slope
                total += value
                node = hierarchy.level_names[decisive[0]].index(decisive[1])
                gradients[decisive[0]][b, node, y, x] += slope / (len(pixels) * len(names))
        terms.append(total / (max(len(pixels), 1) * len(names)))
    return terms, gradients


@given(nested_trees(), SEEDS, GAMMAS, IGNORED)
def test_published_equation(tree: Tree, seed: int, gamma: float, ignored: float) -> None:
    hierarchy, logits, targets = random_batch(tree, seed, ignored)
    terms, gradients = terms_and_gradients(
        make_loss("tree_min", hierarchy, gamma=gamma), logits, targets
    )
    expected, slopes = published_tree_min(tree, hierarchy, logits, targets, gamma)
    assert_close(terms, expected)
    assert_close(gradients, slopes)


def test_known_leaf_below_an_ignored_root() -> None:
    # The leaf determines its path. Only the term of level 1 is left out.
    hierarchy = Hierarchy.from_tree({"x": ["a"], "y": ["b"]})
    roots = torch.tensor([-1.0, 2.0]).view(1, 2, 1, 1).requires_grad_()
    leaves = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).requires_grad_()
    targets = torch.tensor([IGNORE_INDEX, 0]).view(1, 2, 1, 1)
    terms, gradients = terms_and_gradients(
        make_loss("tree_min", hierarchy), [roots, leaves], targets
    )
    # a: its root x has the minimum, -1; b has no descendants. softplus(1) and softplus(-2).
    assert_close(terms, [0, (math.log1p(math.e) + math.log1p(math.exp(-2))) / 2])
    assert (gradients[0] != 0).flatten().tolist() == [True, False]
    assert (gradients[1] != 0).flatten().tolist() == [False, True]


# Root r with children a and b; a has children c and d. The leaf b has a node on level 3 too.
# Scores are given in the order r, a, b, b on level 3, c, d.


@pytest.mark.parametrize(
    ("scores", "target", "decisive"),
    [
        # c scores higher than its parent a, and c is true: it is limited by a.
        #   r .9 | a min(.9, .3) = .3, b max(.2, .1) = .2 | c min(.9, .3, .8) = .3, d .4, b .1
        ([0.9, 0.3, 0.2, 0.1, 0.8, 0.4], "c", [[0.9], [0.3, -0.2], [0.3, -0.4, -0.1]]),
        # c scores higher than its parent a, and b is true: a is as wrong as c.
        #   r .9 | a max(.3, .8, .4) = .8, b min(.9, .2) = .2 | b min(.9, .2, .1) = .1, c .8, d .4
        ([0.9, 0.3, 0.2, 0.1, 0.8, 0.4], "b", [[0.9], [0.2, -0.8], [0.1, -0.8, -0.4]]),
        # a scores higher than its children, and b is true: a itself is decisive.
        #   r .6 | a max(.7, .2, .1) = .7, b min(.6, .8) = .6 | b min(.6, .8, .9) = .6, c .2, d .1
        ([0.6, 0.7, 0.8, 0.9, 0.2, 0.1], "b", [[0.6], [0.6, -0.7], [0.6, -0.2, -0.1]]),
        # Scores respect the tree, and c is true: each class has its own score.
        #   r .9 | a .8, b .3 | c .7, d .2, b .1
        ([0.9, 0.8, 0.3, 0.1, 0.7, 0.2], "c", [[0.9], [0.8, -0.3], [0.7, -0.2, -0.1]]),
    ],
)
@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_by_hand(
    scores: list[float], target: str, decisive: list[list[float]], gamma: float
) -> None:
    """`decisive`: per level, the minimum p of the true class, the negated maximum p of others."""
    hierarchy = Hierarchy.from_tree({"r": {"a": ["c", "d"], "b": None}})
    assert hierarchy.level_names == [["r"], ["a", "b"], ["c", "d", "b"]]
    r, a, b, b_below, c, d = (math.log(p / (1 - p)) for p in scores)
    logits = [
        torch.tensor(level).view(1, -1, 1, 1).requires_grad_()
        for level in ([r], [a, b], [c, d, b_below])
    ]
    targets = hierarchy.encode(torch.tensor([[[hierarchy.level_names[2].index(target)]]]))
    terms, _ = terms_and_gradients(make_loss("tree_min", hierarchy, gamma=gamma), logits, targets)
    expected = [
        sum(
            -((1 - p) ** gamma) * math.log(p) if p > 0 else -((-p) ** gamma) * math.log(1 + p)
            for p in level
        )
        / len(level)
        for level in decisive
    ]
    assert_close(terms, expected)


@given(nested_trees(), SEEDS)
def test_at_least_bce_and_equal_if_scores_respect_the_tree(tree: Tree, seed: int) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    generator = torch.Generator().manual_seed(seed)
    logits = random_logits(hierarchy, SIZE, generator)
    targets = forget_anywhere(random_targets(hierarchy, SIZE, generator), generator)
    plain = make_loss("tree_min", hierarchy)
    for term, bce in zip(
        terms_and_gradients(plain, logits, targets)[0],
        mean_binary_cross_entropy(logits, targets),
        strict=True,
    ):
        assert term >= bce - 1e-5
    consistent = [logits[0].detach()]
    for parents, level in zip(hierarchy.parents[1:], logits[1:], strict=True):
        consistent.append(torch.minimum(level.detach(), consistent[-1][:, parents]))
    consistent = [level.clone().requires_grad_() for level in consistent]
    terms, _ = terms_and_gradients(plain, consistent, targets)
    assert_close(terms, [term.numpy() for term in mean_binary_cross_entropy(consistent, targets)])


@given(SEEDS, st.integers(1, 6))
def test_one_level_is_bce(seed: int, classes: int) -> None:
    hierarchy = Hierarchy.from_tree([f"class{index}" for index in range(classes)])
    generator = torch.Generator().manual_seed(seed)
    logits = random_logits(hierarchy, SIZE, generator)
    targets = random_targets(hierarchy, SIZE, generator)
    terms, _ = terms_and_gradients(make_loss("tree_min", hierarchy), logits, targets)
    assert_close(terms, [term.numpy() for term in mean_binary_cross_entropy(logits, targets)])


@given(nested_trees(), SEEDS, GAMMAS)
def test_order_of_leaves_does_not_matter(tree: Tree, seed: int, gamma: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    leaves = [path[-1] for path in leaf_paths(tree)]
    order = torch.randperm(len(leaves), generator=generator)
    hierarchy = Hierarchy.from_tree(tree)
    shuffled = Hierarchy.from_tree(tree, labels=[leaves[index] for index in order])
    logits = random_logits(hierarchy, SIZE, generator)
    targets = forget_anywhere(random_targets(hierarchy, SIZE, generator), generator)
    # Class `order[new]` becomes class `new`. A hierarchy of one level has leaves on level 1.
    moved_targets, rank = targets.clone(), order.argsort()
    moved_targets[:, -1] = torch.where(
        targets[:, -1] < 0, targets[:, -1], rank[targets[:, -1].clamp(min=0)]
    )
    moved = [*logits[:-1], logits[-1].detach()[:, order].requires_grad_()]
    terms, gradients = terms_and_gradients(
        make_loss("tree_min", hierarchy, gamma=gamma), logits, targets
    )
    moved_terms, moved_gradients = terms_and_gradients(
        make_loss("tree_min", shuffled, gamma=gamma), moved, moved_targets
    )
    assert_close(moved_terms, [term.numpy() for term in terms])
    gradients[-1] = gradients[-1][:, order]
    assert_close(moved_gradients, [gradient.numpy() for gradient in gradients])


@pytest.mark.parametrize(
    ("arguments", "message"), [({"gamma": -1.0}, "gamma must be non-negative, got -1.0")]
)
def test_invalid_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_loss("tree_min", Hierarchy.from_tree(TREE), **arguments)
