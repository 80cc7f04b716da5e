"""Test-time augmentation: several scales, horizontal flips and sliding windows."""

from collections.abc import Callable
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from hieraseg.contracts import Prediction
from hieraseg.hierarchy import Hierarchy
from hieraseg.settings import Evaluation

Model = Callable[[Float[Tensor, "B 3 H W"]], Prediction]


def predict_augmented(
    model: Model, images: Float[Tensor, "B 3 H W"], hierarchy: Hierarchy, settings: Evaluation
) -> list[Prediction]:
    """Predict images at each scale and, with `settings.flip`, also flipped.

    Args:
        model: images -> logits per level, at the size of the images.
        images: RGB in 0..1.
        hierarchy: the class tree; defines left and right classes.
        settings: scales, flip and window.

    Returns:
        One prediction per augmented version, at the size of the resized image. Those of flipped
        images are flipped back.
    """
    predictions = []
    for scale in settings.scales:
        resized = rescale(images, scale)
        predictions.append(slide(model, resized, settings.window, settings.window_overlap))
        if settings.flip:
            flipped = slide(model, resized.flip(-1), settings.window, settings.window_overlap)
            predictions.append(flip_back(flipped, hierarchy))
    return predictions


def rescale(images: Float[Tensor, "B 3 H W"], scale: float) -> Float[Tensor, "B 3 h w"]:
    """Resize images by a factor. Sides are rounded to whole pixels, at least 1."""
    if scale == 1:
        return images
    height, width = (max(round(side * scale), 1) for side in images.shape[-2:])
    # Antialiased, like the images of a store.
    return F.interpolate(
        images, (height, width), mode="bilinear", align_corners=False, antialias=True
    )


def flip_back(prediction: Prediction, hierarchy: Hierarchy) -> Prediction:
    """Flip logits horizontally, and swap left and right classes."""
    logits = prediction.logits
    # The last tables only, for a model that predicts leaves only.
    tables = hierarchy.on(logits[-1].device).mirrored[-len(logits) :]
    swapped = (level.flip(-1)[:, table] for level, table in zip(logits, tables, strict=True))
    return Prediction(tuple(swapped))


def slide(
    model: Model, images: Float[Tensor, "B 3 H W"], window: tuple[int, int] | None, overlap: float
) -> Prediction:
    """Predict images in sliding windows, and average the logits where windows overlap.

    Args:
        model: images -> logits per level, at the size of the images.
        images: RGB in 0..1.
        window: height and width of the window. With None, or for images that are not larger, the
            whole image is predicted at once.
        overlap: overlap of neighboring windows, relative to the window size, in [0, 1).
    """
    height, width = images.shape[-2:]
    if window is None or (height <= window[0] and width <= window[1]):
        return model(images)
    totals: list[Tensor] = []
    windows = torch.zeros(height, width, device=images.device)  # number of windows per pixel
    rows = window_slices(height, window[0], overlap)
    columns = window_slices(width, window[1], overlap)
    for row, column in product(rows, columns):
        logits = model(images[..., row, column]).logits
        totals = totals or [level.new_zeros(*level.shape[:2], height, width) for level in logits]
        for total, level in zip(totals, logits, strict=True):
            total[..., row, column] += level
        windows[row, column] += 1
    return Prediction(tuple(total.div_(windows) for total in totals))


def window_slices(side: int, window: int, overlap: float) -> list[slice]:
    """Positions of the windows along a side. All have the same size; the last ends at the edge."""
    step = max(round(window * (1 - overlap)), 1)
    starts = [*range(0, side - window, step), max(side - window, 0)]
    return [slice(start, min(start + window, side)) for start in starts]
