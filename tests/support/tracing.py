"""Tracing code whose shapes are otherwise checked at run time."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType

import pytest
from jaxtyping import config

from hieraseg.draws import Draws


@contextmanager
def without_shape_checks() -> Iterator[None]:
    """No run-time checks of shapes: torch.compile cannot trace through them."""
    before = config.jaxtyping_disable
    with pytest.MonkeyPatch.context() as patch:
        # Nor can it trace that there are none, in methods of what is made while it traces.
        for name, method in vars(Draws).items():
            if isinstance(method, FunctionType) and hasattr(method, "__wrapped__"):
                patch.setattr(Draws, name, method.__wrapped__)
        config.update("jaxtyping_disable", True)
        try:
            yield
        finally:
            config.update("jaxtyping_disable", before)
