"""Weights of timm's models, from its hub or from a file."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from timm.models import get_pretrained_cfg, is_model_pretrained
from torch import nn

from hieraseg.console import warn
from hieraseg.model.weights import Weights, load_weights, read_weights, without_prefix
from hieraseg.types import ArgumentError
from hieraseg_plugins.backbones.timm_catalogue import names_in, outline

_HEADS = ("head", "heads", "fc", "classifier")
"""What releases call their classifiers."""


def create_pretrained(model: str, options: dict[str, Any]) -> nn.Module:
    """Create a model with the weights of timm's hub.

    Args:
        model: its name.
        options: further arguments of `timm.create_model`.

    Raises:
        ArgumentError: timm has no weights of it, or they cannot be downloaded.
    """
    if not is_model_pretrained(model):
        raise ArgumentError(
            "weights", f"timm has no pretrained weights of {model}; name a file, or set it to null"
        )
    try:
        _check_hub(model)
        return timm.create_model(model, pretrained=True, **options)
    except Exception as error:  # the hub's client raises almost anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ArgumentError(
            "weights",
            f"the pretrained weights of {model} cannot be downloaded ({reason}); connect to the "
            "internet once, name a file, or set it to null",
        ) from error


def _check_hub(model: str) -> None:
    """Ask the hub once, if the weights are not there yet: downloads try for a minute."""
    config = get_pretrained_cfg(model)
    if config is None or not config.hf_hub_id:
        return
    repository = config.hf_hub_id
    files = ("model.safetensors", "pytorch_model.bin", config.hf_hub_filename)
    if not any(isinstance(try_to_load_from_cache(repository, one), str) for one in files if one):
        get_hf_file_metadata(hf_hub_url(repository, "config.json"), timeout=10)


def load_file(network: nn.Module, model: str, options: dict[str, Any], path: str | Path) -> None:
    """Load weights from a file into a feature extractor.

    Names are those of timm, or others that timm converts, such as those of DINO's releases; a
    prefix of them all is removed. Weights of classifiers, and of layers that do not lead to
    feature maps, are left out; a warning counts others that are not used.

    Args:
        network: the feature extractor.
        model: its name.
        options: those that it was created with.
        path: a `.safetensors` file, or a state dict (see `model.weights.read_weights`).

    Raises:
        RecipeError: the file cannot be read, or lacks weights that the network needs.
    """
    classifier = outline(model, **options)
    known = classifier.state_dict()
    weights = without_prefix(read_weights(path), known)
    weights = without_prefix(_converted(weights, classifier), known)
    own = names_in(network, known)
    used = {own[name]: weights[name] for name in own if name in weights}
    load_weights(network, used, path, fix="name the model that they belong to, or other weights")
    unused = [name for name in weights if name not in known and not name.startswith(_HEADS)]
    if unused:
        warn(f"{path}: {len(unused)} tensors are not used (first: {unused[0]})")


def _converted(weights: Weights, classifier: nn.Module) -> Weights:
    """The weights with timm's names and the sizes of a model, if timm can convert them."""
    module = sys.modules[type(classifier).__module__]
    convert: Callable[..., Weights] | None = getattr(module, "checkpoint_filter_fn", None)
    if convert is None:
        return weights
    try:
        return convert(dict(weights), classifier)  # which it changes
    except Exception:  # weights of another model; what is missing is said when they are loaded
        return weights
