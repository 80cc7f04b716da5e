"""Optimizers of timm, by name."""

from typing import Annotated, Any, cast

from timm.optim import (
    Lion,
    OptimInfo,
    create_optimizer_v2,
    get_optimizer_info,
    list_optimizers,
)
from torch import nn, optim

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

    On CUDA, the training step is captured with adadelta, adam, adamax, adamw, adopt, lion, muon,
    nadam, nadamw, radam, rmsprop, sgd and their variants. The others, such as adan, lamb or lars,
    work with numbers on the host; with them, operations are launched from Python.

    Args:
        parameters: trained parameters under `backbone` and `head`.
        optimizer: name of the optimizer, one of `timm.optim.list_optimizers()`; but none of apex or
            bitsandbytes, none of second order, and not kron, which cannot be resumed exactly.
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
    names = [one for one in map(str, list_optimizers()) if _is_offered(get_optimizer_info(one))]
    if optimizer not in names:
        hint = did_you_mean(optimizer, names)
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


def _is_offered(info: OptimInfo) -> bool:
    # Those of apex and bitsandbytes are strings.
    return not (isinstance(info.opt_class, str) or info.second_order or "kron" in info.name)


def _check(info: OptimInfo, given: dict[str, Any]) -> None:
    """Refuse arguments that an optimizer does not have, which timm would ignore."""
    has = {"momentum": info.has_momentum, "betas": info.has_betas, "eps": info.has_eps}
    for argument in given:
        if not has[argument]:
            raise ArgumentError(argument, f"is not an argument of timm's {info.name}; remove it")
    if "betas" in given and len(given["betas"]) != info.num_betas:
        found = f"{info.num_betas} numbers for timm's {info.name}, got {len(given['betas'])}"
        raise ArgumentError("betas", f"must be {found}")
