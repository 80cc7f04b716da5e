"""Weights in files: read without pickle, checked against the model, replaced in one step."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hieraseg.errors import RecipeError

Weights = dict[str, Tensor]


def read_weights(path: str | Path) -> Weights:
    """The tensors of a `.safetensors` file, or of a state dict that torch saved.

    Raises:
        RecipeError: no such file, a damaged one, or one that holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise RecipeError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch reads a damaged file until anything at all goes wrong
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise RecipeError(
            f"{path}: cannot be read as weights ({reason}); "
            "save a plain state dict, or use safetensors"
        ) from error
    weights = weights.get("state_dict", weights) if isinstance(weights, dict) else weights
    if not isinstance(weights, dict) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise RecipeError(f"{path}: holds no state dict, but a {type(weights).__name__}")
    return weights


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], source: str | Path) -> None:
    """Put weights into a module, all of them or none.

    Raises:
        RecipeError: they are another model's: tensors are missing, unknown or of another shape.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in weights]
    unknown = [key for key in weights if key not in own]
    reshaped = [
        f"{key} is {list(weights[key].shape)} instead of {list(own[key].shape)}"
        for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    if missing or unknown or reshaped:
        counts = [
            f"{len(missing)} tensors are missing (the first: {missing[0]})" if missing else "",
            f"{len(unknown)} are unknown (the first: {unknown[0]})" if unknown else "",
            f"{len(reshaped)} have another shape (the first: {reshaped[0]})" if reshaped else "",
        ]
        raise RecipeError(
            f"{source}: holds the weights of another model: {', '.join(filter(None, counts))}; "
            "use the recipe that made it"
        )
    module.load_state_dict(dict(weights))


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


def read_about(folder: Path) -> dict[str, Any]:
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
