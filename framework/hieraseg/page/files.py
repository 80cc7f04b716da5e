"""What charts read of run folders. A file that is missing or damaged costs its chart alone."""

import json
import zipfile
import zlib
from typing import NamedTuple, TypedDict

import numpy as np
from jaxtyping import Int

from hieraseg.runs.finished import FinishedRun
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.records import Score, problem_in


class _Level(TypedDict):
    level: int
    miou: Score


class _Scores(TypedDict):
    levels: list[_Level]


class _Record(TypedDict):
    epoch: int
    loss: float
    val: _Scores


class Epoch(NamedTuple):
    """An epoch of a run: the training loss, and the validation mIoU of each level."""

    epoch: int
    loss: float
    miou: dict[int, float | None]


def read_epochs(run: FinishedRun) -> list[Epoch]:
    """The epochs of a run; none if they cannot be read."""
    try:
        lines = RunFolder(run.path).metrics.read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
    except (OSError, ValueError, RecursionError):
        return []
    if any(problem_in(record, _Record) for record in records):
        return []
    return [
        Epoch(
            record["epoch"],
            record["loss"],
            {level["level"]: level["miou"] for level in record["val"]["levels"]},
        )
        for record in records
    ]


def read_counts(run: FinishedRun, name: str) -> Int[np.ndarray, "..."] | None:
    """An array of counts over all images, as in `confusion_1`; None if it cannot be read.

    Args:
        run: the run, whose key says which split and protocol.
        name: name of the array in the file of counts.
    """
    try:
        with np.load(RunFolder(run.path).counts(run.key), allow_pickle=False) as arrays:
            found = arrays[name]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return found if np.issubdtype(found.dtype, np.integer) else None
