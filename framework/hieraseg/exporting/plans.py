"""Which images an exported file takes."""

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from hieraseg.data.images import resize
from hieraseg.data.shapes import resized_shape
from hieraseg.exporting.capturing import ExportError
from hieraseg.inference.segmenter import Segmenter
from hieraseg.model.segmentation import SegmentationModel
from hieraseg.settings import Evaluation, Input


@dataclass(frozen=True)
class Plan:
    """Which images a file takes, and what it is compared with.

    Attributes:
        segmenter: the model, without windows and test-time augmentation.
        size: height and width of the images and of the outputs; None for any, where the size of
            the outputs is a second input.
        resizing: how images are resized for the file.
    """

    segmenter: Segmenter
    size: tuple[int, int] | None
    resizing: Input

    @property
    def model(self) -> SegmentationModel:
        """The model."""
        return cast(SegmentationModel, self.segmenter.model)

    def seen(self, image: UInt8[np.ndarray, "_ _ 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
        """An image, resized for the file."""
        size = resized_shape(image.shape[:2], self.resizing)
        return resize(image, size, Image.Resampling.BILINEAR)

    def output_size(self, image: UInt8[np.ndarray, "_ _ 3"]) -> tuple[int, int]:
        """Height and width of the outputs for an image, which are its own where they can be."""
        height, width = image.shape[:2]
        return self.size or (height, width)


def plan_any_size(segmenter: Segmenter) -> Plan:
    """A file for images of any size, which are padded to the model's stride as in evaluation.

    Raises:
        ExportError: evaluation does not pad them, because they are stretched, and not to a multiple
            of the stride.
    """
    resizing, stride = segmenter.seen, cast(SegmentationModel, segmenter.model).stride
    if resizing.resize == "stretch" and any(side % stride for side in resizing.size):
        raise ExportError(
            f"input.size {list(resizing.size)} is no multiple of the model's stride {stride}"
        )
    padding = replace(segmenter, settings=Evaluation(), input=replace(resizing, resize="none"))
    return Plan(padding, None, resizing)


def plan_fixed(segmenter: Segmenter, size: tuple[int, int]) -> Plan:
    """A file for images of one size, to which they are stretched."""
    own = replace(segmenter, settings=Evaluation(), input=segmenter.seen)
    return Plan(own, size, replace(segmenter.seen, size=size, resize="stretch"))
