"""What a run can go on from: the newest of its checkpoints that are not damaged."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hieraseg.console import warn
from hieraseg.errors import RecipeError
from hieraseg.files.writing import versions
from hieraseg.runs.checkpoint import (
    FIX,
    WEIGHTS,
    Metadata,
    read_checkpoint,
    read_metadata,
    read_state,
)
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.records import sha256
from hieraseg.runs.resuming import no_checkpoint


class Saved(NamedTuple):
    """What a run can go on from.

    Attributes:
        state: as `State.state_dict` gives it.
        last: folder of the checkpoint that it is in.
        best: folder of the checkpoint with the best weights so far; None if those of `last` are
            the best, or if none are yet.
    """

    state: dict[str, Any]
    last: Path
    best: Path | None


def newest_saved(folder: RunFolder) -> Saved:
    """The newest state that is not damaged, and has its best weights beside it.

    Raises:
        RecipeError: there is none.
    """
    problems: list[str] = []
    for last in versions(folder.checkpoint("last")):
        try:
            saved = _read_saved(folder, last)
        except RecipeError as error:
            problems.append(str(error).removesuffix(f"; {FIX}"))
            continue
        for problem in problems:
            warn(f"{problem}; the checkpoint before is used, of step {_step(saved.state)}")
        return saved
    raise no_checkpoint(folder, problems)


def _read_saved(folder: RunFolder, last: Path) -> Saved:
    """What is saved in a version of `last`.

    Raises:
        RecipeError: it is damaged or of another run, or the best weights of that moment are not
            there.
    """
    state = read_state(last)
    _check_run(folder, last, read_metadata(last))
    best_step = state["progress"]["best_step"]
    problems: list[str] = []
    for best in versions(folder.checkpoint("best")) if best_step else ():
        try:
            _, metadata = read_checkpoint(best / WEIGHTS)
            if metadata is not None and metadata.get("step") == best_step:
                _check_run(folder, best, metadata)
                return Saved(state, last, best)
        except RecipeError as error:
            problems.append(str(error).removesuffix(f"; {FIX}"))
    # Killed after it had written `last`, which has the same weights, and before `best`.
    if best_step in (0, _step(state)):
        return Saved(state, last, None)
    problem = problems[0] if problems else "there are no such weights"
    raise RecipeError(f"{last}: needs the best weights until then, of step {best_step} ({problem})")


def _step(state: Mapping[str, Any]) -> int:
    step: int = state["progress"]["step"]
    return step


def _check_run(folder: RunFolder, checkpoint: Path, metadata: Metadata) -> None:
    """Check that a checkpoint was written by a run. Raises RecipeError."""
    if metadata.get("recipe") not in {None, sha256(folder.recipe), *folder.recipe_digests()}:
        raise RecipeError(f"{checkpoint}: is of another run, with another recipe")
