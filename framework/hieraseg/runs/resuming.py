"""Whether a run can go on: nothing has changed that its results depend on."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hieraseg.console import warn
from hieraseg.errors import RecipeError, first_few
from hieraseg.files.writing import is_free
from hieraseg.recipe import Recipe
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.provenance import provenance, versions

MAY_CHANGE = (
    *("training.epochs", "training.device", "training.devices", "training.num_nodes"),
    *("checkpoints.*", "logging.*"),
)
"""Keys of a recipe that may be changed when a run is resumed; the number of epochs only upwards."""

_ALLOWED = re.compile(
    "|".join(key.replace(".", r"\.").replace(r"\.*", r"\..+") for key in MAY_CHANGE)
)


def check_keys(keys: list[str]) -> None:
    """Check the keys that the command line changes.

    Raises:
        RecipeError: one of them may not be changed.
    """
    wrong = [key for key in keys if not _ALLOWED.fullmatch(key)]
    if wrong:
        raise RecipeError(
            f"command line: --{wrong[0]}: cannot be changed when a run is resumed; what can is "
            f"{', '.join(MAY_CHANGE)}"
        )


def check_unfinished(folder: RunFolder, recipe: Recipe) -> None:
    """Check that there is something left to train, and that no other process does.

    Raises:
        RecipeError: the run is finished, and has no more epochs now; or it still runs.
    """
    if folder.lock.exists() and not is_free(folder.lock):
        raise RecipeError(f"{folder.path}: still runs; stop that process first, or wait for it")
    if not folder.result.is_file():
        return
    cost = folder.read_result()["cost"]
    if cost and recipe.training.epochs <= cost["epochs"]:
        raise RecipeError(
            f"{folder.path}: is finished after {cost['epochs']} epochs; to train it further, "
            "increase --training.epochs"
        )


def check_unchanged(folder: RunFolder, recipe: Recipe, data: dict[str, str]) -> None:
    """Check that code, data and plugins are those that the run began with.

    Args:
        folder: the run folder.
        recipe: its recipe.
        data: fingerprint of each split.

    Raises:
        RecipeError: they are not; the message says what differs.
    """
    then: Mapping[str, Any] = folder.read_provenance()
    now = provenance(recipe, data)
    problems = [*_changes(then, now)]
    if problems:
        changes = first_few(problems, "things have changed since it began")
        raise RecipeError(
            f"{folder.path}: cannot go on as if it had not been stopped: {changes}; undo that, or "
            f"run the recipe again with `hieraseg run {folder.recipe}`"
        )
    packages = then.get("packages", {})
    others = [
        f"{name} {packages[name]} -> {version}"
        for name, version in versions().items()
        if packages.get(name, version) != version
    ]
    if others:
        warn(f"packages have changed since the run began: {', '.join(others)}")


def _changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What differs between two provenances, of what results depend on."""
    for split, fingerprint in now["data"].items():
        if then.get("data", {}).get(split, fingerprint) != fingerprint:
            yield f"the data of split {split!r}"
    before = _digests(then)
    for place, digest in _digests(now).items():
        if before.get(place, digest) != digest:
            yield f"the code of {place}"
    for key in ("version", "sources"):
        old, new = then.get("code", {}).get(key), now["code"].get(key)
        if None not in (old, new) and old != new:
            yield f"hieraseg itself ({key} {_short(old)} -> {_short(new)})"
            return


def _digests(record: Mapping[str, Any]) -> dict[str, str]:
    """Digest of the code of each component, by section and name."""
    return {
        f"{section} {one['name']!r}": one["sha256"]
        for section, components in record.get("plugins", {}).items()
        for one in components
        if one.get("sha256")
    }


def _short(text: str) -> str:
    return text[:12]
