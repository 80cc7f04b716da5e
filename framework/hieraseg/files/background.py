"""Writing in a thread, while the caller goes on."""

import atexit
import os
import sys
import threading
from collections.abc import Callable


class Background:
    """Runs jobs in a thread, one at a time and in order.

    No job waits in a queue, so that at most one holds memory. What a job raises is raised in the
    caller, by the next call of `start`, `check` or `wait`.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, job: Callable[[], object]) -> None:
        """Start a job, after the one before is done.

        Raises:
            Exception: the one before failed; the new one is not started.
        """
        self.wait()
        # A daemon, for which Python does not wait when a second interrupt ends the process.
        self._thread = threading.Thread(target=self._run, args=(job,), daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what a job has raised. Does not wait."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def wait(self) -> None:
        """Wait until no job is running.

        Raises:
            Exception: the job failed.
        """
        while self.is_busy(0.1):  # on Windows, Ctrl-C does not end a wait without a limit
            pass
        self.check()

    def is_busy(self, seconds: float = 0.0) -> bool:
        """Whether a job is running, and is not done within some seconds."""
        if self._thread is None or self._thread.ident is None:
            return False
        self._thread.join(seconds)
        return self._thread.is_alive()

    def abandon(self, exit_code: int) -> None:
        """Let the process end in the middle of the job that is running, as if it were killed.

        Args:
            exit_code: that of the process if the job still runs then.
        """
        atexit.register(self._leave, exit_code)

    def _run(self, job: Callable[[], object]) -> None:
        try:
            job()
        except BaseException as error:
            self._error = error

    def _leave(self, exit_code: int) -> None:
        """End the process at once: a thread in compiled code can abort Python's own way out."""
        if self.is_busy():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(exit_code)
