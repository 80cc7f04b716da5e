"""Weight files: read without pickle, and checked against the model."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hieraseg.errors import RecipeError

Weights = dict[str, Tensor]
_BATCH_COUNTER = "num_batches_tracked"


def read_weights(path: str | Path) -> Weights:
    """Read the tensors of a `.safetensors` file, or of a state dict saved by `torch.save`.

    Raises:
        RecipeError: there is no such file, it is damaged, or it holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise RecipeError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises almost anything for a damaged file
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise RecipeError(
            f"{path}: cannot be read as weights ({reason}); "
            "save a plain state dict, or use safetensors"
        ) from error
    weights = weights.get("state_dict", weights) if isinstance(weights, dict) else weights
    if not isinstance(weights, dict) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise RecipeError(f"{path}: holds a {type(weights).__name__} instead of a state dict")
    return weights


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], source: str | Path) -> None:
    """Load weights into a module, all of them or none.

    As in torch, the batch counters of normalization layers may be missing: state dicts that are
    older than torch 0.4.1 have none.

    Args:
        module: the module.
        weights: its state dict.
        source: where they come from, for messages.

    Raises:
        RecipeError: tensors are missing, unexpected or have another shape.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in weights and not key.endswith(_BATCH_COUNTER)]
    unexpected = [key for key in weights if key not in own]
    reshaped = [
        f"{key} is {list(weights[key].shape)} instead of {list(own[key].shape)}"
        for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    if missing or unexpected or reshaped:
        counts = [
            f"{len(missing)} tensors are missing (first: {missing[0]})" if missing else "",
            f"{len(unexpected)} are unexpected (first: {unexpected[0]})" if unexpected else "",
            f"{len(reshaped)} have another shape (first: {reshaped[0]})" if reshaped else "",
        ]
        raise RecipeError(
            f"{source}: holds the weights of another model: {', '.join(filter(None, counts))}; "
            "use the recipe that made it"
        )
    module.load_state_dict({**_batch_counters(own), **weights})


def _batch_counters(own: Mapping[str, Tensor]) -> Weights:
    return {key: one for key, one in own.items() if key.endswith(_BATCH_COUNTER)}
