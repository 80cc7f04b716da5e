"""Figures: predictions beside the ground truth with a color legend, and the curves of a run."""

from hieraseg.visualize.colors import color_classes, palette
from hieraseg.visualize.sheet import draw, undrawable_names

__all__ = ["color_classes", "draw", "palette", "undrawable_names"]
