"""Checkpoints: a folder with weights, metadata and the state of training, of one epoch."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from hieraseg.contracts import Activation
from hieraseg.errors import DivergedError, RecipeError
from hieraseg.files.writing import existing_folder, write_folder
from hieraseg.model.weights import Weights, load_weights, read_weights
from hieraseg.runs.json_types import problem_in
from hieraseg.runs.records import read_record, sha256, unreadable

WEIGHTS = "model.safetensors"
STATE = "state.pt"
CHECKSUMS = "checksums.json"

FIX = "use the other checkpoint of the run, or run it again"
_LARGEST_SIDE = 2**16


class Metadata(TypedDict):
    """How to use the weights of a checkpoint.

    The class tree is that of `hierarchy.identity.describe`, of which older checkpoints have only
    `classes`.

    Attributes:
        epoch: epoch of the weights.
        step: their step; older checkpoints have none.
        num_classes: number of classes of each level that has logits.
        embedding_channels: channels of the embedding; 0 for none.
        activation: how logits become scores (see `contracts.Activation`).
        size: height and width of images in pixels.
        recipe: SHA-256 of the run's `recipe.yaml`.
    """

    epoch: int
    step: NotRequired[int]
    num_classes: list[int]
    embedding_channels: NotRequired[int]
    activation: Activation
    size: list[int]
    recipe: NotRequired[str]
    classes: list[list[str]]
    parents: NotRequired[list[list[int]]]
    labels: NotRequired[list[list[int | str]]]
    void: NotRequired[list[int]]
    background: NotRequired[str | None]
    pairs: NotRequired[list[list[str]]]


def save_checkpoint(
    folder: Path,
    weights: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    keep: int = 1,
) -> None:
    """Write a checkpoint folder. It appears whole, so weights and state are of the same epoch.

    Args:
        folder: folder of the checkpoint, which is replaced if it exists.
        weights: state dict of the model.
        metadata: its epoch and how to use it (see `Metadata`), kept in the header of the weights
            file as JSON.
        state: everything else that training needs to continue, as `torch.load` reads it with
            `weights_only=True`.
        keep: number of versions of the folder to keep.

    Raises:
        DivergedError: a weight is not finite.
        WriteError: the checkpoint cannot be written.
    """
    # Copies, because safetensors refuses tensors that share memory, such as tied weights.
    copies = {
        key: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for key, tensor in weights.items()
    }
    name = _not_finite(copies)
    if name:
        raise DivergedError(
            f"{folder}: not written, because the weights {name} are not finite; "
            "lower optimizer.lr, or train in precision 32-true (a buffer that is infinite on "
            "purpose needs persistent=False)"
        )

    def write(unfinished: Path) -> None:
        _save_weights(copies, unfinished / WEIGHTS, metadata)
        if state is not None:
            _save_state(state, unfinished / STATE)
        digests = {file.name: sha256(file) for file in sorted(unfinished.iterdir())}
        (unfinished / CHECKSUMS).write_text(json.dumps(digests, indent=2), encoding="utf-8")

    write_folder(folder, write, keep)


def read_metadata(folder: Path) -> Metadata:
    """The metadata of a checkpoint.

    Raises:
        RecipeError: there is no checkpoint, it is damaged, or hieraseg did not write it.
    """
    return _metadata_in(weights_file(folder))


def weights_file(folder: Path) -> Path:
    """The weights file of a checkpoint.

    Raises:
        RecipeError: there is no checkpoint, or this user may not read it.
    """
    path = existing_folder(folder) / WEIGHTS
    if not path.is_file():
        raise RecipeError(
            f"{path}: no such checkpoint; runs write them as `checkpoints.every` says"
        )
    if not os.access(path, os.R_OK):
        raise unreadable(path)
    return path


def _metadata_in(path: Path) -> Metadata:
    """The metadata in the header of a checkpoint's weights file. Raises RecipeError."""
    try:
        header = _header(path)
        if header is None:
            raise KeyError
        metadata: Metadata = json.loads(header)
        problem = problem_in(metadata, Metadata, "metadata") or _problem_in_values(metadata)
    except KeyError:
        problem = "it has no metadata"
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        problem = str(error)
    if problem:
        raise _damaged(path, problem)
    return metadata


def read_state(folder: Path) -> dict[str, Any]:
    """The state of training in a checkpoint, with the weights under `model`.

    Raises:
        RecipeError: there is none, or it is damaged.
    """
    found = existing_folder(folder)
    path = found / STATE
    if not path.is_file():
        raise RecipeError(f"{path}: no such training state; only the checkpoint `last` has one")
    if not (found / CHECKSUMS).is_file():
        raise _damaged(found / CHECKSUMS, "there is no such file")
    _check_sums(found, (WEIGHTS, STATE))
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises almost anything for a damaged file
        raise _damaged(path, next(iter(str(error).splitlines()), type(error).__name__)) from error
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise _damaged(path, "it holds no dict of states by name")
    return {**state, "model": read_weights(found / WEIGHTS)}


def read_checkpoint(file: Path) -> tuple[Weights, Metadata | None]:
    """The weights in a file, of a checkpoint or any other.

    Args:
        file: `.safetensors`, or a state dict saved by `torch.save`.

    Returns:
        The weights; and the metadata, if it is the file of a checkpoint.

    Raises:
        RecipeError: it cannot be read, or is a damaged checkpoint.
    """
    if file.name == WEIGHTS and (file.parent / CHECKSUMS).is_file():
        _check_sums(file.parent, (WEIGHTS,))
    weights = read_weights(file)
    is_checkpoint = file.suffix == ".safetensors" and _header(file) is not None
    return weights, _metadata_in(file) if is_checkpoint else None


def load_checkpoint(folder: Path, module: nn.Module) -> None:
    """Load the weights of a checkpoint into a model.

    Raises:
        RecipeError: the checkpoint is damaged, or belongs to another model.
        DivergedError: a weight is not finite, as in checkpoints of older versions.
    """
    found = existing_folder(folder)
    _check_sums(found, (WEIGHTS,))
    weights = read_weights(found / WEIGHTS)
    name = _not_finite(weights)
    if name:
        raise DivergedError(f"{found / WEIGHTS}: the weights {name} are not finite; {FIX}")
    load_weights(module, weights, found / WEIGHTS)


def _header(path: Path) -> str | None:
    """What hieraseg wrote into the header of a safetensors file, if it did."""
    with safe_open(path, "pt") as file:
        header: str | None = (file.metadata() or {}).get("hieraseg")
        return header


def _not_finite(weights: Mapping[str, Tensor]) -> str:
    """Name of the first tensor that has a NaN or an infinity; empty if there is none."""
    return next((name for name, tensor in weights.items() if not tensor.isfinite().all()), "")


def _save_weights(weights: dict[str, Tensor], path: Path, metadata: Mapping[str, Any]) -> None:
    try:
        save_file(weights, path, {"hieraseg": json.dumps(metadata)})
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))  # such as a full disk
        if number:
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
        raise OSError(str(error)) from error


def _save_state(state: Mapping[str, Any], path: Path) -> None:
    try:
        with path.open("wb") as file:
            torch.save(dict(state), file)
    except RuntimeError as error:  # torch raises its own while it handles another
        if isinstance(error.__context__, OSError | KeyboardInterrupt):
            raise error.__context__ from error
        raise


def _check_sums(folder: Path, names: Iterable[str]) -> None:
    """Raise RecipeError if a file is not the one that was written; older ones are not known."""
    path = folder / CHECKSUMS
    try:
        digests = read_record(path, dict[str, str], FIX)
    except FileNotFoundError:
        return
    for name in names:
        file = folder / name
        if file.is_file() and sha256(file) != digests.get(name):
            raise RecipeError(f"{file}: is not the file that {path.name} was written for; {FIX}")


def _problem_in_values(metadata: Metadata) -> str:
    """What is wrong with metadata of the right types; empty if nothing is."""
    sizes, classes = metadata["size"], metadata["num_classes"]
    if len(sizes) != 2 or not all(0 < side <= _LARGEST_SIDE for side in sizes):
        return f"metadata.size: expected height and width in pixels, got {sizes}"
    levels = [len(names) for names in metadata["classes"]]
    if not levels or classes not in (levels, levels[-1:]):
        return f"metadata.num_classes: is {classes}, but there are {levels} classes"
    if not 0 <= metadata.get("embedding_channels", 0) <= _LARGEST_SIDE:
        return f"metadata.embedding_channels: got {metadata['embedding_channels']}"
    return ""


def _damaged(path: Path, problem: str) -> RecipeError:
    return RecipeError(f"{path}: is damaged, or was not written by hieraseg ({problem}); {FIX}")
