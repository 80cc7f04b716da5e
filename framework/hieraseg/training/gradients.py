"""The gradients of a step: of the whole batch or of its parts in turn, and their norm."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.optim import Optimizer

from hieraseg.accumulation import PartTotals, part_totals, recorded_totals
from hieraseg.contracts import Prediction, has_argument
from hieraseg.data.batches.batch import AnyBatch
from hieraseg.errors import RecipeError
from hieraseg.training.finite import with_gradient
from hieraseg.training.forward import Augmented, Forward, augment
from hieraseg.training.setup import Parts


def compute_gradients(
    parts: Parts, optimizer: Optimizer, batch: AnyBatch, progress: Float[Tensor, ""]
) -> Forward:
    """Replace the gradients of all weights by those of a batch.

    With `training.accumulate`, its parts are computed one after another, so that memory holds the
    activations of one of them; processes exchange gradients after the last.

    Args:
        parts: the parts of the run.
        optimizer: the optimizer of the weights.
        batch: the images of this process.
        progress: share of training that is done.

    Returns:
        Terms and counts of the whole batch.

    Raises:
        RecipeError: see `_forward`; or the loss does not depend on the model.
    """
    optimizer.zero_grad()
    found: list[Forward] = []
    pieces, module = _pieces(parts, batch, progress), cast(Any, parts.forward)
    for number, (piece, totals) in enumerate(pieces, 1):
        with parts.fabric.no_backward_sync(module, enabled=number < len(pieces)):
            terms, counts = _forward(parts, piece, progress, totals)
            loss = with_gradient(reduce(torch.add, terms.values()))
            parts.fabric.backward(loss if len(pieces) == 1 else loss / len(pieces))
        found.append(Forward({name: one.detach() for name, one in terms.items()}, counts))
    return found[0] if len(found) == 1 else _together(found)


def clip_gradients(parts: Parts, optimizer: Optimizer) -> Float[Tensor, ""] | None:
    """Scale all gradients so that their common norm is at most `training.clip_norm`.

    Returns:
        The norm before; None if gradients are not clipped.
    """
    largest = parts.recipe.training.clip_norm
    if largest is None:
        return None
    # An error would need the norm on the host.
    return parts.fabric.clip_gradients(
        parts.forward, optimizer, max_norm=largest, error_if_nonfinite=False
    )


def _pieces(
    parts: Parts, batch: AnyBatch, progress: Float[Tensor, ""]
) -> Sequence[tuple[AnyBatch | Augmented, PartTotals | None]]:
    """The parts of a batch, and what their losses divide by.

    There are fewer if a process has fewer images, but equally many in all processes, which exchange
    numbers in each. The batch is augmented as a whole, since transforms may mix its images.
    """
    settings = parts.recipe.training
    size = min(settings.batch_size, len(parts.stores["train"]))
    number = min(settings.accumulate, size // parts.fabric.world_size)
    if number == 1:
        return [(batch, None)]
    images, targets = augment(parts.view, parts.hierarchy, batch)
    pieces = list(map(Augmented, images.tensor_split(number), targets.tensor_split(number)))
    recorded = [_totals(parts, piece.targets, progress) for piece in pieces]
    return list(zip(pieces, part_totals(recorded), strict=True))


@torch.no_grad()
def _totals(
    parts: Parts, targets: Int[Tensor, "B levels H W"], progress: Float[Tensor, ""]
) -> list[Float[Tensor, ""]]:
    """What the loss of some images divides by, found with logits of zero."""
    (batch, _, height, width), device = targets.shape, targets.device
    logits = [torch.zeros(batch, size, height, width, device=device) for size in parts.num_classes]
    loss, embedding = parts.loss, None
    if loss.embedding_channels:
        size = (-(-height // 4), -(-width // 4))
        embedding = torch.zeros(batch, loss.embedding_channels, *size, device=device)
    arguments = {"progress": progress} if has_argument(loss.forward, "progress") else {}
    with recorded_totals() as totals:
        # Not as a module, whose hooks would take it for the loss of the step (see `timing`).
        loss.forward(Prediction(tuple(logits), embedding), targets, **arguments)
    return totals


def _together(found: Sequence[Forward]) -> Forward:
    """Mean terms and summed counts of the parts of a batch."""

    def total(values: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        return {name: reduce(torch.add, (one[name] for one in values)) for name in values[0]}

    terms = total([one.terms for one in found])
    return Forward(
        {name: term / len(found) for name, term in terms.items()},
        total([one.counts for one in found]),
    )


def _forward(
    parts: Parts,
    batch: AnyBatch | Augmented,
    progress: Float[Tensor, ""],
    totals: PartTotals | None,
) -> Forward:
    """Terms and counts of some images.

    Raises:
        RecipeError: a feature map of one image has one pixel, which batch normalisation cannot
            train; or several processes train a model with weights that have no effect.
    """
    try:
        return cast(Forward, parts.forward(batch, progress, totals))
    except RuntimeError as error:
        if "finished reduction" not in str(error):
            raise
        raise RecipeError(
            "training.devices: some weights of the model had no effect on the loss in the step "
            "before, which several processes do not support; train with one, or use all weights"
        ) from error
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        in_parts = parts.recipe.training.accumulate > 1
        fix = "decrease training.accumulate, or " if in_parts else ""
        raise RecipeError(
            "training: batch normalisation needs more than one value per channel, but a feature "
            f"map has one; {fix}increase training.batch_size, or input.size unless the decoder "
            "pools whole images"
        ) from error
