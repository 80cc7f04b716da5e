"""Finished runs, read to be compared: without running their code, and damaged ones refused."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from hieraseg.console import warn
from hieraseg.errors import RecipeError, did_you_mean
from hieraseg.files.paths import quoted
from hieraseg.files.strict_yaml import InvalidYAMLError, read_plain
from hieraseg.runs.folder import RECORDS, RunFolder
from hieraseg.runs.identity import identity_of
from hieraseg.runs.json_types import problem_in
from hieraseg.runs.records import Cost, Provenance, SplitScores, scores_in
from hieraseg.runs.validations import read_validations


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    Attributes:
        path: the run folder.
        recipe: its resolved recipe, as plain values.
        provenance: its provenance; empty if it is not known.
        key: key of the scores (see `metrics.protocol.score_key`).
        identity: a string that runs have in common if they differ only in their seeds (see
            `identity_of`).
        seed: the seed.
        started: when it started, as a string that sorts by time; empty if that is not known.
        scores: scores of one split.
        cost: cost of training.
    """

    path: Path
    recipe: Mapping[str, Any]
    provenance: Provenance
    key: str
    identity: str
    seed: int
    started: str
    scores: SplitScores
    cost: Cost


class _Training(TypedDict):
    seed: int
    epochs: int


class _RecipeOfRun(TypedDict):
    training: _Training


def find_runs(root: Path) -> list[RunFolder]:
    """The run folders in a folder, or the folder itself if it is one. Links are followed.

    Folders that this user may not read are left out, after a warning.
    """
    if any((root / name).is_file() for name in RECORDS):
        return [RunFolder(root)]
    found: list[RunFolder] = []
    seen: set[str] = set()
    unread: list[OSError] = []
    walk = os.walk(root, onerror=unread.append, followlinks=True)  # runs may be on another disk
    for folder, folders, files in walk:
        place = os.path.realpath(folder)
        if place in seen:
            folders.clear()
        elif any(name in files for name in RECORDS):
            found.append(RunFolder(Path(folder)))
            folders.clear()
        seen.add(place)
    names = [str(one.filename) for one in unread if not isinstance(one, FileNotFoundError)]
    if names:
        shown = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
        warn(f"{shown}: cannot be read, so runs in there are left out; make it readable")
    return sorted(found, key=lambda run: run.path)


def read_finished(folder: RunFolder, key: str) -> FinishedRun:
    """Read a finished run.

    Args:
        folder: the run folder.
        key: key of the scores (see `metrics.protocol.score_key`).

    Raises:
        RecipeError: a file is damaged, the run did not finish, or it has no such scores.
    """
    recipe = read_recipe(folder)
    training: _Training = recipe["training"]
    result = folder.read_result() if folder.result.is_file() else None
    path = quoted(folder.path)
    if result is None or not result["cost"]:
        raise RecipeError(
            f"{folder.path}: did not finish training (epoch {_epochs(folder)} of "
            f"{training['epochs']}); {_what_to_do(folder)}"
        )
    if key not in result["splits"]:
        split, _, protocol = key.partition("@")
        options = f" with the options for {protocol}" if protocol else ""
        raise RecipeError(
            f"{folder.path}: no scores on split {key!r} ({did_you_mean(key, result['splits'])}); "
            f"run `hieraseg evaluate {path} --split {split}`{options} first"
        )
    scores = scores_in(result, key, folder.result)
    provenance = _read_provenance(folder, recipe)
    return FinishedRun(
        path=folder.path,
        recipe=recipe,
        provenance=provenance,
        key=key,
        identity=_identity(folder, recipe, provenance),
        seed=training["seed"],
        started=provenance.get("started", ""),
        scores=scores,
        cost=result["cost"],
    )


def read_identity(folder: RunFolder) -> str:
    """The identity of a run, finished or not (see `identity_of`).

    Raises:
        RecipeError: a file is damaged, or there is no provenance.
    """
    return _identity(folder, read_recipe(folder), folder.read_provenance())


def _identity(folder: RunFolder, recipe: Mapping[str, Any], provenance: Provenance) -> str:
    return identity_of(folder.path.resolve().parent.name, recipe, provenance)


def read_recipe(folder: RunFolder) -> dict[str, Any]:
    """The resolved recipe of a run, as plain values; those of `training` have their types.

    Raises:
        RecipeError: it cannot be read, or is damaged.
    """
    fix = "restore it from a copy, or run the recipe again"
    try:
        recipe = read_plain(folder.recipe)
        problem, line = recipe_problem(recipe), 1
    except InvalidYAMLError as error:
        problem, line = str(error), error.line
    except OSError as error:
        raise RecipeError(f"{folder.recipe}: cannot be read ({error.strerror}); {fix}") from error
    if problem:
        raise RecipeError(f"{folder.recipe}:{line}: is damaged ({problem}); {fix}")
    return recipe


def recipe_problem(recipe: Any) -> str:
    """What is wrong with the types of a recipe's section `training`; empty if nothing is."""
    return problem_in(recipe, _RecipeOfRun)


def _read_provenance(folder: RunFolder, recipe: Mapping[str, Any]) -> Provenance:
    """The provenance; older runs without it can be compared if they used no plugin files."""
    if "plugins" not in recipe and not folder.provenance.exists():
        return {}
    return folder.read_provenance()


def _what_to_do(folder: RunFolder) -> str:
    """Why a run did not finish, if it says so, or else what to do."""
    failure = folder.read_failure()
    if failure and failure["message"]:
        return f"it {failure['state']}: {failure['message']}"
    return f"wait for its end, or go on with `hieraseg resume {quoted(folder.path)}`"


def _epochs(folder: RunFolder) -> int:
    """Number of epochs that are trained and scored."""
    done = read_validations(folder)
    return int(done[-1].passes) if done else 0
