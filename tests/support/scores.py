"""Random predictions and targets, and helpers for tests of scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hieraseg import Hierarchy
from hieraseg.metrics import SplitCounts, summarize
from hieraseg.testing.cases import forget_anywhere, forget_below, random_targets
from tests.support.trees import Tree, leaf_paths


@dataclass
class Case:
    """Predictions and targets of a random tree.

    Predictions of different levels may contradict each other, and do not depend on the scores.
    Scores lie on a grid that includes the edges of bins.
    """

    tree: Tree
    hierarchy: Hierarchy
    predicted: Tensor
    targets: Tensor
    scores: list[Tensor]

    def counts(self, device: str = "cpu") -> dict[str, np.ndarray]:
        """All counts, one row per image."""
        counts = SplitCounts(self.hierarchy, len(self.targets), torch.device(device))
        rows = torch.arange(len(self.targets), device=device)
        scores = [score.to(device) for score in self.scores]
        predicted, targets = self.predicted.to(device), self.targets.to(device)
        counts.add(rows, predicted, targets, scores)
        counts.boundaries(rows, predicted.shape[2:]).add(predicted, targets)
        return counts.arrays()

    def summary(self) -> dict[str, Any]:
        """All scores."""
        return summarize(self.counts(), self.hierarchy)


def random_case(tree: Tree, seed: int, largest: int = 5) -> Case:
    """A few images of at most 3 rows and `largest` columns."""
    generator = torch.Generator().manual_seed(seed)

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    leaves = [path[-1] for path in leaf_paths(tree)]
    background = [None, *leaves][number(0, len(leaves))]
    hierarchy = Hierarchy.from_tree(tree, background=background)
    size = (number(1, 3), number(1, 3), number(1, largest))
    targets = random_targets(hierarchy, size, generator)
    guesses = [torch.randint(n, size, generator=generator) for n in hierarchy.num_classes]
    right = torch.rand(targets.shape, generator=generator) < 0.5
    predicted = torch.where(right, targets, torch.stack(guesses, dim=1))
    forget = (forget_below, forget_anywhere)[number(0, 1)]
    scores = [
        torch.randint(65, (size[0], n, *size[1:]), generator=generator) / 64
        for n in hierarchy.num_classes
    ]
    return Case(tree, hierarchy, predicted, forget(targets, generator), scores)


def mean_of(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are not None; None if there are none."""
    existing = [value for value in values if value is not None]
    return sum(existing) / len(existing) if existing else None


def approximately(value: float | None) -> Any:
    """A value to compare a score with, which may be None."""
    return None if value is None else pytest.approx(value, abs=1e-9)
