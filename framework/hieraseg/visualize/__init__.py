"""Figures: predictions and training images with a color legend, and the curves of a run."""

from hieraseg.visualize.colors import color_classes, palette
from hieraseg.visualize.maps import class_map, overlay
from hieraseg.visualize.sheet import draw, draw_samples, undrawable_names

__all__ = [
    "class_map",
    "color_classes",
    "draw",
    "draw_samples",
    "overlay",
    "palette",
    "undrawable_names",
]
