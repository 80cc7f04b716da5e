"""Weights in files: read without pickle, checked against the model, replaced in one step."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from hieraseg.errors import RecipeError
from hieraseg.model.weights import load_weights, read_weights


def save_checkpoint(
    folder: Path,
    module: nn.Module,
    about: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
) -> None:
    """Write `model.safetensors`, and `state.pt` where a state is given, each in one step.

    Args:
        folder: of the checkpoint; made where it does not exist.
        module: the model.
        about: its epoch and how to use it, kept in the file's header as JSON.
        state: what else training needs to go on (optimizer, schedule).
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        # A copy each, since safetensors refuses tensors that share memory, such as tied weights.
        key: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for key, tensor in module.state_dict().items()
    }
    unfinished = folder / "unfinished"
    if state is not None:
        torch.save(state, unfinished)
        os.replace(unfinished, folder / "state.pt")
    save_file(weights, unfinished, {"hieraseg": json.dumps(about)})
    os.replace(unfinished, folder / "model.safetensors")


def read_metadata(folder: Path) -> dict[str, Any]:
    """What was saved `about` a checkpoint.

    Raises:
        RecipeError: no checkpoint there, a damaged one, or none of ours.
    """
    path = folder / "model.safetensors"
    if not path.is_file():
        raise RecipeError(
            f"{path}: no such checkpoint; it is written after an epoch, "
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


def load_checkpoint(folder: Path, module: nn.Module) -> None:
    """Put a checkpoint's weights into the model.

    Raises:
        RecipeError: it is damaged, or another model's.
    """
    path = folder / "model.safetensors"
    load_weights(module, read_weights(path), path)
