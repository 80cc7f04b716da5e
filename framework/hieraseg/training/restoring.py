"""Restoring the state of a run that was stopped or killed."""

import hashlib
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hieraseg.console import log
from hieraseg.errors import RecipeError
from hieraseg.files.strict_yaml import read_plain
from hieraseg.files.writing import restore_version, tidy_folder, write_json, write_text
from hieraseg.processes import on_all_ranks
from hieraseg.recipe import Recipe
from hieraseg.recipe.resolved import as_yaml
from hieraseg.runs.checkpoint import read_metadata, save_checkpoint
from hieraseg.runs.ending import hold, let_go
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.provenance import data_record
from hieraseg.runs.resuming import check_unchanged
from hieraseg.training.saved import Saved, newest_saved
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
        RecipeError: the recipe, the data, the plugins or the code have changed, no state can be
            read, or another process goes on with the run.
    """
    is_main = parts.fabric.is_global_zero
    on_all_ranks(lambda: hold(folder) if is_main else None)  # before its files are read
    try:
        _restore(parts, state, folder, command)
    except BaseException:
        let_go(folder)
        raise


def _restore(parts: Parts, state: State, folder: RunFolder, command: Sequence[str]) -> None:
    """As `restore`, of a folder that is locked."""
    data = data_record(parts.stores)
    changed = on_all_ranks(lambda: check_unchanged(folder, parts.recipe, data))
    saved = on_all_ranks(lambda: newest_saved(folder))  # before its versions are moved
    state.load_state_dict(saved.state)
    if state.total_steps < state.step:
        raise RecipeError(
            f"training.epochs: the run has taken {state.step} steps, which are more than the "
            f"{state.total_steps} that it has now; epochs can only be increased"
        )
    record = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "command": list(command),
        "step": state.step,
        "host": platform.node(),
        "changed": changed,
    }
    is_main = parts.fabric.is_global_zero
    on_all_ranks(lambda: _restore_folder(parts, state, folder, saved, record) if is_main else None)
    log(f"run folder {folder.path}: goes on after step {state.step}, in epoch {state.epoch}")


def _restore_folder(
    parts: Parts, state: State, folder: RunFolder, saved: Saved, record: Mapping[str, Any]
) -> None:
    """Make the run folder as it was when the state was saved, and note that it is resumed.

    A process that is killed in between leaves a folder of which the same can be made.
    """
    folder.keep_metrics(state.validations)
    _restore_checkpoints(folder, saved, parts.recipe.checkpoints.keep)
    recorded = folder.read_provenance()
    # Not that of the file: a process that was killed here may have changed it, and not trained.
    before = recorded.get("recipe", folder.recipe.read_text(encoding="utf-8"))
    resumed = {**record, "recipe": hashlib.sha256(before.encode()).hexdigest()}
    _update_recipe(folder, parts.recipe)
    folder.failure.unlink(missing_ok=True)
    folder.mark_unfinished()
    records = {
        **recorded,
        "recipe": folder.recipe.read_text(encoding="utf-8"),
        "resumed": [*recorded.get("resumed", ()), resumed],
    }
    write_json(folder.provenance, records)


def _restore_checkpoints(folder: RunFolder, saved: Saved, keep: int) -> None:
    """Let the checkpoints that are used be the newest ones, and remove what else was left."""
    last, best = folder.checkpoint("last"), folder.checkpoint("best")
    restore_version(last, saved.last)
    tidy_folder(last, keep)
    if saved.best is not None:
        restore_version(best, saved.best)
        tidy_folder(best, keep)
    elif saved.state["progress"]["best_step"]:
        save_checkpoint(best, saved.state["model"], read_metadata(last), keep=keep)


def _update_recipe(folder: RunFolder, recipe: Recipe) -> None:
    """Write what the command line changes into the run's recipe."""
    before = read_plain(folder.recipe)
    own = recipe.to_dict()
    sections = ("input", "training", "validation", "checkpoints", "logging", "trackers")
    after = before | {section: own[section] for section in sections}
    if "root" in own["data"]:
        after["data"] = {**before["data"], "root": own["data"]["root"]}
    if after != before:
        write_text(folder.recipe, as_yaml(after))
