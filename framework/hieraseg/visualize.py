"""Pictures of what a model answers beside the truth, with a colour legend."""

import colorsys
from collections.abc import Sequence
from functools import cache

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageDraw, ImageFont

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy

Colour = tuple[int, int, int]
_BACKGROUND: Colour = (64, 64, 64)
_VOID: Colour = (255, 255, 255)
_WRONG: Colour = (230, 40, 40)
_RIGHT: Colour = (40, 160, 90)
_MARGIN = 8
_LINE = 18  # height of a line of text in pixels
_OPACITY = 0.65


def palette(hierarchy: Hierarchy) -> list[list[Colour]]:
    """A colour per class and level; children share their parent's range of hues.

    After the tree colours of Tennekes & de Jonge 2014, doi:10.1109/TVCG.2014.2346277.
    """
    colours: list[list[Colour]] = []
    ranges = [(0.0, 1.0)]
    for level, names in enumerate(hierarchy.level_names):
        parents = hierarchy.parents[level].clamp(min=0).tolist()
        siblings: dict[int, list[int]] = {}
        for index, parent in enumerate(parents):
            if index != hierarchy.background_index(level):
                siblings.setdefault(parent, []).append(index)
        own = [(0.0, 0.0)] * len(names)
        for parent, group in siblings.items():
            low, high = ranges[parent]
            width = (high - low) / len(group)
            for place, index in enumerate(group):
                own[index] = (low + place * width, low + (place + 1) * width)
        # A lone child keeps its parent's hue; alternating brightness tells siblings apart.
        colours.append(
            [
                _BACKGROUND
                if index == hierarchy.background_index(level)
                else _hsv((own[index][0] + own[index][1]) / 2, 1.0 if index % 2 else 0.8)
                for index in range(len(names))
            ]
        )
        ranges = own
    return colours


def _hsv(hue: float, value: float) -> Colour:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.75, value))
    return red, green, blue


def colour_classes(
    classes: Int[np.ndarray, "H W"], colours: Sequence[Colour]
) -> UInt8[np.ndarray, "H W 3"]:
    """Classes of a level as colours; white where they are ignored."""
    table = np.array([*colours, _VOID], np.uint8)
    return table[np.where(classes == IGNORE_INDEX, len(colours), classes)]


def draw(
    image: UInt8[np.ndarray, "H W 3"],
    predicted: Int[np.ndarray, "levels H W"],
    hierarchy: Hierarchy,
    truth: Int[np.ndarray, "levels H W"] | None = None,
) -> Image.Image:
    """One picture: the image, truth and prediction per level, mistakes, and a named legend.

    Args:
        image: RGB.
        predicted: class per level.
        hierarchy: names the classes.
        truth: class per level, -100 where it is void; None where it is not known.
    """
    colours = palette(hierarchy)
    rows = (
        [("prediction", predicted)]
        if truth is None
        else [("truth", truth), ("prediction", predicted)]
    )
    height, width = image.shape[:2]
    scale = max(1, round(200 / width))
    width, height = width * scale, height * scale
    legend_lines = max(hierarchy.num_classes)
    columns = hierarchy.num_levels + 1
    sheet = Image.new(
        "RGB",
        (
            columns * (width + _MARGIN) + _MARGIN,
            len(rows) * (height + _LINE + _MARGIN) + legend_lines * _LINE + 2 * _MARGIN,
        ),
        "white",
    )
    pen = ImageDraw.Draw(sheet)

    def panel(pixels: UInt8[np.ndarray, "H W 3"], title: str, column: int, row: int) -> None:
        x = _MARGIN + column * (width + _MARGIN)
        y = _MARGIN + row * (height + _LINE + _MARGIN)
        pen.text((x, y), title, fill="black", font=_font())
        picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(picture, (x, y + _LINE))

    panel(image, "image", 0, 0)
    if truth is not None:
        panel(_mistakes(image, predicted[-1], truth[-1]), "leaves right / wrong", 0, 1)
    for row, (what, classes) in enumerate(rows):
        for level in range(hierarchy.num_levels):
            tinted = _blend(image, colour_classes(classes[level], colours[level]))
            panel(tinted, f"{what}, level {level + 1}", level + 1, row)
    top = _MARGIN + len(rows) * (height + _LINE + _MARGIN)
    for level, names in enumerate(hierarchy.level_names):
        x = _MARGIN + (level + 1) * (width + _MARGIN)
        for line, (name, colour) in enumerate(zip(names, colours[level], strict=True)):
            y = top + line * _LINE
            pen.rectangle((x, y + 2, x + 12, y + 14), fill=colour)
            pen.text((x + 18, y), name, fill="black", font=_font())
    return sheet


def _mistakes(
    image: UInt8[np.ndarray, "H W 3"],
    predicted: Int[np.ndarray, "H W"],
    truth: Int[np.ndarray, "H W"],
) -> UInt8[np.ndarray, "H W 3"]:
    wrong = np.where(truth == IGNORE_INDEX, IGNORE_INDEX, predicted != truth)
    return _blend(image, colour_classes(wrong, (_RIGHT, _WRONG)))


def _blend(
    image: UInt8[np.ndarray, "H W 3"], colours: UInt8[np.ndarray, "H W 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    return ((1 - _OPACITY) * image + _OPACITY * colours).round().astype(np.uint8)


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(13)
