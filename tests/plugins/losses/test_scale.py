"""How time and memory of the shipped losses grow with the class tree."""

from functools import cache
from typing import Any

import pytest
import torch
from benchmarks.memory import peak_bytes

from hieraseg import Hierarchy, Prediction, registry
from hieraseg.testing import LossContract
from hieraseg.testing.cases import forget_anywhere, random_logits, random_targets
from hieraseg.testing.loss_cases import terms_and_gradients
from tests.support.tensors import Watch

ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "bce": [{"level_weights": [0.1, 0.4, 1.0]}],
    "hxe": [{"alpha": 0.0}],
    "level_consistency": [{"gamma": 0.5}],
    "marginal_ce": [{"level_weights": [0.0, 0.0, 1.0]}],
    "ohem": [{"loss": "weighted_ce"}],
    "sum": [{"losses": ["weighted_ce", "marginal_ce"]}],
    "tree_min": [{"gamma": 2.0}, {"gamma": 0.5}],
    "weighted_ce": [{"class_weights": "median_frequency", "level_weights": [0.1, 0.4, 1.0]}],
}
"""Arguments besides the defaults; `sum` and `ohem` have no defaults."""


def cases() -> list[Any]:
    """Name and arguments of every shipped loss."""
    return [
        (name, settings)
        for name, origin in registry.losses.origins().items()
        if origin.startswith("hieraseg (")
        for settings in [*([{}] if name not in ("sum", "ohem") else []), *ARGUMENTS.get(name, [])]
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
    """Time and memory grow as nodes x pixels, and no operation is repeated for each class."""
    hierarchy = wide_hierarchy(10)
    assert hierarchy.num_classes == [30, 300, 3000]
    most = watch(name, settings, hierarchy)
    nodes_times_pixels = sum(hierarchy.num_classes) * 4 * 4
    assert most.largest <= 2 * nodes_times_pixels
    few = watch(name, settings, wide_hierarchy(2))
    assert most.operations < few.operations + 100
    assert most.elements < 5.5 * few.elements  # for five times as many leaves


@pytest.mark.parametrize(
    ("name", "settings", "limit"),
    [
        ("tree_min", {}, 2),
        ("tree_min", {"gamma": 2.0}, 2),
        ("marginal_ce", {}, 2),
        ("hxe", {}, 2),
        ("weighted_ce", {}, 2),
        pytest.param("rmi", {}, 2, marks=pytest.mark.slow),
        pytest.param("hssn", {"published": "cityscapes"}, 2, marks=pytest.mark.slow),
        pytest.param("hssn", {"published": "person_part"}, 2, marks=pytest.mark.slow),
    ],
)
def test_peak_memory(name: str, settings: dict[str, Any], limit: float) -> None:
    """Beyond the logits, twice their size is enough for their gradient and all else."""
    for leaves in (4, 10):
        hierarchy, size = wide_hierarchy(leaves), (1, 24, 24)
        generator = torch.Generator().manual_seed(0)
        loss = registry.losses.get(name)(hierarchy=hierarchy, **settings)
        targets = forget_anywhere(random_targets(hierarchy, size, generator), generator)
        logits = random_logits(hierarchy, size, generator)
        if loss.levels == "leaves":
            logits = logits[-1:]
        embedding = None
        if loss.embedding_channels:
            embedding = torch.randn(1, loss.embedding_channels, 3, 3, requires_grad=True)
        inputs = [*logits, *([] if embedding is None else [embedding])]

        def step() -> object:
            terms = loss(Prediction(tuple(logits), embedding), targets)  # noqa: B023
            return torch.autograd.grad(torch.stack(list(terms.values())).sum(), inputs)  # noqa: B023

        step()
        assert peak_bytes(step) <= limit * sum(level.nbytes for level in logits)
