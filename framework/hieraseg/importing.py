"""Importing large packages in less time."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_first_time = True  # of this process; to count the frozen objects instead would take 0.1 s


@contextmanager
def importing() -> Iterator[None]:
    """Import without garbage collection, which takes a fifth of the time of importing torch.

    It would walk through all modules again and again, although they stay. They are left out of
    later collections, too. Only the first time: later there is little to import, and there may be
    garbage, which would stay as well.
    """
    global _first_time
    if not _first_time:
        yield
        return
    _first_time = False
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


@contextmanager
def hidden(package: str) -> Iterator[None]:
    """Import something as if a package was not installed; no effect if that is imported already."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]
