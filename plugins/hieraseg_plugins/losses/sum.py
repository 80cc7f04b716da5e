"""Weighted sum of losses."""

from collections.abc import Collection
from itertools import chain, count
from typing import Annotated

from jaxtyping import Float, Int
from torch import Tensor, nn

from hieraseg import Loss, Prediction
from hieraseg.contracts import has_argument
from hieraseg.functional import Ramp, ramp
from hieraseg.types import ArgumentError, NonEmpty, NonNegativeFloat, check_arguments


@check_arguments
class Sum(Loss):
    """Weighted sum of several losses, each of which can be phased in during training.

    Over its ramp from `start` to `end`, as fractions of training, the weight w of a loss grows as
    `w/2 (1 - cos(pi (progress - start) / (end - start)))`. It is 0 before and w after.

    All losses share the same logits. The first loss that trains logits determines how they become
    scores, so put the one that matches the inference rule first.

    Args:
        losses: the losses, each written like the section `loss`.
        weights: weight of each loss; null for 1 each.
        ramps: `[start, end]` of each loss, 0 to 1; `[0, 0]` for a constant weight; null for
            constant weights only.

    Raises:
        ValueError: there are no losses, or not one weight and ramp per loss; an argument is out
            of range, or all weights are 0; losses need embeddings of different sizes.
    """

    pixelwise = True  # unless one of the losses is not

    def __init__(
        self,
        losses: Annotated[list[Loss], NonEmpty()],
        weights: list[NonNegativeFloat] | None = None,
        ramps: list[Ramp] | None = None,
    ) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.weights = [1.0] * len(losses) if weights is None else weights
        self.ramps = [(0.0, 0.0)] * len(losses) if ramps is None else ramps
        for argument, values in (("weights", self.weights), ("ramps", self.ramps)):
            if len(values) != len(losses):
                raise ArgumentError(
                    argument, f"must have {len(losses)} values, one per loss, got {len(values)}"
                )
        if not any(self.weights):
            raise ArgumentError("weights", "must not all be 0, with which nothing is trained")
        self.takes_progress = [has_argument(loss.forward, "progress") for loss in losses]
        self.pixelwise = all(loss.pixelwise for loss in losses)
        self.embedding_channels = _common_embedding_channels(losses)
        for loss in losses:
            if not loss.capturable:
                self.capturable, self.capturable_reason = False, loss.capturable_reason
        on_logits = [loss for loss in losses if loss.levels != "none"]
        if on_logits:
            self.levels = "all" if any(loss.levels == "all" for loss in on_logits) else "leaves"
            self.activation = on_logits[0].activation
        else:
            self.levels = "none"

    def forward(
        self,
        prediction: Prediction,
        targets: Int[Tensor, "B levels H W"],
        progress: Float[Tensor, ""] | float = 1.0,
    ) -> dict[str, Float[Tensor, ""]]:
        """Weighted terms of all losses; repeated names are numbered from 2 on.

        Args:
            prediction: logits of the finest level, and of the others if a loss needs them.
            targets: class of each pixel per level, -100 where it is ignored.
            progress: fraction of training that is done.
        """
        leaves_only = Prediction(prediction.logits[-1:], prediction.embedding)
        terms: dict[str, Tensor] = {}
        for loss, weight, (start, end), takes_progress in zip(
            self.losses, self.weights, self.ramps, self.takes_progress, strict=True
        ):
            seen = prediction if loss.levels == "all" else leaves_only
            arguments = {"progress": progress} if takes_progress else {}
            factor = weight * ramp(progress, start, end)
            for name, term in loss(seen, targets, **arguments).items():
                terms[_unique_name(name, terms)] = factor * term
        return terms


def _common_embedding_channels(losses: Collection[Loss]) -> int:
    """Embedding size that all losses with an embedding agree on, 0 if there are none."""
    sizes = sorted({loss.embedding_channels for loss in losses} - {0})
    if len(sizes) > 1:
        raise ArgumentError(
            "losses", f"must share one embedding, got embeddings of {sizes} channels"
        )
    return sizes[0] if sizes else 0


def _unique_name(name: str, used: Collection[str]) -> str:
    numbered = (f"{name}_{number}" for number in count(2))
    return next(one for one in chain([name], numbered) if one not in used)
