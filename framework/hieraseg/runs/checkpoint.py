"""Checkpoints: a folder with weights, metadata and the state of training, of one epoch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from hieraseg.errors import RecipeError
from hieraseg.model.weights import load_weights, read_weights
from hieraseg.runs.files import existing_folder, write_folder

WEIGHTS = "model.safetensors"
STATE = "state.pt"


def save_checkpoint(
    folder: Path,
    weights: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint folder. It appears whole, so weights and state are of the same epoch.

    Args:
        folder: folder of the checkpoint, which is replaced if it exists.
        weights: state dict of the model.
        metadata: its epoch and how to use it, kept in the header of the weights file as JSON.
        state: everything else that training needs to continue, as `torch.load` reads it with
            `weights_only=True`.
    """
    # Copies, because safetensors refuses tensors that share memory, such as tied weights.
    copies = {
        key: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for key, tensor in weights.items()
    }

    def write(unfinished: Path) -> None:
        save_file(copies, unfinished / WEIGHTS, {"hieraseg": json.dumps(metadata)})
        if state is not None:
            torch.save(dict(state), unfinished / STATE)

    write_folder(folder, write)


def read_metadata(folder: Path) -> dict[str, Any]:
    """The metadata of a checkpoint.

    Raises:
        RecipeError: there is no checkpoint, it is damaged, or hieraseg did not write it.
    """
    path = existing_folder(folder) / WEIGHTS
    if not path.is_file():
        raise RecipeError(
            f"{path}: no such checkpoint; checkpoints are written after each epoch, "
            "unless logging.checkpoints is false"
        )
    try:
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {})["hieraseg"])
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise RecipeError(
            f"{path}: is damaged, or was not written by hieraseg ({error}); "
            "use the other checkpoint of the run, or run it again"
        ) from error


def read_state(folder: Path) -> dict[str, Any]:
    """The state of training in a checkpoint, with the weights under `model`.

    Raises:
        RecipeError: there is none, or it is damaged.
    """
    found = existing_folder(folder)
    path = found / STATE
    if not path.is_file():
        raise RecipeError(f"{path}: no such training state; only the checkpoint `last` has one")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises almost anything for a damaged file
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise RecipeError(
            f"{path}: cannot be read as training state ({reason}); run it again"
        ) from error
    return {**state, "model": read_weights(found / WEIGHTS)}


def load_checkpoint(folder: Path, module: nn.Module) -> None:
    """Load the weights of a checkpoint into a model.

    Raises:
        RecipeError: the checkpoint is damaged, or belongs to another model.
    """
    path = existing_folder(folder) / WEIGHTS
    load_weights(module, read_weights(path), path)
