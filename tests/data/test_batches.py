"""Order, shares and read-ahead of batches."""

import random
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hieraseg.data.batches import Batch, load, read_ahead
from hieraseg.data.sampling import generator, training_order
from hieraseg.data.store import Store
from hieraseg.processes import own_share

SIZES = st.integers(1, 60)
SEEDS = st.integers(0, 2**40)


def _store(images: int) -> Store:
    """Image i is filled with i, its mask with 100 + i."""
    fill = np.arange(images, dtype=np.uint8)
    return Store(
        ids=[str(i) for i in range(images)],
        images=np.broadcast_to(fill[:, None, None, None], (images, 4, 6, 3)).copy(),
        masks=np.broadcast_to(100 + fill[:, None, None], (images, 4, 6)).copy(),
        fingerprint="",
    )


@given(images=SIZES, batch_size=SIZES, seed=SEEDS, epoch=st.integers(0, 1000))
def test_an_epoch_shows_each_image_at_most_once(
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


def test_images_left_out_of_an_epoch_change() -> None:
    left_out = [
        set(range(11)) - set(torch.cat(training_order(11, 5, 0, epoch)).tolist())
        for epoch in range(60)
    ]
    assert all(len(rows) == 1 for rows in left_out)
    assert len(set.union(*left_out)) == 11


@given(rows=st.integers(0, 40), processes=st.integers(1, 9))
def test_shares_partition_a_step(rows: int, processes: int) -> None:
    step = torch.randperm(rows, generator=generator(0, 0))
    shares = [own_share(step, rank, processes) for rank in range(processes)]
    assert sorted(torch.cat(shares).tolist()) == sorted(step.tolist())
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1


def test_generator_depends_on_its_three_numbers_alone() -> None:
    def numbers(*key: int) -> list[float]:
        return torch.rand(4, generator=generator(*key)).tolist()

    before = numbers(1, 2, 3)
    state = torch.get_rng_state()
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    assert numbers(1, 2, 3) == before
    assert torch.initial_seed() == 5, "the global generator is left alone"
    torch.set_rng_state(state)
    keys = [(a, b, c) for a in range(3) for b in range(3) for c in range(3)]
    assert len({tuple(numbers(*key)) for key in keys}) == len(keys)
    assert numbers(1, 2) == numbers(1, 2, 0)


def test_load_reads_the_rows_of_each_step() -> None:
    steps = [torch.tensor([4, 0, 2]), torch.tensor([1]), torch.tensor([3, 3])]
    batches = list(load(_store(5), steps, pin_memory=False))
    assert [batch.rows.tolist() for batch in batches] == [[4, 0, 2], [1], [3, 3]]
    for batch, rows in zip(batches, steps, strict=True):
        assert batch.images.shape == (len(rows), 3, 4, 6)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.images.dtype == batch.masks.dtype == torch.uint8
        assert torch.equal(batch.images, rows.byte()[:, None, None, None].expand(-1, 3, 4, 6))
        assert torch.equal(batch.masks, 100 + rows.byte()[:, None, None].expand(-1, 4, 6))


def test_a_batch_is_a_copy_of_the_store() -> None:
    store = _store(2)
    (batch,) = load(store, [torch.tensor([0, 1])], pin_memory=False)
    batch.images.zero_()
    assert store.images[1].max() == 1
    moved = batch.to(torch.device("cpu"))
    assert isinstance(moved, Batch)
    assert torch.equal(moved.masks, batch.masks)


@pytest.mark.parametrize("ahead", [1, 2, 5])
@pytest.mark.parametrize("items", [0, 1, 2, 3, 9])
def test_read_ahead_keeps_the_order(items: int, ahead: int) -> None:
    assert list(read_ahead(lambda n: n * n, range(items), ahead)) == [n * n for n in range(items)]


def test_read_ahead_reads_on_another_thread_and_not_too_far() -> None:
    started: list[int] = []
    threads: set[int] = set()

    def read(item: int) -> int:
        started.append(item)
        threads.add(threading.get_ident())
        return item

    used = 0
    for item in read_ahead(read, range(20), ahead=3):
        used += 1
        assert max(started) <= item + 3
    assert used == 20
    assert threading.get_ident() not in threads
    assert len(threads) == 1


def test_exceptions_of_the_reader_arrive_at_their_item() -> None:
    def read(item: int) -> int:
        if item == 2:
            raise OSError("the disk is gone")
        return item

    seen: list[int] = []

    def consume(items: Iterator[int]) -> None:
        for item in items:
            seen.append(item)

    with pytest.raises(OSError, match="the disk is gone"):
        consume(read_ahead(read, range(5)))
    assert seen == [0, 1]


def test_stopping_early_stops_the_reader() -> None:
    before = threading.active_count()
    batches = load(_store(5), [torch.tensor([0])] * 100, pin_memory=False)
    next(batches)
    batches.close()
    assert threading.active_count() == before
