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

    A name that `labels` leaves out is that of a class of the tree, or else stands for `*`.

    Raises:
        ArgumentError: a key is no name of a color, or a class is unknown or has no label.
    """
    for key in labels:
        if key != OTHERS and key not in names:
            hint = did_you_mean(str(key), names)
            raise ArgumentError("labels", f"has {key!r}, which is no name of colors, {hint}")
    own = {*_classes(hierarchy), _VOID_NAME}
    table = {}
    for name in names:
        mapped = labels.get(name, None if name in own else labels.get(OTHERS))
        argument = "colors" if mapped is None else "labels"
        table[name] = _value_of(name if mapped is None else mapped, hierarchy, argument)
    return table


def _value_of(name: str, hierarchy: Hierarchy, argument: str) -> int:
    """The label value of a class of the tree, or of void."""
    for value, title in hierarchy.labels.items():
        if title == name:
            return value
    classes = _classes(hierarchy)
    if name in classes:
        raise ArgumentError(
            argument,
            f"has the class {name!r}, which has no label value in the tree; write the tree to a "
            "file, and add one there (`labels`, see the hierarchy `file`)",
        )
    if name != _VOID_NAME:
        hint = did_you_mean(name, [*classes, _VOID_NAME])
        fix = ""
        if argument == "colors":
            fix = f"; map it with labels, as in {{{name}: void}}, or all others with '*'"
        raise ArgumentError(argument, f"has {name!r}, which is no class of the tree, {hint}{fix}")
    if hierarchy.void:
        return hierarchy.void[0]
    if VOID in hierarchy.labels:
        raise ArgumentError(
            argument, f"has void, but the tree has no void value, and uses {VOID} as a label"
        )
    return VOID


def _classes(hierarchy: Hierarchy) -> list[str]:
    """All classes of the tree."""
    return list(dict.fromkeys(one for level in hierarchy.level_names for one in level))
