"""Weights & Biases, offline."""

import json
import struct
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hieraseg import registry
from hieraseg.testing import TrackerContract

pytestmark = [
    pytest.mark.slow,  # it starts a process
    pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed"),
]
WandB = registry.trackers.get("wandb")


class TestWandB(TrackerContract):
    component = WandB


def records(file: Path) -> Iterator[bytes]:
    """The records of a log in the format of LevelDB: parts of them, in blocks of 32 KiB."""
    content, position, parts = file.read_bytes(), 7, b""  # behind the magic number
    while position + 7 <= len(content):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, size, kind = struct.unpack_from("<IHB", content, position)
        parts += content[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in (1, 4):  # whole, or its last part
            yield parts
            parts = b""


def history(folder: Path) -> Iterator[dict[str, Any]]:
    """The points that `wandb sync` would upload, in the order of writing."""
    messages: Any = import_module("wandb.proto.wandb_internal_pb2")  # has no types
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for data in records(file):
            record = messages.Record()
            record.ParseFromString(data)
            items = record.history.item
            if items:
                found = {(one.key or "/".join(one.nested_key)): one.value_json for one in items}
                yield {key: json.loads(value) for key, value in found.items()}


def test_a_run_that_goes_on_has_no_point_twice(tmp_path: Path) -> None:
    folder = tmp_path / "my_recipe" / "base-seed0"
    folder.mkdir(parents=True)
    tracker = WandB(folder)
    first = tracker.run.id
    tracker.log_hyperparams({"training.epochs": 3})
    for step in (10, 20, 30):
        tracker.log_metrics({"loss/total": step}, step)
        tracker.log_image("val/a", [np.zeros((8, 12, 3), np.uint8)], step)
    tracker.finalize("aborted")
    tracker = WandB(folder, after_step=20)
    assert (tracker.run.id, tracker.run.project) == (first, "my_recipe")
    tracker.log_hyperparams({"training.epochs": 4})
    for step in (30, 40):
        tracker.log_metrics({"loss/total": step}, step)
    tracker.log_metrics({"best/miou_level_1": 0.25}, 40)
    tracker.finalize("success")
    found = list(history(folder))
    losses = [(one["step"], one["loss/total"]) for one in found if "loss/total" in one]
    assert losses == [(10, 10), (20, 20), (30, 30), (40, 40)], found
    assert [one["_step"] for one in found] == sorted({one["_step"] for one in found})
    assert [one["best/miou_level_1"] for one in found if "best/miou_level_1" in one] == [0.25]
    assert len(list(folder.glob("wandb/*/files/media/images/val/*.png"))) == 3
