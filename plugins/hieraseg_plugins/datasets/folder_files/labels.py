"""From the values and colors of a data set's masks to the label values of a class tree."""

from collections.abc import Collection, Mapping

from hieraseg import VOID, Hierarchy
from hieraseg.errors import did_you_mean
from hieraseg.types import ArgumentError

OTHERS = "*"
_VOID_NAME = "void"


def value_table(labels: Mapping[int | str, str], hierarchy: Hierarchy) -> dict[int | str, int]:
    """The tree's label value for each value of the data set, and for `*`.

    Raises:
        ArgumentError: a key is no value of a mask, or a class is unknown or has no label.
    """
    for key in labels:
        if isinstance(key, str) and key != OTHERS:
            hint = "remove the quotes" if key.isdecimal() else "a name needs colors"
            raise ArgumentError("labels", f"has {key!r}, but values of masks are numbers; {hint}")
        if isinstance(key, int) and not 0 <= key <= VOID:
            raise ArgumentError("labels", f"has the value {key}; masks have values in 0..{VOID}")
    return {key: _value_of(name, hierarchy, "labels") for key, name in labels.items()}


def name_table(
    names: Collection[str], labels: Mapping[int | str, str], hierarchy: Hierarchy
) -> dict[str, int]:
    """The tree's label value for each name of `colors`.

    Raises:
        ArgumentError: a key is no name of a color, or a class is unknown or has no label.
    """
    for key in labels:
        if key != OTHERS and key not in names:
            hint = did_you_mean(str(key), names)
            raise ArgumentError("labels", f"has {key!r}, which is no name of colors, {hint}")
    others = labels.get(OTHERS)
    classes = {name: labels.get(name, name if others is None else others) for name in names}
    return {
        name: _value_of(title, hierarchy, "labels" if name in labels or others else "colors")
        for name, title in classes.items()
    }


def _value_of(name: str, hierarchy: Hierarchy, argument: str) -> int:
    """The label value of a class of the tree, or of void."""
    for value, title in hierarchy.labels.items():
        if title == name:
            return value
    classes = dict.fromkeys(one for level in hierarchy.level_names for one in level)
    if name in classes:
        raise ArgumentError(
            argument,
            f"has the class {name!r}, which has no label value in the tree; write the tree to a "
            "file, and add one there (`labels`, see the hierarchy `file`)",
        )
    if name != _VOID_NAME:
        hint = did_you_mean(name, [*classes, _VOID_NAME])
        fix = "; map it with labels" if argument == "colors" else ""
        raise ArgumentError(argument, f"has {name!r}, which is no class of the tree, {hint}{fix}")
    if hierarchy.void:
        return hierarchy.void[0]
    if VOID in hierarchy.labels:
        raise ArgumentError(
            argument, f"has void, but the tree has no void value, and uses {VOID} as a label"
        )
    return VOID
