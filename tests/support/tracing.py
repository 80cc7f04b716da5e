"""Tracing code whose shapes are otherwise checked at run time."""

from collections.abc import Iterator
from contextlib import contextmanager

from jaxtyping import config


@contextmanager
def without_shape_checks() -> Iterator[None]:
    """No run-time checks of shapes: torch.compile cannot trace through them."""
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", before)
