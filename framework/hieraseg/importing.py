"""Importing large packages in less time."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Import without garbage collection, which takes a fifth of the time of importing torch.

    It would walk through all modules again and again, although they stay. After the first time
    they are left out of later collections, too.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # later there may be garbage, which would stay as well
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
