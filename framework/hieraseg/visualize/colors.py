"""Colors of classes."""

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from jaxtyping import Float, Int, Integer, UInt8

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy

Color = tuple[int, int, int]
BACKGROUND: Color = (64, 64, 64)
VOID: Color = (255, 255, 255)
_TONES = tuple(product((1.0, 0.9, 0.75, 0.55, 0.35), (1.0, 0.9, 0.75, 0.6, 0.45)))
"""Saturation and value of the colors that a hue can have."""
_COMPARED = 256  # colors that a new one is compared with, so that large trees take linear time


@lru_cache(maxsize=8)
def palette(hierarchy: Hierarchy) -> list[list[Color]]:
    """A color per class, for each level. Children divide the hues of their parent.

    After the tree colors of Tennekes & de Jonge 2014, doi:10.1109/TVCG.2014.2346277. Neighboring
    hues are hard to tell apart where there are many, so saturation and value are chosen such that
    each color is as far as possible from the others: 60 classes differ by 19 in CIELAB (Delta E
    1976), where neighboring hues alone differ by 5.
    """
    return [
        _distinct_colors(hues, order, hierarchy.background_index(level))
        for level, (hues, order) in enumerate(
            zip(_hues(hierarchy), tree_order(hierarchy), strict=True)
        )
    ]


def color_classes(
    classes: Integer[np.ndarray, "H W"], colors: Sequence[Color]
) -> UInt8[np.ndarray, "H W 3"]:
    """Convert class indices to RGB. Ignored pixels become white."""
    table = np.array([*colors, VOID], np.uint8)
    return table[np.where(classes == IGNORE_INDEX, len(colors), classes)]


def tree_order(hierarchy: Hierarchy) -> list[list[int]]:
    """The classes of each level in the order of the tree: children of one class are neighbors."""
    orders = [list(range(hierarchy.num_classes[0]))]
    for parents in hierarchy.parents[1:]:
        position = {index: rank for rank, index in enumerate(orders[-1])}
        above = [position[parent] for parent in parents.tolist()]
        orders.append(sorted(range(len(above)), key=above.__getitem__))
    return orders


def _hues(hierarchy: Hierarchy) -> list[Float[np.ndarray, " C"]]:
    """The hue of each class, in 0..1, for each level.

    All leaves but the background have equal ranges of hues, one after the other, and a class has
    the ranges of its leaves. Returns the middle of each range.
    """
    background = hierarchy.background_index(hierarchy.num_levels - 1)
    leaves = [leaf for leaf in tree_order(hierarchy)[-1] if leaf != background]
    middles = (np.arange(len(leaves)) + 0.5) / len(leaves)
    hues = []
    for level, classes in enumerate(hierarchy.num_classes):
        ancestors = hierarchy.paths[leaves, level].numpy()
        sums = np.bincount(ancestors, middles, classes)
        hues.append(sums / np.bincount(ancestors, minlength=classes).clip(min=1))
    return hues


def _distinct_colors(
    hues: Float[np.ndarray, " C"], order: Sequence[int], background: int | None
) -> list[Color]:
    """For each hue the tone that is farthest from all colors chosen so far."""
    colors = [BACKGROUND] * len(hues)
    chosen = list(cielab(np.array([BACKGROUND, VOID])))
    for index in order:
        if index == background:
            continue
        candidates = [_rgb(float(hues[index]), *tone) for tone in _TONES]
        positions = cielab(np.array(candidates))
        others = np.array(chosen[:2] + chosen[2:][-_COMPARED:])
        nearest = np.linalg.norm(positions[:, None] - others, axis=-1).min(axis=1)
        best = int(nearest.argmax())
        colors[index] = candidates[best]
        chosen.append(positions[best])
    return colors


def _rgb(hue: float, saturation: float, value: float) -> Color:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue


def cielab(colors: Int[np.ndarray, "*N 3"]) -> Float[np.ndarray, "*N 3"]:
    """Convert sRGB in 0..255 to CIELAB, whose distances are those that people see (D65)."""
    rgb = colors / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.transpose(to_xyz) / (0.9505, 1.0, 1.089)
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
