"""How `input.resize` brings an image to the size that the model sees."""

from collections.abc import Sequence
from dataclasses import replace

from hieraseg.settings import Evaluation, Input


def resized_shape(shape: Sequence[int], settings: Input) -> tuple[int, int]:
    """Height and width of an image after resizing, at least 1.

    * `stretch`: `size`.
    * `shorter`, `longer`: this side of the image (the height, if both are equal) gets its length
      in `size`, the other one follows from the aspect ratio.
    * `none`: as it is.

    Args:
        shape: height and width of the image.
        settings: size and way of resizing.
    """
    height, width = shape[0], shape[1]
    if settings.resize == "stretch":
        return settings.size
    if settings.resize == "none":
        return height, width
    follows_height = height <= width if settings.resize == "shorter" else height >= width
    if follows_height:
        return settings.size[0], max(round(width * settings.size[0] / height), 1)
    return max(round(height * settings.size[1] / width), 1), settings.size[1]


def evaluation_input(settings: Input, evaluation: Evaluation) -> Input:
    """How images are resized for prediction: windows slide over images of their own resolution."""
    return settings if evaluation.window is None else replace(settings, resize="none")
