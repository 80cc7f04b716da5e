"""Random numbers, the order of images, and their distribution over processes."""

import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hieraseg.data.sampling import generator, steps_per_epoch, training_order
from hieraseg.processes import own_share

SIZES = st.integers(1, 60)
SEEDS = st.integers(0, 2**40)


@given(images=SIZES, batch_size=SIZES, seed=SEEDS, epoch=st.integers(0, 1000))
def test_an_epoch_contains_each_image_at_most_once(
    images: int, batch_size: int, seed: int, epoch: int
) -> None:
    steps = training_order(images, batch_size, seed, epoch)
    rows = torch.cat(steps).tolist()
    assert len(set(rows)) == len(rows)
    assert set(rows) <= set(range(images))
    if images < batch_size:
        assert [len(step) for step in steps] == [images]
    else:
        assert [len(step) for step in steps] == [batch_size] * (images // batch_size)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return torch.cat(training_order(50, 10, seed, epoch)).tolist()

    first = order(3, 1)
    torch.manual_seed(99)
    torch.rand(7)
    assert order(3, 1) == first
    others = [order(seed, epoch) for seed in range(4) for epoch in range(1, 5)]
    assert len({tuple(rows) for rows in others}) == len(others)
    assert first != sorted(first)


def test_dropped_images_differ_between_epochs() -> None:
    dropped = [
        set(range(11)) - set(torch.cat(training_order(11, 5, 0, epoch)).tolist())
        for epoch in range(60)
    ]
    assert all(len(rows) == 1 for rows in dropped)
    assert len(set.union(*dropped)) == 11


@given(rows=st.integers(0, 40), processes=st.integers(1, 9))
def test_processes_partition_a_step(rows: int, processes: int) -> None:
    step = torch.randperm(rows, generator=generator(0, 0))
    shares = [own_share(step, rank, processes) for rank in range(processes)]
    assert sorted(torch.cat(shares).tolist()) == sorted(step.tolist())
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1


def test_generator_depends_on_its_arguments_only() -> None:
    def numbers(*key: int) -> list[float]:
        return torch.rand(4, generator=generator(*key)).tolist()

    before = numbers(1, 2, 3)
    state = torch.get_rng_state()
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    assert numbers(1, 2, 3) == before
    assert torch.initial_seed() == 5, "the global generator is not used"
    torch.set_rng_state(state)
    keys = [(a, b, c) for a in range(3) for b in range(3) for c in range(3)]
    assert len({tuple(numbers(*key)) for key in keys}) == len(keys)
    assert numbers(1, 2) == numbers(1, 2, 0)


# Data sets that are sampled by weight.

MEMBERS = st.lists(st.tuples(st.integers(1, 30), st.floats(0.01, 100)), min_size=1, max_size=4)


def rows_of_members(members: list[tuple[int, float]], epoch: int, seed: int = 0) -> list[list[int]]:
    """Rows that an epoch takes of each data set, counted from its first one, in their order."""
    images = sum(size for size, _ in members)
    steps = training_order(images, 4, seed, epoch, members)
    assert [len(step) for step in steps] == [min(4, images)] * steps_per_epoch(images, 4)
    found: list[list[int]] = [[] for _ in members]
    for row in torch.cat(steps).tolist():
        member = 0
        while row >= members[member][0]:
            row -= members[member][0]
            member += 1
        found[member].append(row)
    return found


@given(members=MEMBERS, seed=SEEDS)
def test_data_sets_get_their_share_of_each_epoch(
    members: list[tuple[int, float]], seed: int
) -> None:
    total = sum(weight for _, weight in members)
    sums = [0] * len(members)
    for epoch in range(1, 8):
        found = rows_of_members(members, epoch, seed)
        count = sum(map(len, found))
        for index, (rows, (_, weight)) in enumerate(zip(found, members, strict=True)):
            assert abs(len(rows) - count * weight / total) < 1
            sums[index] += len(rows)
    for found_sum, (_, weight) in zip(sums, members, strict=True):
        assert abs(found_sum - 7 * count * weight / total) < 3, "rounded in the same direction"


@given(members=MEMBERS)
def test_all_images_of_a_data_set_are_used_before_any_is_used_again(
    members: list[tuple[int, float]],
) -> None:
    used = [Counter[int]() for _ in members]
    # From epoch 0 on, because the passes go on from one epoch to the next.
    for epoch in range(6):
        for counts, rows in zip(used, rows_of_members(members, epoch), strict=True):
            counts.update(rows)
    for counts, (size, _) in zip(used, members, strict=True):
        times = [counts[row] for row in range(size)]
        assert max(times) - min(times) <= 1


def test_weighted_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> tuple[int, ...]:
        members = [(30, 1.0), (20, 3.0)]
        return tuple(torch.cat(training_order(50, 10, seed, epoch, members)).tolist())

    first = order(3, 2)
    torch.manual_seed(99)
    assert order(3, 2) == first
    assert len({order(seed, epoch) for seed in range(4) for epoch in range(1, 5)}) == 16


def test_data_sets_are_mixed_within_an_epoch() -> None:
    steps = training_order(400, 10, 0, 1, [(200, 1.0), (200, 1.0)])
    firsts = [int((step < 200).sum()) for step in steps]
    assert sum(firsts) == 200
    assert all(0 < count < 10 for count in firsts)


def test_a_data_set_of_tiny_weight_is_used_now_and_then() -> None:
    counts = [len(rows_of_members([(10, 1.0), (10, 0.01)], epoch)[1]) for epoch in range(1, 51)]
    assert 8 <= sum(counts) <= 12
    assert max(counts) == 1


# Images that are drawn by their classes.

REPEATS = st.lists(st.floats(1, 20), min_size=1, max_size=40).map(np.array)


def times_drawn(repeats: np.ndarray, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """How often an epoch draws each image."""
    images = len(repeats)
    steps = training_order(images, batch_size, seed, epoch, (), repeats)
    assert len(steps) == steps_per_epoch(images, batch_size)
    assert {len(step) for step in steps} == {min(batch_size, images)}
    return np.bincount(torch.cat(steps), minlength=images)


@given(repeats=REPEATS, batch_size=st.integers(1, 10), seed=SEEDS, epoch=st.integers(0, 100))
def test_images_are_drawn_by_their_share(
    repeats: np.ndarray, batch_size: int, seed: int, epoch: int
) -> None:
    times = times_drawn(repeats, batch_size, seed, epoch)
    expected = repeats / repeats.sum() * times.sum()
    assert (np.abs(times - expected) < 1 + 1e-9).all()
    if (repeats == repeats[0]).all():
        assert times.max() == 1


def test_shares_hold_over_epochs() -> None:
    repeats = np.array([1.0] * 90 + [3.0] * 10)  # 120 in all, in epochs of 100
    times = sum(times_drawn(repeats, 10, 0, epoch) for epoch in range(1, 201))
    assert times[90:].mean() == pytest.approx(200 * 3 * 100 / 120, rel=0.01)
    assert times[:90].mean() == pytest.approx(200 * 100 / 120, rel=0.01)
    assert times[:90].std() < 8  # at random, as binomial numbers: sqrt(200 * .83 * .17) = 5.3


def test_drawn_images_are_shuffled_by_seed_and_epoch() -> None:
    repeats = np.linspace(1, 4, 50)

    def order(seed: int, epoch: int) -> tuple[int, ...]:
        return tuple(torch.cat(training_order(50, 10, seed, epoch, (), repeats)).tolist())

    first = order(3, 2)
    torch.manual_seed(99)
    assert order(3, 2) == first
    assert list(first) != sorted(first)
    assert len({order(seed, epoch) for seed in range(4) for epoch in range(1, 5)}) == 16
    # An image that is drawn twice is not drawn twice in a row each time.
    pairs = [order(0, epoch) for epoch in range(20)]
    assert sum(one == other for rows in pairs for one, other in pairwise(rows)) < 60
