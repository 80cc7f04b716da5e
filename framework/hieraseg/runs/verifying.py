"""Whether two runs are the same: what differs in their inputs, and in their results."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hieraseg.model.weights import read_weights
from hieraseg.runs.changes import Change, changes, recipe_at_start, surroundings
from hieraseg.runs.checkpoint import WEIGHTS
from hieraseg.runs.counts import read_arrays
from hieraseg.runs.folder import RunFolder

MEASURED = {
    *("images_per_second", "waiting_for_data", "seconds", "peak_memory_bytes", "device"),
}
"""Keys of `metrics.jsonl` and `result.json` whose values depend on the machine and its load."""


class Difference(NamedTuple):
    """A value that is not the same in two runs.

    Attributes:
        place: its file, and its line there.
        key: its dotted key, or the name of a tensor, of which the values that differ most follow.
        before: its value in the first run; None if it has none.
        after: its value in the second run.
        by: by how much they differ; None for values that are no numbers.
    """

    place: str
    key: str
    before: Any
    after: Any
    by: float | None

    def __str__(self) -> str:
        size = "" if self.by is None else f" (by {self.by:.3g})"
        return f"{self.place}: {self.key}: {_shown(self.before)} -> {_shown(self.after)}{size}"


@dataclass(frozen=True)
class Comparison:
    """What two runs have not in common.

    Attributes:
        changes: recipe, data, code, packages, hardware and settings of PyTorch that differ.
        metrics: values that differ in the first line of `metrics.jsonl` in which some do.
        result: values that differ in the scores on `val` and the cost.
        counts: arrays that differ in the counts of each image of `val`.
        weights: tensors that differ in the checkpoints `best` and `last`.
        not_compared: checkpoints and counts that are not in both runs, such as removed ones.
    """

    changes: list[Change]
    metrics: list[Difference]
    result: list[Difference]
    counts: list[Difference]
    weights: list[Difference]
    not_compared: list[str]

    @property
    def differences(self) -> list[Difference]:
        """All that differs in the results of the runs."""
        return [*self.metrics, *self.result, *self.counts, *self.weights]


def compare_runs(first: RunFolder, second: RunFolder) -> Comparison:
    """Compare two runs, without running their code.

    Times, speeds and memory are left out.

    Raises:
        RecipeError: a file is missing or damaged, or a run is not finished.
    """
    then, now = first.read_provenance(), second.read_provenance()
    recipes = recipe_at_start(first, then), recipe_at_start(second, now)
    runs = first, second
    counts = {"evaluation/val.npz": [run.counts("val") for run in runs]}
    weights = {
        f"checkpoints/{which}": [run.checkpoint(which) / WEIGHTS for run in runs]
        for which in ("best", "last")
    }
    return Comparison(
        changes=[*changes(recipes[0], then, recipes[1], now), *surroundings(then, now)],
        metrics=list(_in_metrics(first, second)),
        result=list(_in_result(first, second)),
        counts=list(_in_files(counts, _read_counts)),
        weights=list(_in_files(weights, read_weights)),
        not_compared=[place for place, pair in {**counts, **weights}.items() if not _exist(pair)],
    )


def _in_metrics(first: RunFolder, second: RunFolder) -> Iterator[Difference]:
    old, new = first.read_metrics(), second.read_metrics()
    for before, after in zip(old, new, strict=False):
        place = f"metrics.jsonl: epoch {before.get('epoch')}, step {before.get('step')}"
        found = list(_differing(place, before, after))
        if found:
            yield from found
            return
    if len(old) != len(new):
        yield Difference("metrics.jsonl", "lines", len(old), len(new), abs(len(old) - len(new)))


def _in_result(first: RunFolder, second: RunFolder) -> Iterator[Difference]:
    results = first.read_result(), second.read_result()
    shared = results[0]["cost"].keys() & results[1]["cost"].keys()  # older runs have some of it
    before, after = (
        {
            "val": one["splits"].get("val"),
            "cost": {key: value for key, value in one["cost"].items() if key in shared},
        }
        for one in results
    )
    yield from _differing("result.json", before, after)


def _in_files(
    files: Mapping[str, Sequence[Path]], read: Callable[[Path], Mapping[str, Tensor]]
) -> Iterator[Difference]:
    """Tensors that differ in files of two runs, of those that are in both."""
    for place, pair in files.items():
        if not _exist(pair):
            continue
        before, after = map(read, pair)
        for name in sorted(before.keys() | after.keys()):
            old, new = before.get(name), after.get(name)
            if old is None or new is None or old.shape != new.shape:
                yield Difference(place, name, _shape(old), _shape(new), None)
            elif not torch.equal(old, new):
                old, new = old.double(), new.double()
                index = (old - new).abs().argmax()
                one, other = old.flatten()[index].item(), new.flatten()[index].item()
                yield Difference(place, name, one, other, abs(one - other))


def _exist(files: Sequence[Path]) -> bool:
    return all(map(Path.is_file, files))


def _read_counts(file: Path) -> dict[str, Tensor]:
    """The counts of each image, without its id, on which the fingerprint of the data depends."""
    arrays = {name: one for name, one in read_arrays(file).items() if one.dtype.kind in "iu"}
    return {name: torch.from_numpy(one) for name, one in arrays.items()}


def _shape(tensor: Tensor | None) -> str | None:
    return None if tensor is None else f"of shape {list(tensor.shape)}"


def _differing(place: str, before: Any, after: Any) -> Iterator[Difference]:
    old, new = dict(_leaves("", before)), dict(_leaves("", after))
    for key in dict.fromkeys((*old, *new)):
        one, other = old.get(key), new.get(key)
        if json.dumps(one) != json.dumps(other):
            yield Difference(place, key, one, other, _distance(one, other))


def _distance(one: Any, other: Any) -> float | None:
    is_number = isinstance(one, int | float) and isinstance(other, int | float)
    return abs(one - other) if is_number else None


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values below a dotted key that are not measured."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in MEASURED:
                yield from _leaves(f"{key}.{name}".strip("."), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(f"{key}[{index}]", inner)
    else:
        yield key, value


def _shown(value: Any) -> str:
    return "(none)" if value is None else str(value)
