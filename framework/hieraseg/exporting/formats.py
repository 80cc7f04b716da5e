"""The formats of exported files: how a traced module is written, and run again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.export import ExportedProgram

from hieraseg.errors import RecipeError
from hieraseg.exporting.capturing import export_errors

INPUTS = ("image", "size")
Run = Callable[[Float[Tensor, "B 3 H W"], tuple[int, int] | None], dict[str, Tensor]]
"""Images, and height and width of the outputs if that is an input -> outputs by name."""

_LARGEST_ONNX = 2**31 - 2**24
"""Bytes of weights, so that the file stays below the 2 GiB of a protobuf message."""
_LARGEST_CONSTANT = 2**28


@dataclass(frozen=True)
class Format:
    """A format of exported files.

    Attributes:
        suffix: suffix of its files.
        packages: what writes it.
        runtime: package that runs it.
        write: writes a traced module with outputs of these names to a file.
        read: reads a file again; what is returned runs it.
    """

    suffix: str
    packages: tuple[str, ...]
    runtime: str
    write: Callable[[ExportedProgram, Sequence[str], Path], Any]
    read: Callable[[Path], Run]

    def check_packages(self) -> None:
        """Raise RecipeError if a package that writes the format is not installed."""
        missing = [package for package in self.packages if find_spec(package) is None]
        if missing:
            raise RecipeError(
                f"--format: {' and '.join(missing)} must be installed for this format; "
                "`pip install 'hieraseg[export]'`, or use --format torch"
            )

    @property
    def can_run(self) -> bool:
        """Whether the package that runs the format is installed."""
        return find_spec(self.runtime) is not None

    def open(self, path: Path) -> Run:
        """Read a file again; what is returned runs it.

        Raises:
            ExportError: it cannot be read, or is not valid; from the returned function, that it
                cannot be run.
        """
        with export_errors():
            run = self.read(path)

        def guarded(image: Tensor, size: tuple[int, int] | None) -> dict[str, Tensor]:
            with export_errors():
                return run(image, size)

        return guarded


def _write_torch(program: ExportedProgram, names: Sequence[str], path: Path) -> None:
    # Not to the file itself: on a full disk, torch raises errors of its own.
    content = BytesIO()
    with export_errors():
        torch.export.save(program, content)
    path.write_bytes(content.getbuffer())


def _read_torch(path: Path) -> Run:
    with path.open("rb") as file:
        module = torch.export.load(file).module()

    def run(image: Tensor, size: tuple[int, int] | None) -> dict[str, Tensor]:
        inputs = (image,) if size is None else (image, torch.tensor(size))
        with torch.no_grad():
            outputs: dict[str, Tensor] = module(*inputs)
        return outputs

    return run


def _write_onnx(program: ExportedProgram, names: Sequence[str], path: Path) -> None:
    """Write a file with all constants computed, and the weights inside.

    Raises:
        ExportError: an operation has no ONNX counterpart.
        RecipeError: the weights are too large for one file.
    """
    size = sum(one.nbytes for one in program.state_dict.values())
    if size > _LARGEST_ONNX:
        raise RecipeError(
            f"--format onnx: holds up to 2 GiB, but the weights have {size / 2**30:.1f}; "
            "use --format torch"
        )
    from onnxscript import optimizer

    count = len(program.graph_signature.user_inputs)
    with export_errors():
        exported: Any = torch.onnx.export(
            program,
            input_names=INPUTS[:count],
            output_names=names,
            dynamo=True,
            verbose=False,
            optimize=False,
        )
        # With larger constants than by default. Else padding of weights would stay, which
        # onnxruntime (1.32) takes for padding of images.
        optimizer.optimize(
            exported.model,
            input_size_limit=_LARGEST_CONSTANT,
            output_size_limit=_LARGEST_CONSTANT,
        )
        exported.save(path, external_data=False)


def _read_onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(image: Tensor, size: tuple[int, int] | None) -> dict[str, Tensor]:
        inputs = {"image": image.numpy()}
        if size is not None:
            inputs["size"] = torch.tensor(size).numpy()
        outputs = session.run(None, inputs)
        return {name: torch.from_numpy(one) for name, one in zip(names, outputs, strict=True)}

    return run


FORMATS = {
    "torch": Format(".pt2", (), "torch", _write_torch, _read_torch),
    "onnx": Format(".onnx", ("onnx", "onnxscript"), "onnxruntime", _write_onnx, _read_onnx),
}
