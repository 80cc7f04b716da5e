"""Class trees from files."""

from pathlib import Path

from hieraseg import Hierarchy


def from_file(path: Path) -> Hierarchy:
    """A class tree from a file: YAML, indented text (.txt) or child-parent pairs (.csv, .tsv).

    Args:
        path: path of the file. `hieraseg list hierarchies PATH` draws the tree.

    Raises:
        ValueError: the file does not exist or is not a class tree.
    """
    return Hierarchy.from_file(path)
