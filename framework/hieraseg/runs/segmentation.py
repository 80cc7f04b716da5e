"""What a model predicts of an image."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer, UInt8
from PIL import Image

from hieraseg.hierarchy import Hierarchy
from hieraseg.visualize import class_map, draw, overlay


class Level(NamedTuple):
    """The prediction of one level.

    Attributes:
        names: names of its C classes, by index.
        classes: predicted class of each pixel.
        scores: scores in 0..1 of all classes, None if they were not asked for.
    """

    names: list[str]
    classes: Integer[np.ndarray, "H W"]
    scores: Float[np.ndarray, "C H W"] | None


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation:
    """The predicted classes and scores of an image, at its own size. Notebooks show `draw()`.

    Attributes:
        image: the image, RGB and upright.
        hierarchy: the class tree.
        classes: predicted class per level, coarsest first: uint8, or int32 if a level has more
            than 256.
        scores: float32 scores in 0..1 of all classes `[C_l, H, W]` per level; empty if they were
            not asked for. They need not sum to 1 over the classes of a level, and the inference
            rule may predict another class than that of the highest score.
    """

    image: UInt8[np.ndarray, "H W 3"]
    hierarchy: Hierarchy
    classes: Integer[np.ndarray, "levels H W"]
    scores: Sequence[Float[np.ndarray, "_ H W"]] = ()

    @property
    def names(self) -> list[list[str]]:
        """Class names per level, by index."""
        return self.hierarchy.level_names

    def level(self, number: int) -> Level:
        """The prediction of a level.

        Args:
            number: the level, from 1, the coarsest.

        Raises:
            ValueError: there is no such level.
        """
        index = self._index(number)
        scores = self.scores[index] if self.scores else None
        return Level(self.names[index], self.classes[index], scores)

    def draw(self) -> Image.Image:
        """A figure of the image and the classes of each level, with a legend (see `draw`)."""
        return draw(self.image, self.classes, self.hierarchy)

    def overlay(self, number: int) -> Image.Image:
        """The image under the colors of the classes of a level, at its own size.

        Raises:
            ValueError: there is no such level.
        """
        return overlay(self.image, self.classes[self._index(number)], self.hierarchy, number)

    def class_map(self, number: int) -> Image.Image:
        """The class indices of a level, as an image with a palette.

        Raises:
            ValueError: there is no such level.
        """
        return class_map(self.classes[self._index(number)], self.hierarchy, number)

    def _index(self, number: int) -> int:
        if number not in range(1, len(self.classes) + 1):
            raise ValueError(f"level: must be in 1..{len(self.classes)}, got {number!r}")
        return number - 1

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        content = io.BytesIO()
        self.draw().save(content, "PNG")
        return content.getvalue()

    def __repr__(self) -> str:
        height, width = self.classes.shape[1:]
        sizes = ", ".join(map(str, self.hierarchy.num_classes))
        return f"Segmentation({height} x {width} pixels, levels of {sizes} classes)"
