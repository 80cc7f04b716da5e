"""A loss and a transform whose numbers go wrong, as functions of tensors alone."""

from typing import Literal

import torch
from torch import Tensor

from hieraseg import Prediction, registry
from hieraseg.draws import Draws
from hieraseg_plugins.losses.marginal_ce import MarginalCrossEntropy

Place = Literal["term", "gradient"]


@registry.losses.register("breaking")
class Breaking(MarginalCrossEntropy):
    """A loss that is not finite in one step.

    Args:
        at: the share of training that is done before that step.
        place: what is not finite then.
        value: its value.
    """

    def __init__(
        self, hierarchy, at: float = 0.25, place: Place = "term", value: float = torch.nan
    ):
        super().__init__(hierarchy)
        self.at, self.place, self.value = at, place, value

    def forward(
        self, prediction: Prediction, targets: Tensor, progress: Tensor
    ) -> dict[str, Tensor]:
        now = abs(torch.as_tensor(progress) - self.at) < 1e-3
        logits = prediction.logits[-1]
        if self.place == "gradient" and logits.requires_grad:
            logits.register_hook(lambda one: torch.where(now, self.value, one))
        terms = super().forward(prediction, targets)
        broken = torch.where(now, self.value if self.place == "term" else 0.0, 0.0)
        return {**terms, "broken": 0 * logits.mean() + broken}


@registry.transforms.register("infinite")
class Infinite:
    """Makes the first image of each batch infinite."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return torch.cat([images[:1] + torch.inf, images[1:]]), masks
