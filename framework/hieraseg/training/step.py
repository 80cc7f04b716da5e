"""One training step."""

from functools import reduce
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from hieraseg.contracts import Prediction
from hieraseg.data.batches.batch import Batch
from hieraseg.draws import Draws
from hieraseg.errors import RecipeError
from hieraseg.training.setup import Parts
from hieraseg.training.state import State


def train_step(
    parts: Parts, state: State, batch: Batch, draws: Draws
) -> dict[str, Float[Tensor, ""]]:
    """Augment a batch of this process and take one optimizer step.

    Args:
        parts: the parts of the run.
        state: its state; the step is added to its totals.
        batch: images and masks on the device.
        draws: random numbers of its images.

    Returns:
        The terms of the loss.
    """
    fabric, hierarchy = parts.fabric, parts.hierarchy
    images, masks = parts.view.augment(batch, draws)
    targets = hierarchy.encode(masks, check=False)  # checked when they were stored
    prediction = predict(parts, images)
    progress = {"progress": state.step / parts.total_steps} if parts.loss_takes_progress else {}
    terms: dict[str, Tensor] = parts.loss(prediction, targets, **progress)
    state.optimizer.zero_grad()
    fabric.backward(reduce(torch.add, terms.values()))
    state.optimizer.step()
    state.schedule.step()
    state.step += 1
    with torch.no_grad():
        state.totals.add(terms, parts.segmenter.classes(prediction), targets)
    return terms


def predict(parts: Parts, images: Float[Tensor, "B 3 H W"]) -> Prediction:
    """The prediction of the wrapped model.

    Raises:
        RecipeError: the last feature map has one pixel, which batch normalisation cannot train;
            or several processes train a model with weights that have no effect.
    """
    try:
        return cast(Prediction, parts.model(images))
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
        raise RecipeError(
            "training: batch normalisation needs more than one value per channel, but the last "
            "feature map has one; increase training.batch_size or input.size"
        ) from error
