"""Batches of a store."""

import threading

import numpy as np
import torch

from hieraseg.data.batches.batch import Batch, label_tensor, load
from hieraseg.data.stores.store import Store
from tests.support.stores import memory_store


def _store(images: int) -> Store:
    """Image i has the value i everywhere, and its mask 100 + i."""
    return memory_store(
        [np.full((4, 6, 3), row, np.uint8) for row in range(images)],
        [np.full((4, 6), 100 + row, np.uint8) for row in range(images)],
    )


def test_load_yields_the_rows_of_each_step() -> None:
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
    assert store.image(1).max() == 1
    moved = batch.to(torch.device("cpu"))
    assert isinstance(moved, Batch)
    assert torch.equal(moved.masks, batch.masks)


def test_masks_of_uint16_become_int32() -> None:
    labels = label_tensor(np.array([[0, 65_535]], np.uint16))
    assert labels.dtype == torch.int32
    assert labels.tolist() == [[0, 65_535]]


def test_closing_the_iterator_ends_its_thread() -> None:
    before = threading.active_count()
    batches = load(_store(5), [torch.tensor([0])] * 100, pin_memory=False)
    next(batches)
    batches.close()
    assert threading.active_count() == before
