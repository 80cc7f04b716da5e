"""Scores from logits, against the definition of each activation for each class."""

import math
from itertools import product
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hieraseg import Hierarchy
from hieraseg.contracts import Activation
from hieraseg.inference.scores import level_scores
from hieraseg.testing.cases import random_logits
from tests.support.trees import (
    SEEDS,
    Tree,
    ancestors_of,
    cuda,
    descendants_of,
    leaf_paths,
    nested_trees,
)

TREE: Tree = {"background": None, "x": {"a": None, "b": None}}
SIZE = (2, 3, 4)


def seeded_logits(hierarchy: Hierarchy, seed: int) -> list[Tensor]:
    logits = random_logits(hierarchy, SIZE, torch.Generator().manual_seed(seed))
    return [level.detach() for level in logits]


def pixels() -> product:
    batch, height, width = SIZE
    return product(range(batch), range(height), range(width))


def test_softmax_and_sigmoid_scores_by_hand() -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    logits = seeded_logits(hierarchy, 0)
    softmax = level_scores(logits, "softmax", hierarchy)
    sigmoid = level_scores(logits, "sigmoid", hierarchy)
    for level, classes in enumerate(hierarchy.num_classes):
        for b, y, x in pixels():
            z = logits[level][b, :, y, x].tolist()
            total = sum(map(math.exp, z))
            for index in range(classes):
                by_softmax = math.exp(z[index]) / total
                by_sigmoid = 1 / (1 + math.exp(-z[index]))
                assert softmax[level][b, index, y, x].item() == pytest.approx(by_softmax, rel=1e-5)
                assert sigmoid[level][b, index, y, x].item() == pytest.approx(by_sigmoid, rel=1e-5)


@given(nested_trees(), SEEDS)
def test_leaf_softmax_sums_the_leaves_below_a_node(tree: Tree, seed: int) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    leaf_logits = seeded_logits(hierarchy, seed)[-1]
    scores = level_scores([leaf_logits], "leaf_softmax", hierarchy)
    names, descendants = hierarchy.level_names, descendants_of(tree)
    last = len(names) - 1
    leaves = leaf_logits.double().exp() / leaf_logits.double().exp().sum(1, keepdim=True)
    assert len(scores) == len(names)
    for level in range(len(names)):
        assert torch.allclose(scores[level].sum(1), torch.ones(()), atol=1e-5)
        for index, name in enumerate(names[level]):
            below = [names[last].index(leaf) for i, leaf in descendants[level, name] if i == last]
            expected = leaves[:, below].sum(1).float()
            assert torch.allclose(scores[level][:, index], expected, atol=1e-5)


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_scores_are_float32_in_0_to_1_at_any_logit(
    activation: Activation, dtype: torch.dtype
) -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    logits = [1e4 * level.sign().to(dtype) for level in seeded_logits(hierarchy, 1)]
    before = [level.clone() for level in logits]
    for scores, classes in zip(
        level_scores(logits, activation, hierarchy), hierarchy.num_classes, strict=True
    ):
        assert scores.dtype == torch.float32
        assert scores.shape == (SIZE[0], classes, *SIZE[1:])
        assert ((scores >= 0) & (scores <= 1 + 1e-6)).all()
    assert all(map(torch.equal, before, logits))


@given(nested_trees(), SEEDS)
def test_sibling_softmax_multiplies_along_the_path(tree: Tree, seed: int) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    logits = seeded_logits(hierarchy, seed)
    scores = level_scores(logits, "sibling_softmax", hierarchy)
    names, paths = hierarchy.level_names, leaf_paths(tree)
    for b, y, x in pixels():
        z = {
            (level, name): logits[level][b, index, y, x].item()
            for level, of_level in enumerate(names)
            for index, name in enumerate(of_level)
        }
        for path in paths:
            expected = 1.0
            for level, name in enumerate(path):
                siblings = {other[level] for other in paths if other[:level] == path[:level]}
                total = math.fsum(math.exp(z[level, one]) for one in siblings)
                expected *= math.exp(z[level, name]) / total
                found = scores[level][b, names[level].index(name), y, x].item()
                assert found == pytest.approx(expected, rel=1e-4, abs=1e-7)


@given(nested_trees(), SEEDS)
def test_sibling_softmax_scores_sum_to_the_score_of_the_parent(tree: Tree, seed: int) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    scores = level_scores(seeded_logits(hierarchy, seed), "sibling_softmax", hierarchy)
    assert torch.allclose(scores[0].sum(1), torch.ones(()), atol=1e-5)
    for level in range(1, hierarchy.num_levels):
        parents = hierarchy.parents[level]
        sums = torch.zeros_like(scores[level - 1]).index_add(1, parents, scores[level])
        assert torch.allclose(sums, scores[level - 1], atol=1e-5)
        only_children = (parents.bincount()[parents] == 1).nonzero()[:, 0]
        assert torch.equal(
            scores[level][:, only_children], scores[level - 1][:, parents[only_children]]
        )


@given(nested_trees(), SEEDS)
def test_descendant_max_is_the_maximum_over_a_class_and_its_descendants(
    tree: Tree, seed: int
) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    logits = seeded_logits(hierarchy, seed)
    scores = level_scores(logits, "descendant_max", hierarchy)
    names, descendants = hierarchy.level_names, descendants_of(tree)
    for level in range(len(names)):
        for index, name in enumerate(names[level]):
            below = [logits[i][:, names[i].index(one)] for i, one in descendants[level, name]]
            expected = torch.stack(below).double().sigmoid().amax(0).float()
            assert torch.allclose(scores[level][:, index], expected, atol=1e-6)


@given(nested_trees(), SEEDS, st.sampled_from(get_args(Activation)))
def test_logits_of_leaves_only_give_scores_of_all_levels(
    tree: Tree, seed: int, activation: Activation
) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    leaf_logits = seeded_logits(hierarchy, seed)[-1]
    scores = level_scores([leaf_logits], activation, hierarchy)
    summed = "softmax" in activation
    leaves = leaf_logits.softmax(1) if summed else leaf_logits.sigmoid()
    names, paths = hierarchy.level_names, leaf_paths(tree)
    assert [level.shape[1] for level in scores] == hierarchy.num_classes
    for level in range(len(names)):
        for index, name in enumerate(names[level]):
            below = [names[-1].index(path[-1]) for path in paths if path[level] == name]
            expected = leaves[:, below].sum(1) if summed else leaves[:, below].amax(1)
            assert torch.allclose(scores[level][:, index], expected, atol=1e-5)


def test_ancestors_never_score_below_their_leaves_with_leaf_softmax() -> None:
    hierarchy = Hierarchy.from_tree(TREE)
    scores = level_scores(seeded_logits(hierarchy, 3), "leaf_softmax", hierarchy)
    for (level, name), above in ancestors_of(TREE).items():
        own = scores[level][:, hierarchy.level_names[level].index(name)]
        for other_level, other in above:
            index = hierarchy.level_names[other_level].index(other)
            assert (scores[other_level][:, index] >= own - 1e-6).all()


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("device", [pytest.param("cuda", marks=cuda)])
def test_scores_on_cuda_equal_those_on_the_cpu(device: str, activation: Activation) -> None:
    hierarchy = Hierarchy.from_tree({"background": None, "x": {"a": None, "y": ["b", "c"]}})
    logits = seeded_logits(hierarchy, 4)
    cpu = level_scores(logits, activation, hierarchy)
    gpu = level_scores([level.to(device) for level in logits], activation, hierarchy)
    for one, other in zip(cpu, gpu, strict=True):
        assert torch.allclose(one, other.cpu(), atol=1e-6)
