"""Logits to scores to classes, against sums by hand and against every path."""

import math
from itertools import product
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from hieraseg import Hierarchy, Prediction, registry
from hieraseg.contracts import Activation
from hieraseg.inference import Segmenter, level_scores
from trees import (
    SEEDS,
    Tree,
    ancestors_of,
    cuda,
    descendants_of,
    leaf_paths,
    nested_trees,
    random_logits,
)

TREE: Tree = {"background": {}, "x": {"a": {}, "b": {}}}
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
                share = math.exp(z[index]) / total
                chance = 1 / (1 + math.exp(-z[index]))
                assert softmax[level][b, index, y, x].item() == pytest.approx(share, rel=1e-5)
                assert sigmoid[level][b, index, y, x].item() == pytest.approx(chance, rel=1e-5)


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
def test_scores_are_float32_shares_at_any_logit(activation: Activation, dtype: torch.dtype) -> None:
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


@given(nested_trees(), SEEDS, st.sampled_from(get_args(Activation)))
def test_best_path_is_a_path_and_none_is_better(
    tree: Tree, seed: int, activation: Activation
) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    scores = level_scores(seeded_logits(hierarchy, seed), activation, hierarchy)
    answer = registry.inference.get("best_path")(hierarchy=hierarchy)(scores)
    assert answer.dtype == torch.int64
    names, paths = hierarchy.level_names, leaf_paths(tree)
    for b, y, x in pixels():
        totals = {
            path: math.fsum(
                scores[level][b, names[level].index(name), y, x].item()
                for level, name in enumerate(path)
            )
            for path in paths
        }
        chosen = tuple(names[i][k] for i, k in enumerate(answer[b, :, y, x].tolist()))
        assert chosen in totals
        assert totals[chosen] >= max(totals.values()) - 1e-5


def test_best_path_by_hand_beats_the_best_leaf() -> None:
    # Leaf a is the surest leaf, but its root is unlikely: .1 + .8 < .9 + .3.
    hierarchy = Hierarchy.from_tree({"x": ["a"], "y": ["b", "c"]})
    roots = torch.tensor([0.1, 0.9]).view(1, 2, 1, 1)
    leaves = torch.tensor([0.8, 0.3, 0.2]).view(1, 3, 1, 1)
    best_path = registry.inference.get("best_path")(hierarchy=hierarchy)
    assert best_path([roots, leaves]).flatten().tolist() == [1, 1]
    independent = registry.inference.get("independent")()
    assert independent([roots, leaves]).flatten().tolist() == [1, 0]


@given(nested_trees(), SEEDS)
def test_independent_is_each_levels_maximum(tree: Tree, seed: int) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    scores = level_scores(seeded_logits(hierarchy, seed), "sigmoid", hierarchy)
    answer = registry.inference.get("independent")()(scores)
    assert answer.shape == (SIZE[0], hierarchy.num_levels, *SIZE[1:])
    for level, values in enumerate(scores):
        for b, y, x in pixels():
            own = values[b, :, y, x].tolist()
            assert own[answer[b, level, y, x]] == max(own)


@pytest.mark.parametrize("rule", ["best_path", "independent"])
def test_every_rule_works_with_leaves_only(rule: str) -> None:
    hierarchy = Hierarchy.from_tree({"background": {}, "x": {"a": {}, "y": ["b", "c"]}})
    factory = registry.inference.get(rule)
    chosen = factory(hierarchy=hierarchy) if rule == "best_path" else factory()
    segmenter = Segmenter(nn.Identity(), "leaf_softmax", chosen, hierarchy)
    leaf_logits = seeded_logits(hierarchy, 2)[-1]
    classes = segmenter.classes(Prediction((leaf_logits,)))
    assert classes.shape == (SIZE[0], 3, *SIZE[1:])
    if rule == "independent":
        assert torch.equal(classes[:, -1], leaf_logits.argmax(1))
    else:
        assert set(map(tuple, classes.movedim(1, -1).reshape(-1, 3).tolist())) <= set(
            map(tuple, hierarchy.paths.tolist())
        )


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
def test_scores_and_paths_on_cuda_equal_those_on_the_cpu(
    device: str, activation: Activation
) -> None:
    hierarchy = Hierarchy.from_tree({"background": {}, "x": {"a": {}, "y": ["b", "c"]}})
    rule = registry.inference.get("best_path")(hierarchy=hierarchy)
    logits = seeded_logits(hierarchy, 4)
    cpu = level_scores(logits, activation, hierarchy)
    gpu = level_scores([level.to(device) for level in logits], activation, hierarchy)
    for one, other in zip(cpu, gpu, strict=True):
        assert torch.allclose(one, other.cpu(), atol=1e-6)
    assert torch.equal(rule(cpu), rule(gpu).cpu())
