"""The checks of types that the tests' import hook puts on each function, and on dataclasses.

Names of sizes need a record of each call, which takes as long as many of the functions do. So
`jaxtyping.jaxtyped` is left to functions with shapes in their signature. Of the others, types are
checked without it; where they are in a function, and so made anew in each call, by mypy alone.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, get_args

import jaxtyping
from beartype import BeartypeConf, beartype

# An int is a float, as for every static checker (PEP 484).
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
_with_record = jaxtyping.jaxtyped


def install() -> None:
    """Import `hieraseg` and its plugins with checks from now on."""
    setattr(jaxtyping, "jaxtyped", _jaxtyped)  # noqa: B010 (what the hook puts on them)
    jaxtyping.install_import_hook(["hieraseg", "hieraseg_plugins"], "tests.support.shapes.checked")


def _jaxtyped(*, typechecker: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(decorated: Any) -> Any:
        if not inspect.isclass(decorated):
            return _function(decorated, typechecker)
        # Sections of a recipe check their arguments themselves, and other dataclasses only once.
        init = decorated.__init__
        if dataclasses.is_dataclass(decorated) and not hasattr(init, "__wrapped__"):
            setattr(decorated, "__init__", _function(init, typechecker))  # noqa: B010
        return decorated

    return decorate


def _function(function: Callable[..., Any], typechecker: Callable[[Any], Any]) -> Any:
    if any(map(_may_have_shape, function.__annotations__.values())):
        return _with_record(function, typechecker=typechecker)
    return function if "<locals>" in function.__qualname__ else _switchable(function, typechecker)


def _switchable(function: Callable[..., Any], typechecker: Callable[[Any], Any]) -> Any:
    """Check types unless `without_shape_checks` says no, as jaxtyping does with shapes."""
    checking = typechecker(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return (function if jaxtyping.config.jaxtyping_disable else checking)(*args, **kwargs)

    # Else an error in a component of the tests would be said to be in this file of their package.
    call.__code__ = call.__code__.replace(co_filename="<checks of types>")
    return call


def _may_have_shape(annotation: Any) -> bool:
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    # A string may name what is imported for static checkers alone, which jaxtyping ignores.
    return isinstance(annotation, str) or any(map(_may_have_shape, get_args(annotation)))
