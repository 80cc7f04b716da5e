"""Restoring the state of a run that was stopped or killed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from hieraseg.console import log, warn
from hieraseg.errors import RecipeError
from hieraseg.files.strict_yaml import read_plain
from hieraseg.files.writing import restore_version, versions, write_json, write_text
from hieraseg.processes import on_all_ranks
from hieraseg.recipe import Recipe
from hieraseg.recipe.resolved import as_yaml
from hieraseg.runs.checkpoint import read_metadata, read_state, save_checkpoint
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.records import sha256
from hieraseg.runs.resuming import check_unchanged
from hieraseg.training.setup import Parts
from hieraseg.training.state import State


def restore(parts: Parts, state: State, folder: RunFolder, command: Sequence[str]) -> None:
    """Restore the newest state that can be read, and make the run folder as it was then.

    Args:
        parts: the parts of the run.
        state: its state before the first step, which is changed.
        folder: the run folder.
        command: the command line, for the provenance.

    Raises:
        RecipeError: the recipe, the data, the plugins or the code have changed, or no state can be
            read.
    """
    on_all_ranks(lambda: check_unchanged(folder, parts.recipe, parts.fingerprints()))
    saved = _newest_state(folder)
    state.load_state_dict(saved)
    if state.total_steps < state.step:
        raise RecipeError(
            f"training.epochs: the run has taken {state.step} steps, which are more than the "
            f"{state.total_steps} that it has now; epochs can only be increased"
        )
    on_all_ranks(partial(_restore_folder, parts, state, folder, command))
    log(f"run folder {folder.path}: goes on after step {state.step}, in epoch {state.epoch}")


def _newest_state(folder: RunFolder) -> dict[str, Any]:
    """The newest state that is not damaged."""
    problems = []
    for path in versions(folder.checkpoint("last")):
        try:
            state = read_state(path)
        except RecipeError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            warn(f"{problem}; the one before is used")
        return state
    if problems:
        raise RecipeError("\n".join(problems))
    raise RecipeError(
        f"{folder.path}: has no checkpoint to go on from; run its recipe again with "
        f"`hieraseg run {folder.recipe}`"
    )


def _restore_folder(parts: Parts, state: State, folder: RunFolder, command: Sequence[str]) -> None:
    """Make the run folder as it was when the state was saved, in the main process."""
    if not parts.fabric.is_global_zero:
        return
    folder.failure.unlink(missing_ok=True)
    folder.keep_metrics(state.scored)
    if state.best_epoch:
        _restore_best(state, folder)
    recorded = folder.read_provenance()
    resumed = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "command": list(command),
        "step": state.step,
        "recipe": sha256(folder.recipe),
    }
    records = [*recorded.get("resumed", ()), resumed]
    _update_recipe(folder, parts.recipe)
    folder.mark_unfinished()
    write_json(folder.provenance, {**recorded, "resumed": records})


def _update_recipe(folder: RunFolder, recipe: Recipe) -> None:
    """Write what the command line changes into the run's recipe."""
    before = read_plain(folder.recipe)
    own = recipe.to_dict()
    after = before | {section: own[section] for section in ("training", "checkpoints", "logging")}
    if after != before:
        write_text(folder.recipe, as_yaml(after))


def _restore_best(state: State, folder: RunFolder) -> None:
    """Let the checkpoint `best` be of the best epoch so far."""
    best = folder.checkpoint("best")
    for path in versions(best):
        if read_metadata(path)["epoch"] == state.best_epoch:
            restore_version(best, path)
            return
    if state.best_epoch != state.epoch or state.scored != state.epoch:
        raise RecipeError(
            f"{best}: has no weights of epoch {state.best_epoch}, the best so far; run the recipe "
            f"again with `hieraseg run {folder.recipe}`"
        )
    # The process was killed after it had written `last`, which has the same weights.
    metadata = read_metadata(folder.checkpoint("last"))
    save_checkpoint(best, state.model.state_dict(), metadata)
