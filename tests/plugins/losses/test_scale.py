"""How time and memory of the shipped losses grow with the class tree."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hieraseg import Hierarchy, registry
from hieraseg.testing import LossContract
from hieraseg.testing.cases import forget_anywhere
from hieraseg.testing.loss_cases import answer

MEMORY = {"rmi": 40, "hssn": 40}
"""How many times nodes x pixels the largest tensor of a loss may be, where it is more than 2: RMI
has a matrix of 18 x 18 numbers for each class and image."""
LOOPS_OVER_CLASSES = {"lovasz"}
"""Losses of other libraries that do so."""
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "bce": [{"level_weights": [0.1, 0.4, 1.0]}],
    "hxe": [{"alpha": 0.0}],
    "level_consistency": [{"gamma": 0.5}],
    "marginal_ce": [{"level_weights": [0.0, 0.0, 1.0]}],
    "sum": [{"losses": ["weighted_ce", "marginal_ce"]}],
    "tree_min": [{"gamma": 2.0}, {"gamma": 0.5}],
    "weighted_ce": [{"class_weights": "median_frequency", "level_weights": [0.1, 0.4, 1.0]}],
}
"""Beside the default settings, which `sum` has none of."""


def cases() -> list[Any]:
    """Name and settings of every shipped loss."""
    return [
        (name, settings)
        for name, origin in registry.losses.origins().items()
        if origin.startswith("hieraseg (")
        for settings in [*([{}] if name != "sum" else []), *SETTINGS.get(name, [])]
    ]


class Watch(TorchDispatchMode):
    """Counts operations and notes the most numbers in one tensor that they made."""

    operations = 0
    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        outputs = result if isinstance(result, tuple | list) else [result]
        for tensor in outputs:
            if isinstance(tensor, Tensor):
                # A view repeats numbers that are there once.
                elements = tensor.untyped_storage().nbytes() // tensor.element_size()
                self.largest = max(self.largest, min(tensor.numel(), elements))
        return result


@cache
def wide_hierarchy(leaves: int) -> Hierarchy:
    """30 roots with ten children each, and these with as many leaves as are asked for."""
    hierarchy = Hierarchy.from_tree(
        {
            f"{i}": {f"{i}.{j}": [f"{i}.{j}.{k}" for k in range(leaves)] for j in range(10)}
            for i in range(30)
        }
    )
    hierarchy.on(torch.device("cpu"))  # its tables are made once, and not by the loss
    return hierarchy


def watch(name: str, settings: dict[str, Any], hierarchy: Hierarchy) -> Watch:
    """What a step of a loss needs on a tree."""

    class Suite(LossContract):
        component = registry.losses.get(name)

    loss, inputs, targets, generator = Suite().draw(settings, 12, (1, 4, 4), hierarchy)
    targets = forget_anywhere(targets, generator)
    with Watch() as seen:
        terms, gradients = answer(loss, inputs, targets)
    assert all(tensor.isfinite().all() for tensor in (*terms, *gradients))
    return seen


@pytest.mark.parametrize(("name", "settings"), cases())
def test_three_thousand_leaves(name: str, settings: dict[str, Any]) -> None:
    """Memory is in proportion to nodes x pixels, and no operation is done class by class."""
    hierarchy = wide_hierarchy(10)
    assert hierarchy.num_classes == [30, 300, 3000]
    most = watch(name, settings, hierarchy)
    nodes_times_pixels = sum(hierarchy.num_classes) * 4 * 4
    assert most.largest <= MEMORY.get(name, 2) * nodes_times_pixels
    if name not in LOOPS_OVER_CLASSES:
        few = watch(name, settings, wide_hierarchy(2))
        assert most.operations < few.operations + 100
