"""Stochastic gradient descent."""

from typing import Annotated

from torch import nn, optim

from hieraseg.types import NonNegativeFloat, PositiveFloat, Range, check_arguments
from hieraseg_plugins.optimizers.groups import LayerDecay, parameter_groups


@check_arguments
def sgd(
    parameters: dict[str, list[nn.Parameter]],
    model: nn.Module | None = None,
    lr: PositiveFloat = 0.01,
    weight_decay: NonNegativeFloat = 5e-4,
    momentum: Annotated[float, Range(ge=0, lt=1)] = 0.9,
    nesterov: bool = False,
    backbone_lr_multiplier: NonNegativeFloat = 1.0,
    layer_decay: LayerDecay = 1.0,
    decay_norms: bool = True,
) -> optim.Optimizer:
    """Stochastic gradient descent with momentum.

    Args:
        parameters: trained parameters under `backbone` and `head`.
        model: the model that they belong to.
        lr: learning rate.
        weight_decay: L2 penalty.
        momentum: momentum factor.
        nesterov: use Nesterov momentum, which needs a positive `momentum`.
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
    return optim.SGD(
        groups, lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov, fused=True
    )
