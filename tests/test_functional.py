"""The public building blocks of losses."""

import doctest
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from hieraseg import IGNORE_INDEX, Hierarchy, functional
from hieraseg.functional import (
    binary_cross_entropy,
    known_path,
    level_terms,
    mean_over_valid,
    ramp,
    random_order,
    true_logit,
    weights_per_level,
)
from hieraseg.testing.cases import forget_anywhere, random_targets
from tests.support.tracing import without_shape_checks
from tests.support.trees import SEEDS, Tree, ancestors_of, nested_trees


def test_examples_in_docstrings() -> None:
    results = doctest.testmod(functional)
    assert results.attempted > 0
    assert results.failed == 0


def test_mean_over_valid_by_hand() -> None:
    cost = torch.tensor([[[1.0, 3.0], [5.0, 8.0]]], requires_grad=True)
    target = torch.tensor([[[0, 2], [IGNORE_INDEX, 1]]])
    mean = mean_over_valid(cost, target)
    assert mean.item() == 4
    third = 1 / 3
    (gradient,) = torch.autograd.grad(mean, cost)
    torch.testing.assert_close(gradient, torch.tensor([[[third, third], [0, third]]]))
    weight = torch.tensor([[[2.0, 0.0], [100.0, 6.0]]])
    weighted = mean_over_valid(cost, target, weight)
    assert weighted.item() == (2 * 1 + 6 * 8) / 8
    (gradient,) = torch.autograd.grad(weighted, cost)
    assert gradient.tolist() == [[[0.25, 0], [0, 0.75]]]


@pytest.mark.parametrize(
    ("target", "weight"),
    [(IGNORE_INDEX, None), (IGNORE_INDEX, 1.0), (0, 0.0)],
    ids=["void", "weighted void", "zero weights"],
)
def test_mean_of_nothing_is_zero_with_a_graph(target: int, weight: float | None) -> None:
    cost = torch.ones(1, 2, 2, requires_grad=True)
    weights = None if weight is None else torch.full((1, 2, 2), weight)
    mean = mean_over_valid(cost, torch.full((1, 2, 2), target), weights)
    assert mean == 0
    assert torch.autograd.grad(mean, cost)[0].eq(0).all()


def test_true_logit_by_hand() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).view(1, 2, 1, 3)
    assert true_logit(logits, torch.tensor([[[1, 0, IGNORE_INDEX]]])).tolist() == [[[4, 2, 3]]]


@given(SEEDS, st.integers(1, 4), st.sampled_from([0.0, 0.5, 2.0]))
def test_binary_cross_entropy_by_torch(seed: int, classes: int, gamma: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, classes, 2, 3, generator=generator)
    target = torch.randint(classes, (2, 2, 3), generator=generator)
    one_hot = F.one_hot(target, classes).movedim(-1, 1).double()
    cost = F.binary_cross_entropy_with_logits(logits.double(), one_hot, reduction="none")
    wrong = (logits.double().sigmoid() - one_hot).abs()
    expected = (wrong**gamma * cost).mean(1)
    found = binary_cross_entropy(logits, target, gamma)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-7)


def test_binary_cross_entropy_with_another_positive_logit() -> None:
    logits = torch.tensor([math.log(3), -math.log(3)]).view(1, 2, 1, 1)  # scores 3/4 and 1/4
    positive = torch.tensor([[[0.0]]])  # score 1/2, instead of 3/4
    cost = binary_cross_entropy(logits, torch.tensor([[[0]]]), positive=positive)
    assert cost.item() == pytest.approx((-math.log(1 / 2) - math.log(3 / 4)) / 2)


@given(nested_trees(), SEEDS)
def test_known_path_by_loops(tree: Tree, seed: int) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    generator = torch.Generator().manual_seed(seed)
    targets = forget_anywhere(random_targets(hierarchy, (2, 2, 3), generator), generator, 0.5)
    before = targets.clone()
    found = torch.stack(known_path(targets, hierarchy), dim=1).movedim(1, -1).flatten(0, 2)
    assert torch.equal(targets, before)
    names, ancestors = hierarchy.level_names, ancestors_of(tree)
    for pixel, path in zip(
        targets.movedim(1, -1).flatten(0, 2).tolist(), found.tolist(), strict=True
    ):
        known = [(level, names[level][c]) for level, c in enumerate(pixel) if c != IGNORE_INDEX]
        above = set().union(*(ancestors[node] for node in known))
        expected = [IGNORE_INDEX] * hierarchy.num_levels
        for level, name in above:
            expected[level] = names[level].index(name)
        assert path == expected


def test_level_terms() -> None:
    values = [torch.tensor(2.0), torch.tensor(3.0)]
    assert level_terms("ce", values) == {"ce_level1": 2, "ce_level2": 3}
    assert level_terms("ce", values, [0.5, 2.0]) == {"ce_level1": 1, "ce_level2": 6}
    with pytest.raises(ValueError, match="argument 2 is longer"):
        level_terms("ce", values, [0.5])


def test_weights_per_level() -> None:
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"]})
    assert weights_per_level(hierarchy, None) == [1, 1]
    assert weights_per_level(hierarchy, [0.5, 2.0]) == [0.5, 2.0]
    message = "^level_weights must have 2 values, one per level of the hierarchy, got 3$"
    with pytest.raises(ValueError, match=message):
        weights_per_level(hierarchy, [1.0, 2.0, 3.0])


def test_ramp_by_hand() -> None:
    for shape in ("cosine", "linear"):
        steps = (0, 0.2, 0.4, 0.6, 1)
        values = [ramp(progress, 0.2, 0.6, shape) for progress in steps]
        assert values == pytest.approx([0, 0, 0.5, 1, 1])
        assert [ramp(progress, 0.5, 0.5, shape) for progress in (0.4, 0.5)] == [0, 1]
        assert ramp(0.0, 0.0, 0.0, shape) == 1
    # A quarter of the way: (1 - cos(pi/4)) / 2 and 1/4.
    assert ramp(0.3, 0.2, 0.6) == pytest.approx(0.1464466)
    assert ramp(0.3, 0.2, 0.6, "linear") == pytest.approx(0.25)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.sampled_from(["cosine", "linear"]))
def test_ramp_of_a_tensor(progress: float, one: float, other: float, shape: str) -> None:
    start, end = min(one, other), max(one, other)
    exact = torch.tensor(progress, dtype=torch.float64)
    found = ramp(exact, start, end, shape)
    assert found.item() == pytest.approx(ramp(progress, start, end, shape), abs=1e-12)
    rounded = exact.float()
    assert ramp(rounded, 0.2, 0.6, shape).dtype == torch.float32
    assert ramp(rounded, 0.2, 0.6, shape).item() == pytest.approx(
        ramp(progress, 0.2, 0.6, shape), abs=1e-6
    )


def test_random_order_is_a_permutation_that_changes_with_seed_and_progress() -> None:
    orders = [
        random_order(50, seed, progress)
        for seed in (0, 1, -1, 2**70)
        for progress in (0.0, 0.5, torch.tensor(0.5 + 2**-24))
    ]
    assert all(torch.equal(order.sort().values, torch.arange(50)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == len(orders)
    assert torch.equal(orders[1], random_order(50, 0, torch.tensor(0.5)))
    assert random_order(0, 0, 0.5).tolist() == []


def test_random_order_is_uniform() -> None:
    """Each of the six orders of three elements is as frequent as the others."""
    orders = torch.stack([random_order(3, 5, step / 3000) for step in range(3000)])
    counts = (orders @ torch.tensor([9, 3, 1])).unique(return_counts=True)[1]
    assert len(counts) == 6
    assert ((counts - 500) ** 2 / 500).sum() < 25  # 1 in 7000 by chance, and the seed is fixed


def test_ramp_and_random_order_are_the_same_when_compiled() -> None:
    def both(progress: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return random_order(20, 3, progress), ramp(progress, 0.2, 0.6)

    compiled = torch.compile(both, fullgraph=True, backend="aot_eager")
    with without_shape_checks():
        for step in (0.1, 0.3):
            found, expected = compiled(torch.tensor(step)), both(torch.tensor(step))
            assert all(map(torch.equal, found, expected))
