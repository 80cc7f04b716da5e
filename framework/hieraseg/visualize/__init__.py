"""Figures: predictions and training images with a color legend, and the curves of a run."""

from hieraseg.visualize.colors import color_classes, palette
from hieraseg.visualize.sheet import draw, draw_samples, undrawable_names

__all__ = ["color_classes", "draw", "draw_samples", "palette", "undrawable_names"]
