"""Signals that end a run where its state can be saved, in all its processes at the same time."""

import signal
import threading
import time
from types import FrameType
from typing import Any

from hieraseg import launch
from hieraseg.console import log
from hieraseg.processes import largest_of_all

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
_SAID = "stopping after this step or batch; press Ctrl-C again to end without saving"


class Stopping:
    """As a context, notes SIGINT, SIGTERM and SIGHUP until `check` is called.

    Another signal, a second later or more, raises KeyboardInterrupt wherever the process is. A
    signal that is ignored, as `nohup` does with SIGHUP, stays ignored.

    Attributes:
        signal: number of the signal that ends the run; None while there was none.
        is_agreed: whether all processes have stopped together, between two steps.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.is_agreed = False
        self._received: tuple[int, float] | None = None  # the first signal, and when
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Stopping":
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            for name in _SIGNALS:
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) is signal.default_int_handler:
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def is_request_to_end(self) -> bool:
        """Whether the system asked the run to end, rather than the user with Ctrl-C."""
        return self.signal not in (None, signal.SIGINT)

    def is_near(self) -> bool:
        """Whether this process has received a signal, so that what takes long may be cut short."""
        return self._received is not None

    def check(self) -> None:
        """Stop if a process has received a signal. All processes call it, between two steps.

        Raises:
            KeyboardInterrupt: one of them has; it is raised in all.
        """
        received = 0 if self._received is None else self._received[0]
        number = largest_of_all(received)  # SIGTERM before SIGINT
        if number:
            self.signal, self.is_agreed = number, True
            raise KeyboardInterrupt

    def _handle(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        first = self._received or (number, now)
        # Where another process has failed, none would answer `check`.
        if launch.has_failed() or now - first[1] >= launch.AT_ONCE:
            self.signal = self.signal or number
            raise KeyboardInterrupt
        if self._received is None:
            self._received = first
            # In a thread, since the signal may have come while something is being written.
            threading.Thread(target=log, args=(_SAID,), daemon=True).start()
