"""Signals that end a run where its state can be saved, in all its processes at the same time."""

import threading
import time
from contextlib import ExitStack
from types import FrameType

from hieraseg import launch, signals
from hieraseg.console import log
from hieraseg.processes import largest_of_all

_SAID = "stopping after this step or batch; press Ctrl-C again to end without saving"


class Stopping:
    """As a context, notes signals that ask the run to end until `check` is called.

    Another signal, a second later or more, interrupts the process wherever it is.

    Attributes:
        is_agreed: whether all processes have stopped together, between two steps.
    """

    def __init__(self) -> None:
        self.is_agreed = False
        self._received: tuple[int, float] | None = None  # the first signal, and when
        self._context = ExitStack()

    def __enter__(self) -> "Stopping":
        self._context.enter_context(signals.handled_by(self._handle))
        return self

    def __exit__(self, *error: object) -> None:
        self._context.close()

    def is_near(self) -> bool:
        """Whether this process has received a signal, so that what takes long may be cut short."""
        return self._received is not None

    def check(self) -> None:
        """Stop if a process has received a signal. All processes call it, between two steps.

        Raises:
            KeyboardInterrupt: one of them has; it is raised in all.
            Stopped: so it is if the signal was not SIGINT.
        """
        received = 0 if self._received is None else self._received[0]
        number = largest_of_all(received)  # SIGTERM before SIGINT
        if number:
            self.is_agreed = True
            signals.interrupt(number)

    def _handle(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        first = self._received or (number, now)
        # Where another process has failed, none would answer `check`.
        if launch.has_failed() or now - first[1] >= signals.AT_ONCE:
            signals.interrupt(number)
        if self._received is None:
            self._received = first
            # In a thread, since the signal may have come while something is being written.
            threading.Thread(target=log, args=(_SAID,), daemon=True).start()
