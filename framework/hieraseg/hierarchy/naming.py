"""Names that a data set gives its label values, compared with those of a class tree.

Upper and lower case, and characters that are neither letters nor digits, make no difference.
"""

from collections.abc import Mapping

from hieraseg.hierarchy.tree import Hierarchy


def label_conflict(names: Mapping[int, str], hierarchy: Hierarchy) -> str | None:
    """A label whose name is a class of the tree, but not the class that it has there.

    A name that is no class of the tree is no conflict, since it may be renamed or merged into
    another class, nor is a label that is void, or that names a class above or below.

    >>> h = Hierarchy.from_tree({"body": ["head", "arm"]})
    >>> label_conflict({0: "Head", 1: "forearm"}, h)
    >>> label_conflict({0: "arm", 1: "head"}, h)
    "label 0 is 'arm' in the data set, but 'head' in the tree (1 other label differs, too)"

    Args:
        names: name of each label value, as the data set has it.
        hierarchy: the class tree.

    Returns:
        The start of a sentence, or None if there is no such label.
    """
    paths = _paths(hierarchy)
    classes: dict[str, list[str]] = {}
    for name in paths:
        classes.setdefault(_plain(name), []).append(name)
    differing = []
    for value, name in sorted(names.items()):
        found, same = hierarchy.labels.get(value, ""), classes.get(_plain(name), [])
        related = any(one in paths.get(found, ()) or found in paths[one] for one in same)
        if same and not related and value not in hierarchy.void:
            differing.append((value, name, repr(found) if found else "missing"))
    if not differing:
        return None
    (value, name, there), *others = differing
    count = f"{len(others)} other labels differ" if len(others) > 1 else "1 other label differs"
    rest = f" ({count}, too)" if others else ""
    return f"label {value} is {name!r} in the data set, but {there} in the tree{rest}"


def no_common_name(names: Mapping[int, str], hierarchy: Hierarchy) -> str | None:
    """Labels with the names that they have in the tree, if these are all others.

    The background and void do not count.

    >>> h = Hierarchy.from_tree(["road", "sky"])
    >>> no_common_name({0: "head", 1: "arm"}, h)
    "0 is 'head' in the data set and 'road' in the tree, 1 is 'arm' and 'sky'"

    Args:
        names: name of each label value, as the data set has it.
        hierarchy: the class tree.

    Returns:
        A part of a sentence, or None if a name is the same or there is none to compare.
    """
    paths = _paths(hierarchy)
    background = {_plain(one) for one in ("background", hierarchy.background or "")}
    pairs = [
        (value, name, hierarchy.labels[value])
        for value, name in sorted(names.items())
        if value in hierarchy.labels and _plain(name) not in background
    ]
    if not pairs or any(_plain(name) in map(_plain, paths[found]) for _, name, found in pairs):
        return None
    (value, name, found), *others = pairs
    first = f"{value} is {name!r} in the data set and {found!r} in the tree"
    listed = [f"{value} is {name!r} and {found!r}" for value, name, found in others[:2]]
    return ", ".join([first, *listed, *(["..."] if len(others) > 2 else [])])


def _paths(hierarchy: Hierarchy) -> dict[str, list[str]]:
    """Each class with the names from its root down to itself."""
    paths: dict[str, list[str]] = {}
    for path in hierarchy.paths.tolist():
        names = [hierarchy.level_names[level][index] for level, index in enumerate(path)]
        for level, name in enumerate(names):
            paths.setdefault(name, names[: level + 1])
    return paths


def _plain(name: str) -> str:
    return "".join(one for one in name.casefold() if one.isalnum()) or name
