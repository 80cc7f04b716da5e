"""Optimizers of timm, by name."""

from functools import partial
from typing import Annotated, Any, cast

import torch
from timm.optim import (
    Lion,
    OptimInfo,
    create_optimizer_v2,
    get_optimizer_info,
    list_optimizers,
)
from torch import nn, optim

from hieraseg.contracts import Choice
from hieraseg.errors import did_you_mean
from hieraseg.types import (
    ArgumentError,
    NonNegativeFloat,
    PositiveFloat,
    Range,
    check_arguments,
)
from hieraseg_plugins.optimizers.groups import LayerDecay, parameter_groups

Beta = Annotated[float, Range(ge=0, lt=1)]

_FUSED = (optim.Adam, optim.AdamW, optim.SGD)
_STATELESS = (optim.SGD, Lion)
"""Those that count no steps, and take a learning rate that is a tensor as it is."""


@check_arguments
def timm_optimizer(
    parameters: dict[str, list[nn.Parameter]],
    optimizer: str,
    lr: PositiveFloat,
    model: nn.Module | None = None,
    weight_decay: NonNegativeFloat = 0.0,
    momentum: Beta | None = None,
    betas: tuple[Beta, ...] | None = None,
    eps: NonNegativeFloat | None = None,
    backbone_lr_multiplier: NonNegativeFloat = 1.0,
    layer_decay: LayerDecay = 1.0,
    decay_norms: bool = True,
) -> optim.Optimizer:
    """An optimizer of timm by its name there, as `lion`, `adan` or `nadamw`.

    On CUDA, the training step is captured with those that `hieraseg list optimizers timm --filter
    adam` marks, such as lion, nadamw, adopt and muon. The others, such as adan, lamb and lars, work
    with numbers on the host; with them, operations are launched from Python, as a log line says.

    Args:
        parameters: trained parameters under `backbone` and `head`.
        optimizer: name of the optimizer, which `hieraseg list optimizers timm --filter adam` lists.
            Those of apex and bitsandbytes, of second order, and kron, which cannot be resumed
            exactly, are left out.
        lr: learning rate.
        model: the model that the parameters belong to.
        weight_decay: weight decay, as the optimizer applies it.
        momentum: momentum, for optimizers that have one. Default: 0.9.
        betas: decay rates of running averages, for optimizers that have some. Default: those of the
            optimizer.
        eps: what is added to the denominator, for optimizers that have one. Default: that of the
            optimizer.
        backbone_lr_multiplier: factor of the backbone's learning rate.
        layer_decay: factor of the learning rate from each layer of the backbone to the one before,
            as for BEiT (arXiv:2106.08254); 1 for none. The backbone has to tell its layers.
        decay_norms: whether weight decay also applies to normalization layers, biases and position
            embeddings.

    Raises:
        ValueError: there is no such optimizer, it has no such argument, an argument is out of
            range, or the backbone does not tell its layers.
    """
    if optimizer not in _names():
        hint = did_you_mean(optimizer, _names())
        raise ArgumentError("optimizer", f"names no optimizer of timm: {optimizer!r}, {hint}")
    info = get_optimizer_info(optimizer)
    arguments: dict[str, Any] = {"momentum": momentum, "betas": betas, "eps": eps}
    given = {key: value for key, value in arguments.items() if value is not None}
    _check(info, given)
    if info.opt_class in _FUSED:
        given["fused"] = True  # as in adamw and sgd
    groups = parameter_groups(
        parameters, model, lr, weight_decay, backbone_lr_multiplier, layer_decay, decay_norms
    )
    built: Any = create_optimizer_v2(groups, optimizer, lr, weight_decay, **given)
    if not isinstance(built, _STATELESS) and "capturable" not in built.defaults:
        built.capturable = False
        built.capturable_reason = f"timm's {optimizer} works with numbers on the host"
    return cast(optim.Optimizer, built)


def choices(filter: str) -> list[Choice]:
    """The optimizers whose name contains a string, and whether the step is captured with them."""
    return [Choice(name, partial(_details, name)) for name in _names() if filter in name]


timm_optimizer.choices = choices  # type: ignore[attr-defined]


def _details(name: str) -> dict[str, Any]:
    built = timm_optimizer({"backbone": [], "head": [nn.Parameter(torch.zeros(1))]}, name, 1e-3)
    captured = "yes" if getattr(built, "capturable", True) else "no"
    return {"captured": captured, "description": get_optimizer_info(name).description}


def _names() -> list[str]:
    """Those of torch and timm that need gradients of first order, and resume exactly."""
    infos = {str(name): get_optimizer_info(str(name)) for name in list_optimizers()}
    return [
        name
        for name, info in infos.items()
        # Those of apex and bitsandbytes are strings.
        if not (isinstance(info.opt_class, str) or info.second_order or "kron" in name)
    ]


def _check(info: OptimInfo, given: dict[str, Any]) -> None:
    """Refuse arguments that an optimizer does not have, which timm would ignore."""
    has = {"momentum": info.has_momentum, "betas": info.has_betas, "eps": info.has_eps}
    for argument in given:
        if not has[argument]:
            raise ArgumentError(argument, f"is not an argument of timm's {info.name}; remove it")
    if "betas" in given and len(given["betas"]) != info.num_betas:
        found = f"{info.num_betas} numbers for timm's {info.name}, got {len(given['betas'])}"
        raise ArgumentError("betas", f"must be {found}")
