"""Weight files: read without pickle, and checked against the model."""

from argparse import Namespace
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hieraseg.errors import RecipeError

Weights = dict[str, Tensor]
BATCH_COUNTER = "num_batches_tracked"
"""End of the names of counters that old state dicts do not have."""
_WRAPPERS = ("state_dict", "model_state_dict", "model", "teacher", "student")
"""Keys under which training code saves a state dict, beside what else it saves."""


def read_weights(path: str | Path) -> Weights:
    """Read the tensors of a `.safetensors` file, or of a state dict saved by `torch.save`.

    The state dict may be saved as it is, or under one of the keys `state_dict` (mmsegmentation,
    Lightning, timm), `model_state_dict`, `model` (MAE, DeiT, ConvNeXt), `teacher` and `student`
    (DINO), of which the first counts.

    Raises:
        RecipeError: there is no such file, it is damaged, or it holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise RecipeError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Released training checkpoints hold their command line, which is harmless.
        with torch.serialization.safe_globals([Namespace]):
            weights = _unwrapped(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch.load raises almost anything for a damaged file
        raise RecipeError(
            f"{path}: cannot be read as weights ({_reason(error)}); "
            "save a plain state dict, or use safetensors"
        ) from error
    if not isinstance(weights, dict) or not all(map(_is_weight, weights.items())):
        raise RecipeError(f"{path}: holds a {type(weights).__name__} instead of a state dict")
    return weights


def without_prefix(weights: Mapping[str, Tensor], own: Collection[str]) -> Weights:
    """The weights without the prefix of their names, if they have one, as in `module.backbone.`.

    It is the prefix without which most of them have a name of the model; names that do not start
    with it stay as they are.

    Args:
        weights: a state dict.
        own: names of the model's own state dict.
    """
    known, matches = set(own), Counter[str]()
    for name in weights:
        parts = name.split(".")
        for depth in range(len(parts)):
            if ".".join(parts[depth:]) in known:
                matches[".".join(parts[:depth])] += 1
    prefix, most = max(matches.items(), key=lambda one: one[1], default=("", 0))
    if not prefix or most == matches[""]:
        return dict(weights)
    start = f"{prefix}."
    others = {name: one for name, one in weights.items() if not name.startswith(start)}
    return others | {
        name.removeprefix(start): one for name, one in weights.items() if name.startswith(start)
    }


def load_weights(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    source: str | Path,
    fix: str = "use the recipe that made it",
) -> None:
    """Load weights into a module, all of them or none.

    As in torch, the batch counters of normalization layers may be missing: state dicts that are
    older than torch 0.4.1 have none.

    Args:
        module: the module.
        weights: its state dict.
        source: where they come from, for messages.
        fix: what to do if they do not fit, for messages.

    Raises:
        RecipeError: tensors are missing, unexpected or have another shape or type.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in weights and not key.endswith(BATCH_COUNTER)]
    unexpected = [key for key in weights if key not in own]
    found = {key: difference(weights[key], own[key]) for key in own if key in weights}
    different = [f"{key} is {text}" for key, text in found.items() if text]
    if missing or unexpected or different:
        counts = [
            f"{len(missing)} tensors are missing (first: {missing[0]})" if missing else "",
            f"{len(unexpected)} are unexpected (first: {unexpected[0]})" if unexpected else "",
            f"{len(different)} have another shape or type (first: {different[0]})"
            if different
            else "",
        ]
        raise RecipeError(
            f"{source}: holds the weights of another model: {', '.join(filter(None, counts))}; "
            f"{fix}"
        )
    module.load_state_dict({**_batch_counters(own), **weights})


def difference(given: Tensor, own: Tensor) -> str:
    """Type or shape of a tensor that does not fit one of the model; empty if both do.

    Integers, as in quantized weights, and complex numbers are no values of a tensor of floats.
    """
    if own.is_floating_point() and not given.is_floating_point():
        return f"{given.dtype} instead of {own.dtype}"
    if given.shape != own.shape:
        return f"{list(given.shape)} instead of {list(own.shape)}"
    return ""


def _reason(error: Exception) -> str:
    """Why a file cannot be read, in one line."""
    if "Unsupported" in str(error):  # torch then says how to execute what is in the file
        return "it holds other objects than tensors"
    if isinstance(error, OSError | RuntimeError | SafetensorError):
        return next(iter(str(error).splitlines()), type(error).__name__)
    return "it is damaged, or torch.save did not write it"


def _is_weight(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def _unwrapped(content: Any) -> Any:
    """The state dict in what a file holds, or else all of it."""
    while isinstance(content, dict):
        inner = (content[key] for key in _WRAPPERS if isinstance(content.get(key), dict))
        found = next(inner, None)
        if found is None:
            break
        content = found
    return content


def _batch_counters(own: Mapping[str, Tensor]) -> Weights:
    return {key: one for key, one in own.items() if key.endswith(BATCH_COUNTER)}
