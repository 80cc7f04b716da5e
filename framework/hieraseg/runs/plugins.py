"""The copies of plugin files that a run folder keeps."""

import json
from collections.abc import Sequence
from pathlib import Path

from hieraseg.console import log
from hieraseg.errors import RecipeError
from hieraseg.registry.files import PluginFile
from hieraseg.runs.folder import RunFolder


def copy_plugins(folder: RunFolder, files: Sequence[PluginFile]) -> list[dict[str, str]]:
    """Copy plugin files into a run folder, with the content that was run.

    Returns:
        For each file `file`, the copy's path relative to the run folder; `original`, the absolute
        path it had; and its `sha256`.
    """
    copies: list[dict[str, str]] = []
    for file in files:
        folder.plugins.mkdir(exist_ok=True)
        copy = folder.plugins / file.path.name
        attempt = 2
        while copy.exists():  # files with the same name from two folders
            copy = folder.plugins / f"{file.path.stem}_{attempt}.py"
            attempt += 1
        copy.write_bytes(file.source)
        name = copy.relative_to(folder.path).as_posix()
        copies.append({"file": name, "original": str(file.path), "sha256": file.sha256})
    return copies


def copied_plugins(folder: RunFolder) -> list[dict[str, str]]:
    """What `copy_plugins` returned, as the provenance recorded it; empty if there is none."""
    try:
        provenance = json.loads(folder.provenance.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return provenance.get("plugin_files", [])


def check_plugins(folder: RunFolder) -> None:
    """Check the copies, and log which originals differ from them by now.

    Raises:
        RecipeError: a copy was changed after the run.
    """
    for plugin in copied_plugins(folder):
        copy, original = folder.path / plugin["file"], Path(plugin["original"])
        if copy.is_file() and PluginFile.read(copy).sha256 != plugin["sha256"]:
            raise RecipeError(
                f"{copy}: was changed after the run, so it no longer explains the scores; "
                "restore it, or run the recipe again"
            )
        try:
            changed = PluginFile.read(original).sha256 != plugin["sha256"]
            difference = "has changed since this run" if changed else ""
        except RecipeError:
            difference = "is missing, or cannot be read"
        if difference:
            log(f"{original} {difference}; using the run's copy {copy}")
