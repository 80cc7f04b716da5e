"""Tree-min and weighted cross-entropy against their equations, pixel by pixel in float64."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy, Loss, Prediction, registry
from hieraseg.testing.cases import forget_anywhere, random_logits, random_targets
from hieraseg.testing.loss_cases import answer
from hieraseg_plugins.losses.weighted_ce import median_frequency
from tests.support.losses import assert_close, pixels_of
from tests.support.trees import SEEDS, Tree, ancestors_of, descendants_of, leaf_paths, nested_trees

SIZE = (2, 1, 3)
GAMMAS = st.sampled_from([0.0, 2.0])
TREE: Tree = {"background": None, "x": {"a": None, "b": None}, "y": {"c": {"d": None, "e": None}}}


def tree_min(hierarchy: Hierarchy, gamma: float = 0.0) -> Loss:
    return registry.losses.get("tree_min")(hierarchy=hierarchy, gamma=gamma)


def weighted_ce(hierarchy: Hierarchy, **settings: Any) -> Loss:
    return registry.losses.get("weighted_ce")(hierarchy=hierarchy, **settings)


def zeros_like(logits: list[Tensor]) -> list[np.ndarray]:
    return [np.zeros(level.shape) for level in logits]


# Tree-min.


def focal(p: float, gamma: float) -> tuple[float, float]:
    """-(1 - p)^gamma log p, and its derivative by p's logit."""
    value = -((1 - p) ** gamma) * math.log(p)
    by_p = -((1 - p) ** gamma) / p
    if gamma:
        by_p += gamma * (1 - p) ** (gamma - 1) * math.log(p)
    return value, by_p * p * (1 - p)


def published_tree_min(
    tree: Tree, hierarchy: Hierarchy, logits: list[Tensor], targets: Tensor, gamma: float
) -> tuple[list[float], list[np.ndarray]]:
    """Terms and gradients by Li et al. 2022, equations 3 to 6, node by node in float64."""
    ancestors, descendants = ancestors_of(tree), descendants_of(tree)
    scores = [level.detach().double().sigmoid().numpy() for level in logits]
    terms, gradients = [], zeros_like(logits)
    for level, names in enumerate(hierarchy.level_names):
        total, pixels = 0.0, list(pixels_of(targets[:, level]))
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


@given(nested_trees(), SEEDS, GAMMAS, st.sampled_from([0.0, 0.3, 0.9]))
def test_tree_min_is_the_published_equation(
    tree: Tree, seed: int, gamma: float, ignored: float
) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    generator = torch.Generator().manual_seed(seed)
    logits = random_logits(hierarchy, SIZE, generator)
    targets = forget_anywhere(random_targets(hierarchy, SIZE, generator), generator, ignored)
    terms, gradients = answer(tree_min(hierarchy, gamma), logits, targets)
    expected, slopes = published_tree_min(tree, hierarchy, logits, targets, gamma)
    assert_close(terms, expected)
    assert_close(gradients, slopes)


def test_tree_min_with_a_known_leaf_under_a_void_root() -> None:
    # The leaf's path is known from the leaf; only level 1 is left out of the sum.
    hierarchy = Hierarchy.from_tree({"x": ["a"], "y": ["b"]})
    roots = torch.tensor([-1.0, 2.0]).view(1, 2, 1, 1).requires_grad_()
    leaves = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).requires_grad_()
    targets = torch.tensor([IGNORE_INDEX, 0]).view(1, 2, 1, 1)
    terms, gradients = answer(tree_min(hierarchy), [roots, leaves], targets)
    # a: its root x, at -1, is the least; b: no node below it. softplus(1) and softplus(-2).
    assert_close(terms, [0, (math.log1p(math.e) + math.log1p(math.exp(-2))) / 2])
    assert (gradients[0] != 0).flatten().tolist() == [True, False]
    assert (gradients[1] != 0).flatten().tolist() == [False, True]


# Five nodes by hand: root r with the children a and b; a's children are c and d. The leaf b has a
# node on level 3 too. Scores stand in the order r, a, b, b on level 3, c, d.


@pytest.mark.parametrize(
    ("scores", "target", "decisive"),
    [
        # c scores above its parent a, and c is true: it is no surer than a.
        #   r .9 | a min(.9, .3) = .3, b max(.2, .1) = .2 | c min(.9, .3, .8) = .3, d .4, b .1
        ([0.9, 0.3, 0.2, 0.1, 0.8, 0.4], "c", [[0.9], [0.3, -0.2], [0.3, -0.4, -0.1]]),
        # c scores above its parent a, and b is true: a is wrong by as much as c.
        #   r .9 | a max(.3, .8, .4) = .8, b min(.9, .2) = .2 | b min(.9, .2, .1) = .1, c .8, d .4
        ([0.9, 0.3, 0.2, 0.1, 0.8, 0.4], "b", [[0.9], [0.2, -0.8], [0.1, -0.8, -0.4]]),
        # a scores above its children, and b is true: a itself is what is wrong.
        #   r .6 | a max(.7, .2, .1) = .7, b min(.6, .8) = .6 | b min(.6, .8, .9) = .6, c .2, d .1
        ([0.6, 0.7, 0.8, 0.9, 0.2, 0.1], "b", [[0.6], [0.6, -0.7], [0.6, -0.2, -0.1]]),
        # Scores obey the tree and c is true: every node speaks for itself.
        #   r .9 | a .8, b .3 | c .7, d .2, b .1
        ([0.9, 0.8, 0.3, 0.1, 0.7, 0.2], "c", [[0.9], [0.8, -0.3], [0.7, -0.2, -0.1]]),
    ],
)
@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_tree_min_by_hand(
    scores: list[float], target: str, decisive: list[list[float]], gamma: float
) -> None:
    """`decisive`: pmin of the true class, -pmax of each other class, per level."""
    hierarchy = Hierarchy.from_tree({"r": {"a": ["c", "d"], "b": None}})
    assert hierarchy.level_names == [["r"], ["a", "b"], ["c", "d", "b"]]
    r, a, b, b_again, c, d = (math.log(p / (1 - p)) for p in scores)
    logits = [
        torch.tensor(level).view(1, -1, 1, 1).requires_grad_()
        for level in ([r], [a, b], [c, d, b_again])
    ]
    targets = hierarchy.encode(torch.tensor([[[hierarchy.level_names[2].index(target)]]]))
    terms, _ = answer(tree_min(hierarchy, gamma), logits, targets)
    expected = [
        sum(
            -((1 - p) ** gamma) * math.log(p) if p > 0 else -((-p) ** gamma) * math.log(1 + p)
            for p in level
        )
        / len(level)
        for level in decisive
    ]
    assert_close(terms, expected)


def binary_cross_entropy(logits: list[Tensor], targets: Tensor) -> list[Tensor]:
    """Per level: mean over classes and valid pixels, in float64; 0 where no pixel is valid."""
    terms = []
    for level, scores in enumerate(logits):
        valid = targets[:, level] != IGNORE_INDEX
        classes = targets[:, level].clamp(min=0)
        truth = F.one_hot(classes, scores.shape[1]).movedim(-1, 1).double()
        cost = F.binary_cross_entropy_with_logits(
            scores.detach().double(), truth, reduction="none"
        ).mean(1)
        terms.append(cost[valid].sum() / valid.sum().clamp(min=1))
    return terms


@given(nested_trees(), SEEDS)
def test_tree_min_is_bce_where_scores_obey_the_tree_and_never_less(tree: Tree, seed: int) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    generator = torch.Generator().manual_seed(seed)
    logits = random_logits(hierarchy, SIZE, generator)
    targets = forget_anywhere(random_targets(hierarchy, SIZE, generator), generator)
    plain = tree_min(hierarchy)
    for term, bce in zip(
        answer(plain, logits, targets)[0], binary_cross_entropy(logits, targets), strict=True
    ):
        assert term >= bce - 1e-5
    obeying = [logits[0].detach()]
    for parents, level in zip(hierarchy.parents[1:], logits[1:], strict=True):
        obeying.append(torch.minimum(level.detach(), obeying[-1][:, parents]))
    obeying = [level.clone().requires_grad_() for level in obeying]
    terms, _ = answer(plain, obeying, targets)
    assert_close(terms, [term.numpy() for term in binary_cross_entropy(obeying, targets)])


@given(SEEDS, st.integers(1, 6))
def test_tree_min_of_one_level_is_bce(seed: int, classes: int) -> None:
    hierarchy = Hierarchy.from_tree([f"class{index}" for index in range(classes)])
    generator = torch.Generator().manual_seed(seed)
    logits = random_logits(hierarchy, SIZE, generator)
    targets = random_targets(hierarchy, SIZE, generator)
    terms, _ = answer(tree_min(hierarchy), logits, targets)
    assert_close(terms, [term.numpy() for term in binary_cross_entropy(logits, targets)])


@given(nested_trees(), SEEDS, GAMMAS)
def test_tree_min_does_not_depend_on_the_order_of_leaves(
    tree: Tree, seed: int, gamma: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    leaves = [path[-1] for path in leaf_paths(tree)]
    order = torch.randperm(len(leaves), generator=generator)
    hierarchy = Hierarchy.from_tree(tree)
    shuffled = Hierarchy.from_tree(tree, labels=[leaves[index] for index in order])
    logits = random_logits(hierarchy, SIZE, generator)
    targets = forget_anywhere(random_targets(hierarchy, SIZE, generator), generator)
    # Class `order[new]` becomes class `new`; level 1 is the leaves' where it is the only one.
    moved_targets, rank = targets.clone(), order.argsort()
    moved_targets[:, -1] = torch.where(
        targets[:, -1] < 0, targets[:, -1], rank[targets[:, -1].clamp(min=0)]
    )
    moved = [*logits[:-1], logits[-1].detach()[:, order].requires_grad_()]
    terms, gradients = answer(tree_min(hierarchy, gamma), logits, targets)
    moved_terms, moved_gradients = answer(tree_min(shuffled, gamma), moved, moved_targets)
    assert_close(moved_terms, [term.numpy() for term in terms])
    gradients[-1] = gradients[-1][:, order]
    assert_close(moved_gradients, [gradient.numpy() for gradient in gradients])


def test_tree_min_refuses_a_negative_gamma() -> None:
    with pytest.raises(ValueError, match="gamma is -1"):
        tree_min(Hierarchy.from_tree(TREE), -1.0)


# Weighted cross-entropy.


def cross_entropy_by_hand(
    logits: Tensor, target: Tensor, weights: list[float]
) -> tuple[float, np.ndarray]:
    """Weighted mean over valid pixels, and its gradient, pixel by pixel in float64."""
    scores, gradient = logits.detach().double().numpy(), np.zeros(logits.shape)
    pixels = list(pixels_of(target))
    whole = sum(weights[true] for _, true in pixels) or 1.0
    total = 0.0
    for (b, y, x), true in pixels:
        exponentials = [math.exp(z) for z in scores[b, :, y, x]]
        shares = [value / sum(exponentials) for value in exponentials]
        total -= weights[true] * math.log(shares[true])
        for index, share in enumerate(shares):
            gradient[b, index, y, x] = weights[true] * (share - (index == true)) / whole
    return total / whole, gradient


@given(nested_trees(), SEEDS, st.booleans(), st.sampled_from([0.0, 0.3, 0.9]))
def test_weighted_ce_by_loops(tree: Tree, seed: int, weighted: bool, ignored: float) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    generator = torch.Generator().manual_seed(seed)
    logits = random_logits(hierarchy, SIZE, generator)
    targets = forget_anywhere(random_targets(hierarchy, SIZE, generator), generator, ignored)
    level_weights = (torch.rand(hierarchy.num_levels, generator=generator) * 2).tolist()
    tables = [torch.rand(n, generator=generator).tolist() for n in hierarchy.num_classes]
    loss = weighted_ce(
        hierarchy, level_weights=level_weights, class_weights=tables if weighted else None
    )
    terms, gradients = answer(loss, logits, targets)
    ones = [[1.0] * classes for classes in hierarchy.num_classes]
    for level, weight in enumerate(level_weights):
        value, gradient = cross_entropy_by_hand(
            logits[level], targets[:, level], (tables if weighted else ones)[level]
        )
        assert_close([terms[level], gradients[level]], [weight * value, weight * gradient])


def test_weighted_ce_is_torchs_cross_entropy() -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    generator = torch.Generator().manual_seed(0)
    logits = random_logits(hierarchy, (2, 5, 6), generator)
    targets = forget_anywhere(random_targets(hierarchy, (2, 5, 6), generator), generator)
    tables = [[0.5, 2.0, 1.0], [1.0, 3.0, 0.2, 1.0], [0.0, 1.0, 2.0, 3.0, 4.0]]
    for class_weights in (None, tables):
        loss = weighted_ce(hierarchy, level_weights=[0.1, 0.4, 1.0], class_weights=class_weights)
        terms = loss(Prediction(tuple(logits)), targets)
        assert list(terms) == ["ce_level1", "ce_level2", "ce_level3"]
        for level, weight in enumerate([0.1, 0.4, 1.0]):
            table = None if class_weights is None else torch.tensor(class_weights[level])
            expected = F.cross_entropy(logits[level], targets[:, level], table)
            assert terms[f"ce_level{level + 1}"].item() == pytest.approx(weight * expected.item())


def test_median_frequency_by_hand() -> None:
    # 100, 40, 20 and no pixels: the median of those that occur is 40, the weights .4, 1, 2, 0.
    # 90 and 10 pixels: the median is 50, the weights 5/9 and 5.
    assert median_frequency(torch.tensor([100.0, 40, 20, 0])).tolist() == pytest.approx(
        [0.4, 1, 2, 0]
    )
    assert median_frequency(torch.tensor([90.0, 10])).tolist() == pytest.approx([5 / 9, 5])
    assert median_frequency(torch.zeros(3)).tolist() == [0, 0, 0]
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": ["c", "d"]})
    pixels = [[90.0, 10.0], [100.0, 40.0, 20.0, 0.0]]
    by_frequency = weighted_ce(
        hierarchy,
        class_pixels=[torch.tensor(level, dtype=torch.float64) for level in pixels],
        class_weights="median_frequency",
    )
    by_hand = weighted_ce(hierarchy, class_weights=[[5 / 9, 5.0], [0.4, 1.0, 2.0, 0.0]])
    generator = torch.Generator().manual_seed(0)
    logits = random_logits(hierarchy, (2, 4, 4), generator)
    targets = random_targets(hierarchy, (2, 4, 4), generator)
    terms, gradients = answer(by_frequency, logits, targets)
    expected, slopes = answer(by_hand, logits, targets)
    assert_close(terms, [term.numpy() for term in expected])
    assert_close(gradients, [slope.numpy() for slope in slopes])


def test_only_classes_of_weight_zero_give_zero() -> None:
    hierarchy = Hierarchy.from_tree(["a", "b"])
    logits = [torch.randn(1, 2, 1, 2).requires_grad_()]
    loss = weighted_ce(hierarchy, class_weights=[[0.0, 1.0]])
    terms, gradients = answer(loss, logits, torch.zeros(1, 1, 1, 2, dtype=torch.int64))
    assert terms[0] == 0
    assert gradients[0].eq(0).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"level_weights": [1.0]}, "level_weights has 1 weights"),
        ({"level_weights": []}, "level_weights has 0 weights"),
        ({"class_weights": []}, "class_weights has"),
        ({"class_weights": [[1.0, 1.0], [1.0, -2.0, 1.0]]}, "class_weights has -2.0"),
        ({"class_weights": [[1.0, math.nan], [1.0] * 3]}, "class_weights has nan"),
        ({"class_weights": [[1.0, 1.0]]}, "class_weights has"),
        ({"class_weights": [[1.0], [1.0, 1.0]]}, "class_weights has"),
        ({"class_weights": "median_frequency"}, "class_pixels"),
    ],
)
def test_weighted_ce_mistakes_are_one_sentence(settings: dict[str, Any], words: str) -> None:
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": None})
    with pytest.raises(ValueError, match=words) as caught:
        weighted_ce(hierarchy, **settings)
    assert "\n" not in str(caught.value)
