"""The shipped inference rules, against enumeration of paths and against each other."""

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
    hierarchy: Hierarchy, scores: list[Tensor], answer: Tensor
) -> Iterator[tuple[list[dict[str, float]], Path]]:
    """Per pixel: the score of each class on each level, and the names that are answered."""
    for b, y, x in product(*map(range, SIZE)):
        named = [
            dict(zip(names, level[b, :, y, x].tolist(), strict=True))
            for names, level in zip(hierarchy.level_names, scores, strict=True)
        ]
        indices = answer[b, :, y, x].tolist()
        names = zip(hierarchy.level_names, indices, strict=True)
        yield named, tuple(level[index] for level, index in names)


def test_all_rules_are_shipped() -> None:
    origins = registry.inference.origins()
    assert [name for name in sorted(origins) if origins[name].startswith("hieraseg (")] == RULES


@pytest.mark.parametrize("rule", COHERENT)
@given(tree=nested_trees(), seed=SEEDS, activation=ACTIVATIONS)
def test_every_answer_is_a_path(rule: str, tree: Tree, seed: int, activation: Activation) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    scores = seeded_scores(hierarchy, seed, activation)
    before = [level.clone() for level in scores]
    answer = make(rule, hierarchy)(scores)
    assert answer.dtype == torch.int64
    assert answer.shape == (SIZE[0], hierarchy.num_levels, *SIZE[1:])
    paths = leaf_paths(tree)
    assert all(chosen in paths for _, chosen in by_pixel(hierarchy, scores, answer))
    assert all(map(torch.equal, before, scores))


@given(nested_trees(), SEEDS, ACTIVATIONS)
def test_no_path_is_better_than_the_best(tree: Tree, seed: int, activation: Activation) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    scores = seeded_scores(hierarchy, seed, activation)
    answer = make("best_path", hierarchy)(scores)
    for named, chosen in by_pixel(hierarchy, scores, answer):
        totals = {
            path: math.fsum(level[name] for level, name in zip(named, path, strict=True))
            for path in leaf_paths(tree)
        }
        assert totals[chosen] >= max(totals.values()) - 1e-5


@given(nested_trees(), SEEDS, ACTIVATIONS)
def test_bottom_up_takes_the_surest_leaf(tree: Tree, seed: int, activation: Activation) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    scores = seeded_scores(hierarchy, seed, activation)
    answer = make("bottom_up", hierarchy)(scores)
    for named, chosen in by_pixel(hierarchy, scores, answer):
        assert named[-1][chosen[-1]] == max(named[-1].values())


def assert_top_down(named: list[dict[str, float]], chosen: Path, paths: list[Path]) -> None:
    """Each class is the best child of the one above it."""
    for level in range(len(chosen)):
        children = {path[level] for path in paths if path[:level] == chosen[:level]}
        best = max(named[level][child] for child in children)
        assert named[level][chosen[level]] >= best - 1e-6


@given(nested_trees(), SEEDS, ACTIVATIONS)
def test_top_down_takes_the_surest_child(tree: Tree, seed: int, activation: Activation) -> None:
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
def test_independent_takes_the_surest_class_of_each_level(tree: Tree, seed: int) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    scores = seeded_scores(hierarchy, seed)
    answer = make("independent", hierarchy)(scores)
    for named, chosen in by_pixel(hierarchy, scores, answer):
        for level, name in zip(named, chosen, strict=True):
            assert level[name] == max(level.values())


# Where the rules must agree.


@pytest.mark.parametrize("activation", ["leaf_softmax", "sibling_softmax"])
@given(tree=nested_trees(), seed=SEEDS)
def test_marginal_is_top_down_where_parents_are_sums(
    activation: Activation, tree: Tree, seed: int
) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    scores = seeded_scores(hierarchy, seed, activation)
    answers = [make(rule, hierarchy)(scores) for rule in ("marginal", "top_down")]
    assert torch.equal(*answers)


@given(nested_trees(), SEEDS)
def test_every_coherent_rule_follows_levels_that_agree(tree: Tree, seed: int) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    scores = seeded_scores(hierarchy, seed, "leaf_softmax")
    independent = make("independent", hierarchy)(scores)
    agree = torch.ones(SIZE, dtype=torch.bool)
    for level in range(1, hierarchy.num_levels):
        above = hierarchy.parents[level][independent[:, level]]
        agree &= above == independent[:, level - 1]
    for rule in COHERENT:
        answer = make(rule, hierarchy)(scores)
        assert ((answer == independent).all(1) | ~agree).all(), rule


@given(nested_trees(), SEEDS)
def test_all_rules_follow_a_leaf_of_more_than_a_half(tree: Tree, seed: int) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    generator = torch.Generator().manual_seed(seed)
    sure = torch.randint(hierarchy.num_classes[-1], SIZE, generator=generator)
    logits = torch.randn(SIZE[0], hierarchy.num_classes[-1], *SIZE[1:], generator=generator)
    logits.scatter_add_(1, sure[:, None], torch.full_like(logits, 20.0)[:, :1])
    scores = level_scores([logits], "leaf_softmax", hierarchy)
    for rule in RULES:
        assert torch.equal(make(rule, hierarchy)(scores), hierarchy.paths[sure].movedim(-1, 1))


@pytest.mark.parametrize("rule", RULES)
def test_one_level_has_one_answer(rule: str) -> None:
    hierarchy = Hierarchy.from_tree(["a", "b", "c"])
    scores = seeded_scores(hierarchy, 0)
    assert torch.equal(make(rule, hierarchy)(scores)[:, 0], scores[0].argmax(1))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("independent", ["x", "b"]),  # the surest of each level: no path
        ("best_path", ["y", "b"]),  # .45 + .5 > .55 + .2
        ("bottom_up", ["y", "b"]),
        ("top_down", ["x", "a"]),
        ("marginal", ["y", "b"]),  # a + d = .3 < b + c = .7
    ],
)
def test_rules_by_hand(rule: str, expected: list[str]) -> None:
    assert answer_by_hand(rule, [0.55, 0.45], [0.2, 0.1, 0.5, 0.2]) == expected


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
def test_rules_by_hand_where_the_surest_leaf_has_few_sisters(
    rule: str, expected: list[str]
) -> None:
    assert answer_by_hand(rule, [0.49, 0.51], [0.4, 0.05, 0.3, 0.25]) == expected


def answer_by_hand(rule: str, roots: list[float], leaves: list[float]) -> list[str]:
    """The answer to one pixel, of x with a and d, and y with b and c."""
    hierarchy = Hierarchy.from_tree({"x": ["a", "d"], "y": ["b", "c"]})
    scores = [torch.tensor(level).view(1, -1, 1, 1) for level in (roots, leaves)]
    indices = make(rule, hierarchy)(scores).flatten().tolist()
    return [names[index] for names, index in zip(hierarchy.level_names, indices, strict=True)]


# Size.


@pytest.mark.parametrize("activation", get_args(Activation))
def test_three_thousand_leaves_need_memory_in_proportion(activation: Activation) -> None:
    # One value of each pair of nodes at each pixel would take 200 GB.
    groups = {f"group{g}": [f"leaf{g}-{leaf}" for leaf in range(3)] for g in range(500)}
    groups["crowd"] = [f"member{leaf}" for leaf in range(1500)]
    hierarchy = Hierarchy.from_tree({"world": groups, "background": None})
    assert hierarchy.num_classes == [2, 502, 3001]
    generator = torch.Generator().manual_seed(0)
    logits = [level.detach() for level in random_logits(hierarchy, (1, 64, 64), generator)]
    scores = level_scores(logits, activation, hierarchy)
    for rule in COHERENT:
        answer = make(rule, hierarchy)(scores)
        for level in (1, 2):
            above = hierarchy.parents[level][answer[:, level]]
            assert torch.equal(above, answer[:, level - 1])
