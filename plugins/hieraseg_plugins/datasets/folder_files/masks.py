"""Masks of a data set, with the label values of a class tree."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt

from hieraseg import Hierarchy, read_color_mask, read_mask
from hieraseg.errors import DataError
from hieraseg_plugins.datasets.folder_files.colors import Color, color_names
from hieraseg_plugins.datasets.folder_files.labels import OTHERS, name_table, value_table

_LISTED = 20  # values in one message


class MaskReader:
    """Reads masks of labels or of colors.

    Attributes:
        table: what the masks mean: the tree's label value of each color or value.

    Args:
        roots: folders of the data set.
        hierarchy: the class tree.
        colors: color of each name, or the file that has them; None for masks of label values.
        labels: class for values or names; None if they are those of the tree.

    Raises:
        ArgumentError: the arguments do not fit the tree.
        DataError: the file of colors cannot be read.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        hierarchy: Hierarchy,
        colors: Mapping[str, Color] | str | None,
        labels: Mapping[int | str, str] | None,
    ) -> None:
        self._colors: dict[Color, int] | None = None
        self._values: dict[int | str, int] | None = None
        if colors is not None:
            names = color_names(roots, colors)
            values = name_table(list(names.values()), labels or {}, hierarchy)
            self._colors = {color: values[name] for color, name in names.items()}
        elif labels is not None:
            self._values = value_table(labels, hierarchy)
            self._lookup, self._known = _lookup(self._values)
        self.table = repr((self._colors, self._values))

    def read(self, path: str) -> UInt[np.ndarray, "H W"]:
        """The label values of a mask. Raises DataError if it is none, or has unknown ones."""
        if self._colors is not None:
            return read_color_mask(path, self._colors)
        mask = read_mask(path)
        if self._values is None:
            return mask
        known = self._known[mask]
        if not known.all():
            raise DataError(f"{path}: {_unknown_values(mask, known)}")
        return self._lookup[mask]


def _unknown_values(mask: UInt[np.ndarray, "H W"], known: Bool[np.ndarray, "H W"]) -> str:
    """A sentence on the unknown values of a mask: where the first is, and some of the others."""
    row, column = np.argwhere(~known)[0].tolist()
    first = mask[row, column]
    others = np.unique(mask[~known & (mask != first)]).tolist()
    listed = ", ".join(map(str, others[:_LISTED])) + (", ..." if len(others) > _LISTED else "")
    also, fix = (f" (nor are {listed})", "add them") if others else ("", "add it")
    return (
        f"the value {first}, at row {row}, column {column}, is not in data.labels{also}; {fix} "
        'there, or "*" for all others'
    )


def _lookup(table: Mapping[int | str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Label value of each possible value of a mask, and whether there is one."""
    dtype = np.uint8 if max(table.values(), default=0) < 256 else np.uint16
    values = np.full(2**16, table.get(OTHERS, 0), dtype)
    known = np.full(2**16, OTHERS in table)
    for value, label in table.items():
        if isinstance(value, int):
            values[value], known[value] = label, True
    return values, known
