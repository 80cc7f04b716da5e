"""Folders of runs that ended before they left anything."""

import shutil
from contextlib import suppress

from filelock import FileLock, Timeout

from hieraseg.files.writing import is_unfinished, write_errors
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.status import is_running

_AT_START = {
    *("recipe.yaml", "provenance.json", "failure.json", "run.lock", "plugins", "files", "changes"),
    *("tensorboard", "curves.csv", "curves.csv.tmp", "mlflow_run", "wandb", "wandb_run.json"),
}
"""What is in a run folder before the first epoch ends or a checkpoint is written."""


def is_empty(folder: RunFolder, is_held: bool = False) -> bool:
    """Whether a run has ended before it left anything, such as an epoch's record or a checkpoint.

    Args:
        folder: the run folder.
        is_held: whether this process has locked it.
    """
    if not folder.provenance.is_file() or not (is_held or is_running(folder) is False):
        return False
    names = {path.name for path in folder.path.iterdir() if not is_unfinished(path.name)}
    checkpoints = folder.checkpoint("last").parent
    if checkpoints.is_dir() and all(is_unfinished(path.name) for path in checkpoints.iterdir()):
        names.discard(checkpoints.name)  # killed while it wrote the first one
    return names <= _AT_START


def clear(folder: RunFolder) -> None:
    """Remove the folder of a run that has left nothing, unless it has changed meanwhile.

    Raises:
        WriteError: it cannot be removed.
    """
    # Several processes of a run may do so at once, or another command may have begun the run.
    with write_errors(folder.path), suppress(FileNotFoundError, Timeout):
        if is_empty(folder):
            with FileLock(folder.lock, timeout=0):
                if is_empty(folder, is_held=True):
                    shutil.rmtree(folder.path)
