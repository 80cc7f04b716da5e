"""Pictures of the classes of one level, in the size of the image."""

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from hieraseg.hierarchy import Hierarchy
from hieraseg.visualize.colors import color_classes, palette

_OPACITY = 0.65


def class_map(classes: Integer[np.ndarray, "H W"], hierarchy: Hierarchy, level: int) -> Image.Image:
    """Class indices as an image with a palette, or with 16 bits for more than 256 classes.

    Args:
        classes: class of each pixel on a level.
        hierarchy: the class tree.
        level: the level, from 1.
    """
    colors = palette(hierarchy)[level - 1]
    if len(colors) > 256:
        return Image.fromarray(classes.astype(np.uint16))
    indices = Image.fromarray(classes.astype(np.uint8, copy=False))
    indices.putpalette(np.array(colors, np.uint8).tobytes())
    return indices


def overlay(
    image: UInt8[np.ndarray, "H W 3"],
    classes: Integer[np.ndarray, "H W"],
    hierarchy: Hierarchy,
    level: int,
) -> Image.Image:
    """The image under the colors of its classes.

    Args:
        image: RGB.
        classes: class of each pixel on a level.
        hierarchy: the class tree.
        level: the level, from 1.
    """
    colors = Image.fromarray(color_classes(classes, palette(hierarchy)[level - 1]))
    return Image.blend(Image.fromarray(image), colors, _OPACITY)
