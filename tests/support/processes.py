"""Runs of several processes, and processes that are threads of the test."""

import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor
from torch.distributed import ReduceOp

Result = TypeVar("Result")

PLUGIN = Path(__file__).with_name("processes_plugin.py")
RECIPE = f"""\
plugins: [{PLUGIN}]
hierarchy:
  name: file
  path: tree.yaml
data: uneven
input: {{size: [16, 16]}}
backbone: identity
decoder: pointwise
loss: marginal_ce
inference: bottom_up
optimizer: {{name: sgd, lr: 0.5, momentum: 0}}
schedule: cosine
augmentation:
  crop: 0.5
  rotate: 30
  transforms: [{{name: photometric, noise: 0.5}}, blur]
training: {{epochs: 2, batch_size: 4, device: cpu}}
trackers: []
"""
TREE = """\
tree: {background: null, body: {upper: [head, arm], lower: [leg]}}
labels: {0: background, 1: head, 2: arm, 3: leg, 8: upper, 9: body}
void: [255]
background: background
"""


def write_recipe(folder: Path) -> str:
    """Write `uneven.yaml` and its class tree into a folder, and return its path."""
    (folder / "tree.yaml").write_text(TREE)
    (folder / "uneven.yaml").write_text(RECIPE)
    return str(folder / "uneven.yaml")


def as_processes(
    monkeypatch: pytest.MonkeyPatch, number: int, work: Callable[[int], Result]
) -> list[Result]:
    """Call `work(rank)` in one thread per process, which communicate as processes do."""
    own = threading.local()
    barrier = threading.Barrier(number)
    mailbox: list[Any] = [None] * number
    results: list[Any] = [None] * number

    def exchange(value: Any) -> list[Any]:
        mailbox[own.rank] = value.clone() if isinstance(value, Tensor) else value
        barrier.wait(10)
        received = list(mailbox)
        barrier.wait(10)
        return received

    def all_gather(into: list[Tensor], tensor: Tensor) -> None:
        for place, value in zip(into, exchange(tensor), strict=True):
            place.copy_(value)

    def all_reduce(tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None) -> None:
        every = torch.stack(exchange(tensor))
        tensor.copy_(every.amax(0) if op == ReduceOp.MAX else every.sum(0))

    def all_gather_object(into: list[Any], value: Any, group: Any = None) -> None:
        into[:] = exchange(pickle.loads(pickle.dumps(value)))

    fakes = {
        "is_initialized": lambda: hasattr(own, "rank"),
        "get_world_size": lambda: number,
        "get_rank": lambda: own.rank,
        "all_gather": all_gather,
        "all_gather_object": all_gather_object,
        "all_reduce": all_reduce,
        "new_group": lambda backend: None,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.distributed, name, fake)

    def run(rank: int) -> None:
        own.rank = rank
        try:
            results[rank] = work(rank)
        except Exception as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
