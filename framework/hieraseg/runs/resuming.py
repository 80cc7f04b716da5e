"""Whether a run can go on: nothing has changed that its results depend on."""

import os
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from hieraseg.console import warn
from hieraseg.errors import RecipeError, first_few
from hieraseg.files.paths import expanded, quoted
from hieraseg.files.writing import versions as versions_of
from hieraseg.recipe import Recipe
from hieraseg.runs.changes import Change, changes, recipe_at_start
from hieraseg.runs.ending import still_runs
from hieraseg.runs.environment import versions
from hieraseg.runs.finished import read_recipe
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.identity import settings_in
from hieraseg.runs.provenance import DataRecord, inputs
from hieraseg.runs.records import Cost, Provenance
from hieraseg.runs.status import is_running

MAY_CHANGE = (
    *("training.epochs", "training.device", "training.devices", "training.num_nodes"),
    *("training.on_nonfinite", "validation.patience", "data.root", "input.store"),
    *("checkpoints.*", "logging.*", "trackers"),
)
"""Keys of a recipe that may be changed when a run is resumed; the number of epochs only upwards."""

_ALLOWED = re.compile(
    "|".join(key.replace(".", r"\.").replace(r"\.*", r"\..+") for key in MAY_CHANGE)
)


def check_keys(folder: RunFolder, overrides: Sequence[tuple[str, str]]) -> None:
    """Check the keys that the command line changes.

    Raises:
        RecipeError: one of them may not be changed.
    """
    wrong = [(key, text) for key, text in overrides if not _ALLOWED.fullmatch(key)]
    if not wrong:
        return
    key, text = wrong[0]
    recipe = read_recipe(folder)
    known = settings_in(recipe, {}) | {"training.seed": str(recipe["training"]["seed"])}
    before = known.get(key.removesuffix(".name"))
    change = "" if before is None else f" ({before} -> {text})"
    raise RecipeError(
        f"command line: --{key}: cannot be changed when a run is resumed{change}; what can is "
        f"{', '.join(MAY_CHANGE)}"
    )


def nothing_left(folder: RunFolder, recipe: Recipe) -> str:
    """Why there is nothing left to train of a run; empty if it can go on.

    Args:
        folder: the run folder.
        recipe: the recipe that it would go on with.

    Raises:
        RecipeError: it cannot do what the recipe asks for, has no checkpoint, or still runs.
    """
    if is_running(folder):
        raise still_runs(folder)
    cost = folder.read_result()["cost"] if folder.result.is_file() else {}
    if cost:
        find = _end_of_patience if cost.get("stopped_early") else _end_of_epochs
        end = find(folder, recipe, cost)
        if end:
            return end
    if not versions_of(folder.checkpoint("last")):
        raise no_checkpoint(folder)
    return ""


def no_checkpoint(folder: RunFolder, problems: Sequence[str] = ()) -> RecipeError:
    """The error of a run that has no checkpoint to go on from.

    Args:
        folder: the run folder.
        problems: why those that are there cannot be used.
    """
    what = f"that can be used ({'; '.join(problems)})" if problems else "to go on from"
    # Damaged ones would only be found again in the same place.
    command = _anew(folder) if problems else _in_its_place(folder)
    return RecipeError(
        f"{folder.path}: has no checkpoint {what}; run its recipe again with `{command}`"
    )


def _anew(folder: RunFolder) -> str:
    return f"hieraseg run {quoted(folder.recipe)}"


def _in_its_place(folder: RunFolder) -> str:
    """The command that began a run, to be given once more; another one if it is not known."""
    recorded = folder.read_provenance()
    words = recorded.get("command", [])[1:]
    place = recorded.get("folder", os.getcwd())
    # Not as a job of a cluster, nor of a folder that was moved or copied.
    if words[:1] != ["run"] or "--verify" in words or not _is_below(_out(words, place), folder):
        return _anew(folder)
    words = ["hieraseg", *(one for one in words if one not in ("--resume", "--again")), "--resume"]
    command = " ".join(map(quoted, words))
    return command if place == os.getcwd() else f"cd {quoted(place)} && {command}"


def _out(words: Sequence[str], place: str) -> Path:
    """The folder of all runs that a command names, given in a working directory."""
    given = [one.removeprefix("--out=") for one in words if one.startswith("--out=")]
    given += [value for option, value in pairwise(words) if option == "--out"]
    return Path(place, expanded(given[-1] if given else "runs"))


def _is_below(out: Path, folder: RunFolder) -> bool:
    return folder.path.resolve().parents[1:2] == (out.resolve(),)


def _end_of_epochs(folder: RunFolder, recipe: Recipe, cost: Cost) -> str:
    """How a run ended that has taken all its steps; empty if it has more epochs now."""
    before = recipe_at_start(folder, folder.read_provenance())["training"]["epochs"]
    if recipe.training.epochs > before:
        return ""
    end = (
        f"{folder.path}: is finished after {cost.get('epochs', before)} epochs; to train it "
        "further, increase --training.epochs"
    )
    if recipe.training.epochs < before:
        raise RecipeError(end)
    return end


def _end_of_patience(folder: RunFolder, recipe: Recipe, cost: Cost) -> str:
    """How a run ended that stopped early; empty if it has more patience now."""
    then = recipe_at_start(folder, folder.read_provenance())
    before = then.get("validation", {}).get("patience") or 0
    patience = recipe.validation.patience
    if patience is None or patience > before:
        return ""
    end = (
        f"{folder.path}: stopped early after epoch {cost.get('epochs', '(unknown)')}, because "
        f"{cost.get('monitor', 'its score')} did not improve (validation.patience: {before}); "
        "to train it further, increase --validation.patience, or set it to null"
    )
    if patience < before or recipe.training.epochs != then["training"]["epochs"]:
        raise RecipeError(end)
    return end


def check_unchanged(folder: RunFolder, recipe: Recipe, data: DataRecord) -> dict[str, list[str]]:
    """Check that recipe, code, data and plugins are those that the run began with.

    Args:
        folder: the run folder.
        recipe: its recipe.
        data: the images that it reads.

    Returns:
        The settings that have changed, which all may: old and new value by key.

    Raises:
        RecipeError: something else has changed; the message says what.
    """
    now = inputs(recipe, data)
    allowed, refused = changes_since(folder, recipe.to_dict(), now)
    if refused:
        raise refusal(folder, refused)
    _warn_of_packages(folder.read_provenance())
    return {one.key: [one.before, one.after] for one in allowed}


def changes_since(
    folder: RunFolder, recipe: Mapping[str, Any], now: Mapping[str, Any]
) -> tuple[list[Change], list[Change]]:
    """What has changed since a run trained last: what may, and what may not.

    Args:
        folder: the run folder.
        recipe: the resolved recipe that it would go on with, as plain values.
        now: the provenance that it would have, as far as it is known.
    """
    then = folder.read_provenance()
    found = changes(recipe_at_start(folder, then), then, recipe, now)  # type: ignore[arg-type]
    refused = [one for one in found if not _may_be(one)]
    return [one for one in found if one not in refused], refused


def refusal(folder: RunFolder, refused: Sequence[Change], fix: str = "") -> RecipeError:
    """The error of a run that cannot go on, because of what has changed.

    Args:
        folder: the run folder.
        refused: what has changed.
        fix: what to do; undoing that or another run of its recipe, if not given.
    """
    changed = first_few(
        [str(one) for one in refused], "things have changed since it began", shown=10
    )
    return RecipeError(
        f"{folder.path}: cannot go on as if it had not been stopped: {changed}; "
        + (fix or f"undo that, or run the recipe again with `{_anew(folder)}`")
    )


def _may_be(change: Change) -> bool:
    if change.part != "recipe" or not _ALLOWED.fullmatch(change.key):
        return False
    return change.key != "training.epochs" or int(change.after) >= int(change.before)


def _warn_of_packages(then: Provenance) -> None:
    packages = then.get("packages", {})
    others = [
        f"{name} {packages[name]} -> {version}"
        for name, version in versions().items()
        if packages.get(name, version) != version
    ]
    if others:
        warn(f"packages have changed since the run began: {', '.join(others)}")
