"""What signals that ask a process to end do."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from hieraseg.errors import Stopped
from hieraseg.signals import handled_by, interrupt

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has no SIGHUP")
NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def of_a_shell() -> Iterator[None]:
    """What a command finds, and has to leave as it was."""
    defaults: list[Any] = [signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL]
    before = [signal.signal(*one) for one in zip(NUMBERS, defaults, strict=True)]
    yield
    found = [signal.signal(*one) for one in zip(NUMBERS, before, strict=True)]
    assert found == defaults


@pytest.mark.parametrize("number", NUMBERS)
def test_signals_interrupt(number: signal.Signals) -> None:
    expected = KeyboardInterrupt if number == signal.SIGINT else Stopped
    with pytest.raises(KeyboardInterrupt) as error, handled_by(interrupt):
        signal.raise_signal(number)
    assert error.type is expected


@pytest.mark.parametrize("number", NUMBERS)
def test_the_innermost_handler_has_a_signal(number: signal.Signals) -> None:
    received: list[int] = []
    with handled_by(interrupt):
        with handled_by(lambda number, frame: received.append(number)):
            signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert received == [number]


def test_what_others_do_with_a_signal_stays() -> None:
    """`nohup` ignores SIGHUP, and a program that uses the package may have a handler."""
    received: list[int] = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    with handled_by(interrupt):
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
    assert received == [signal.SIGTERM]
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_another_thread_changes_nothing() -> None:
    def work() -> None:
        with handled_by(interrupt):
            found.append(signal.getsignal(signal.SIGTERM))

    found: list[object] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_while_python_ends_leaves_the_exit_code(number: signal.Signals) -> None:
    """As the second one of a system that sends several, or one that comes when all is done."""
    program = f"""
import os, sys
from hieraseg.__main__ import main
class Last:
    def __del__(self, kill=os.kill, process=os.getpid()):
        kill(process, {int(number)})
last = Last()
sys.argv = ["hieraseg", "--version"]
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
