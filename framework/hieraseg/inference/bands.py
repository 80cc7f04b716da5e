"""From images to scores to classes: whole images, or bands of rows that windows slide over."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor

from hieraseg.contracts import Prediction
from hieraseg.devices import Fabric
from hieraseg.errors import DivergedError
from hieraseg.inference.padding import Predict, padded_size
from hieraseg.inference.rows import ResizedRows, resized_image_rows
from hieraseg.inference.scores import not_finite
from hieraseg.inference.segmenter import Segmenter
from hieraseg.inference.tta import (
    as_tensor,
    flip_back,
    predict_augmented,
    scaled_images,
    scaled_size,
)
from hieraseg.inference.windows import slide


class Band(NamedTuple):
    """Consecutive rows of an image.

    Attributes:
        rows: which ones.
        scores: their scores in 0..1 of all classes, float32 `[1, C_l, rows, W]` per level.
    """

    rows: slice
    scores: list[Tensor]


def batches(segmenter: Segmenter, shapes: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Which images `predict_images` may get together: those that are padded to the same sizes.

    Args:
        segmenter: the model.
        shapes: height and width of each image.

    Returns:
        Indices of the images in each batch.
    """
    settings, stride = segmenter.settings, segmenter.padded_model().stride
    together: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for index, shape in enumerate(shapes):
        scaled = (scaled_size(shape, scale) for scale in settings.scales)
        together.setdefault(tuple(padded_size(size, stride) for size in scaled), []).append(index)
    count = settings.batch_size if settings.window is None else 1
    return [
        group[start : start + count]
        for _, group in sorted(together.items())
        for start in range(0, len(group), count)
    ]


def predict_images(
    fabric: Fabric,
    segmenter: Segmenter,
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    sizes: Sequence[tuple[int, int]],
    originals: Sequence[UInt8[np.ndarray, "_ _ 3"] | None] | None = None,
) -> Iterator[Iterable[Band]]:
    """Scores of each image, in the precision of fabric, from its top to its bottom.

    Whole images are one batch, and one band each. With a window, an image is predicted while its
    bands are read, so that memory does not grow with its height.

    Args:
        fabric: device and precision.
        segmenter: the model.
        images: RGB images, resized by `segmenter.seen`, which `batches` has put together.
        sizes: height and width of the scores of each image.
        originals: the images before they were resized, for scales above 1 (see `scaled_images`).
    """
    padded = segmenter.padded_model()

    def predict(pixels: Sequence[Float[Tensor, "1 3 _ _"]]) -> list[Prediction]:
        with torch.inference_mode(), fabric.autocast():
            return padded(pixels)

    if segmenter.settings.window is not None:
        for image, size in zip(images, sizes, strict=True):
            yield _bands_by_windows(segmenter, predict, image, size, fabric.device)
        return
    scales = segmenter.settings.scales
    versions = [
        scaled_images(image, scales, fabric.device, original)
        for image, original in zip(images, originals or [None] * len(images), strict=True)
    ]
    predictions = predict_augmented(predict, versions, segmenter.hierarchy, segmenter.settings.flip)
    for own, size in zip(predictions, sizes, strict=True):
        yield [Band(slice(0, size[0]), segmenter.scores(own, size))]


def _bands_by_windows(
    segmenter: Segmenter,
    predict: Predict,
    image: UInt8[np.ndarray, "H W 3"],
    size: tuple[int, int],
    device: torch.device,
) -> Iterator[Band]:
    """Scores of an image, averaged over scales and flips, in bands of a quarter of a window's area.

    Counting takes several times the memory of the scores, and shall not need more than the model.
    """
    settings = segmenter.settings
    versions = [
        _window_rows(segmenter, predict, image, scale, flip, size, device)
        for scale in settings.scales
        for flip in (False, True)[: 1 + settings.flip]
    ]
    step = max(math.prod(settings.window or ()) // 4 // size[1], 1)
    for start in range(0, size[0], step):
        rows = slice(start, min(start + step, size[0]))
        # Without a name for the logits, which would keep them while the next ones are predicted.
        yield Band(
            rows,
            segmenter.scores(
                [version.take(rows) for version in versions], (rows.stop - start, size[1])
            ),
        )


def _window_rows(
    segmenter: Segmenter,
    predict: Predict,
    image: UInt8[np.ndarray, "H W 3"],
    scale: float,
    flip: bool,
    size: tuple[int, int],
    device: torch.device,
) -> ResizedRows:
    """Logits of an image that windows slide over at one scale, resized to `size`."""
    scaled = scaled_size(image.shape, scale)

    def read(rows: slice) -> UInt8[Tensor, "1 3 _ w"]:
        pixels = as_tensor(resized_image_rows(image, scaled, rows), device)
        return pixels.flip(-1) if flip else pixels

    def predict_bytes(windows: Sequence[UInt8[Tensor, "1 3 _ _"]]) -> list[Prediction]:
        return predict([window.float() / 255 for window in windows])

    settings = segmenter.settings
    assert settings.window is not None
    bands = slide(predict_bytes, read, scaled, settings.window, settings.window_overlap)
    if flip:
        bands = (flip_back(band, segmenter.hierarchy) for band in bands)
    return ResizedRows(bands, scaled[0], size)


def predict_classes(
    fabric: Fabric,
    segmenter: Segmenter,
    image: UInt8[np.ndarray, "_ _ 3"],
    size: tuple[int, int],
    original: UInt8[np.ndarray, "_ _ 3"] | None = None,
) -> Integer[np.ndarray, "levels H W"]:
    """One class per level and pixel of an image (see `predict_images`).

    Raises:
        DivergedError: the model predicts scores that are not finite.
    """
    # Not int64, which would take 8 bytes per level and pixel.
    small = max(segmenter.hierarchy.num_classes) <= 256
    shape = (segmenter.hierarchy.num_levels, *size)
    classes = np.empty(shape, np.uint8 if small else np.int32)
    (bands,) = predict_images(fabric, segmenter, [image], [size], [original])
    for band in bands:
        if not_finite(band.scores).any():
            raise DivergedError("the model predicts scores that are not finite")
        classes[:, band.rows] = segmenter.rule(band.scores)[0].cpu().numpy()
    return classes
