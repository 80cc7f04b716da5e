"""What makes runs replicates of each other: their settings, files, code and data, but no seed."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import PurePath
from typing import Any

from hieraseg.files.strict_yaml import inline
from hieraseg.runs.records import Provenance

_NO_SETTING = re.compile(
    r"data\.root|input\.store|training\.(seed|device)|(checkpoints|logging)\..*|(plugins|trackers).*"
)


def identity_of(recipe_name: str, recipe: Mapping[str, Any], provenance: Provenance) -> str:
    """A string that runs have in common if they differ only in their seeds.

    Args:
        recipe_name: name of the recipe, which is that of the folder above the run folder.
        recipe: the resolved recipe, as plain values.
        provenance: content of `provenance.json`, as far as it is known.
    """
    parts: list[Any] = [
        *(recipe_name, by_content(recipe, provenance), code_of(provenance), data_of(provenance)),
        *changed_settings(provenance),
    ]
    return json.dumps(parts, sort_keys=True)


def by_content(recipe: Mapping[str, Any], provenance: Provenance) -> dict[str, str]:
    """As `settings_in`, with the digests of files, wherever they are, and whatever their names."""
    digests = _files_of(provenance)
    return _settings(recipe, lambda path: digests.get(path, path))


def changed_settings(provenance: Provenance) -> list[Any]:
    """Settings that were changed when a run was resumed: such a run is no replicate of others."""
    resumed = [one.get("changed", {}) for one in provenance.get("resumed", [])]
    settings = [{key: one[key] for key in one if is_setting(key)} for one in resumed]
    return [one for one in settings if one]


def settings_in(recipe: Mapping[str, Any], provenance: Provenance) -> dict[str, str]:
    """What a resolved recipe sets, as YAML by dotted key.

    The name of a component is the value of its own key: `loss: sum`, `loss.losses[0]: dice`,
    `loss.losses[0].smooth: 0.0`. Files are shown by name and content, as in `tree.yaml (3f2a1b)`.
    Keys that only say where things are, such as `data.root`, are left out.
    """
    digests = _files_of(provenance)

    def shown(path: str) -> str:
        return f"{PurePath(path).name} ({digests[path][:6]})" if path in digests else path

    return _settings(recipe, shown)


def is_setting(key: str) -> bool:
    """Whether a dotted key changes what is trained or scored; the files of `plugins` are code."""
    return not _NO_SETTING.fullmatch(key)


def code_of(provenance: Provenance) -> dict[str, str]:
    """Digests of the code that a run executed, by part: `hieraseg`, each component, plugin files.

    Older runs did not record the sources of hieraseg, but its revision and changes.
    """
    code, parts = provenance.get("code", {}), {}
    if code:
        older = [code.get("version"), code.get("revision"), code.get("diff")]
        parts["hieraseg"] = code.get("sources") or digest_of(older)
    files: dict[bool, set[str | None]] = {True: set(), False: set()}
    for section, components in provenance.get("plugins", {}).items():
        for component in components:
            files[is_setting(section)].add(component.get("sha256"))
            if is_setting(section):
                digest = component.get("sources") or component.get("sha256")
                parts[f"{section} {component.get('name')}"] = digest or "unknown"
    of_trackers = files[False] - files[True]
    copies = {copy["file"]: copy["sha256"] for copy in provenance.get("plugin_files", [])}
    return parts | {file: digest for file, digest in copies.items() if digest not in of_trackers}


def data_of(provenance: Provenance) -> dict[str, str]:
    """Digests of what a run read: the images and masks of each split, and its first weights."""
    init = provenance.get("init") or {}
    return {**provenance.get("data", {}), **({"init": init["sha256"]} if "sha256" in init else {})}


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _files_of(provenance: Provenance) -> dict[str, str]:
    """SHA-256 of each file that the recipe's arguments name, copied or not."""
    files = {copy["file"]: copy["sha256"] for copy in provenance.get("argument_files", [])}
    for components in provenance.get("plugins", {}).values():
        for component in components:
            files |= component.get("files", {})  # without copies, such as pretrained weights
    return files


def _settings(recipe: Mapping[str, Any], shown: Callable[[str], str]) -> dict[str, str]:
    return {
        key: _text(value, shown)
        for section, content in recipe.items()
        for key, value in _leaves(str(section), content)
        if is_setting(key)
    }


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values below a dotted key. The name of a component is the value of its key."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(key if name == "name" else f"{key}.{name}", inner)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(f"{key}[{index}]", item)
    else:
        yield key, value


def _text(value: Any, shown: Callable[[str], str]) -> str:
    """A value as YAML. Each string in it, which may be the path of a file, is shown another way."""
    if isinstance(value, dict):
        return inline(value)  # which is empty
    if isinstance(value, list):
        return inline([shown(item) if isinstance(item, str) else item for item in value])
    return _scalar(shown(value) if isinstance(value, str) else value)


@lru_cache(maxsize=4096, typed=True)  # 1, 1.0 and True are equal
def _scalar(value: Any) -> str:
    return inline(value)
