"""Losses of class probabilities against their published equations, pixel by pixel in float64."""

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
from hieraseg.testing.cases import forget_anywhere, forget_below, random_logits, random_targets
from hieraseg.testing.loss_cases import answer
from tests.support.losses import assert_close, derive
from tests.support.trees import SEEDS, Node, Tree, ancestors_of, descendants_of, nested_trees

SIZE = (2, 1, 3)
TREE: Tree = {"background": None, "x": {"a": None, "b": None}, "y": {"c": {"d": None, "e": None}}}
IGNORED = st.sampled_from([0.0, 0.3, 0.9])


def build(name: str, hierarchy: Hierarchy, **settings: Any) -> Loss:
    return registry.losses.get(name)(hierarchy=hierarchy, **settings)


def draw(tree: Tree, seed: int, ignored: float) -> tuple[Hierarchy, list[Tensor], Tensor]:
    """A hierarchy with logits, and targets that are ignored anywhere."""
    hierarchy = Hierarchy.from_tree(tree)
    generator = torch.Generator().manual_seed(seed)
    logits = random_logits(hierarchy, SIZE, generator)
    targets = forget_anywhere(random_targets(hierarchy, SIZE, generator), generator, ignored)
    return hierarchy, logits, targets


def evaluate_leaves(loss: Loss, logits: list[Tensor], targets: Tensor) -> tuple[Any, Any]:
    """Terms and the leaf logits' gradient of a loss that reads no others."""
    terms, gradients = answer(loss, logits[-1:], targets)
    return terms, gradients[0]


def path_of(tree: Tree, node: Node) -> list[str]:
    """The names on the path from level 1 down to a node."""
    return [name for _, name in sorted(ancestors_of(tree)[node])]


def binary(scores: list[Tensor], true: int) -> Tensor:
    """Mean over classes of the binary cross-entropy of scores in 0..1."""
    costs = [
        -torch.log(p) if index == true else -torch.log(1 - p) for index, p in enumerate(scores)
    ]
    return torch.stack(costs).mean()


# Binary cross-entropy.


@given(nested_trees(), SEEDS, IGNORED)
def test_bce_by_loops(tree: Tree, seed: int, ignored: float) -> None:
    hierarchy, logits, targets = draw(tree, seed, ignored)
    weights = [0.5 + level for level in range(hierarchy.num_levels)]

    def cost(own: list[Tensor], level: int, true: str, _: list[int]) -> Tensor:
        index = hierarchy.level_names[level].index(true)
        return weights[level] * binary(list(own[level].sigmoid()), index)

    terms, gradients = answer(build("bce", hierarchy, level_weights=weights), logits, targets)
    expected, slopes = derive(hierarchy, logits, targets, cost)
    assert_close(terms, expected)
    assert_close(gradients, slopes)


@given(SEEDS, st.integers(1, 6))
def test_of_one_level_they_are_torchs_own(seed: int, classes: int) -> None:
    hierarchy = Hierarchy.from_tree([f"class{index}" for index in range(classes)])
    generator = torch.Generator().manual_seed(seed)
    logits = random_logits(hierarchy, SIZE, generator)
    targets = random_targets(hierarchy, SIZE, generator)
    cross_entropy = F.cross_entropy(logits[0], targets[:, 0])
    truth = F.one_hot(targets[:, 0], classes).movedim(-1, 1).float()
    binary_cross_entropy = F.binary_cross_entropy_with_logits(logits[0], truth)
    for name, settings, reference in [
        ("bce", {}, binary_cross_entropy),
        ("max_constraint", {}, binary_cross_entropy),
        ("level_consistency", {"gamma": 0.0}, binary_cross_entropy),
        ("marginal_ce", {}, cross_entropy),
        ("hxe", {"alpha": 0.0}, cross_entropy),
        ("hyperbolic", {}, cross_entropy),
    ]:
        terms, gradients = answer(build(name, hierarchy, **settings), logits, targets)
        assert_close(terms, [reference.item()])
        slope = torch.autograd.grad(reference, logits[0], retain_graph=True)[0]
        assert_close(gradients, [slope.numpy()])


# Marginal cross-entropy.


def leaf_scores(own: list[Tensor], tree: Tree, hierarchy: Hierarchy, node: Node) -> Tensor:
    """Sum of the softmax scores of a node's leaves."""
    scores = own[-1].exp() / own[-1].exp().sum()
    below = {name for level, name in descendants_of(tree)[node] if level == len(own) - 1}
    names = hierarchy.level_names[-1]
    return sum((p for p, name in zip(scores, names, strict=True) if name in below), 0 * own[-1][0])


@given(nested_trees(), SEEDS, IGNORED)
def test_marginal_ce_is_the_published_equation(tree: Tree, seed: int, ignored: float) -> None:
    hierarchy, logits, targets = draw(tree, seed, ignored)
    weights = [0.5 + level for level in range(hierarchy.num_levels)]

    def cost(own: list[Tensor], level: int, true: str, _: list[int]) -> Tensor:
        return -weights[level] * leaf_scores(own, tree, hierarchy, (level, true)).log()

    expected, slopes = derive(hierarchy, logits, targets, cost)
    loss = build("marginal_ce", hierarchy, level_weights=weights)
    terms, gradient = evaluate_leaves(loss, logits, targets)
    assert_close(terms, expected)
    assert_close([gradient], slopes[-1:])


def test_marginal_ce_of_the_last_level_alone_is_the_flat_control() -> None:
    hierarchy, logits, targets = draw(TREE, 0, 0.3)
    loss = build("marginal_ce", hierarchy, level_weights=[0.0, 0.0, 1.0])
    terms, gradient = evaluate_leaves(loss, logits, targets)
    flat = F.cross_entropy(logits[-1], targets[:, -1])
    assert_close(terms, [0, 0, flat.item()])
    assert_close([gradient], [torch.autograd.grad(flat, logits[-1])[0].numpy()])


def test_a_label_of_an_inner_node_leaves_open_which_leaf_it_is() -> None:
    # The pixel is y: its leaves d and e both gain, by their share, as all others lose.
    hierarchy = Hierarchy.from_tree(TREE)
    y = hierarchy.level_names[0].index("y")
    targets = torch.tensor([y, IGNORE_INDEX, IGNORE_INDEX]).view(1, 3, 1, 1)
    leaves = torch.zeros(1, 5, 1, 1, requires_grad=True)
    for name, share in (("marginal_ce", 1.0), ("hxe", math.exp(-0.1))):
        terms, gradient = evaluate_leaves(build(name, hierarchy), [leaves], targets)
        assert_close(terms, [share * math.log(5 / 2), 0, 0])
        # p - p / (p of y), and p: p is 1/5 everywhere.
        signs = [-0.3 if leaf in "de" else 0.2 for leaf in hierarchy.level_names[-1]]
        assert gradient.flatten().tolist() == pytest.approx([share * sign for sign in signs])


@pytest.mark.parametrize("name", ["marginal_ce", "hxe"])
def test_a_parent_far_below_the_others_does_not_underflow(name: str) -> None:
    # exp(-200) is 0 in float32, and its log -inf; the cost is 200 - log 2, the leaves' shares 1/2.
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": ["c"]})
    leaves = torch.tensor([-200.0, -200.0, 0.0]).view(1, 3, 1, 1).requires_grad_()
    targets = torch.tensor([0, IGNORE_INDEX]).view(1, 2, 1, 1)
    loss = build(name, hierarchy)
    terms, gradient = evaluate_leaves(loss, [leaves], targets)
    share = math.exp(-0.1) if name == "hxe" else 1.0
    assert terms[0].item() == pytest.approx(share * (200 - math.log(2)))
    assert gradient.flatten().tolist() == pytest.approx([-share / 2, -share / 2, share], rel=1e-5)


# Hierarchical cross-entropy.


@given(nested_trees(), SEEDS, IGNORED, st.sampled_from([0.0, 0.1, 0.9]))
def test_hxe_is_the_published_equation(tree: Tree, seed: int, ignored: float, alpha: float) -> None:
    hierarchy, logits, targets = draw(tree, seed, ignored)

    def cost(own: list[Tensor], level: int, true: str, _: list[int]) -> Tensor:
        child = leaf_scores(own, tree, hierarchy, (level, true))
        parent = torch.ones(())
        if level > 0:
            above = path_of(tree, (level, true))[-2]
            parent = leaf_scores(own, tree, hierarchy, (level - 1, above))
        depth = level + 1  # edges from the root above level 1
        return -math.exp(-alpha * depth) * torch.log(child / parent)

    expected, slopes = derive(hierarchy, logits, targets, cost)
    terms, gradient = evaluate_leaves(build("hxe", hierarchy, alpha=alpha), logits, targets)
    assert_close(terms, expected)
    assert_close([gradient], slopes[-1:])


@given(nested_trees(), SEEDS)
def test_hxe_with_alpha_0_is_the_cross_entropy_of_leaves(tree: Tree, seed: int) -> None:
    hierarchy, logits, targets = draw(tree, seed, 0.0)
    terms, gradient = evaluate_leaves(build("hxe", hierarchy, alpha=0.0), logits, targets)
    reference = F.cross_entropy(logits[-1], targets[:, -1])
    assert_close([torch.stack(terms).sum()], [reference.item()])
    assert_close([gradient], [torch.autograd.grad(reference, logits[-1])[0].numpy()])


def test_hxe_by_hand() -> None:
    # Leaves d, e under c under y, all five leaves alike: y is 2/5, c is all of y, d half of c.
    hierarchy = Hierarchy.from_tree(TREE)
    leaves = torch.zeros(1, 5, 1, 1, requires_grad=True)
    d = hierarchy.level_names[-1].index("d")
    terms, _ = evaluate_leaves(
        build("hxe", hierarchy, alpha=0.5), [leaves], hierarchy.paths[d].view(1, 3, 1, 1)
    )
    assert_close(terms, [math.exp(-0.5) * math.log(5 / 2), 0, math.exp(-1.5) * math.log(2)])


# Soft labels.


def soft_label(tree: Tree, hierarchy: Hierarchy, true: str, beta: float) -> list[float]:
    """The label of each leaf, from the level of the lowest common ancestor in the nested tree."""
    leaves, last = hierarchy.level_names[-1], hierarchy.num_levels - 1
    ancestors = ancestors_of(tree)

    def height(one: str, other: str) -> int:
        return last + 1 - len(ancestors[last, one] & ancestors[last, other])

    highest = max(height(one, other) for one in leaves for other in leaves) or 1
    weights = [math.exp(-beta * height(true, leaf) / highest) for leaf in leaves]
    return [weight / sum(weights) for weight in weights]


@given(nested_trees(), SEEDS, IGNORED, st.sampled_from([0.5, 4.0, 30.0]))
def test_soft_labels_are_the_published_equation(
    tree: Tree, seed: int, ignored: float, beta: float
) -> None:
    hierarchy, logits, targets = draw(tree, seed, ignored)

    def cost(own: list[Tensor], level: int, true: str, _: list[int]) -> Tensor:
        if level < hierarchy.num_levels - 1:
            return 0 * own[level].sum()
        scores = own[-1].exp() / own[-1].exp().sum()
        label = torch.tensor(soft_label(tree, hierarchy, true, beta), dtype=torch.float64)
        return -(label * scores.log()).sum()

    expected, slopes = derive(hierarchy, logits, targets, cost)
    loss = build("soft_labels", hierarchy, beta=beta)
    terms, gradient = evaluate_leaves(loss, logits, targets)
    assert_close(terms, expected[-1:])
    assert_close([gradient], slopes[-1:])


def test_a_soft_label_by_hand() -> None:
    # From d: e shares y and c, height 1; all others meet d in the root, height 3, the most.
    hierarchy = Hierarchy.from_tree(TREE)
    near, far = math.exp(-3.0), math.exp(-9.0)
    whole = 1 + near + 3 * far
    by_hand = {"d": 1 / whole, "e": near / whole} | dict.fromkeys("ab", far / whole)
    targets = hierarchy.paths[hierarchy.level_names[-1].index("d")].view(1, 3, 1, 1)
    leaves = torch.zeros(1, 5, 1, 1, requires_grad=True)
    _, gradient = evaluate_leaves(build("soft_labels", hierarchy, beta=9.0), [leaves], targets)
    found = dict(zip(hierarchy.level_names[-1], (1 / 5 - gradient).flatten().tolist(), strict=True))
    assert found == pytest.approx(by_hand | {"background": far / whole}, abs=1e-6)


@given(nested_trees(), SEEDS)
def test_soft_labels_of_a_great_beta_are_hard(tree: Tree, seed: int) -> None:
    hierarchy, logits, targets = draw(tree, seed, 0.0)
    terms, _ = evaluate_leaves(build("soft_labels", hierarchy, beta=200.0), logits, targets)
    assert_close(terms, [F.cross_entropy(logits[-1], targets[:, -1]).item()])


def test_a_pixel_without_a_leaf_trains_no_soft_label() -> None:
    hierarchy, logits, targets = draw(TREE, 3, 0.0)
    some = targets.clone()
    some[0, -1] = IGNORE_INDEX
    terms, gradient = evaluate_leaves(build("soft_labels", hierarchy), logits, some)
    expected, slope = evaluate_leaves(
        build("soft_labels", hierarchy), [logits[-1][1:].detach().requires_grad_()], targets[1:]
    )
    assert_close(terms, [expected[0].numpy()])
    assert gradient[0].eq(0).all()
    assert_close([gradient[1:]], [slope.numpy()])


# Max constraint.


@given(nested_trees(), SEEDS, st.booleans())
def test_max_constraint_is_the_published_equation(tree: Tree, seed: int, anywhere: bool) -> None:
    # y = 1 from the known node that lies deepest up to level 1, on levels that have no term too.
    hierarchy = Hierarchy.from_tree(tree)
    generator = torch.Generator().manual_seed(seed)
    logits = random_logits(hierarchy, SIZE, generator)
    targets = random_targets(hierarchy, SIZE, generator)
    targets = (forget_anywhere if anywhere else forget_below)(targets, generator)
    descendants, ancestors = descendants_of(tree), ancestors_of(tree)

    def cost(own: list[Tensor], level: int, true: str, labels: list[int]) -> Tensor:
        h = {
            (depth, name): own[depth][index].sigmoid()
            for depth, names in enumerate(hierarchy.level_names)
            for index, name in enumerate(names)
        }
        deepest = max(depth for depth, label in enumerate(labels) if label != IGNORE_INDEX)
        y = ancestors[deepest, hierarchy.level_names[deepest][labels[deepest]]]

        def constrained(node: Node) -> Tensor:
            if node in y:
                return torch.stack([h[u] * (u in y) for u in descendants[node]]).max()
            return torch.stack([h[u] for u in descendants[node]]).max()

        names = hierarchy.level_names[level]
        return binary([constrained((level, name)) for name in names], names.index(true))

    terms, gradients = answer(build("max_constraint", hierarchy), logits, targets)
    expected, slopes = derive(hierarchy, logits, targets, cost)
    assert_close(terms, expected)
    assert_close(gradients, slopes)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_max_constraint_by_hand() -> None:
    # r has the children a and b; a's are c and d; the leaf b goes on to level 3. True: c.
    hierarchy = Hierarchy.from_tree({"r": {"a": ["c", "d"], "b": None}})
    names = {0: ["r"], 1: ["a", "b"], 2: ["c", "d", "b"]}
    assert hierarchy.level_names == list(names.values())
    scores = [[0.3], [0.5, 0.2], [0.6, 0.9, 0.4]]
    logits = [torch.tensor([*map(logit, s)]).view(1, -1, 1, 1).requires_grad_() for s in scores]
    targets = torch.tensor([0, 0, 0]).view(1, 3, 1, 1)
    terms, gradients = answer(build("max_constraint", hierarchy), logits, targets)
    # On the path c is the surest, at .6; d, at .9, is wrong and raises neither a nor r.
    # b takes .4 from its node on level 3.
    assert_close(
        terms,
        [
            -math.log(0.6),
            -(math.log(0.6) + math.log(0.6)) / 2,
            -(math.log(0.6) + math.log(0.1) + math.log(0.6)) / 3,
        ],
    )
    assert [(g != 0).flatten().tolist() for g in gradients] == [
        [False],
        [False, False],
        [True, True, True],
    ]
    # Labelled a, child unknown: the path ends at a, and what is below it raises nothing.
    partial = torch.tensor([0, 0, IGNORE_INDEX]).view(1, 3, 1, 1)
    terms, gradients = answer(build("max_constraint", hierarchy), logits, partial)
    assert_close(terms, [-math.log(0.5), -(math.log(0.5) + math.log(0.6)) / 2, 0])
    assert [(g != 0).flatten().tolist() for g in gradients] == [
        [False],
        [True, False],
        [False, False, True],
    ]


# Level consistency.


@given(nested_trees(), SEEDS, IGNORED, st.sampled_from([0.0, 0.5, 2.0]))
def test_level_consistency_by_loops(tree: Tree, seed: int, ignored: float, gamma: float) -> None:
    hierarchy, logits, targets = draw(tree, seed, ignored)
    weights = [0.5 + level for level in range(hierarchy.num_levels)]
    descendants = descendants_of(tree)

    def focal(own: list[Tensor], level: int, true: str, _: list[int]) -> Tensor:
        costs = []
        for p, name in zip(own[level].sigmoid(), hierarchy.level_names[level], strict=True):
            right = p if name == true else 1 - p
            costs.append(-((1 - right) ** gamma) * right.log())
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

    loss = build(
        "level_consistency",
        hierarchy,
        gamma=gamma,
        level_weights=weights,
        consistency_weight=3.0,
    )
    terms = {k: v.detach() for k, v in loss(Prediction(tuple(logits)), targets).items()}
    _, gradients = answer(loss, logits, targets)
    focal_terms, focal_slopes = derive(hierarchy, logits, targets, focal)
    gap_terms, gap_slopes = derive(hierarchy, logits, targets, gap)
    levels = range(1, hierarchy.num_levels + 1)
    assert_close([terms.pop(f"focal_level{level}") for level in levels], focal_terms)
    assert_close([terms.pop(f"consistency_level{level}") for level in levels[1:]], gap_terms[1:])
    assert not terms
    assert_close(gradients, list(map(np.add, focal_slopes, gap_slopes)))


# Mistakes.


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("bce", {"level_weights": [1.0]}, "level_weights has 1 weights"),
        ("marginal_ce", {"level_weights": []}, "level_weights has 0 weights"),
        ("level_consistency", {"level_weights": [1.0] * 4}, "level_weights has 4 weights"),
        ("marginal_ce", {"level_weights": [-1.0, 0.0, 1.0]}, "level_weights has -1.0"),
        ("marginal_ce", {"level_weights": [math.nan, 0.0, 1.0]}, "level_weights has nan"),
        ("level_consistency", {"gamma": -1.0}, "gamma is -1"),
        ("level_consistency", {"consistency_weight": math.inf}, "consistency_weight is inf"),
        ("hxe", {"alpha": -0.1}, "alpha is -0.1"),
        ("hxe", {"alpha": math.nan}, "alpha is nan"),
        ("soft_labels", {"beta": 0.0}, "beta is 0"),
        ("soft_labels", {"beta": math.inf}, "beta is inf"),
    ],
)
def test_mistakes_are_one_sentence(name: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        build(name, Hierarchy.from_tree(TREE), **settings)
    assert "\n" not in str(caught.value)
