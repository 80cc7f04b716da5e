"""How others see that a run goes on, and why it ended."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from hieraseg.errors import DivergedError, HierasegError, RecipeError, WriteError
from hieraseg.files.writing import write_errors, write_json
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.records import Failure

_LOOK = 1
"""Seconds after which a lock is not one that others took to look whether the run still runs."""


class _Hold(NamedTuple):
    lock: FileLock
    opened: int | None  # descriptor of the run folder, whose number no other one gets meanwhile


_held: dict[Path, _Hold] = {}  # by run folder, of this process


def hold(folder: RunFolder) -> FileLock:
    """Lock a run folder until `release`, or until this process ends, however it ends.

    A folder that this process has locked already stays locked.

    Raises:
        RecipeError: another process has locked it.
        WriteError: it cannot be locked.
    """
    if folder.path in _held:
        return _held[folder.path].lock
    lock = FileLock(folder.lock)
    with write_errors(folder.lock):
        if folder.lock.is_symlink():
            folder.lock.unlink()
        try:
            lock.acquire(timeout=_LOOK)
        except Timeout:
            raise still_runs(folder) from None
    _held[folder.path] = _Hold(lock, _opened(folder.path))
    return lock


def _opened(folder: Path) -> int | None:
    with suppress(OSError):  # a system that opens no folders, such as Windows
        return os.open(folder, os.O_RDONLY)
    return None


def is_in_place(folder: RunFolder) -> bool:
    """Whether a run folder that this process has locked is still where it was, with its records.

    It can be moved or removed, and be that of another run by now. A removal that a new checkpoint
    came in between leaves a part of it.
    """
    held = _held.get(folder.path)
    if held is None or held.opened is None:
        return True
    try:
        is_same = os.path.samestat(os.fstat(held.opened), folder.path.stat())
        return is_same and folder.recipe.is_file() and folder.provenance.is_file()
    except OSError:
        return False


def check_place(folder: RunFolder) -> None:
    """Raise WriteError if a run folder that this process has locked is no longer in its place."""
    if not is_in_place(folder):
        raise WriteError(
            f"{folder.path}: was moved or removed while this run was going on; go on with "
            "`hieraseg resume` where it is now, or start again"
        )


def still_runs(folder: RunFolder) -> RecipeError:
    """The error of a run that another process has locked."""
    return RecipeError(f"{folder.path}: still runs; stop that process first, or wait for it")


def let_go(folder: RunFolder) -> None:
    """Release the lock of a run that did not begin to train."""
    is_own = is_in_place(folder)
    held = _held.pop(folder.path, None)
    if held is not None:
        with suppress(OSError):  # a folder that was removed, or a system that keeps open files
            if is_own:
                folder.lock.unlink()
        held.lock.release()
        if held.opened is not None:
            os.close(held.opened)


def release(folder: RunFolder, lock: FileLock, error: BaseException | None) -> None:
    """Write why a run ends early, if it does, and release its lock.

    Args:
        folder: the run folder.
        lock: what `hold` returned.
        error: what ends the run; None if it has finished.
    """
    if error is not None and is_in_place(folder):
        with suppress(WriteError):  # on a full disk, which the command says by itself
            write_json(folder.failure, _failure(error))
    let_go(folder)
    lock.release()


def _failure(error: BaseException) -> Failure:
    if isinstance(error, KeyboardInterrupt):
        return {"state": "interrupted", "message": ""}
    first = next(iter(str(error).splitlines()), "")
    message = first if isinstance(error, HierasegError) else f"{type(error).__name__}: {first}"
    return {
        "state": "diverged" if isinstance(error, DivergedError) else "failed",
        "message": message,
    }
