"""What timm knows of its models: their names, and the names and layers of their parameters."""

from collections.abc import Iterable
from difflib import get_close_matches
from functools import partial
from typing import Any

import timm
import torch
from timm.models import group_parameters
from torch import nn

from hieraseg.contracts import Choice
from hieraseg.types import ArgumentError


def check_name(model: str) -> None:
    """Check the name of a model.

    Args:
        model: its name, with or without the tag of pretrained weights.

    Raises:
        ArgumentError: timm has no such model, or no such tag.
    """
    architecture, _, tag = model.partition(".")
    names = timm.list_models() + timm.list_pretrained()
    if timm.is_model(architecture) and (not tag or model in names):
        return
    close = get_close_matches(model, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "see `hieraseg list backbones timm --filter`"
    raise ArgumentError("model", f"timm has no model {model!r}, {hint}")


def outline(model: str, **options: Any) -> nn.Module:
    """A model of timm as a classifier, without memory for its weights.

    Args:
        model: its name.
        options: those of its feature extractor; what is about feature maps does not count.
    """
    own = {key: one for key, one in options.items() if key not in ("features_only", "out_indices")}
    with torch.device("meta"):
        return timm.create_model(model, **own)


def names_in(network: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """The names that a feature extractor of timm has for the weights of the classifier.

    Args:
        network: the feature extractor.
        names: names of the classifier's weights.

    Returns:
        The extractor's name by the classifier's, without those of layers that it does not have.
    """
    own = network.state_dict().keys()
    found: dict[str, str] = {}
    for name in names:
        forms = (name, name.replace(".", "_", 1), f"model.{name}", f"body.{name}")
        found.update((name, form) for form in forms if form in own)
    return found


def layers_in(network: nn.Module, model: str, **options: Any) -> dict[str, int]:
    """The layer of each parameter of a feature extractor, from 0 for the stem.

    Args:
        network: the feature extractor.
        model: its name.
        options: those that it was created with.
    """
    classifier: Any = outline(model, **options)
    if not hasattr(classifier, "group_matcher"):  # then each stage is a layer
        parts = [name for name, _ in network.named_children()]
        names = [name for name, _ in network.named_parameters()]
        return {name: parts.index(name.partition(".")[0]) for name in names}
    layers = group_parameters(classifier, classifier.group_matcher(), reverse=True)
    own = names_in(network, layers)
    order = sorted({layers[name] for name in own})
    return {own[name]: order.index(layers[name]) for name in own}


def choices(filter: str) -> list[Choice]:
    """The models whose name contains a string, with their parameters and pretrained weights."""
    tags: dict[str, list[str]] = {}
    for name in timm.list_pretrained():
        architecture, _, tag = name.partition(".")
        tags.setdefault(architecture, []).append(tag)
    return [
        Choice(name, partial(_details, name, tags.get(name, [])))
        for name in timm.list_models()
        if filter in name
    ]


def _details(model: str, tags: list[str]) -> dict[str, Any]:
    parameters = sum(one.numel() for one in outline(model).parameters())
    return {"parameters": parameters, "weights": tags}
