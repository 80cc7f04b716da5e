"""Moving average of the weights while they train."""

from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hieraseg.errors import RecipeError


class WeightAverage:
    """A model whose weights are the moving average of those of another.

    Statistics of batch normalization are averaged, too, so that they are those of the averaged
    weights; integers are copied. Averages are updated in place, as part of a captured step.

    Args:
        model: the model that trains, before it does.
        decay: share of the average that a step keeps, below 1. After n steps it is at most
            (1 + n) / (10 + n), so that the initial weights are soon forgotten.
        device: the training device.

    Attributes:
        model: the averaged model, in evaluation mode.

    Raises:
        RecipeError: the model cannot be copied.
    """

    def __init__(self, model: nn.Module, decay: float, device: torch.device) -> None:
        self.decay = decay
        try:
            self.model = deepcopy(model).requires_grad_(False).eval().to(device)
        except Exception as error:  # of a component, which can raise anything
            raise RecipeError(
                f"training.ema: the model cannot be copied ({error}); set it to null"
            ) from error
        self._trained = model

    def rate(self, step: int) -> float:
        """Share of the way to the new weights that the average goes in a step, from step 0."""
        return 1 - min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, rate: Float[Tensor, ""]) -> None:
        """Move the average towards the weights.

        Args:
            rate: share of the way (see `rate`), on the device.
        """
        averages, weights, copies, originals = self._tensors()
        changes = torch._foreach_sub(weights, averages)
        torch._foreach_mul_(changes, rate)
        torch._foreach_add_(averages, changes)
        if copies:
            torch._foreach_copy_(copies, originals)

    def _tensors(self) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """Averages and weights, and copies and originals of what has no average."""
        found: tuple[list[Tensor], ...] = ([], [], [], [])
        seen = set()
        # What is not saved, such as masks of infinite values, is constant.
        pairs = zip(_saved(self.model), _saved(self._trained), strict=True)
        for average, trained in pairs:
            if id(average) in seen:  # weights that two modules share
                continue
            seen.add(id(average))
            place = 0 if trained.is_floating_point() else 2
            found[place].append(average)
            found[place + 1].append(trained)
        return found[0], found[1], found[2], found[3]


def _saved(model: nn.Module) -> list[Tensor]:
    """All weights and buffers of a model's state dict."""
    values = model.state_dict(keep_vars=True).values()
    return [one for one in values if isinstance(one, Tensor)]
