"""The copies that a run folder keeps of files which its recipe names, such as a class tree."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from hieraseg.console import warn
from hieraseg.errors import RecipeError
from hieraseg.files.writing import write_file
from hieraseg.recipe import Recipe
from hieraseg.recipe.paths import LARGEST_FILE, map_paths, paths_in
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.records import CopiedFile, check_digest, sha256


def copy_argument_files(folder: RunFolder, recipe: Recipe) -> tuple[Recipe, list[CopiedFile]]:
    """Copy the files that arguments name into a run folder.

    The `weights` of backbones and models stay where they are, as loading a run does not need them
    (see `contracts.Backbone`), and so do files of more than 64 MiB.

    Returns:
        The recipe with the copies' paths, relative to the run folder; and for each copy this path
        as `file`, `original`, the absolute path it had, and its `sha256`.
    """
    copies: dict[Path, PurePosixPath] = {}
    records: list[CopiedFile] = []
    for path in dict.fromkeys(_files_of(recipe)):
        if path.stat().st_size > LARGEST_FILE:
            limit = f"{LARGEST_FILE >> 20} MiB"
            warn(f"{path}: larger than {limit}, so the run folder keeps no copy of it")
            continue
        copy = folder.new_copy(folder.files, path)
        write_file(copy, partial(shutil.copyfile, path))
        copies[path] = PurePosixPath(copy.relative_to(folder.path))
        records.append({"file": str(copies[path]), "original": str(path), "sha256": sha256(copy)})

    def copied(value: Any) -> Any:
        return map_paths(value, lambda path: copies.get(path, path))

    augmentation = replace(recipe.augmentation, transforms=copied(recipe.augmentation.transforms))
    components = copied(recipe.components)
    return replace(recipe, components=components, augmentation=augmentation), records


def check_argument_files(folder: RunFolder) -> None:
    """Check the copies against the hashes that the provenance recorded.

    Raises:
        RecipeError: a copy is missing or was changed after the run, or the provenance is damaged.
    """
    if not folder.files.exists():
        return
    for record in folder.read_provenance().get("argument_files", []):
        copy = folder.path / record["file"]
        if not copy.is_file():
            raise RecipeError(f"{copy}: is missing; restore it, or run the recipe again")
        check_digest(copy, sha256(copy), record)


def _files_of(recipe: Recipe) -> Iterator[Path]:
    """Files that arguments name, without pretrained weights."""
    for spec in recipe.specs():
        for name, value in spec.arguments.items():
            if not spec.is_pretrained(name):
                yield from (path for _, path in paths_in(value, name) if path.is_file())
