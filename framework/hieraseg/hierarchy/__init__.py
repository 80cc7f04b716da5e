"""Class trees."""

from hieraseg.hierarchy.tables import IGNORE_INDEX, Tables
from hieraseg.hierarchy.tree import Hierarchy

__all__ = ["IGNORE_INDEX", "Hierarchy", "Tables"]
