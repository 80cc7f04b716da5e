"""From a module to a graph of operations, by `torch.export`."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

import hieraseg
from hieraseg.errors import from_here
from hieraseg.exporting.module import ExportableModel
from hieraseg.tracebacks import describe, frames

_LARGEST_BATCH, _LARGEST_SIDE = 2**12, 2**15
_IMAGES = 2
"""In the traced batch: torch.export takes 1 for a constant."""


class ExportError(Exception):
    """A model cannot be exported in this way; the message is one line that says why."""


def capture(module: ExportableModel, size: tuple[int, int] | None) -> ExportedProgram:
    """Trace a module. The number of images is free.

    Args:
        module: the module.
        size: height and width of the images, which outputs then have, too; None for any size, and
            a second input for the size of the outputs.

    Raises:
        ExportError: the model cannot be traced.
    """
    batch = Dim("batch", min=1, max=_LARGEST_BATCH)
    if size is not None:
        return _traced(module, (torch.zeros(_IMAGES, 3, *size),), ({0: batch},))
    height, width = (Dim(name, min=1, max=_LARGEST_SIDE) for name in ("height", "width"))
    # Not equal, and not multiples of the stride.
    sides = 3 * module.stride - 1, 4 * module.stride - 2
    inputs = torch.zeros(_IMAGES, 3, *sides), torch.tensor(sides) + 5
    return _traced(module, inputs, ({0: batch, 2: height, 3: width}, None))


def _traced(
    module: ExportableModel, example: tuple[Tensor, ...], shapes: tuple[Any, ...]
) -> ExportedProgram:
    try:
        with torch.no_grad(), silence():
            return torch.export.export(module, example, dynamic_shapes=shapes)
    except Exception as error:  # a model's code can fail in any way while it is traced
        raise ExportError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """Why a model cannot be traced, and the line of its code if it is not one of torch."""
    own = [Path(package.__file__ or "").parent for package in (torch, hieraseg)]
    outside = (
        f"{path}:{line}"
        for path, line in frames(error)
        if path.exists() and not any(root in path.parents for root in own)
    )
    place = next(outside, "")
    if type(error).__name__ == "GuardOnDataDependentSymNode":
        return f"{from_here(place) or 'its code'} depends on the size of the image"
    return describe(error, longest=200) + (f" at {from_here(place)}" if place else "")


@contextmanager
def silence() -> Iterator[None]:
    """Drop what exporters print, log and warn of, which is about their own code."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
