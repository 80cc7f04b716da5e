"""Memory of freed tensors is used again, and that of earlier runs of a process is freed."""

import ctypes
import gc
import os
import subprocess
import sys
import weakref

import pytest
import torch
import torch._dynamo

from hieraseg.training.allocator import forget_runs, keep_freed_memory

PROGRAM = """
import resource
import torch
from hieraseg.training.allocator import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

keep_freed_memory()
for _ in range(20):
    before = faults()
    torch.ones(2**26, dtype=torch.uint8)
    print(faults() - before)
"""


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="needs glibc")
def test_freed_memory_is_used_again() -> None:
    """The system gives no more pages for tensors of 64 MiB after the first few."""
    environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    pages = list(map(int, done.stdout.split()))
    assert pages[0] > 10
    assert max(pages[-5:]) < 10


def test_settings_of_the_user_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("it changed them"))
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    keep_freed_memory()


def test_other_c_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    keep_freed_memory()


@pytest.fixture
def few_objects() -> None:
    """The garbage collector leaves out the millions of objects that a session of tests has."""
    gc.freeze()


@pytest.mark.usefixtures("few_objects")
@torch._dynamo.config.patch(recompile_limit=2)  # timm sets it to a million when it is imported
def test_a_process_compiles_in_every_run() -> None:
    """Although torch compiles the code of a module only so many times."""
    for number in range(4):
        layer = torch.nn.Linear(2, 2 + number)
        compiled = torch.compile(layer, backend="eager", fullgraph=True, dynamic=False)
        assert compiled(torch.zeros(1, 2)).shape == (1, 2 + number)
        forget_runs()


@pytest.mark.usefixtures("few_objects")
def test_objects_of_earlier_runs_are_freed() -> None:
    """Also those that refer to each other."""
    layer = torch.nn.Linear(2, 2)
    layer.own = layer
    known = weakref.ref(layer)
    del layer
    forget_runs()
    assert known() is None
