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
    image: UInt8[np.ndarray, "H W 3"],
    scales: Iterable[float],
    device: torch.device,
    original: UInt8[np.ndarray, "_ _ 3"] | None = None,
) -> list[Float[Tensor, "1 3 _ _"]]:
    """An image, resized by each factor.

    Args:
        image: the image at scale 1.
        scales: the factors.
        device: device of the results.
        original: the same image before it was resized, for scales above 1; it may have more
            details.
    """
    pixels = as_tensor(image, device).float() / 255
    scaled = []
    for scale in scales:
        if scale > 1 and original is not None:
            size = scaled_size(image.shape, scale)
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
    height, width = (max(round(side * scale), 1) for side in size[:2])
    return height, width


def predict_augmented(
    predict: Predict,
    images: Sequence[Sequence[Float[Tensor, "1 3 _ _"]]],
    hierarchy: Hierarchy,
    flip: bool,
) -> list[list[Prediction]]:
    """Predict whole images at each scale and, with `flip`, also flipped.

    Args:
        predict: images -> predictions.
        images: each image at each scale, RGB in 0..1.
        hierarchy: the class tree; defines left and right classes.
        flip: whether to predict flipped images as well.

    Returns:
        For each image the predictions of its versions, at the size of each. Those of flipped
        images are flipped back.
    """
    predictions: list[list[Prediction]] = [[] for _ in images]
    for scaled in zip(*images, strict=True):
        for own, prediction in zip(predictions, predict(scaled), strict=True):
            own.append(prediction)
        if flip:
            flipped = predict([image.flip(-1) for image in scaled])
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
