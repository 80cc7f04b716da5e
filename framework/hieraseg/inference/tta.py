"""Test-time augmentation: several scales and horizontal flips."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from hieraseg.contracts import Prediction
from hieraseg.data.images import resize
from hieraseg.hierarchy import Hierarchy
from hieraseg.inference.padding import Predict


def as_tensor(image: UInt8[np.ndarray, "H W 3"], device: torch.device) -> UInt8[Tensor, "1 3 H W"]:
    """An RGB image as a batch of one."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].to(device)


def scaled_images(
    images: UInt8[Tensor, "n H W 3"],
    scales: Iterable[float],
    device: torch.device,
    original: UInt8[np.ndarray, "_ _ 3"] | None = None,
) -> list[Float[Tensor, "n 3 _ _"]]:
    """Images of one size in 0..1, resized by each factor.

    Args:
        images: the images at scale 1, copied asynchronously if their memory is pinned.
        scales: the factors.
        device: device of the results.
        original: of one image, the same before it was resized, for scales above 1; it may have
            more details.
    """
    pixels = images.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
    scaled = []
    for scale in scales:
        if scale > 1 and original is not None:
            size = scaled_size(images.shape[1:3], scale)
            enlarged = as_tensor(resize(original, size, Image.Resampling.BILINEAR), device)
            scaled.append(enlarged.float() / 255)
        else:
            scaled.append(rescale(pixels, scale))
    return scaled


def rescale(images: Float[Tensor, "B 3 H W"], scale: float) -> Float[Tensor, "B 3 h w"]:
    """Resize images by a factor."""
    if scale == 1:
        return images
    # Antialiased, like the images of a store.
    return F.interpolate(
        images,
        scaled_size(images.shape[-2:], scale),
        mode="bilinear",
        align_corners=False,
        antialias=True,
    )


def scaled_size(size: Sequence[int], scale: float) -> tuple[int, int]:
    """Height and width times a factor, rounded to whole pixels, at least 1."""
    height, width = (max(round(side * scale), 1) for side in size)
    return height, width


def predict_augmented(
    predict: Predict,
    stacks: Sequence[Sequence[Float[Tensor, "_ 3 _ _"]]],
    hierarchy: Hierarchy,
    flip: bool,
) -> list[list[Prediction]]:
    """Predict whole images at each scale and, with `flip`, also flipped.

    Args:
        predict: stacks of images -> predictions.
        stacks: each stack of images at each scale, RGB in 0..1.
        hierarchy: the class tree; defines left and right classes.
        flip: whether to predict flipped images as well.

    Returns:
        For each stack the predictions of its versions, at the size of each. Those of flipped
        images are flipped back.
    """
    predictions: list[list[Prediction]] = [[] for _ in stacks]
    for scaled in zip(*stacks, strict=True):
        for own, prediction in zip(predictions, predict(scaled), strict=True):
            own.append(prediction)
        if flip:
            flipped = predict([stack.flip(-1) for stack in scaled])
            for own, prediction in zip(predictions, flipped, strict=True):
                own.append(flip_back(prediction, hierarchy))
    return predictions


def flip_back(prediction: Prediction, hierarchy: Hierarchy) -> Prediction:
    """Flip logits horizontally, and swap left and right classes."""
    logits = prediction.logits
    # The last tables only, for a model that predicts leaves only.
    tables = hierarchy.on(logits[-1].device).mirrored[-len(logits) :]
    swapped = (level.flip(-1)[:, table] for level, table in zip(logits, tables, strict=True))
    return Prediction(tuple(swapped))
