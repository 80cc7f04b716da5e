"""Random numbers, the order of images, and their distribution over processes."""

import random

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from hieraseg.data.sampling import generator, training_order
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
