"""Figures of predictions beside the ground truth, with a color legend."""

import colorsys
from collections.abc import Sequence
from functools import cache

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageDraw, ImageFont

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy

Color = tuple[int, int, int]
_BACKGROUND: Color = (64, 64, 64)
_VOID: Color = (255, 255, 255)
_WRONG: Color = (230, 40, 40)
_CORRECT: Color = (40, 160, 90)
_MARGIN = 8  # between panels, in pixels
_LINE = 18  # height of a line of text in pixels
_OPACITY = 0.65


def palette(hierarchy: Hierarchy) -> list[list[Color]]:
    """A color per class, for each level. Children divide the range of hues of their parent.

    After the tree colors of Tennekes & de Jonge 2014, doi:10.1109/TVCG.2014.2346277.
    """
    colors: list[list[Color]] = []
    ranges = [(0.0, 1.0)]
    for level in range(hierarchy.num_levels):
        ranges = _divide_hues(hierarchy, level, ranges)
        background = hierarchy.background_index(level)
        # An only child has the hue of its parent; alternating brightness separates siblings.
        colors.append(
            [
                _BACKGROUND
                if index == background
                else _hsv((low + high) / 2, 1.0 if index % 2 else 0.8)
                for index, (low, high) in enumerate(ranges)
            ]
        )
    return colors


def _divide_hues(
    hierarchy: Hierarchy, level: int, ranges: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """The range of hues of each class of a level, given those of the level above."""
    siblings: dict[int, list[int]] = {}
    for index, parent in enumerate(hierarchy.parents[level].clamp(min=0).tolist()):
        if index != hierarchy.background_index(level):
            siblings.setdefault(parent, []).append(index)
    divided = [(0.0, 0.0)] * hierarchy.num_classes[level]
    for parent, group in siblings.items():
        low, high = ranges[parent]
        width = (high - low) / len(group)
        for position, index in enumerate(group):
            divided[index] = (low + position * width, low + (position + 1) * width)
    return divided


def _hsv(hue: float, value: float) -> Color:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.75, value))
    return red, green, blue


def color_classes(
    classes: Int[np.ndarray, "H W"], colors: Sequence[Color]
) -> UInt8[np.ndarray, "H W 3"]:
    """Convert class indices to RGB. Ignored pixels become white."""
    table = np.array([*colors, _VOID], np.uint8)
    return table[np.where(classes == IGNORE_INDEX, len(colors), classes)]


def draw(
    image: UInt8[np.ndarray, "H W 3"],
    predicted: Int[np.ndarray, "levels H W"],
    hierarchy: Hierarchy,
    target: Int[np.ndarray, "levels H W"] | None = None,
) -> Image.Image:
    """Draw an image, its ground truth and prediction per level, the errors, and a legend.

    Args:
        image: RGB.
        predicted: predicted class per level.
        hierarchy: the class tree.
        target: target class per level, -100 for ignored pixels; None if there is no ground truth.
    """
    rows = [("prediction", predicted)]
    if target is not None:
        rows.insert(0, ("ground truth", target))
    sheet = _Sheet(image, hierarchy.num_levels + 1, len(rows), max(hierarchy.num_classes))
    sheet.panel(image, "image", 0, 0)
    if target is not None:
        errors = np.where(target[-1] == IGNORE_INDEX, IGNORE_INDEX, predicted[-1] != target[-1])
        overlay = _blend(image, color_classes(errors, (_CORRECT, _WRONG)))
        sheet.panel(overlay, "leaves correct / wrong", 0, 1)
    for level, colors in enumerate(palette(hierarchy)):
        column = level + 1
        for row, (title, classes) in enumerate(rows):
            overlay = _blend(image, color_classes(classes[level], colors))
            sheet.panel(overlay, f"{title}, level {level + 1}", column, row)
        sheet.legend(hierarchy.level_names[level], colors, column)
    return sheet.picture


class _Sheet:
    """A grid of panels with titles, and legends below.

    Args:
        image: RGB, of the size of all panels. Small ones are enlarged to about 200 pixels.
        columns: number of columns.
        rows: number of rows.
        legend_lines: number of lines of the longest legend.
    """

    def __init__(
        self, image: UInt8[np.ndarray, "H W 3"], columns: int, rows: int, legend_lines: int
    ) -> None:
        height, width = image.shape[:2]
        scale = max(1, round(200 / width))
        self.width, self.height = width * scale, height * scale
        self.top_of_legend = self._top(rows)
        size = (self._left(columns), self.top_of_legend + legend_lines * _LINE + _MARGIN)
        self.picture = Image.new("RGB", size, "white")
        self.pen = ImageDraw.Draw(self.picture)

    def _left(self, column: int) -> int:
        return _MARGIN + column * (self.width + _MARGIN)

    def _top(self, row: int) -> int:
        return _MARGIN + row * (self.height + _LINE + _MARGIN)

    def panel(self, pixels: UInt8[np.ndarray, "H W 3"], title: str, column: int, row: int) -> None:
        """Draw pixels below their title."""
        left, top = self._left(column), self._top(row)
        self.pen.text((left, top), title, fill="black", font=_font())
        size = (self.width, self.height)
        panel = Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)
        self.picture.paste(panel, (left, top + _LINE))

    def legend(self, names: Sequence[str], colors: Sequence[Color], column: int) -> None:
        """Draw the names of classes beside their colors."""
        left = self._left(column)
        for line, (name, color) in enumerate(zip(names, colors, strict=True)):
            top = self.top_of_legend + line * _LINE
            self.pen.rectangle((left, top + 2, left + 12, top + 14), fill=color)
            self.pen.text((left + 18, top), name, fill="black", font=_font())


def _blend(
    image: UInt8[np.ndarray, "H W 3"], colors: UInt8[np.ndarray, "H W 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    return ((1 - _OPACITY) * image + _OPACITY * colors).round().astype(np.uint8)


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(13)
