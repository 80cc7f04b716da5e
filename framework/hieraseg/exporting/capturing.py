"""From a module to a graph of operations, by `torch.export`."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from hieraseg.errors import from_here
from hieraseg.exporting.module import ExportableModel
from hieraseg.tracebacks import describe, frames

_LARGEST_BATCH, _LARGEST_SIDE = 2**12, 2**15
_EXPORTERS = ("torch", "hieraseg", "jaxtyping", "onnx", "onnx_ir", "onnxscript", "onnxruntime")
_IMAGES = 2
"""In the traced batch: not 1, which torch.export takes for a constant."""


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
    # Neither equal nor 1, which torch.export takes for a constant.
    sides = 3 * module.stride + 1, 4 * module.stride + 2
    inputs = torch.zeros(_IMAGES, 3, *sides), torch.tensor(sides) + 5
    return _traced(module, inputs, ({0: batch, 2: height, 3: width}, None))


def _traced(
    module: ExportableModel, example: tuple[Tensor, ...], shapes: tuple[Any, ...]
) -> ExportedProgram:
    with export_errors(), torch.no_grad():
        return torch.export.export(module, example, dynamic_shapes=shapes)


@contextmanager
def export_errors() -> Iterator[None]:
    """Raise what exporters raise, which is of many kinds, as ExportError.

    What they print, log and warn of is dropped, since it is about their own code.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    except (OSError, MemoryError):  # such as a full disk
        raise
    except Exception as error:
        raise ExportError(_reason(error)) from error
    finally:
        logging.disable(disabled)


def _reason(error: BaseException) -> str:
    """Why, in one line, with the line of the model's code if it is known."""
    place = from_here(next(_places(error), ""))
    while error.__cause__ is not None:  # without the advice of the layers around it
        error = error.__cause__
    if type(error).__name__ == "GuardOnDataDependentSymNode":
        return f"{place or 'its code'} depends on the size of the image"
    return describe(error, longest=200) + (f" at {place}" if place else "")


def _places(error: BaseException) -> Iterator[str]:
    """`file:line` of the calls that led to an error, innermost first, in the code of the model."""
    specs = filter(None, map(find_spec, _EXPORTERS))
    exporters = {Path(spec.origin or "").parent for spec in specs}
    for path, line in frames(error):
        if path.exists() and not exporters.intersection(path.parents):
            yield f"{path}:{line}"
