"""The copies of plugin files that a run folder keeps."""

import os
from collections.abc import Sequence
from pathlib import Path

from hieraseg.console import log, warn
from hieraseg.errors import RecipeError
from hieraseg.files.writing import write_bytes
from hieraseg.recipe.composing import compose
from hieraseg.registry.files import PluginFile, plugin_folders
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.records import CopiedFile, check_digest, sha256


def copy_plugins(folder: RunFolder, files: Sequence[PluginFile]) -> list[CopiedFile]:
    """Copy plugin files into a run folder, with the content that was run.

    Returns:
        For each file `file`, the copy's path relative to the run folder; `original`, the absolute
        path it had; and its `sha256`.
    """
    copies: list[CopiedFile] = []
    for file in files:
        copy = folder.new_copy(folder.plugins, file.path)
        write_bytes(copy, file.source)
        name = copy.relative_to(folder.path).as_posix()
        copies.append({"file": name, "original": str(file.path), "sha256": file.sha256})
    return copies


def check_plugins(folder: RunFolder, run_plugins: bool = True) -> None:
    """Check the plugin files of a run before they are run, and say that they will be.

    Also log which originals differ from the run's copies by now.

    Args:
        folder: the run folder.
        run_plugins: whether they may be run.

    Raises:
        RecipeError: they may not; or a file is not the one that the provenance recorded.
    """
    files = _plugin_files(folder)
    if not files:
        return
    names = ", ".join(map(str, files))
    if not run_plugins:
        raise RecipeError(
            f"{folder.path}: needs its plugin files {names}, which --no-plugins refuses to run; "
            "read them, and leave the option out if you trust them"
        )
    recorded = folder.read_provenance().get("plugin_files", [])
    copies = {_normal(folder.path / copy["file"]): copy for copy in recorded}
    for file in files:
        if file not in copies:
            raise RecipeError(
                f"{folder.path}: {file} is not a plugin file that the run recorded in "
                f"{folder.provenance.name}; remove it, or run the recipe again"
            )
        _check_plugin(file, copies[file])
    log(f"running plugin files of the run folder: {names}")


def _plugin_files(folder: RunFolder) -> list[Path]:
    """Plugin files that loading the run may run: those that its recipe names.

    And all of the run folder, if it is the working directory, whose `plugins` are known to all.
    """
    files = [_normal(plugin.path) for plugin in compose(folder.recipe, ()).plugins]
    if folder.plugins.resolve() in [known.resolve() for known in plugin_folders()]:
        files += sorted(_normal(file) for file in folder.plugins.glob("*.py"))
    return list(dict.fromkeys(files))


def _check_plugin(file: Path, copy: CopiedFile) -> None:
    check_digest(file, PluginFile.read(file).sha256, copy)
    difference = _difference(Path(copy["original"]), copy["sha256"])
    if difference:
        warn(f"{copy['original']} {difference}; using the run's copy {file}")


def _difference(original: Path, digest: str) -> str:
    if not original.is_file():
        return "is missing"
    try:
        return "" if sha256(original) == digest else "has changed since this run"
    except OSError:
        return "cannot be read"


def _normal(path: Path) -> Path:
    return Path(os.path.normpath(path))
