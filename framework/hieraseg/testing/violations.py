"""Values that violate a restricted type."""

from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from hieraseg.types import constraints_of, plain_type, violation

_SEQUENCES = (list, tuple, Sequence)


def violating_value(hint: Any) -> Any:
    """A value that the constraints of a type exclude.

    Args:
        hint: a type of `hieraseg.types`, or one that contains such a type.

    Returns:
        None if no such value is known, as for an unrestricted type.
    """
    return next((value for value in _candidates(hint) if violation(value, hint)), None)


def _candidates(hint: Any) -> Iterator[Any]:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        yield from _outside(hint)
        yield from _candidates(inner[0])
    elif origin in (Union, UnionType):
        for one in inner:
            yield from _candidates(one)
    elif origin is tuple and inner[-1] is not Ellipsis:
        yield tuple(map(violating_value, inner))
    elif origin in _SEQUENCES:
        yield from ([value] for value in _candidates(inner[0]))
    elif origin in (dict, Mapping):
        yield from ({"key": value} for value in _candidates(inner[1]))


def _outside(hint: Any) -> Iterator[Any]:
    """Numbers around the bounds of a type, or sequences that are empty or descending."""
    if get_origin(plain_type(hint)) in _SEQUENCES:
        yield from ([], [1, 0])
        return
    for constraint in constraints_of(hint):
        for bound in constraint.schema().values():
            if not isinstance(bound, str):
                yield from (bound - 1, bound, bound + 1)
