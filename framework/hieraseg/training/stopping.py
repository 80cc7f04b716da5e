"""Signals that end a run between two steps, so that its state can be saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from hieraseg.console import log

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP


class Stopping:
    """As a context, lets SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt where a run may stop.

    Inside `step` the first signal only takes effect at its end. A second one is not put off. A
    signal that is ignored, as `nohup` does with SIGHUP, stays ignored.

    Args:
        processes: number of processes that train together. With several, nothing is put off: one
            that has ended its step would leave the others waiting in the next.

    Attributes:
        signal: number of the signal that came; None while there was none.
    """

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes
        self.signal: int | None = None
        self._in_step = False
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
        """Whether the system asked the process to end, rather than the user with Ctrl-C."""
        return self.signal not in (None, signal.SIGINT)

    @contextmanager
    def step(self) -> Iterator[None]:
        """What happens inside this context is done whole.

        Raises:
            KeyboardInterrupt: a signal came meanwhile.
        """
        self._in_step = True
        try:
            yield
        finally:
            self._in_step = False
        if self.signal is not None:
            raise KeyboardInterrupt

    def _handle(self, number: int, _: FrameType | None) -> None:
        is_first, self.signal = self.signal is None, number
        if not (is_first and self._in_step and self.processes == 1):
            raise KeyboardInterrupt
        log("finishing the step that is being taken; press Ctrl-C again to end without it")
