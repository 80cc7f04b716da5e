"""Test-time views of an image: at several scales, mirrored, and seen through sliding windows."""

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


def predict_views(
    model: Model, images: Float[Tensor, "B 3 H W"], hierarchy: Hierarchy, settings: Evaluation
) -> list[Prediction]:
    """What a model answers to each view of some images.

    Args:
        model: images -> logits per level at their size.
        images: RGB in 0..1.
        hierarchy: the class tree, which knows left and right classes.
        settings: test-time augmentation.

    Returns:
        One prediction per view, at the size of the resized image, and turned back where the
        view was mirrored.
    """
    predictions = []
    for scale in settings.scales:
        view = rescale(images, scale)
        predictions.append(slide(model, view, settings.window, settings.window_overlap))
        if settings.flip:
            answer = slide(model, view.flip(-1), settings.window, settings.window_overlap)
            predictions.append(mirror(answer, hierarchy))
    return predictions


def rescale(images: Float[Tensor, "B 3 H W"], scale: float) -> Float[Tensor, "B 3 h w"]:
    """Images resized by a factor, to whole pixels."""
    if scale == 1:
        return images
    height, width = (max(round(side * scale), 1) for side in images.shape[-2:])
    # Antialiased, as the store resizes.
    return F.interpolate(
        images, (height, width), mode="bilinear", align_corners=False, antialias=True
    )


def mirror(prediction: Prediction, hierarchy: Hierarchy) -> Prediction:
    """The logits of mirrored images: mirrored, with left and right classes swapped."""
    logits = prediction.logits
    tables = hierarchy.on(logits[-1].device).mirrored[-len(logits) :]  # or of the leaves alone
    swapped = (level.flip(-1)[:, table] for level, table in zip(logits, tables, strict=True))
    return Prediction(tuple(swapped))


def slide(
    model: Model, images: Float[Tensor, "B 3 H W"], window: tuple[int, int] | None, overlap: float
) -> Prediction:
    """The model's logits, averaged over windows that slide over images larger than a window.

    Args:
        model: images -> logits per level at their size.
        images: in 0..1.
        window: height and width of a window, or None for the whole images at once.
        overlap: share of a window's side that the next one covers too.
    """
    height, width = images.shape[-2:]
    if window is None or (height <= window[0] and width <= window[1]):
        return model(images)
    totals: list[Tensor] = []
    seen = torch.zeros(height, width, device=images.device)
    rows = window_places(height, window[0], overlap)
    columns = window_places(width, window[1], overlap)
    for down, across in product(rows, columns):
        logits = model(images[..., down, across]).logits
        totals = totals or [level.new_zeros(*level.shape[:2], height, width) for level in logits]
        for total, level in zip(totals, logits, strict=True):
            total[..., down, across] += level
        seen[down, across] += 1
    return Prediction(tuple(total.div_(seen) for total in totals))


def window_places(side: int, window: int, overlap: float) -> list[slice]:
    """Where windows lie along a side; the last one ends with it, and all have the same size."""
    step = max(round(window * (1 - overlap)), 1)
    starts = [*range(0, side - window, step), max(side - window, 0)]
    return [slice(start, min(start + window, side)) for start in starts]
