"""The JSON files of a run folder: the types of their content, and reading with all types checked.

Run folders are copied, edited and cut off, so no reader relies on what a file should hold.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, NoReturn, NotRequired, TypedDict, cast

from hieraseg.errors import RecipeError
from hieraseg.runs.json_types import problem_in

Score = float | None
"""None where a score is undefined."""

_FIX = "restore it from a copy, or run the recipe again"
_LARGEST = 128 * 2**20
"""Bytes of the largest file that is read."""


class LevelScores(TypedDict):
    """Scores of a level; all values are scores, or scores by class (see `metrics.summarize`)."""

    level: int
    miou: Score
    iou: dict[str, Score]
    miou_with_background: NotRequired[Score]
    miou_per_image: NotRequired[Score]
    accuracy: NotRequired[dict[str, Score]]
    mean_accuracy: NotRequired[Score]
    pixel_accuracy: NotRequired[Score]
    mean_dice: NotRequired[Score]
    frequency_weighted_iou: NotRequired[Score]
    mean_boundary_iou: NotRequired[Score]
    ece: NotRequired[Score]
    classwise_ece: NotRequired[Score]
    sibling_mistakes: NotRequired[Score]


_AllScores = list[dict[str, Score | dict[str, Score]]]


class TreeRecord(TypedDict):
    """What scores depend on in a class tree (see `hierarchy.identity.record`)."""

    parents: str
    labels: str
    pairs: str
    void: list[int]
    background: str | None


class SplitScores(TypedDict):
    """Scores of a split and their protocol (see `metrics.protocol.protocol`)."""

    levels: list[LevelScores]
    coherence: Score
    mistake_distance: NotRequired[Score]
    hierarchical_precision: NotRequired[Score]
    hierarchical_recall: NotRequired[Score]
    hierarchical_f1: NotRequired[Score]
    resolution: str
    size: NotRequired[list[int]]
    resize: NotRequired[str]
    data: str
    checkpoint: str
    epoch: NotRequired[int]
    step: NotRequired[int]
    tta: NotRequired[str]
    views: NotRequired[str]  # as older runs call `tta`
    tree: NotRequired[TreeRecord]


class _LevelMean(TypedDict):
    level: int
    miou: Score


class LevelMeans(TypedDict):
    """The part of `SplitScores` that overviews read, which is checked in a tenth of the time."""

    levels: list[_LevelMean]


class Cost(TypedDict, total=False):
    """Cost of training; empty while a run is not finished. Older runs have some of it.

    Attributes:
        parameters: number of parameters of the model.
        flops: floating point operations of the model for one training image, forward and backward;
            None if they cannot be counted.
        epochs: epochs trained, the last one perhaps in part.
        steps: optimizer steps taken.
        validations: number of validations.
        monitor: score by which the best weights were chosen, as in `miou@3`.
        stopped_early: whether the run ended because that score did not improve.
        seconds: from the start of the run to its scores.
        images_per_second: while training, without validation: the median over the validations,
            without the first if there are several.
        peak_memory_bytes: peak from the first step to the scores, in the main process. On CUDA,
            of torch's tensors; on a CPU, of all that the process has in memory (its resident set),
            also of what it did before.
        processes: number of processes that trained.
    """

    parameters: float
    flops: float | None
    epochs: int
    steps: int
    validations: int
    monitor: str
    stopped_early: bool
    seconds: float
    images_per_second: float | None
    peak_memory_bytes: float | None
    processes: int


class Result(TypedDict):
    """`result.json`: scores by split and protocol (see `metrics.protocol.score_key`), and cost.

    Each entry of `splits` is a `SplitScores` (see `scores_in`).
    """

    splits: dict[str, dict]
    cost: Cost
    checksum: NotRequired[str]  # of all else; older runs have none


class CopiedFile(TypedDict):
    """A file that the run folder keeps a copy of."""

    file: str
    original: str
    sha256: str


class ComponentRecord(TypedDict):
    """A component that a run used (see `provenance`)."""

    name: NotRequired[str]
    sha256: NotRequired[str | None]
    sources: NotRequired[str]
    files: NotRequired[dict[str, str]]


class CodeRecord(TypedDict):
    """The code of hieraseg that a run used."""

    version: NotRequired[str]
    sources: NotRequired[str]
    revision: NotRequired[str | None]
    diff: NotRequired[str | None]  # of older runs
    files: NotRequired[dict[str, str]]


class InitRecord(TypedDict):
    """The weights that a run started from."""

    sha256: NotRequired[str]


class ResumeRecord(TypedDict):
    """When a run was resumed: SHA-256 of its recipe before, and the settings that were changed."""

    recipe: NotRequired[str]
    changed: NotRequired[dict[str, list[str]]]


class Provenance(TypedDict):
    """`provenance.json`, as far as it is read again."""

    started: NotRequired[str]
    command: NotRequired[list[str]]
    folder: NotRequired[str]
    seed: NotRequired[int]
    code: NotRequired[CodeRecord]
    packages: NotRequired[dict[str, str]]
    hardware: NotRequired[dict]
    numerics: NotRequired[dict]
    recipe: NotRequired[str]
    data: NotRequired[dict[str, str]]
    images: NotRequired[dict[str, int]]
    init: NotRequired[InitRecord | None]
    plugins: NotRequired[dict[str, list[ComponentRecord]]]
    plugin_files: NotRequired[list[CopiedFile]]
    argument_files: NotRequired[list[CopiedFile]]
    resumed: NotRequired[list[ResumeRecord]]


class Failure(TypedDict):
    """`failure.json`: how a run ended early, and why, in one sentence."""

    state: Literal["interrupted", "diverged", "failed"]
    message: str


def read_record(path: Path, expected: Any, fix: str = _FIX) -> Any:
    """Read a JSON file whose content has a type.

    Args:
        path: the file.
        expected: the type (see `json_types.problem_in`).
        fix: last part of the error message.

    Raises:
        FileNotFoundError: there is no such file.
        RecipeError: it cannot be read, or its content is of another type.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is not a file")
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST >> 20} MiB")
        value = json.loads(content.decode(), parse_constant=_refuse)
        problem = problem_in(value, expected)
    except FileNotFoundError:
        raise
    except PermissionError:
        raise unreadable(path) from None
    except (OSError, ValueError, RecursionError) as error:
        problem = getattr(error, "strerror", None) or str(error)
    if problem:
        raise RecipeError(f"{path}: is damaged ({problem}); {fix}")
    return value


def unreadable(path: Path) -> RecipeError:
    """The error of a file that this user may not read."""
    return RecipeError(f"{path}: cannot be read (Permission denied); make it readable")


def read_result(path: Path) -> Result:
    """Read `result.json`.

    Raises:
        FileNotFoundError: there is no such file.
        RecipeError: it is damaged, or was changed after it was written.
    """
    result: Result = read_record(path, Result)
    stored = result.pop("checksum", None)
    if stored is not None and stored != checksum(result):
        raise RecipeError(
            f"{path}: was changed after it was written, so its checksum is wrong; restore it from "
            "a copy, or remove the key `checksum` if the change is intended"
        )
    return result


def scores_in(result: Result, key: str, path: Path) -> SplitScores:
    """The scores of a split and protocol in a result.

    Args:
        result: the result.
        key: a key of its splits.
        path: its file, for the error message.

    Raises:
        RecipeError: they are of other types.
    """
    scores, place = result["splits"][key], f"splits.{key}"
    problem = problem_in(scores, SplitScores, place)
    if not problem:
        levels = scores["levels"]
        problem = problem_in(levels, _AllScores, f"{place}.levels") if levels else "no levels"
    if problem:
        raise RecipeError(f"{path}: is damaged ({problem}); {_FIX}")
    return cast(SplitScores, scores)


def checksum(content: Any) -> str:
    """SHA-256 of JSON content, whatever its formatting."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_digest(file: Path, digest: str, recorded: CopiedFile) -> None:
    """Raise RecipeError if a copy is not the file that the run used."""
    if digest != recorded["sha256"]:
        raise RecipeError(
            f"{file}: was changed after the run, so it no longer explains the scores; "
            "restore it, or run the recipe again"
        )


def sha256(file: Path) -> str:
    """SHA-256 of a file's content."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
