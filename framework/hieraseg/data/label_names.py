"""Names of the label values of a data set, which some data sets know (see `contracts.Dataset`)."""

from collections.abc import Iterator, Mapping
from typing import Any

from hieraseg.contracts import Dataset
from hieraseg.data.joining import members_of
from hieraseg.errors import DataError
from hieraseg.hierarchy import Hierarchy
from hieraseg.hierarchy.naming import label_conflict, no_common_name

_SHOWN = 10  # names in a sentence


def label_names(dataset: Any) -> dict[int, str]:
    """Names of a data set's labels by value; empty if it does not know them.

    Raises:
        DataError: its attribute is something else.
    """
    names = getattr(dataset, "label_names", None)
    if names is None:
        return {}
    if isinstance(names, list | tuple):
        names = dict(enumerate(names))
    is_table = isinstance(names, Mapping) and all(
        isinstance(value, int) and isinstance(name, str) for value, name in names.items()
    )
    if not is_table:
        raise DataError(
            f"data: {type(dataset).__name__}.label_names is {names!r}; it must have a name by "
            "label value, as in {0: 'background', 1: 'head'}"
        )
    return dict(names)


def naming_problem(names: Mapping[int, str], hierarchy: Hierarchy) -> str | None:
    """Why masks with labels of these names cannot be used with a class tree; None if they can."""
    conflict = label_conflict(names, hierarchy)
    if conflict is None:
        return None
    listed = [f"{value}: {name}" for value, name in sorted(names.items())]
    more = ", ..." if len(listed) > _SHOWN else ""
    return (
        f"{conflict}; choose the hierarchy that this data set was labelled with, or write its "
        f"labels into the tree: labels: {{{', '.join(listed[:_SHOWN])}{more}}}"
    )


def naming_notices(dataset: Dataset, hierarchy: Hierarchy) -> Iterator[str]:
    """What may be wrong with the names of labels, one sentence per data set."""
    for key, names in names_by_key(dataset):
        differing = no_common_name(names, hierarchy)
        if differing:
            yield (
                f"{key}: the tree has other names for all labels: {differing}; if it was written "
                "for another data set, choose the hierarchy that this one was labelled with"
            )


def names_by_key(dataset: Dataset) -> Iterator[tuple[str, dict[int, str]]]:
    """The names of each data set that is joined in one, or of itself, by its key in the recipe.

    Raises:
        DataError: as `label_names`.
    """
    members = members_of(dataset)
    if members is None:
        yield "data", label_names(dataset)
    else:
        for index, member in enumerate(members):
            yield f"data.datasets[{index}]", label_names(member)
