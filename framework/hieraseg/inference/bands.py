"""From images to scores to classes: whole images, or bands of rows that windows slide over."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

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

_SCORES = {"cpu": 2**20, "cuda": 2**25}
"""Scores of images that are resized and counted together: as many as fit into the cache of a CPU;
as keep a GPU busy, with 128 MB."""


class Band(NamedTuple):
    """Consecutive rows of images of one size.

    Attributes:
        rows: which ones.
        scores: their scores in 0..1 of all classes, float32 `[n, C_l, rows, W]` per level.
    """

    rows: slice
    scores: list[Tensor]


def batches(
    segmenter: Segmenter,
    shapes: Sequence[tuple[int, int]],
    sizes: Sequence[tuple[int, int]],
    device: torch.device,
) -> list[list[list[int]]]:
    """Which images `predict_images` may get together.

    A batch has images that are padded to the same sizes. They are sorted by size, so that those
    of a batch whose scores have the same size, too, can be stacked.

    Args:
        segmenter: the model.
        shapes: height and width of each image.
        sizes: height and width of its scores.
        device: device of the scores.

    Returns:
        Indices of the images in each stack of each batch.
    """
    settings, stride = segmenter.settings, segmenter.padded_model().stride

    def padded(index: int) -> tuple[tuple[int, int], ...]:
        scaled = (scaled_size(shapes[index], scale) for scale in settings.scales)
        return tuple(padded_size(size, stride) for size in scaled)

    def sort_key(index: int) -> tuple[Any, ...]:
        return padded(index), sizes[index], shapes[index], index

    count = settings.batch_size if settings.window is None else 1
    channels = sum(segmenter.hierarchy.num_classes)
    found = []
    for _, together in groupby(sorted(range(len(shapes)), key=sort_key), padded):
        for batch in _parts(list(together), count):
            stacks = []
            for (_, size), alike in groupby(batch, lambda i: (shapes[i], sizes[i])):
                largest = _SCORES[device.type] // (channels * math.prod(size))
                stacks += _parts(list(alike), max(1, largest))
            found.append(stacks)
    return found


def _parts(indices: list[int], count: int) -> list[list[int]]:
    return [indices[start : start + count] for start in range(0, len(indices), count)]


def predict_images(
    fabric: Fabric,
    segmenter: Segmenter,
    stacks: Sequence[UInt8[Tensor, "_ _ _ 3"]],
    sizes: Sequence[tuple[int, int]],
    original: UInt8[np.ndarray, "_ _ 3"] | None = None,
) -> Iterator[Iterable[Band]]:
    """Scores of each stack of images, in the precision of fabric, from their top to their bottom.

    Whole images are one batch, and one band each. With a window, an image is predicted while its
    bands are read, so that memory does not grow with its height.

    Args:
        fabric: device and precision.
        segmenter: the model.
        stacks: RGB images in CPU memory, resized by `segmenter.seen`, which `batches` has put
            together.
        sizes: height and width of the scores of each stack.
        original: of one image, the same before it was resized (see `scaled_images`).
    """
    padded = segmenter.padded_model()

    def predict(pixels: Sequence[Float[Tensor, "_ 3 _ _"]]) -> list[Prediction]:
        with torch.inference_mode(), fabric.autocast():
            return padded(pixels)

    if segmenter.settings.window is not None:
        for stack, size in zip(stacks, sizes, strict=True):
            (image,) = stack.numpy()
            yield _bands_by_windows(segmenter, predict, image, size, fabric.device)
        return
    scales = segmenter.settings.scales
    versions = [scaled_images(stack, scales, fabric.device, original) for stack in stacks]
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
    scaled = scaled_size(image.shape[:2], scale)

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
    scores: Sequence[Float[np.ndarray, "_ H W"]] = (),
) -> Integer[np.ndarray, "levels H W"]:
    """One class per level and pixel of an image (see `predict_images`).

    Args:
        fabric: device and precision.
        segmenter: the model.
        image: RGB, resized by `segmenter.seen`.
        size: height and width of the classes.
        original: the image before it was resized (see `scaled_images`).
        scores: arrays that the scores of each level are written to, or none.

    Raises:
        DivergedError: the model predicts scores that are not finite.
    """
    # Not int64, which would take 8 bytes per level and pixel.
    small = max(segmenter.hierarchy.num_classes) <= 256
    shape = (segmenter.hierarchy.num_levels, *size)
    classes = np.empty(shape, np.uint8 if small else np.int32)
    stack = torch.from_numpy(np.array(image[None]))  # a copy, since images may be read-only
    (bands,) = predict_images(fabric, segmenter, [stack], [size], original)
    for band in bands:
        if not_finite(band.scores).any():
            raise DivergedError("the model predicts scores that are not finite")
        classes[:, band.rows] = segmenter.rule(band.scores)[0].cpu().numpy()
        for level, found in zip(scores, band.scores, strict=False):
            level[:, band.rows] = found[0].cpu().numpy()
    return classes
