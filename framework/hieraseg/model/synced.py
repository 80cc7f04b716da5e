"""Batch normalization over the images of all processes."""

from typing import cast

import torch

from hieraseg.errors import RecipeError
from hieraseg.model.segmentation import SegmentationModel


def with_synced_batch_norm(model: SegmentationModel, device: torch.device) -> SegmentationModel:
    """The model with batch normalization whose statistics are those of all processes.

    The names of its weights stay, so that checkpoints fit either.

    Args:
        model: the model, which is changed.
        device: the training device.

    Raises:
        RecipeError: torch has no such batch normalization for the device.
    """
    if device.type != "cuda":
        raise RecipeError(
            "training.sync_batch_norm: torch synchronizes batch normalization on CUDA only, but "
            f"the device is {device.type}; set it to false"
        )
    # Not torch's own function, which loses the activation inside timm's batch normalization.
    # Imported here, since timm takes seconds.
    from timm.layers import convert_sync_batchnorm

    return cast(SegmentationModel, convert_sync_batchnorm(model))
