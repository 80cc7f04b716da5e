"""Signals while a command is still being imported end it in one sentence."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, runpy, signal, sys, threading

when, delay, number = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])

def interrupt():
    os.kill(os.getpid(), number)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == when:
            threading.Timer(delay, interrupt).start() if delay else interrupt()

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Finder())
sys.argv = ["hieraseg", "list", "losses"]
runpy.run_module("hieraseg", run_name="__main__")
"""


def interrupted(module: str, number: signal.Signals, seconds: float = 0) -> None:
    """Check what a command says that is interrupted some time after the import of a module."""
    command = [sys.executable, "-c", PROGRAM, module, str(seconds), str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == "hieraseg: interrupted\n"
    assert not done.stdout
    # Python ends itself by Ctrl-C where it has seen one in an import.
    codes = (130, -signal.SIGINT) if number == signal.SIGINT else (75,)
    assert done.returncode in codes


@pytest.mark.parametrize(
    ("module", "number"),
    [
        ("hieraseg.cli", signal.SIGTERM),
        ("catalogue", signal.SIGINT),
        ("torch.nn", signal.SIGTERM),
    ],
)
def test_interrupt_during_an_import(module: str, number: signal.Signals) -> None:
    interrupted(module, number)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("milliseconds", [1, 20, 50, 100, 200, 350, 500])
def test_interrupt_at_any_time(milliseconds: int, number: signal.Signals) -> None:
    """`hieraseg list losses` takes longer than that to import torch."""
    interrupted("hieraseg.cli", number, milliseconds / 1000)
