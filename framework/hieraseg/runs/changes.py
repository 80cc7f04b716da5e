"""What differs between two runs in all that their results depend on."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from hieraseg.errors import RecipeError
from hieraseg.files.strict_yaml import InvalidYAMLError, compose, plain, read_plain
from hieraseg.runs.environment import MAIN_PACKAGES
from hieraseg.runs.finished import read_recipe, recipe_problem
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.identity import by_content, data_of, digest_of, is_setting, settings_in
from hieraseg.runs.records import Provenance

Part = Literal["recipe", "data", "code", "packages", "hardware", "numerics"]

_MOST_FILES = 5


class Change(NamedTuple):
    """Something that is not the same in two runs.

    Attributes:
        part: what it belongs to.
        key: its name, such as the dotted key of a setting.
        before: its value in the first run, as text; empty if it has none.
        after: its value in the second run.
    """

    part: Part
    key: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.key}: {self.before or '(none)'} -> {self.after or '(none)'}"


def changes(
    before: Mapping[str, Any], then: Provenance, after: Mapping[str, Any], now: Provenance
) -> list[Change]:
    """What differs in recipe, data and code, of which results are made.

    Args:
        before: the resolved recipe of the first run, as plain values.
        then: its provenance.
        after: recipe of the second run.
        now: its provenance; what is missing in one of them is not compared.
    """
    return [
        *_setting_changes(before, then, after, now),
        *_data_changes(then, now),
        *_code_changes(then, now),
    ]


def surroundings(then: Provenance, now: Provenance) -> list[Change]:
    """What differs in packages, hardware and settings of PyTorch.

    Where a run recorded none of them, or some packages only, as older ones did, that is one change.
    """
    parts: dict[Part, list[Mapping[str, Any] | None]] = {
        "packages": [one.get("packages") for one in (then, now)],
        "hardware": [one.get("hardware") for one in (then, now)],
        "numerics": [one.get("numerics") for one in (then, now)],
    }
    found: list[Change] = []
    for part, records in parts.items():
        old, new = ({key: str(value) for key, value in (one or {}).items()} for one in records)
        if part == "packages" and _is_selection(old) != _is_selection(new):
            both = old.keys() & new.keys()
            found.append(_recorded(part, old, new))
            old, new = ({key: one[key] for key in both} for one in (old, new))
        elif bool(old) != bool(new):
            found.append(_recorded(part, old, new))
            continue
        found += _differing(part, old, new)
    return found


def _is_selection(packages: Mapping[str, str]) -> bool:
    """Whether a record has the main packages only."""
    return packages.keys() <= {"python", *MAIN_PACKAGES}


def _recorded(part: Part, old: Mapping[str, str], new: Mapping[str, str]) -> Change:
    sizes = [f"{len(one)} entries" if one else "" for one in (old, new)]
    return Change(part, f"what is recorded of {part}", *sizes)


def recipe_at_start(folder: RunFolder, provenance: Provenance) -> dict[str, Any]:
    """The resolved recipe that a run trained with last, whatever its file says by now.

    Raises:
        RecipeError: it is damaged.
    """
    text = provenance.get("recipe")
    if text is None:  # of an older run
        return read_recipe(folder)
    try:
        recipe: dict[str, Any] = plain(compose(text))
        problem = recipe_problem(recipe)
    except InvalidYAMLError as error:
        problem = str(error)
    if problem:
        raise RecipeError(
            f"{folder.provenance}: recipe: is damaged ({problem}); restore it from a copy, or run "
            "the recipe again"
        )
    return recipe


def edited_settings(folder: RunFolder) -> list[Change]:
    """Settings that the recipe in a run folder has otherwise than the run trained with last.

    Raises:
        RecipeError: a record is damaged.
    """
    then = folder.read_provenance()
    before, after = recipe_at_start(folder, then), read_plain(folder.recipe)
    return _differing("recipe", settings_in(before, then), settings_in(after, then))


def _setting_changes(
    before: Mapping[str, Any], then: Provenance, after: Mapping[str, Any], now: Provenance
) -> Iterator[Change]:
    """Settings that differ; a file with the same content is the same, whatever its name."""
    contents = by_content(before, then), by_content(after, now)
    changed = {one.key for one in _differing("recipe", *contents)}
    for one in _differing("recipe", settings_in(before, then), settings_in(after, now)):
        if one.key in changed:
            yield one
    yield from _differing("recipe", *(_seed(recipe) for recipe in (before, after)))


def _seed(recipe: Mapping[str, Any]) -> dict[str, str]:
    return {"training.seed": str(recipe["training"]["seed"])}


def _differing(part: Part, before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    keys = dict.fromkeys((*before, *after))
    return [
        Change(part, key, before.get(key, ""), after.get(key, ""))
        for key in keys
        if before.get(key) != after.get(key)
    ]


def _data_changes(then: Provenance, now: Provenance) -> Iterator[Change]:
    old, new = data_of(then), data_of(now)
    for name in sorted(old.keys() & new.keys()):
        if old[name] == new[name]:
            continue
        what = "the weights to start from" if name == "init" else f"the data of split {name!r}"
        sizes = [one.get("images", {}).get(name) for one in (then, now)]
        counts = ["" if size is None else f"{size} images, " for size in sizes]
        yield Change("data", what, f"{counts[0]}{old[name][:6]}", f"{counts[1]}{new[name][:6]}")


def _code_changes(then: Provenance, now: Provenance) -> Iterator[Change]:
    old, new = _components(then), _components(now)
    for name in sorted(old.keys() & new.keys()):
        if old[name] != new[name]:
            yield Change("code", f"the code of {name}", old[name][:6], new[name][:6])
    before, after = then.get("code", {}), now.get("code", {})
    for key in ("version", "sources"):
        values = (before.get(key), after.get(key))
        if None not in values and values[0] != values[1]:
            files = _changed_files(before.get("files", {}), after.get("files", {}))
            short = [str(value)[:12] for value in values]
            yield Change("code", f"hieraseg itself ({key}{files})", *short)
            return


def _components(record: Provenance) -> dict[str, str]:
    """Digest of the code of each component, by section and name."""
    return {
        f"{section} {one.get('name')!r}": digest_of([one["sha256"], one.get("sources")])
        for section, components in record.get("plugins", {}).items()
        for one in components
        if one.get("sha256") and is_setting(section)
    }


def _changed_files(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    if not before:  # of an older run
        return ""
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    rest = f" and {len(names) - _MOST_FILES} more" if len(names) > _MOST_FILES else ""
    return f": {', '.join(names[:_MOST_FILES])}{rest}" if names else ""
