"""Parameter groups: learning rates by part and layer, and what weight decay applies to."""

from collections.abc import Callable
from fnmatch import fnmatch
from typing import Annotated, Any

from torch import nn

from hieraseg.types import ArgumentError, Range

LayerDecay = Annotated[float, Range(gt=0, le=1)]


def parameter_groups(
    parameters: dict[str, list[nn.Parameter]],
    model: nn.Module | None,
    lr: float,
    weight_decay: float,
    backbone_lr_multiplier: float = 1.0,
    layer_decay: float = 1.0,
    decay_norms: bool = True,
) -> list[dict[str, Any]]:
    """One group for each part of the model, learning rate and weight decay.

    Args:
        parameters: trained parameters under `backbone` and `head`.
        model: the model that they belong to, which knows their names; needed for `layer_decay`, and
            for the position embeddings that `decay_norms` excludes.
        lr: learning rate of the head.
        weight_decay: weight decay.
        backbone_lr_multiplier: factor of the backbone's learning rate.
        layer_decay: factor of the learning rate from each layer of the backbone to the one before;
            the last layer has it once.
        decay_norms: whether weight decay applies to parameters of one dimension, which are those of
            normalization layers and biases, and to what `no_weight_decay()` of a module lists, as
            modules of timm do for position embeddings.

    Raises:
        ArgumentError: there is a layer decay, but the backbone does not tell its layers.
    """
    named = () if model is None else model.named_parameters()
    names = {parameter: name for name, parameter in named}
    layer_scale = _layer_scales(model, layer_decay) if parameters["backbone"] else None
    listed = [] if model is None or decay_norms else _without_decay(model)
    groups: dict[tuple[str, float, float], dict[str, Any]] = {}
    for part, own in parameters.items():
        for one in own:
            name, rate, decay = names.get(one, ""), lr, weight_decay
            if part == "backbone":
                rate *= backbone_lr_multiplier
                rate *= layer_scale(name) if layer_scale else 1
            if not decay_norms and (one.ndim <= 1 or any(fnmatch(name, it) for it in listed)):
                decay = 0.0
            group = {"params": [], "lr": rate, "weight_decay": decay}
            groups.setdefault((part, rate, decay), group)["params"].append(one)
    return list(groups.values())


def _layer_scales(model: nn.Module | None, layer_decay: float) -> Callable[[str], float] | None:
    """Factor of the learning rate of a parameter of the backbone, by its name; None if it is 1."""
    if layer_decay == 1:
        return None
    prefix: str = getattr(model, "backbone_name", "")
    backbone: Any = model.get_submodule(prefix) if model is not None and prefix else None
    if not hasattr(backbone, "layer_of"):
        raise ArgumentError(
            "layer_decay",
            "needs a backbone that tells the layer of each parameter (`num_layers` and `layer_of`),"
            " as timm does; set it to 1, or choose such a backbone",
        )
    layers = int(backbone.num_layers)
    return lambda name: layer_decay ** (layers - backbone.layer_of(name.removeprefix(f"{prefix}.")))


def _without_decay(model: nn.Module) -> list[str]:
    """Names, and patterns of names, that modules of a model list as having no weight decay."""
    return [
        f"{prefix}.{name}".lstrip(".")
        for prefix, module in model.named_modules()
        if callable(listed := getattr(module, "no_weight_decay", None))
        for name in listed()
    ]
