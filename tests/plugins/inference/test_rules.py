"""The shipped inference rules, compared with enumerated paths and with each other."""

import math
from collections.abc import Iterator
from itertools import product
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hieraseg import Hierarchy, registry
from hieraseg.contracts import Activation, InferenceRule, has_argument
from hieraseg.inference.scores import level_scores
from hieraseg.testing.cases import random_logits
from tests.support.trees import SEEDS, Tree, leaf_paths, nested_trees

RULES = ["best_path", "bottom_up", "independent", "marginal", "top_down"]
COHERENT = [rule for rule in RULES if rule != "independent"]
SIZE = (2, 2, 3)
ACTIVATIONS = st.sampled_from(get_args(Activation))
Path = tuple[str, ...]


def make(rule: str, hierarchy: Hierarchy) -> InferenceRule:
    factory = registry.inference.get(rule)
    return factory(hierarchy=hierarchy) if has_argument(factory, "hierarchy") else factory()


def seeded_scores(
    hierarchy: Hierarchy, seed: int, activation: Activation = "sigmoid"
) -> list[Tensor]:
    logits = random_logits(hierarchy, SIZE, torch.Generator().manual_seed(seed))
    return level_scores([level.detach() for level in logits], activation, hierarchy)


def by_pixel(
    hierarchy: Hierarchy, scores: list[Tensor], predicted: Tensor
) -> Iterator[tuple[list[dict[str, float]], Path]]:
    """Scores by class name on each level, and predicted names, of each pixel."""
    for b, y, x in product(*map(range, SIZE)):
        named = [
            dict(zip(names, level[b, :, y, x].tolist(), strict=True))
            for names, level in zip(hierarchy.level_names, scores, strict=True)
        ]
        indices = predicted[b, :, y, x].tolist()
        names = zip(hierarchy.level_names, indices, strict=True)
        yield named, tuple(level[index] for level, index in names)


def test_all_rules_are_shipped() -> None:
    origins = registry.inference.origins()
    assert [name for name in sorted(origins) if origins[name].startswith("hieraseg (")] == RULES


@pytest.mark.parametrize("rule", COHERENT)
@given(tree=nested_trees(), seed=SEEDS, activation=ACTIVATIONS)
def test_predictions_are_paths(rule: str, tree: Tree, seed: int, activation: Activation) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    scores = seeded_scores(hierarchy, seed, activation)
    before = [level.clone() for level in scores]
    predicted = make(rule, hierarchy)(scores)
    assert predicted.dtype == torch.int64
    assert predicted.shape == (SIZE[0], hierarchy.num_levels, *SIZE[1:])
    paths = leaf_paths(tree)
    assert all(chosen in paths for _, chosen in by_pixel(hierarchy, scores, predicted))
    assert all(map(torch.equal, before, scores))


@given(nested_trees(), SEEDS, ACTIVATIONS)
def test_best_path_has_the_highest_sum(tree: Tree, seed: int, activation: Activation) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    scores = seeded_scores(hierarchy, seed, activation)
    predicted = make("best_path", hierarchy)(scores)
    for named, chosen in by_pixel(hierarchy, scores, predicted):
        totals = {
            path: math.fsum(level[name] for level, name in zip(named, path, strict=True))
            for path in leaf_paths(tree)
        }
        assert totals[chosen] >= max(totals.values()) - 1e-5


@given(nested_trees(), SEEDS, ACTIVATIONS)
def test_bottom_up_takes_the_best_leaf(tree: Tree, seed: int, activation: Activation) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    scores = seeded_scores(hierarchy, seed, activation)
    predicted = make("bottom_up", hierarchy)(scores)
    for named, chosen in by_pixel(hierarchy, scores, predicted):
        assert named[-1][chosen[-1]] == max(named[-1].values())


def assert_top_down(named: list[dict[str, float]], chosen: Path, paths: list[Path]) -> None:
    """Assert that each class is the best child of the class above it."""
    for level in range(len(chosen)):
        children = {path[level] for path in paths if path[:level] == chosen[:level]}
        best = max(named[level][child] for child in children)
        assert named[level][chosen[level]] >= best - 1e-6


@given(nested_trees(), SEEDS, ACTIVATIONS)
def test_top_down_takes_the_best_child(tree: Tree, seed: int, activation: Activation) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    scores = seeded_scores(hierarchy, seed, activation)
    for named, chosen in by_pixel(hierarchy, scores, make("top_down", hierarchy)(scores)):
        assert_top_down(named, chosen, leaf_paths(tree))


@given(nested_trees(), SEEDS, ACTIVATIONS)
def test_marginal_takes_the_child_with_the_highest_sum_of_leaves(
    tree: Tree, seed: int, activation: Activation
) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    scores = seeded_scores(hierarchy, seed, activation)
    paths = leaf_paths(tree)
    for named, chosen in by_pixel(hierarchy, scores, make("marginal", hierarchy)(scores)):
        sums = [
            {
                name: math.fsum(named[-1][path[-1]] for path in paths if path[level] == name)
                for name in names
            }
            for level, names in enumerate(hierarchy.level_names)
        ]
        assert_top_down(sums, chosen, paths)


@given(nested_trees(), SEEDS)
def test_independent_takes_the_best_class_of_each_level(tree: Tree, seed: int) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    scores = seeded_scores(hierarchy, seed)
    predicted = make("independent", hierarchy)(scores)
    for named, chosen in by_pixel(hierarchy, scores, predicted):
        for level, name in zip(named, chosen, strict=True):
            assert level[name] == max(level.values())


# Cases in which rules must agree.


@pytest.mark.parametrize("activation", ["leaf_softmax", "sibling_softmax"])
@given(tree=nested_trees(), seed=SEEDS)
def test_marginal_equals_top_down_if_parents_are_sums(
    activation: Activation, tree: Tree, seed: int
) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    scores = seeded_scores(hierarchy, seed, activation)
    predictions = [make(rule, hierarchy)(scores) for rule in ("marginal", "top_down")]
    assert torch.equal(*predictions)


@given(nested_trees(), SEEDS)
def test_coherent_rules_agree_if_independent_predicts_a_path(tree: Tree, seed: int) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    scores = seeded_scores(hierarchy, seed, "leaf_softmax")
    independent = make("independent", hierarchy)(scores)
    agree = torch.ones(SIZE, dtype=torch.bool)
    for level in range(1, hierarchy.num_levels):
        above = hierarchy.parents[level][independent[:, level]]
        agree &= above == independent[:, level - 1]
    for rule in COHERENT:
        predicted = make(rule, hierarchy)(scores)
        assert ((predicted == independent).all(1) | ~agree).all(), rule


@given(nested_trees(), SEEDS)
def test_all_rules_agree_on_a_leaf_with_a_score_above_a_half(tree: Tree, seed: int) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    generator = torch.Generator().manual_seed(seed)
    sure = torch.randint(hierarchy.num_classes[-1], SIZE, generator=generator)
    logits = torch.randn(SIZE[0], hierarchy.num_classes[-1], *SIZE[1:], generator=generator)
    logits.scatter_add_(1, sure[:, None], torch.full_like(logits, 20.0)[:, :1])
    scores = level_scores([logits], "leaf_softmax", hierarchy)
    for rule in RULES:
        assert torch.equal(make(rule, hierarchy)(scores), hierarchy.paths[sure].movedim(-1, 1))


@pytest.mark.parametrize("rule", RULES)
def test_rules_agree_on_a_tree_of_one_level(rule: str) -> None:
    hierarchy = Hierarchy.from_tree(["a", "b", "c"])
    scores = seeded_scores(hierarchy, 0)
    assert torch.equal(make(rule, hierarchy)(scores)[:, 0], scores[0].argmax(1))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("independent", ["x", "b"]),  # not a path
        ("best_path", ["y", "b"]),  # .45 + .5 > .55 + .2
        ("bottom_up", ["y", "b"]),
        ("top_down", ["x", "a"]),
        ("marginal", ["y", "b"]),  # a + d = .3 < b + c = .7
    ],
)
def test_rules_by_hand(rule: str, expected: list[str]) -> None:
    assert predict_pixel(rule, [0.55, 0.45], [0.2, 0.1, 0.5, 0.2]) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("independent", ["y", "a"]),
        ("best_path", ["x", "a"]),  # .49 + .4 > .51 + .3
        ("bottom_up", ["x", "a"]),
        ("top_down", ["y", "b"]),
        ("marginal", ["y", "b"]),  # a + d = .45 < b + c = .55
    ],
)
def test_rules_by_hand_if_the_best_leaf_has_weak_siblings(rule: str, expected: list[str]) -> None:
    assert predict_pixel(rule, [0.49, 0.51], [0.4, 0.05, 0.3, 0.25]) == expected


def predict_pixel(rule: str, roots: list[float], leaves: list[float]) -> list[str]:
    """Prediction of one pixel, on a tree of x with leaves a and d, and y with leaves b and c."""
    hierarchy = Hierarchy.from_tree({"x": ["a", "d"], "y": ["b", "c"]})
    scores = [torch.tensor(level).view(1, -1, 1, 1) for level in (roots, leaves)]
    indices = make(rule, hierarchy)(scores).flatten().tolist()
    return [names[index] for names, index in zip(hierarchy.level_names, indices, strict=True)]


# Size.


@pytest.mark.parametrize("activation", get_args(Activation))
def test_memory_is_linear_in_the_number_of_leaves(activation: Activation) -> None:
    # One value per pair of nodes and pixel would take 200 GB.
    groups = {f"group{g}": [f"leaf{g}-{leaf}" for leaf in range(3)] for g in range(500)}
    groups["crowd"] = [f"member{leaf}" for leaf in range(1500)]
    hierarchy = Hierarchy.from_tree({"world": groups, "background": None})
    assert hierarchy.num_classes == [2, 502, 3001]
    generator = torch.Generator().manual_seed(0)
    logits = [level.detach() for level in random_logits(hierarchy, (1, 64, 64), generator)]
    scores = level_scores(logits, activation, hierarchy)
    for rule in COHERENT:
        predicted = make(rule, hierarchy)(scores)
        for level in (1, 2):
            above = hierarchy.parents[level][predicted[:, level]]
            assert torch.equal(above, predicted[:, level - 1])
