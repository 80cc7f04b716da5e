"""Memory of freed tensors is used again."""

import ctypes
import os
import subprocess
import sys

import pytest

from hieraseg.training.allocator import keep_freed_memory

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
