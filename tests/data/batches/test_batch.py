"""Batches as tuples of tensors."""

import weakref
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from hieraseg.data.batches import device as device_module
from hieraseg.data.batches.batch import (
    AnyBatch,
    Batch,
    CropBatch,
    RowBatch,
    label_tensor,
    map_tensors,
    pinned,
    read_rows,
)
from hieraseg.data.batches.device import on_device
from hieraseg.data.stores.store import Store
from tests.support.stores import memory_store

NUMBERS = torch.rand(2, 5), torch.tensor([7, 8])
ROWS = torch.tensor([0, 1])
BATCHES: list[AnyBatch] = [
    Batch(torch.zeros(2, 3, 4, 6), torch.zeros(2, 4, 6).byte(), *NUMBERS),
    RowBatch(ROWS, *NUMBERS),
    CropBatch(ROWS, torch.rand(2, 2, 3).double(), torch.zeros(2), torch.zeros(2).bool(), *NUMBERS),
]


def _store(images: int) -> Store:
    """Image i has the value i everywhere, and its mask 100 + i."""
    return memory_store(
        [np.full((4, 6, 3), row, np.uint8) for row in range(images)],
        [np.full((4, 6), 100 + row, np.uint8) for row in range(images)],
    )


@pytest.mark.parametrize("rows", [[4, 0, 2], [1], [3, 3]])
def test_rows_of_a_store(rows: list[int]) -> None:
    images, masks = read_rows(_store(5), torch.tensor(rows))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images.dtype == masks.dtype == torch.uint8
    values = torch.tensor(rows).byte()
    assert torch.equal(images, values[:, None, None, None].expand(-1, 3, 4, 6))
    assert torch.equal(masks, 100 + values[:, None, None].expand(-1, 4, 6))


def test_a_batch_is_a_copy_of_the_store() -> None:
    store = _store(2)
    images, _ = read_rows(store, ROWS)
    images.zero_()
    assert store.image(1).max() == 1


@pytest.mark.parametrize("batch", BATCHES, ids=lambda one: type(one).__name__)
def test_batches_stay_of_their_kind(batch: AnyBatch) -> None:
    doubled = map_tensors(lambda one: one.repeat_interleave(2, 0), batch)
    assert type(doubled) is type(batch)
    assert [len(one) for one in doubled] == [4] * len(batch)
    assert torch.equal(doubled.numbers.seeds, torch.tensor([7, 7, 8, 8]))
    assert torch.equal(batch.numbers.uniform, NUMBERS[0])


def test_masks_of_uint16_become_int32() -> None:
    labels = label_tensor(np.array([[0, 65_535]], np.uint16))
    assert labels.dtype == torch.int32
    assert labels.tolist() == [[0, 65_535]]


def test_on_a_cpu_batches_are_neither_pinned_nor_copied() -> None:
    cpu = torch.device("cpu")
    for batch in BATCHES:
        assert pinned(batch, cpu) is batch
    for found, batch in zip(on_device(BATCHES, cpu), BATCHES, strict=True):
        assert [id(one) for one in found] == [id(one) for one in batch]


def test_a_batch_is_read_when_it_is_needed() -> None:
    """Not while the step before it is launched."""
    taken = []

    def batches() -> Iterator[AnyBatch]:
        for number in range(3):
            taken.append(number)
            yield BATCHES[0]

    for number, _ in enumerate(on_device(batches(), torch.device("cpu"))):
        assert taken == list(range(number + 1))


def test_a_batch_on_cuda_is_kept_until_its_step_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory is then free for the next batch but one. Stand-ins take the place of CUDA."""
    copies: list[weakref.ref[Tensor]] = []
    events: list[object] = []

    class Event:
        def __init__(self, blocking: bool) -> None:
            events.append(self)

        def record(self, stream: object) -> None: ...

        def synchronize(self) -> None:
            assert copies[events.index(self)]() is not None

    def copied(batch: AnyBatch, device: torch.device) -> AnyBatch:
        assert [one() is not None for one in copies[-2:]] in ([], [True], [False, True])
        copy = map_tensors(torch.clone, batch)
        copies.append(weakref.ref(copy.seeds))
        return copy

    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(device_module, "to_device", copied)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, lambda device: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    for batch in on_device(BATCHES[:1] * 5, torch.device("cuda")):
        del batch
    assert len(copies) == 5


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_batches_arrive_in_order_while_steps_run() -> None:
    """Each step takes long, and so is still running when the next batches are copied."""
    cuda = torch.device("cuda")
    images = torch.arange(8).byte().view(8, 1, 1, 1, 1).expand(8, 2, 3, 256, 256)
    masks = torch.zeros(2, 256, 256).byte()
    batches = [pinned(Batch(one.contiguous(), masks, *NUMBERS), cuda) for one in images]
    sums, slow = [], torch.rand(4000, 4000, device=cuda)
    for batch in on_device(batches, cuda):
        for _ in range(20):
            slow = (slow @ slow).clamp_(0, 1)
        sums.append(batch.images.float().mean())
        del batch
    assert torch.stack(sums).tolist() == list(range(8))
