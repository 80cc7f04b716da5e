"""Signals that ask a process to end: SIGINT (Ctrl-C), SIGTERM and SIGHUP."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from hieraseg.errors import Stopped

Handler = Callable[[int, FrameType | None], object]

_NUMBERS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)  # Windows has no SIGHUP
]
_handlers: list[Handler] = []  # those of the contexts that this process is in

AT_ONCE = 1.0
"""Seconds within which several signals are one: a job's may reach a command and its processes."""


@contextmanager
def handled_by(handler: Handler) -> Iterator[None]:
    """Inside this context, `handler` is called with signals that ask this process to end.

    A signal that is ignored stays ignored, as SIGHUP by `nohup`, and so does the handler of a
    program that uses this package. In another thread than the main one, nothing changes.
    """
    replaced = (signal.SIG_DFL, signal.default_int_handler, *_handlers)
    previous = {}
    _handlers.append(handler)
    try:
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            for number in _NUMBERS:
                before = signal.getsignal(number)
                if before in replaced:
                    previous[number] = before
                    signal.signal(number, handler)
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
        _handlers.remove(handler)


@contextmanager
def kept() -> Iterator[None]:
    """Put the handlers back at the end of this context, where a library installs its own."""
    handlers = {number: signal.getsignal(number) for number in _NUMBERS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def interrupt(number: int, frame: FrameType | None = None) -> NoReturn:
    """Handler of signals that ends what the process does.

    Raises:
        KeyboardInterrupt: the signal is SIGINT.
        Stopped: it is another one.
    """
    raise KeyboardInterrupt if number == signal.SIGINT else Stopped


def accept_ctrl_c() -> None:
    """Let SIGINT interrupt this process, although the one that started it may ignore it.

    Shells make jobs in the background ignore it, and a command passes on what it gets.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


def ignore() -> None:
    """Let signals change nothing any more: what the process had to do is done."""
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)
