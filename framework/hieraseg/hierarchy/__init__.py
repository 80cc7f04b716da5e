"""Class trees."""

from hieraseg.hierarchy.tree import IGNORE_INDEX, Hierarchy, Tables

__all__ = ["IGNORE_INDEX", "Hierarchy", "Tables"]
