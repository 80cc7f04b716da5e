"""Counting: exact for any number of classes, and without waiting for the device."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hieraseg import Hierarchy
from hieraseg.metrics import PixelCounts, SplitCounts, counting, joint
from hieraseg.metrics.counting import count_values
from hieraseg.metrics.pixels import count_pixels, pixel_counter
from hieraseg.testing.capturing import on_fake_tensors
from hieraseg.testing.cases import forget_anywhere, random_targets
from tests.support.tensors import Watch
from tests.support.tracing import without_shape_checks
from tests.support.trees import SEEDS, Tree, nested_trees

CPU = torch.device("cpu")
SMALL: Tree = {"background": None, "x": {"a": None, "b": None}}
LARGE: Tree = {f"{i}": {f"{i}.{j}": None for j in range(100)} for i in range(20)}


def random_classes(hierarchy: Hierarchy, size: tuple[int, int, int], seed: int = 0) -> list[Tensor]:
    """Predictions, whose levels may contradict each other, and targets with void anywhere."""
    generator = torch.Generator().manual_seed(seed)
    targets = random_targets(hierarchy, size, generator)
    guesses = [torch.randint(n, size, generator=generator) for n in hierarchy.num_classes]
    right = torch.rand(targets.shape, generator=generator) < 0.5
    predicted = torch.where(right, targets, torch.stack(guesses, dim=1))
    return [predicted, forget_anywhere(targets, generator)]


@pytest.mark.parametrize("copies", [1, 5, 64])
@pytest.mark.parametrize("largest", [1, 100, 2**21])
@given(st.integers(1, 10_000), SEEDS)
def test_values_against_numpy(copies: int, largest: int, size: int, seed: int) -> None:
    """With the copies of bins that a GPU has; the sums exceed the integers of floats."""
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(size, (3, 41), generator=generator)
    weights = torch.randint(2**55, index.shape, generator=generator)
    expected = np.zeros(size, np.int64)
    np.add.at(expected, index.flatten().numpy(), weights.flatten().numpy())
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(counting._COPIES, "cpu", copies)
        patch.setattr(counting, "_LARGEST", largest)
        np.testing.assert_array_equal(count_values(index, weights, size), expected)


@given(nested_trees(), SEEDS)
def test_counts_by_the_joint_histogram_equal_those_of_pixels(tree: Tree, seed: int) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    counter = pixel_counter(hierarchy, CPU)
    # More pixels than combinations, so that it is used.
    width = min(counter.combinations, 20_000) // 30 + 1
    predicted, targets = random_classes(hierarchy, (2, 30, width), seed)
    found, expected = counter(predicted, targets), count_pixels(hierarchy, predicted, targets)
    assert found.keys() == expected.keys()
    for key, count in expected.items():
        assert count.dtype == found[key].dtype == torch.int64
        assert torch.equal(found[key], count)


def test_the_histogram_looks_at_each_pixel_once() -> None:
    """Few operations on tensors as large as the images."""
    hierarchy = Hierarchy.from_tree(SMALL)
    predicted, targets = random_classes(hierarchy, (4, 64, 64))
    counter = pixel_counter(hierarchy, CPU)
    assert counter.combinations < 64 * 64
    operations = []
    for count in (counter, counter.count):
        with Watch() as watch:
            count(predicted, targets)
        operations.append(watch.operations)
    assert operations[0] < operations[1] / 2


@pytest.mark.parametrize("tree", [{f"{i}": None for i in range(2000)}, LARGE])
def test_there_is_no_table_of_many_combinations(tree: Tree) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    with Watch() as watch:
        counts = PixelCounts(hierarchy, 1, CPU)
    assert counts.of_images.table is None
    assert watch.largest <= joint._LARGEST


def test_counts_are_exact_in_mixed_precision() -> None:
    """The product with the table is not computed in bfloat16."""
    hierarchy = Hierarchy.from_tree(SMALL)
    predicted, targets = random_classes(hierarchy, (1, 100, 300))
    with torch.autocast("cpu", torch.bfloat16):
        found = pixel_counter(hierarchy, CPU)(predicted, targets)
    for key, count in count_pixels(hierarchy, predicted, targets).items():
        assert torch.equal(found[key], count)


def adder(
    hierarchy: Hierarchy, kind: type[PixelCounts] | type[SplitCounts], device: torch.device
) -> Callable[..., dict[str, Tensor]]:
    """A function that counts a batch and returns the counts."""
    counts = kind(hierarchy, 2, device)

    def add(predicted: Tensor, targets: Tensor, *scores: Tensor) -> dict[str, Tensor]:
        rows = torch.arange(2, device=device)
        counts.add(rows, predicted, targets, list(scores))
        if isinstance(counts, SplitCounts):
            size = (targets.shape[2], targets.shape[3])
            counts.boundaries(rows, size).add(predicted, targets)
        return counts.counts

    return add


@pytest.mark.parametrize("tree", [SMALL, LARGE])
def test_counting_a_training_step_is_one_graph(tree: Tree) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    inputs = random_classes(hierarchy, (2, 25, 40))
    expected = adder(hierarchy, PixelCounts, CPU)(*inputs)
    torch.compiler.reset()
    with without_shape_checks():
        add = torch.compile(adder(hierarchy, PixelCounts, CPU), fullgraph=True, backend="aot_eager")
        found = add(*inputs)
    for key, count in found.items():
        assert torch.equal(count, expected[key])


@pytest.mark.parametrize("kind", [PixelCounts, SplitCounts])
@pytest.mark.parametrize("tree", [SMALL, LARGE])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_counting_neither_reads_the_device_nor_copies_to_it(
    tree: Tree, kind: type[PixelCounts] | type[SplitCounts], device: str
) -> None:
    """On tensors without data, whose devices are checked."""
    hierarchy = Hierarchy.from_tree(tree)
    inputs = random_classes(hierarchy, (2, 25, 40))
    inputs += [torch.zeros(2, classes, 25, 40) for classes in hierarchy.num_classes]
    with without_shape_checks(), on_fake_tensors(copies=True) as allowed:
        add = adder(hierarchy, kind, torch.device(device))
        moved = [allowed.fake(one, torch.device(device)) for one in inputs]
        allowed.copies = False
        for count in add(*moved).values():
            assert (count.dtype, count.device.type) == (torch.int64, device)
