"""Groups of siblings, by loops over the parents."""

import torch
from hypothesis import given
from torch import Tensor

from hieraseg import Hierarchy
from hieraseg_plugins.losses.siblings import SiblingGroups
from tests.support.trees import SEEDS, Tree, nested_trees


def by_parent(hierarchy: Hierarchy, level: int) -> list[Tensor]:
    """Classes of a level that are children of each class of the level above."""
    if level == 0:
        return [torch.arange(hierarchy.num_classes[0])]
    parents = hierarchy.parents[level]
    return [torch.nonzero(parents == one)[:, 0] for one in range(hierarchy.num_classes[level - 1])]


@given(nested_trees(), SEEDS)
def test_reductions_over_children(tree: Tree, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    names = Hierarchy.from_tree(tree).level_names[-1]
    shuffled = [names[index] for index in torch.randperm(len(names), generator=generator)]
    hierarchy = Hierarchy.from_tree(tree, labels=shuffled)
    groups = SiblingGroups(hierarchy)
    for level, classes in enumerate(hierarchy.num_classes):
        scores = torch.randn(2, classes, 1, 3, generator=generator, dtype=torch.float64)
        children = by_parent(hierarchy, level)

        maxima, sums, logs = (
            torch.stack([reduce(scores[:, own], 1) for own in children], 1)
            for reduce in (torch.amax, torch.sum, torch.logsumexp)
        )
        assert torch.equal(groups.max_over_children(scores, level), maxima)
        torch.testing.assert_close(groups.sum_over_children(scores, level), sums)
        torch.testing.assert_close(groups.logsumexp_over_children(scores, level), logs)
        highest, best = groups.best_children(scores, level)
        assert torch.equal(highest, maxima)
        assert torch.equal(scores.gather(1, best.long()), highest)
        if level > 0:
            above = torch.randn(2, hierarchy.num_classes[level - 1], 1, 3, generator=generator)
            assert torch.equal(groups.spread(above, level), above[:, hierarchy.parents[level]])
            assert torch.equal(groups.parents(level), hierarchy.parents[level])


def test_many_groups_are_handled_by_few_tensors() -> None:
    """Thousands of groups of three sizes."""
    tree = {f"x{i}": [f"x{i}.{j}" for j in range(1 + i % 3)] for i in range(3000)}
    groups = SiblingGroups(Hierarchy.from_tree(tree))
    assert [part.shape[1:3] for part in groups.split(torch.rand(1, 6000, 1, 1), 1)] == [
        (1000, 1),
        (1000, 2),
        (1000, 3),
    ]
