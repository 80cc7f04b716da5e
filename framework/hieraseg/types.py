"""Restricted types: ranges that `validate`, `list`, the JSON Schema and Python calls all know.

    from hieraseg.types import NonNegativeFloat, PositiveInt, check_arguments

    @check_arguments
    class MyLoss(Loss):
        def __init__(self, gamma: NonNegativeFloat = 0.0, radius: PositiveInt = 3) -> None: ...

A recipe with `gamma: -1` is refused with its file and line before anything is built, and
`MyLoss(gamma=-1)` raises ValueError. To a type checker the types are plain `float` and `int`.
"""

import functools
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import EnumType
from itertools import pairwise
from numbers import Integral, Real
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

Component = TypeVar("Component", bound=Callable[..., Any])


@runtime_checkable
class Constraint(Protocol):
    """What a value has to satisfy beyond its type: metadata of an `Annotated` type."""

    @property
    def phrase(self) -> str:
        """What the value must be, as in `non-negative` or `in [0, 1]`."""
        ...

    def accepts(self, value: Any) -> bool:
        """Whether a value satisfies the constraint."""
        ...

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema keywords (draft-07)."""
        ...


@dataclass(frozen=True)
class Range:
    """Finite numbers within bounds.

    Args:
        ge: smallest value.
        gt: lower bound, excluded.
        le: largest value.
        lt: upper bound, excluded.
    """

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    @property
    def phrase(self) -> str:
        """`positive`, `non-negative`, `at least 2`, `in [0, 1)`, ..."""
        low = self.ge if self.gt is None else self.gt
        high = self.le if self.lt is None else self.lt
        if low is not None and high is not None:
            opening, closing = "[" if self.gt is None else "(", "]" if self.lt is None else ")"
            return f"in {opening}{_shown(low)}, {_shown(high)}{closing}"
        if high is not None:
            return f"{'at most' if self.lt is None else 'below'} {_shown(high)}"
        if low is None:
            return "finite"
        if low == 0:
            return "non-negative" if self.gt is None else "positive"
        return f"{'at least' if self.gt is None else 'above'} {_shown(low)}"

    def accepts(self, value: Any) -> bool:
        """Whether a number lies within the bounds. NaN and infinities never do."""
        return bool(
            (isinstance(value, int) or math.isfinite(value))  # an int may be too large for a float
            and (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )

    def schema(self) -> dict[str, Any]:
        """`minimum`, `exclusiveMinimum`, `maximum` and `exclusiveMaximum`."""
        bounds = {
            "minimum": self.ge,
            "exclusiveMinimum": self.gt,
            "maximum": self.le,
            "exclusiveMaximum": self.lt,
        }
        return {keyword: bound for keyword, bound in bounds.items() if bound is not None}


def _shown(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


@dataclass(frozen=True)
class Ascending:
    """Sequences of numbers, none of which is smaller than the one before."""

    phrase = "ascending"

    def accepts(self, value: Any) -> bool:
        """Whether the numbers ascend."""
        return all(low <= high for low, high in pairwise(value))

    def schema(self) -> dict[str, Any]:
        """Nothing: JSON Schema cannot compare items."""
        return {}


@dataclass(frozen=True)
class NonEmpty:
    """Sequences with at least one item."""

    phrase = "non-empty"

    def accepts(self, value: Any) -> bool:
        """Whether there is an item."""
        return len(value) > 0

    def schema(self) -> dict[str, Any]:
        """`minItems`."""
        return {"minItems": 1}


@dataclass(frozen=True)
class Distinct:
    """Sequences of which no two items are the same."""

    phrase = "distinct"

    def accepts(self, value: Any) -> bool:
        """Whether the items differ."""
        return all(item not in value[:index] for index, item in enumerate(value))

    def schema(self) -> dict[str, Any]:
        """`uniqueItems`."""
        return {"uniqueItems": True}


@dataclass(frozen=True)
class Pattern:
    """Strings that a regular expression matches as a whole.

    Args:
        pattern: the expression.
        phrase: what the string must be, as in `an interval such as 500 steps`.
        shows_value: whether messages show another string, which may be a secret.
        name: the type in lists of arguments; the phrase if empty.
    """

    pattern: str
    phrase: str
    shows_value: bool = True
    name: str = ""

    def accepts(self, value: Any) -> bool:
        """Whether the expression matches."""
        return re.fullmatch(self.pattern, value) is not None

    def schema(self) -> dict[str, Any]:
        """`pattern`."""
        return {"pattern": f"^{self.pattern}$"}


STEPS_OR_EPOCHS = r"([1-9]\d{0,8}) (step|epoch)s?"
"""How a number of steps or epochs is written."""


@dataclass(frozen=True)
class WithinTraining(Pattern):
    """A number of steps or epochs which training has to have, as in `500 steps` or `2 epochs`.

    A recipe that trains for less is refused before its data is read, where it is known to.
    """

    pattern: str = STEPS_OR_EPOCHS
    phrase: str = "a duration such as 500 steps or 2 epochs"


@dataclass(frozen=True)
class Having:
    """Components that do not say otherwise by an attribute, as in `Annotated[Loss, Having(...)]`.

    A recipe is refused by the attribute of the class, or of one inside it, as in a `sum`; a call by
    that of the object.

    Args:
        attribute: its name, such as `pixelwise`.
    """

    attribute: str

    @property
    def phrase(self) -> str:
        """The name."""
        return self.attribute

    def accepts(self, value: Any) -> bool:
        """Whether the attribute is not false."""
        return bool(getattr(value, self.attribute, True))

    def schema(self) -> dict[str, Any]:
        """Nothing: JSON Schema does not know the classes."""
        return {}


PositiveInt = Annotated[int, Range(gt=0)]
NonNegativeInt = Annotated[int, Range(ge=0)]
PositiveFloat = Annotated[float, Range(gt=0)]
NonNegativeFloat = Annotated[float, Range(ge=0)]
Probability = Annotated[float, Range(ge=0, le=1)]
"""A number from 0 to 1, also where it is a share of a whole."""
DropRate = Annotated[float, Range(ge=0, lt=1)]
"""A probability to drop something. At 1 nothing would be left to train."""
Duration = Annotated[str, WithinTraining()]
"""A part of the training, as a number of steps or epochs."""


class ArgumentError(ValueError):
    """An argument that has a value which cannot be used.

    Args:
        argument: its name.
        problem: the rest of the sentence, as in `must be positive, got -1`.
    """

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(f"{argument} {problem}")
        self.argument = argument
        self.problem = problem


def check_arguments(component: Component) -> Component:
    """Decorator of a class or function that checks arguments against their restricted types.

    Calls with a value that its type excludes raise ArgumentError, a ValueError.
    """
    if not inspect.isclass(component):
        return _checked(component)
    if "__init__" in vars(component):  # an inherited one is its own class's affair
        component.__init__ = _checked(component.__init__)  # type: ignore[method-assign]
    return component


def _checked(function: Any) -> Any:
    @functools.cache
    def restricted() -> dict[str, Any]:
        # On the first call, as annotations may name what the module defines later.
        hints = get_type_hints(function, include_extras=True)
        return {name: hint for name, hint in hints.items() if is_restricted(hint)}

    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return function(*args, **kwargs)  # which raises Python's own error
        for name, hint in restricted().items():
            problem = violation(given[name], hint) if name in given else ""
            if problem:
                raise ArgumentError(name, problem)
        return function(*args, **kwargs)

    return wrapper


def is_restricted(hint: Any) -> bool:
    """Whether a type, or one inside it, has constraints."""
    return bool(constraints_of(hint)) or any(map(is_restricted, get_args(hint)))


def constraints_of(hint: Any) -> list[Constraint]:
    """The constraints of a type itself, not of the types inside it.

    Raises:
        TypeError: a class is given instead of a constraint, as in `Annotated[int, Range]`.
    """
    if get_origin(hint) is not Annotated:
        return []
    found = [one for one in hint.__metadata__ if isinstance(one, Constraint)]
    for one in found:
        if isinstance(one, type):
            raise TypeError(f"Annotated has the class {one.__name__}: call it, as in Range(ge=0)")
    return found


def plain_type(hint: Any) -> Any:
    """A type without the metadata of `Annotated`, at any depth.

    Unions are sorted: literals and enumerations first, `str` last. Whoever takes the first type
    that accepts a string then has the most specific one.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return plain_type(inner[0])
    if origin in (Union, UnionType):
        kinds = sorted(map(plain_type, inner), key=_breadth)
        return Union[tuple(kinds)]  # noqa: UP007 (built at run time)
    if origin in (list, tuple, dict, Sequence, Mapping):
        return origin[tuple(one if one is Ellipsis else plain_type(one) for one in inner)]
    return hint


def _breadth(kind: Any) -> int:
    if get_origin(kind) is Literal or isinstance(kind, EnumType):
        return 0
    return 2 if kind is str else 1


def violation(value: Any, hint: Any) -> str:
    """How a value violates the constraints of a type, as in `must be positive, got -1 at [2]`.

    The type itself is not checked.

    Args:
        value: as Python or YAML gives it; sequences and mappings are checked item by item.
        hint: the type.

    Returns:
        An empty string if it does not.
    """
    found = _find(value, hint)
    if found is None:
        return ""
    problem = f"must be {found.phrase}"
    if found.is_shown:
        problem += f", got {_got(found.value)}"
    return f"{problem} at {found.place}" if found.place else problem


def _got(value: Any) -> str:
    """A value in a sentence; of a component, the name of its class."""
    if isinstance(value, type):
        return value.__name__
    written, name = repr(value), type(value).__name__
    return name if "\n" in written or written == f"{name}()" else written


class _Violation(NamedTuple):
    phrase: str
    value: Any
    place: str = ""
    is_shown: bool = True


def _find(value: Any, hint: Any) -> _Violation | None:
    """The first violation of a type: what the value must be, and its place in the whole value."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        for constraint in constraints_of(hint):
            if not _accepts(constraint, value):
                if isinstance(constraint, Range) and not Range().accepts(value):
                    return _Violation(f"finite and {constraint.phrase}", value)
                is_shown = getattr(constraint, "shows_value", True)
                return _Violation(constraint.phrase, value, is_shown=is_shown)
        return _find(value, inner[0])
    if origin in (Union, UnionType):
        return _find_in_union(value, inner)
    for place, item, of_item in _items(value, origin, inner):
        problem = _find(item, of_item)
        if problem is not None:
            return problem._replace(place=place + problem.place)
    return None


def _find_in_union(value: Any, kinds: tuple[Any, ...]) -> _Violation | None:
    """The violation of the first type that the value can be meant for, and what else it may be."""
    found = [_find(value, one) for one in kinds if _matches(value, one)]
    first = next(iter(found), None)
    if first is None or None in found:
        return None
    constraints = (constraint for one in kinds for constraint in constraints_of(one))
    written = [one.phrase for one in constraints if isinstance(one, Pattern)]
    return first._replace(phrase=" or ".join(dict.fromkeys([first.phrase, *written])))


def _items(value: Any, origin: Any, inner: tuple[Any, ...]) -> list[tuple[str, Any, Any]]:
    """Place, value and type of each item of a mapping or sequence."""
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return [(f"[{key!r}]", item, inner[1]) for key, item in value.items()]
    if origin in (list, tuple, Sequence) and isinstance(value, Sequence):
        hints = inner if origin is tuple and inner[-1] is not Ellipsis else inner[:1] * len(value)
        return [(f"[{i}]", *pair) for i, pair in enumerate(zip(value, hints, strict=False))]
    return []


def durations_in(value: Any, hint: Any) -> list[str]:
    """The values of a type that are durations (see `WithinTraining`), at any depth."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        is_one = any(isinstance(one, WithinTraining) for one in constraints_of(hint))
        return [value] if is_one and isinstance(value, str) else durations_in(value, inner[0])
    if origin in (Union, UnionType):
        return [found for one in inner for found in durations_in(value, one)]
    items = _items(value, origin, inner)
    return [found for _, item, of_item in items for found in durations_in(item, of_item)]


def _accepts(constraint: Constraint, value: Any) -> bool:
    try:
        return constraint.accepts(value)
    except TypeError:  # the value has another type, which is for others to find
        return True
    except Exception as error:  # constraints of plugins can raise anything
        raise ValueError(
            f"{value!r} cannot be checked: {constraint!r} raises {type(error).__name__}: {error}"
        ) from error


def _matches(value: Any, hint: Any) -> bool:
    """Whether a value can be meant for one of the types of a union."""
    kind = plain_type(hint)
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    kind = get_origin(kind) or kind
    if kind in (int, float):  # NumPy's numbers too
        return isinstance(value, Integral if kind is int else Real)
    if kind in (list, tuple, Sequence):
        return isinstance(value, Sequence) and not isinstance(value, str)
    return isinstance(kind, type) and isinstance(value, kind)
