"""How others see that a run goes on, and why it ended."""

from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from hieraseg.errors import DivergedError, HierasegError, RecipeError, WriteError
from hieraseg.files.writing import write_errors, write_json
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.records import Failure

_LOOK = 1
"""Seconds after which a lock is not one that others took to look whether the run still runs."""

_held: dict[Path, FileLock] = {}  # by run folder, of this process


def hold(folder: RunFolder) -> FileLock:
    """Lock a run folder until `release`, or until this process ends, however it ends.

    A folder that this process has locked already stays locked.

    Raises:
        RecipeError: another process has locked it.
        WriteError: it cannot be locked.
    """
    if folder.path in _held:
        return _held[folder.path]
    lock = FileLock(folder.lock)
    with write_errors(folder.lock):
        try:
            lock.acquire(timeout=_LOOK)
        except Timeout:
            raise still_runs(folder) from None
    _held[folder.path] = lock
    return lock


def still_runs(folder: RunFolder) -> RecipeError:
    """The error of a run that another process has locked."""
    return RecipeError(f"{folder.path}: still runs; stop that process first, or wait for it")


def let_go(folder: RunFolder) -> None:
    """Release the lock of a run that did not begin to train."""
    lock = _held.pop(folder.path, None)
    if lock is not None:
        with suppress(OSError):  # a folder that was removed, or a system that keeps open files
            folder.lock.unlink()
        lock.release()


def release(folder: RunFolder, lock: FileLock, error: BaseException | None) -> None:
    """Write why a run ends early, if it does, and release its lock.

    Args:
        folder: the run folder.
        lock: what `hold` returned.
        error: what ends the run; None if it has finished.
    """
    if error is not None:
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
