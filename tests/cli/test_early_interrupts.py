"""Ctrl-C while a command is still being imported ends it in one sentence."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, runpy, signal, sys, threading

when, delay = sys.argv[1], float(sys.argv[2])

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == when:
            threading.Timer(delay, interrupt).start() if delay else interrupt()

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Finder())
sys.argv = ["hieraseg", "list", "losses"]
runpy.run_module("hieraseg", run_name="__main__")
"""


def interrupted(module: str, seconds: float = 0) -> None:
    """Check what a command says that is interrupted some time after the import of a module."""
    command = [sys.executable, "-c", PROGRAM, module, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == "hieraseg: interrupted\n"
    assert not done.stdout
    # Python ends itself by the signal where it has seen one in an import.
    assert done.returncode in (130, -signal.SIGINT)


@pytest.mark.parametrize("module", ["hieraseg.cli", "catalogue", "torch.nn"])
def test_interrupt_during_an_import(module: str) -> None:
    interrupted(module)


@pytest.mark.slow
@pytest.mark.parametrize("milliseconds", [1, 20, 50, 100, 200, 350, 500])
def test_interrupt_at_any_time(milliseconds: int) -> None:
    """`hieraseg list losses` takes longer than that to import torch."""
    interrupted("hieraseg.__main__", milliseconds / 1000)
