"""The validations of a run so far."""

import json
from typing import NamedTuple, NotRequired, TypedDict

from hieraseg.runs.folder import RunFolder
from hieraseg.runs.json_types import problem_in
from hieraseg.runs.records import LevelMeans, Score


class _Scores(LevelMeans):
    loss: NotRequired[Score]


class _Record(TypedDict):
    epoch: int
    passes: NotRequired[float]  # older runs were validated at the ends of epochs
    loss: float
    val: _Scores


class Validation(NamedTuple):
    """A validation of a run.

    Attributes:
        epoch: epoch that it is in, from 1.
        passes: passes over the training split before it, such as 2.5.
        loss: mean loss of training since the validation before.
        levels: mIoU on `val` of each level, the coarsest first.
        val_loss: loss of `val`; None if it was not computed.
    """

    epoch: int
    passes: float
    loss: float
    levels: list[Score]
    val_loss: Score = None


def read_validations(folder: RunFolder) -> list[Validation]:
    """Read `metrics.jsonl`, up to the first line that is damaged: the last one may be cut off."""
    try:
        lines = folder.metrics.read_bytes().split(b"\n")
    except OSError:
        return []
    found: list[Validation] = []
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            break
        if problem_in(record, _Record):
            break
        val, epoch = record["val"], record["epoch"]
        levels = [level["miou"] for level in val["levels"]]
        passes = float(record.get("passes", epoch))
        found.append(Validation(epoch, passes, record["loss"], levels, val.get("loss")))
    return found
