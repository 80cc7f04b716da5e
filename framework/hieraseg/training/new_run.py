"""The folder of a new run, and what is in it before the first step."""

import shutil
from pathlib import Path
from typing import cast

from hieraseg.console import log
from hieraseg.files.writing import write_json, write_text
from hieraseg.processes import on_all_ranks
from hieraseg.runs.argument_files import copy_argument_files
from hieraseg.runs.ending import hold, let_go
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.plugins import copy_plugins
from hieraseg.runs.provenance import code_files, data_record, provenance
from hieraseg.runs.repositories import repositories_of, save_changes
from hieraseg.training.setup import Parts


def new_folder(parts: Parts, out: Path, name: str) -> RunFolder:
    """Create the folder of a run, in the main process; the others get its path.

    Args:
        parts: the parts of the run.
        out: folder of all runs.
        name: name of this run, below its recipe's.

    Raises:
        RecipeError: it cannot be created.
        WriteError: what a run writes at its start cannot be written.
    """
    is_main = parts.fabric.is_global_zero
    created = on_all_ranks(lambda: _create_folder(parts, out, name) if is_main else None)
    return cast(RunFolder, parts.fabric.broadcast(created))


def _create_folder(parts: Parts, out: Path, name: str) -> RunFolder:
    """A new run folder with resolved recipe, provenance, and copies of the files they name."""
    recipe = parts.recipe
    folder = RunFolder.create(out, recipe.path.stem, name, recipe.training.seed)
    try:
        hold(folder)
        copies = copy_plugins(folder, recipe.plugins)
        standalone, files = copy_argument_files(folder, recipe)
        text = standalone.to_yaml(plugins=[copy["file"] for copy in copies])
        records = {
            **provenance(recipe, data_record(parts.stores)),
            "repositories": save_changes(folder, repositories_of(code_files(recipe))),
            "recipe": text,
            "plugin_files": copies,
            "argument_files": files,
            "init": parts.started,
        }
        write_json(folder.provenance, records)
        write_text(folder.recipe, text)  # at last, since what has one is a run folder
    except BaseException:
        let_go(folder)
        shutil.rmtree(folder.path, ignore_errors=True)  # a part of a run folder is of no use
        raise
    log(f"run folder {folder.path}, on {parts.fabric.device}")
    return folder
