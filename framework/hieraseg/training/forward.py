"""The part of a training step that can be compiled: from a batch to the terms of the loss."""

from collections.abc import Mapping
from functools import reduce
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hieraseg.accumulation import PartTotals, given_totals
from hieraseg.contracts import Loss, Prediction, has_argument
from hieraseg.data.batches.batch import AnyBatch
from hieraseg.data.batches.views import View
from hieraseg.errors import RecipeError
from hieraseg.hierarchy import Hierarchy
from hieraseg.inference.segmenter import Segmenter
from hieraseg.metrics.pixels import pixel_counter

AUXILIARY = "auxiliary"
"""Name of the term of auxiliary logits."""


class Augmented(NamedTuple):
    """Images as the model sees them, and their targets.

    Attributes:
        images: float32 in 0..1.
        targets: target class per level.
    """

    images: Float[Tensor, "B 3 H W"]
    targets: Int[Tensor, "B levels H W"]


class Forward(NamedTuple):
    """What a training step computes of a batch, before it changes any weights.

    Attributes:
        terms: terms of the loss.
        counts: counts of the training predictions, as one row of `PixelCounts`.
    """

    terms: dict[str, Float[Tensor, ""]]
    counts: dict[str, Tensor]


class TrainingForward(nn.Module):
    """Augmentation, model, loss and counts as one function of tensors on the training device.

    It reads nothing back from the device, has no shapes that depend on the data, and uses no
    Python number that changes from step to step, so that it can be compiled, and captured in a
    CUDA graph.

    Args:
        model: the model as training calls it, perhaps compiled.
        view: how training sees the store.
        loss: the loss.
        segmenter: how logits become classes.
        device: the training device.
        auxiliary_weight: weight of the loss of auxiliary logits, if the model has them.
    """

    def __init__(
        self,
        model: nn.Module,
        view: View,
        loss: Loss,
        segmenter: Segmenter,
        device: torch.device,
        auxiliary_weight: float,
    ) -> None:
        super().__init__()
        self.model = model
        # In a tuple, since a loss has no weights: several processes would synchronise its buffers.
        self._fixed = (view, loss, segmenter)
        self._count = pixel_counter(segmenter.hierarchy, device)
        self._takes_progress = has_argument(loss.forward, "progress")
        self._auxiliary_weight = auxiliary_weight

    def forward(
        self,
        batch: AnyBatch | Augmented,
        progress: Float[Tensor, ""],
        totals: PartTotals | None = None,
    ) -> Forward:
        """The terms of the loss and the counts of a batch.

        Args:
            batch: the images of this process in a step, or a part of them that is augmented.
            progress: share of training that is done, in [0, 1).
            totals: what the loss of a part divides by; None for a whole batch.
        """
        view, loss, segmenter = self._fixed
        if not isinstance(batch, Augmented):
            batch = augment(view, segmenter.hierarchy, batch)
        images, targets = batch
        prediction: Prediction = self.model(images)
        arguments = {"progress": progress} if self._takes_progress else {}
        # Only the model computes in mixed precision.
        with torch.autocast(progress.device.type, enabled=False), given_totals(totals):
            terms = loss_terms(loss, prediction, targets, arguments, self._auxiliary_weight)
            counts = self._counts(prediction, targets)
        return Forward(terms, counts)

    @torch.no_grad()
    def _counts(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"]
    ) -> dict[str, Tensor]:
        _, _, segmenter = self._fixed
        counts = self._count(segmenter.classes(prediction), targets)
        return {key: count.sum(0, keepdim=True) for key, count in counts.items()}


def augment(view: View, hierarchy: Hierarchy, batch: AnyBatch) -> Augmented:
    """Augment the images of a step, in float32, and encode their targets.

    Args:
        view: how training sees the store.
        hierarchy: the class tree.
        batch: the images.
    """
    with torch.autocast(batch.seeds.device.type, enabled=False):
        images, masks = view.augment(batch)
    # Labels were checked when they were stored.
    return Augmented(images, hierarchy.encode(masks, check=False))


def loss_terms(
    loss: Loss,
    prediction: Prediction,
    targets: Int[Tensor, "B levels H W"],
    arguments: Mapping[str, Any],
    auxiliary_weight: float,
) -> dict[str, Float[Tensor, ""]]:
    """The terms of the loss, and that of the auxiliary logits, if there are any.

    Args:
        loss: the loss.
        prediction: prediction of a batch.
        targets: target class per level.
        arguments: further arguments of the loss.
        auxiliary_weight: weight of the loss of auxiliary logits.

    Raises:
        RecipeError: the loss returns no terms, or cannot have that of auxiliary logits.
    """
    terms: dict[str, Tensor] = loss(prediction, targets, **arguments)
    if not isinstance(terms, dict):
        raise RecipeError(
            f"loss: {type(loss).__name__} returns a {type(terms).__name__}; return its terms by "
            "name, as in {'ce': cost}"
        )
    if prediction.auxiliary is None:
        return terms
    if loss.embedding_channels or AUXILIARY in terms:
        problem = "trains an embedding" if loss.embedding_channels else f"has a term {AUXILIARY}"
        raise RecipeError(
            f"loss: it {problem}, so it cannot train the auxiliary logits of the model; choose "
            "another loss"
        )
    own = loss(Prediction(prediction.auxiliary), targets, **arguments)
    return {**terms, AUXILIARY: auxiliary_weight * reduce(torch.add, own.values())}
