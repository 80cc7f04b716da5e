"""Test-time augmentation: several scales, horizontal flips and sliding windows."""

from collections.abc import Callable, Sequence
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from hieraseg.contracts import Prediction
from hieraseg.hierarchy import Hierarchy
from hieraseg.settings import Evaluation

Model = Callable[[Float[Tensor, "B 3 H W"]], Prediction]
Rescale = Callable[[Float[Tensor, "B 3 H W"], float], Float[Tensor, "B 3 h w"]]


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
    model: Model,
    images: Float[Tensor, "B 3 H W"],
    hierarchy: Hierarchy,
    settings: Evaluation,
    rescale: Rescale = rescale,
) -> list[Prediction]:
    """Predict images at each scale and, with `settings.flip`, also flipped.

    Args:
        model: images -> logits per level, at the size of the images.
        images: RGB in 0..1.
        hierarchy: the class tree; defines left and right classes.
        settings: scales, flip and window.
        rescale: images, factor -> resized images.

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
    if window is None or _is_covered((height, width), window):
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


def unused_window(settings: Evaluation, size: Sequence[int]) -> str | None:
    """What to say of a window that has no effect, because images are not larger at any scale.

    Args:
        settings: window and scales.
        size: height and width of the images at scale 1.
    """
    sizes = [scaled_size(size, scale) for scale in settings.scales]
    if settings.window is None or not all(_is_covered(one, settings.window) for one in sizes):
        return None
    window, largest = (f"{height} x {width}" for height, width in (settings.window, max(sizes)))
    return f"window {window} has no effect: images are seen at {largest} (input.size times scales)"


def _is_covered(size: tuple[int, int], window: tuple[int, int]) -> bool:
    """Whether one window covers an image."""
    return size[0] <= window[0] and size[1] <= window[1]


def window_slices(side: int, window: int, overlap: float) -> list[slice]:
    """Positions of the windows along a side. All have the same size; the last ends at the edge."""
    step = max(round(window * (1 - overlap)), 1)
    starts = [*range(0, side - window, step), max(side - window, 0)]
    return [slice(start, min(start + window, side)) for start in starts]
