"""Figures of predictions and of training images, with a color legend."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Int, Integer, UInt8
from PIL import Image, ImageDraw

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.visualize.colors import VOID, Color, color_classes, palette, tree_order
from hieraseg.visualize.fonts import Font, default_font, find_fonts

_WRONG: Color = (213, 94, 0)  # as on the page of a comparison: color-blind people tell them apart
_CORRECT: Color = (0, 114, 178)
_MARGIN = 8  # between panels, in pixels
_LINE = 18  # height of a line of text in pixels
_BASELINE = 13  # of a line of text, from its top
_SWATCH = 18  # width of the color beside a name
_OPACITY = 0.65
# Limits that keep a figure readable and small, whatever the image and the tree.
_PANEL = 800  # longest side of a panel in pixels; larger images are reduced
_SAMPLE = 400  # the same, if a figure has many images
_SMALL_PANEL = 200  # small images are enlarged to about this width
_TEXT = (150, 320)  # least width of a column, and the most that it is widened for long names
_SHEET = 8192  # width of a figure
_LEGEND = 64  # lines

LegendLine = tuple[str, Color | None]


def draw(
    image: UInt8[np.ndarray, "H W 3"],
    predicted: Integer[np.ndarray, "levels H W"],
    hierarchy: Hierarchy,
    target: Int[np.ndarray, "levels H W"] | None = None,
) -> Image.Image:
    """Draw an image, its ground truth and prediction per level, the errors, and a legend.

    Panels have a longest side of at most 800 pixels, and the figure a width of at most 8192. The
    legend names up to 64 classes per level, of those that are in the target or the prediction. A
    class whose name no font can show is named by its index (see `undrawable_names`). Ignored pixels
    of the target are white.

    Args:
        image: RGB.
        predicted: predicted class per level.
        hierarchy: the class tree.
        target: target class per level, -100 for ignored pixels; None if there is no ground truth.
    """
    rows = {"prediction": predicted}
    if target is not None:
        rows = {"ground truth": target, **rows}
    colors = palette(hierarchy)
    fonts = find_fonts(_names(hierarchy))
    legends = [[], *_legends(hierarchy, colors, fonts, list(rows.values()))]
    if target is not None:
        legends[0] = [("correct", _CORRECT), ("wrong", _WRONG)]
        for legend, classes in zip(legends, (target[-1], *target), strict=True):
            legend += _ignored(classes)
    sheet = _Sheet(image.shape[:2], len(rows), legends, fonts)
    image = sheet.resize_image(image)
    rows = {title: sheet.resize_classes(classes) for title, classes in rows.items()}
    sheet.panel(image, "image", 0, 0)
    if target is not None:
        leaves, expected = rows["prediction"][-1], rows["ground truth"][-1]
        errors = np.where(expected == IGNORE_INDEX, IGNORE_INDEX, leaves != expected)
        overlay = _blend(image, color_classes(errors, (_CORRECT, _WRONG)))
        sheet.panel(overlay, "leaves correct / wrong", 0, 1)
    for level in range(hierarchy.num_levels):
        for row, (title, classes) in enumerate(rows.items()):
            overlay = _blend(image, color_classes(classes[level], colors[level]))
            sheet.panel(overlay, f"{title}, level {level + 1}", level + 1, row)
    for column, legend in enumerate(legends):
        sheet.legend(legend, column)
    return sheet.picture


def draw_samples(
    images: UInt8[np.ndarray, "N H W 3"],
    targets: Int[np.ndarray, "N levels H W"],
    titles: Sequence[str],
    hierarchy: Hierarchy,
) -> Image.Image:
    """Draw images, one in each row, their target classes per level, and a legend.

    Panels have a longest side of at most 400 pixels; the width and the legend are limited as in
    `draw`.

    Args:
        images: RGB.
        targets: target class per level, -100 for ignored pixels, which are white.
        titles: title of each image.
        hierarchy: the class tree.
    """
    colors = palette(hierarchy)
    fonts = find_fonts(tuple(dict.fromkeys([*_names(hierarchy), *titles])))
    legends = [[], *_legends(hierarchy, colors, fonts, list(targets))]
    for level, legend in enumerate(legends[1:]):
        legend += _ignored(targets[:, level])
    sheet = _Sheet(images.shape[1:3], len(images), legends, fonts, _SAMPLE)
    for row, (image, target, title) in enumerate(zip(images, targets, titles, strict=True)):
        image, classes = sheet.resize_image(image), sheet.resize_classes(target)
        sheet.panel(image, title, 0, row)
        for level in range(hierarchy.num_levels):
            overlay = _blend(image, color_classes(classes[level], colors[level]))
            sheet.panel(overlay, f"level {level + 1}", level + 1, row)
    for column, legend in enumerate(legends):
        sheet.legend(legend, column)
    return sheet.picture


def undrawable_names(hierarchy: Hierarchy) -> list[str]:
    """The class names that no font can show; figures have the index of these classes instead."""
    names = _names(hierarchy)
    fonts = find_fonts(names)
    return [name for name in names if name not in fonts]


def _names(hierarchy: Hierarchy) -> tuple[str, ...]:
    """The names of all classes, each once."""
    return tuple(dict.fromkeys(name for level in hierarchy.level_names for name in level))


class _Sheet:
    """A grid of panels with titles, and legends below.

    Args:
        shape: height and width of the image.
        rows: number of rows of panels.
        legends: lines of the legend of each column: that of the image, and one for each level.
        fonts: fonts of class names; other texts are drawn in the default font.
        largest: longest side of a panel in pixels.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        rows: int,
        legends: Sequence[Sequence[LegendLine]],
        fonts: Mapping[str, Font],
        largest: int = _PANEL,
    ) -> None:
        columns = len(legends)
        limit = max((_SHEET - _MARGIN) // columns - _MARGIN, 1)
        self.height, self.width = _panel_size(shape, limit, largest)
        self.fonts = fonts
        texts = [text for legend in legends for text, _ in legend]
        longest = max((self._font(text).getlength(text) for text in texts), default=0)
        wanted = min(max(_SWATCH + round(longest), _TEXT[0]), _TEXT[1])
        self.column = min(max(self.width, wanted), limit)
        self.top_of_legend = self._top(rows)
        height = self.top_of_legend + max(map(len, legends)) * _LINE + _MARGIN
        self.picture = Image.new("RGB", (self._left(columns), height), "white")
        self.pen = ImageDraw.Draw(self.picture)

    def resize_image(self, image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """An image in the size of a panel."""
        enlarged = self.width > image.shape[1]
        resampling = Image.Resampling.NEAREST if enlarged else Image.Resampling.BILINEAR
        return np.asarray(Image.fromarray(image).resize((self.width, self.height), resampling))

    def resize_classes(
        self, classes: Integer[np.ndarray, "levels H W"]
    ) -> Integer[np.ndarray, "levels h w"]:
        """Classes in the size of a panel."""
        rows, columns = (
            ((np.arange(new) + 0.5) * old / new).astype(int)
            for new, old in zip((self.height, self.width), classes.shape[1:], strict=True)
        )
        return classes[:, rows[:, None], columns]

    def panel(self, pixels: UInt8[np.ndarray, "h w 3"], title: str, column: int, row: int) -> None:
        """Draw pixels in the size of a panel below their title."""
        left, top = self._left(column), self._top(row)
        self._write(title, left, top, self.column)
        self.picture.paste(Image.fromarray(pixels), (left, top + _LINE))

    def legend(self, lines: Sequence[LegendLine], column: int) -> None:
        """Draw the names of classes beside their colors."""
        left = self._left(column)
        for line, (text, color) in enumerate(lines):
            top = self.top_of_legend + line * _LINE
            if color is not None:
                outline = "gray" if color == VOID else None
                self.pen.rectangle((left, top + 2, left + 12, top + 14), color, outline)
            self._write(text, left + _SWATCH, top, self.column - _SWATCH)

    def _left(self, column: int) -> int:
        return _MARGIN + column * (self.column + _MARGIN)

    def _top(self, row: int) -> int:
        return _MARGIN + row * (self.height + _LINE + _MARGIN)

    def _font(self, text: str) -> Font:
        return self.fonts.get(text, default_font())

    def _write(self, text: str, left: int, top: int, width: int) -> None:
        """Draw a line of text, cut to a width."""
        font = self._font(text)
        cut = text[:width]
        while cut and font.getlength(cut) > width:
            cut = cut[: -4 if cut.endswith("...") else -1] + "..." if len(cut) > 3 else ""
        self.pen.text((left, top + _BASELINE), cut, fill="black", font=font, anchor="ls")


def _panel_size(shape: tuple[int, ...], widest: int, largest: int) -> tuple[int, int]:
    """Height and width of a panel. Small images are enlarged by a whole factor."""
    height, width = shape
    enlarged = max(round(_SMALL_PANEL / width), 1)
    factor = min(enlarged, largest / max(height, width), widest / width)
    return max(round(height * factor), 1), max(round(width * factor), 1)


def _legends(
    hierarchy: Hierarchy,
    colors: Sequence[Sequence[Color]],
    fonts: Mapping[str, Font],
    classes: Sequence[Integer[np.ndarray, "levels H W"]],
) -> list[list[LegendLine]]:
    """For each level the names of its classes that are in a picture, in the order of the tree."""
    orders = tree_order(hierarchy)
    legends: list[list[LegendLine]] = []
    for level, names in enumerate(hierarchy.level_names):
        present = _present([picture[level] for picture in classes], len(names))
        shown = [index for index in orders[level] if present[index]]
        more = len(shown) - _LEGEND + 1
        if more > 1:
            shown = shown[: _LEGEND - 1]
        lines: list[LegendLine] = [
            (names[index] if names[index] in fonts else f"class {index}", colors[level][index])
            for index in shown
        ]
        legends.append([*lines, (f"... and {more} more", None)] if more > 1 else lines)
    return legends


def _ignored(targets: Int[np.ndarray, "*shape"]) -> list[LegendLine]:
    """The line of ignored pixels, if there are any."""
    return [("ignored", VOID)] if (targets == IGNORE_INDEX).any() else []


def _present(
    pictures: Sequence[Integer[np.ndarray, "H W"]], classes: int
) -> Bool[np.ndarray, " classes"]:
    """Which classes are in any of the pictures."""
    present = np.zeros(classes, bool)
    for picture in pictures:
        for row in picture:  # one at a time, since NumPy makes a copy of 8 bytes per pixel
            present[row[row != IGNORE_INDEX]] = True
    return present


def _blend(
    image: UInt8[np.ndarray, "H W 3"], colors: UInt8[np.ndarray, "H W 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    return ((1 - _OPACITY) * image + _OPACITY * colors).round().astype(np.uint8)
