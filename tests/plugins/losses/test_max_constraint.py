"""Max-constraint loss against its equation, per pixel and class in float64."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy
from hieraseg.testing.cases import forget_anywhere, forget_below, random_logits, random_targets
from hieraseg.testing.loss_cases import terms_and_gradients
from tests.support.losses import SIZE, assert_close, binary_cross_entropy, derive, make_loss
from tests.support.trees import SEEDS, Node, Tree, ancestors_of, descendants_of, nested_trees


@given(nested_trees(), SEEDS, st.booleans())
def test_published_equation(tree: Tree, seed: int, anywhere: bool) -> None:
    # y = 1 for the deepest known class and all its ancestors, including those on ignored levels.
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
        return binary_cross_entropy(
            [constrained((level, name)) for name in names], names.index(true)
        )

    terms, gradients = terms_and_gradients(make_loss("max_constraint", hierarchy), logits, targets)
    expected, slopes = derive(hierarchy, logits, targets, cost)
    assert_close(terms, expected)
    assert_close(gradients, slopes)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_by_hand() -> None:
    # r has children a and b, a has children c and d, and b is continued on level 3. True: c.
    hierarchy = Hierarchy.from_tree({"r": {"a": ["c", "d"], "b": None}})
    names = {0: ["r"], 1: ["a", "b"], 2: ["c", "d", "b"]}
    assert hierarchy.level_names == list(names.values())
    scores = [[0.3], [0.5, 0.2], [0.6, 0.9, 0.4]]
    logits = [torch.tensor([*map(logit, s)]).view(1, -1, 1, 1).requires_grad_() for s in scores]
    targets = torch.tensor([0, 0, 0]).view(1, 3, 1, 1)
    terms, gradients = terms_and_gradients(make_loss("max_constraint", hierarchy), logits, targets)
    # On the path, c has the maximum, .6; d scores .9, but is wrong, so it raises neither a nor r.
    # b gets the score .4 of its node on level 3.
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
    # Labelled a, child unknown: the path ends at a, and its descendants do not raise it.
    partial = torch.tensor([0, 0, IGNORE_INDEX]).view(1, 3, 1, 1)
    terms, gradients = terms_and_gradients(make_loss("max_constraint", hierarchy), logits, partial)
    assert_close(terms, [-math.log(0.5), -(math.log(0.5) + math.log(0.6)) / 2, 0])
    assert [(g != 0).flatten().tolist() for g in gradients] == [
        [False],
        [True, False],
        [False, False, True],
    ]
