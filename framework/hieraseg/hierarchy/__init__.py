"""Class trees."""

from hieraseg.hierarchy.tables import IGNORE_INDEX, VOID, Tables
from hieraseg.hierarchy.tree import Hierarchy

__all__ = ["IGNORE_INDEX", "VOID", "Hierarchy", "Tables"]
