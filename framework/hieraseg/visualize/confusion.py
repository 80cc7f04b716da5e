"""Pictures of confusion matrices."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw

from hieraseg.visualize.fonts import SIZE, Font, default_font, find_fonts

_WRITTEN = 12  # classes of the largest matrix whose cells hold numbers
_CELLS = (34, 18)  # sides of a cell with a number, and without one, in pixels
_BRIGHT = 0.22  # above this share, black has more contrast to the color than white
_NAME = 160  # most pixels of a name
_MARGIN = 8
_LINE = 18
_WIDTH = 300  # at least, for the lines of text
_CIVIDIS = np.array(
    [(0, 34, 78), (53, 69, 108), (102, 105, 112), (148, 142, 119), (200, 184, 102), (254, 232, 56)]
)
"""Colors at equal distances of matplotlib's color map, which color-blind people see, too."""


def draw_confusion(matrix: Int[np.ndarray, "C C"], names: Sequence[str], title: str) -> Image.Image:
    """Draw which share of the pixels of each target class is predicted as each class.

    Args:
        matrix: pixels by target class (row) and predicted class (column).
        names: names of the classes; one that no font can show is replaced by its index.
        title: what it is of.
    """
    total = matrix.sum(axis=1, keepdims=True)
    share = np.where(total > 0, matrix / np.maximum(total, 1), np.nan)
    side = _CELLS[len(names) > _WRITTEN]
    labels = _labels(names)
    longest = max(label.width for label in labels) + _MARGIN
    left, top = _MARGIN + longest, _MARGIN + 3 * _LINE + longest
    size = (max(left + side * len(names) + _MARGIN, _WIDTH), top + side * len(names) + _MARGIN)
    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    lines = (title, "% of the pixels of each target class (row)", "by predicted class (column)")
    for number, line in enumerate(lines):
        pen.text((_MARGIN, _MARGIN + number * _LINE), line, fill="black", font=default_font())
    cells = Image.fromarray(_colors(share)).resize((side * len(names),) * 2, Image.Resampling.BOX)
    picture.paste(cells, (left, top))
    for index, label in enumerate(labels):
        middle = index * side + (side - label.height) // 2
        picture.paste("black", (left - label.width - _MARGIN // 2, top + middle), label)
        upright = label.rotate(90, expand=True)
        picture.paste("black", (left + middle, top - upright.height - _MARGIN // 2), upright)
    if len(names) <= _WRITTEN:
        _write_numbers(pen, share, (left, top), side)
    return picture


def _colors(share: Float[np.ndarray, "C C"]) -> UInt8[np.ndarray, "C C 3"]:
    """By the square root, so that confusions of a few percent are seen; white without pixels."""
    place = np.sqrt(share) * (len(_CIVIDIS) - 1)
    channels = [np.interp(place, np.arange(len(_CIVIDIS)), one) for one in _CIVIDIS.T]
    colors = np.stack(channels, axis=-1)
    return np.where(np.isnan(colors), 255, colors).round().astype(np.uint8)


def _labels(names: Sequence[str]) -> list[Image.Image]:
    """The names as masks, none wider than `_NAME`."""
    fonts, labels = find_fonts(tuple(dict.fromkeys(names))), []
    for index, name in enumerate(names):
        text, font = (name, fonts[name]) if name in fonts else (str(index), default_font())
        text = _shortened(text, font)
        label = Image.new("L", (round(font.getlength(text)) + 1, SIZE + 4))
        ImageDraw.Draw(label).text((0, SIZE), text, fill=255, font=font, anchor="ls")
        labels.append(label)
    return labels


def _shortened(name: str, font: Font) -> str:
    """A name without as much of its middle as is too wide: classes may differ at either end."""
    parts = (
        f"{name[: n - n // 2]}...{name[len(name) - n // 2 :]}" for n in range(len(name), 0, -1)
    )
    return next(part for part in (name, *parts, "...") if font.getlength(part) < _NAME)


def _write_numbers(
    pen: ImageDraw.ImageDraw,
    share: Float[np.ndarray, "C C"],
    corner: tuple[int, int],
    side: int,
) -> None:
    """Write percentages into the cells."""
    for row, column in np.argwhere(~np.isnan(share)).tolist():
        value = float(share[row, column])
        middle = (corner[0] + (column + 0.5) * side, corner[1] + (row + 0.5) * side)
        fill = "black" if value > _BRIGHT else "white"
        pen.text(middle, f"{100 * value:.0f}", fill=fill, font=default_font(), anchor="mm")
