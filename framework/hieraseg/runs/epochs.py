"""The epochs that a run has finished so far."""

import json
from typing import NamedTuple, TypedDict

from hieraseg.runs.folder import RunFolder
from hieraseg.runs.records import LevelMeans, Score, problem_in


class _Record(TypedDict):
    epoch: int
    loss: float
    val: LevelMeans


class Epoch(NamedTuple):
    """An epoch of a run.

    Attributes:
        epoch: its number, from 1.
        loss: mean loss of training.
        levels: mIoU on `val` of each level, the coarsest first.
    """

    epoch: int
    loss: float
    levels: list[Score]


def read_epochs(folder: RunFolder) -> list[Epoch]:
    """Read `metrics.jsonl`, up to the first line that is damaged: the last one may be cut off."""
    try:
        lines = folder.metrics.read_bytes().split(b"\n")
    except OSError:
        return []
    epochs: list[Epoch] = []
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            break
        if problem_in(record, _Record):
            break
        levels = [level["miou"] for level in record["val"]["levels"]]
        epochs.append(Epoch(record["epoch"], record["loss"], levels))
    return epochs
