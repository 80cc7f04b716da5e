"""How time and memory of the shipped losses grow with the class tree."""

from functools import cache
from typing import Any

import pytest
import torch

from hieraseg import Hierarchy, registry
from hieraseg.testing import LossContract
from hieraseg.testing.cases import forget_anywhere
from hieraseg.testing.loss_cases import terms_and_gradients
from tests.support.tensors import Watch

MEMORY = {"rmi": 40, "hssn": 40}
"""Limit of the size of the largest tensor, as a multiple of nodes x pixels, if it is not 2: RMI has
a matrix of 18 x 18 values for each class and image."""
ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "bce": [{"level_weights": [0.1, 0.4, 1.0]}],
    "hxe": [{"alpha": 0.0}],
    "level_consistency": [{"gamma": 0.5}],
    "marginal_ce": [{"level_weights": [0.0, 0.0, 1.0]}],
    "sum": [{"losses": ["weighted_ce", "marginal_ce"]}],
    "tree_min": [{"gamma": 2.0}, {"gamma": 0.5}],
    "weighted_ce": [{"class_weights": "median_frequency", "level_weights": [0.1, 0.4, 1.0]}],
}
"""Arguments besides the defaults; `sum` has no defaults."""


def cases() -> list[Any]:
    """Name and arguments of every shipped loss."""
    return [
        (name, settings)
        for name, origin in registry.losses.origins().items()
        if origin.startswith("hieraseg (")
        for settings in [*([{}] if name != "sum" else []), *ARGUMENTS.get(name, [])]
    ]


@cache
def wide_hierarchy(leaves: int) -> Hierarchy:
    """30 roots with ten children each, which have `leaves` children each."""
    hierarchy = Hierarchy.from_tree(
        {
            f"{i}": {f"{i}.{j}": [f"{i}.{j}.{k}" for k in range(leaves)] for j in range(10)}
            for i in range(30)
        }
    )
    hierarchy.on(torch.device("cpu"))  # creates the cached tables outside the loss
    return hierarchy


def watch(name: str, settings: dict[str, Any], hierarchy: Hierarchy) -> Watch:
    """Build a loss on a tree, and run it forward and backward."""

    class Suite(LossContract):
        component = registry.losses.get(name)

    with Watch() as seen:
        loss, inputs, targets, generator = Suite().draw(settings, 12, (1, 4, 4), hierarchy)
        targets = forget_anywhere(targets, generator)
        terms, gradients = terms_and_gradients(loss, inputs, targets)
    assert all(tensor.isfinite().all() for tensor in (*terms, *gradients))
    return seen


@pytest.mark.parametrize(("name", "settings"), cases())
def test_three_thousand_leaves(name: str, settings: dict[str, Any]) -> None:
    """Memory is proportional to nodes x pixels, and no operation is repeated for each class."""
    hierarchy = wide_hierarchy(10)
    assert hierarchy.num_classes == [30, 300, 3000]
    most = watch(name, settings, hierarchy)
    nodes_times_pixels = sum(hierarchy.num_classes) * 4 * 4
    assert most.largest <= MEMORY.get(name, 2) * nodes_times_pixels
    few = watch(name, settings, wide_hierarchy(2))
    assert most.operations < few.operations + 100
