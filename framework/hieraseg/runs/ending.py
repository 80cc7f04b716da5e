"""How others see that a run goes on, and why it ended."""

from contextlib import suppress

from filelock import FileLock

from hieraseg.errors import DivergedError, HierasegError, WriteError
from hieraseg.files.writing import write_errors, write_json
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.records import Failure


def hold(folder: RunFolder) -> FileLock:
    """Lock a run folder until `release`, or until this process ends, however it ends.

    Raises:
        WriteError: it cannot be locked.
    """
    lock = FileLock(folder.lock)
    with write_errors(folder.lock):
        lock.acquire()
    return lock


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
    with suppress(OSError):  # a folder that was removed, or a system that keeps open files
        folder.lock.unlink()
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
