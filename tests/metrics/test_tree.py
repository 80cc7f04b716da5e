"""Errors within the correct parent, and hierarchical precision and recall, by sets of names."""

import numpy as np
import pytest
import torch
from hypothesis import given

from hieraseg import IGNORE_INDEX, Hierarchy
from hieraseg.metrics import SplitCounts, summarize
from tests.support.scores import Case, approximately, random_case
from tests.support.trees import SEEDS, Tree, leaf_paths, nested_trees


def pixels_of(case: Case) -> list[tuple[list[str | None], list[str]]]:
    """Target and predicted names per level of each pixel; unknown target names are None."""
    names = case.hierarchy.level_names
    images, levels, height, width = case.targets.shape
    return [
        (
            [
                None if index == IGNORE_INDEX else names[level][index]
                for level, index in enumerate(case.targets[image, :, y, x].tolist())
            ],
            [names[level][case.predicted[image, level, y, x]] for level in range(levels)],
        )
        for image, y, x in np.ndindex(images, height, width)
    ]


@given(nested_trees(), SEEDS)
def test_sibling_mistakes_by_names(tree: Tree, seed: int) -> None:
    case = random_case(tree, seed)
    scores = case.summary()
    parents = {
        (level, path[level]): path[level - 1]
        for path in leaf_paths(tree)
        for level in range(1, len(path))
    }
    assert scores["levels"][0]["sibling_mistakes"] is None
    for level in range(1, case.hierarchy.num_levels):
        wrong = [
            (target[level], predicted[level])
            for target, predicted in pixels_of(case)
            if target[level] not in (None, predicted[level])
        ]
        within = sum(
            parents[level, target] == parents[level, predicted] for target, predicted in wrong
        )
        expected = within / len(wrong) if wrong else None
        assert scores["levels"][level]["sibling_mistakes"] == approximately(expected)
    assert scores["sibling_mistakes"] == scores["levels"][-1]["sibling_mistakes"]


@given(nested_trees(), SEEDS)
def test_hierarchical_precision_and_recall_by_sets(tree: Tree, seed: int) -> None:
    case = random_case(tree, seed)
    shared = predicted_size = target_size = 0
    for target, predicted in pixels_of(case):
        target_set = {name for name in target if name is not None}
        pairs = zip(target, predicted, strict=True)
        predicted_set = {name for known, name in pairs if known is not None}
        shared += len(target_set & predicted_set)
        predicted_size += len(predicted_set)
        target_size += len(target_set)
    check(case, shared, predicted_size, target_size)


@given(nested_trees(), SEEDS)
def test_coherent_predictions_contain_the_ancestors_of_the_leaf(tree: Tree, seed: int) -> None:
    """As in Kiritchenko et al.: the set of a class contains all of its ancestors."""
    case = random_case(tree, seed)
    paths, names = leaf_paths(tree), case.hierarchy.level_names[-1]
    generator = torch.Generator().manual_seed(seed)
    size = case.targets[:, 0].shape
    leaves = [torch.randint(len(paths), size, generator=generator) for _ in range(2)]
    case.targets, case.predicted = (case.hierarchy.paths[leaf].movedim(-1, 1) for leaf in leaves)
    with_ancestors = {path[-1]: set(path) for path in paths}
    target_sets, predicted_sets = (
        [with_ancestors[names[i]] for i in leaf.flatten()] for leaf in leaves
    )
    shared = sum(map(len, map(set.intersection, target_sets, predicted_sets)))
    check(case, shared, sum(map(len, predicted_sets)), sum(map(len, target_sets)))


def check(case: Case, shared: int, predicted: int, target: int) -> None:
    scores = case.summary()
    precision = shared / predicted if predicted else None
    recall = shared / target if target else None
    assert scores["hierarchical_precision"] == approximately(precision)
    assert scores["hierarchical_recall"] == approximately(recall)
    if precision is None or recall is None:
        assert scores["hierarchical_f1"] is None
    else:
        total = precision + recall
        expected = 2 * precision * recall / total if total else 0
        assert scores["hierarchical_f1"] == approximately(expected)


def test_by_hand() -> None:
    # Levels: background, body | background, upper, lower | background, head, arm, leg.
    hierarchy = Hierarchy.from_tree(
        {"background": None, "body": {"upper": ["head", "arm"], "lower": ["leg"]}}
    )
    target = [[1, 0, 1, 1], [1, 0, 1, -100], [1, 0, 2, -100]]
    predicted = [[1, 1, 0, 1], [1, 2, 0, 0], [2, 3, 0, 1]]
    counts = SplitCounts(hierarchy, 1, torch.device("cpu"))
    scores = [torch.full((1, classes, 1, 4), 0.5) for classes in hierarchy.num_classes]
    counts.add(
        torch.tensor([0]),
        torch.tensor(predicted)[None, :, None],
        torch.tensor(target)[None, :, None],
        scores,
    )
    found = summarize(counts.arrays(), hierarchy)
    # Head for arm is within upper; leg for background and background for arm are not.
    assert found["sibling_mistakes"] == pytest.approx(1 / 3)
    assert found["levels"][1]["sibling_mistakes"] == 0
    # Target: {body, upper, head}, {background}, {body, upper, arm}, {body}: 8 classes.
    # Predicted: {body, upper, arm}, {body, lower, leg}, {background}, {body}: 8 classes; 3 shared.
    assert found["hierarchical_precision"] == found["hierarchical_recall"] == 3 / 8
    assert found["hierarchical_f1"] == 3 / 8
