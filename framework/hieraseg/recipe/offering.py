"""Whether what a component builds is what its kind has to offer."""

from inspect import get_annotations, signature
from typing import Any, Protocol, get_type_hints

from torch import nn

from hieraseg.registry.kinds import Kind, all_kinds, find_kind

_CHECKED_WHERE_THEY_ARE_USED = ("data", "trackers")
_MODULES = ("backbone", "decoder", "model")


def contract_problem(section: str, name: str, built: Any) -> str:
    """What a component lacks to be one of its kind, and how to fix it; empty for nothing.

    Args:
        section: section of its kind.
        name: its name in the registry.
        built: what its class or function returned.
    """
    if section in _CHECKED_WHERE_THEY_ARE_USED:
        return ""
    kind = find_kind(section)
    problem = _problem(kind, built)
    if not problem:
        return ""
    return f"{problem} (see `hieraseg check {kind.singular} {name}`)"


def method_that_gets(argument: str) -> str:
    """The method of a contract that is called with an argument; empty for none.

    Functions cannot be components of such kinds.
    """
    for kind in all_kinds():
        for method in ("forward", "__call__"):
            call = vars(kind.load_contract()).get(method)
            if call is not None and argument in {*signature(call).parameters} - kind.supplied:
                return method
    return ""


def _problem(kind: Kind, built: Any) -> str:
    expected = _expected(kind)
    got = f"is of type {type(built).__name__}"
    if Protocol not in expected.__bases__:
        if isinstance(built, expected):
            return ""
        module = "hieraseg" if expected.__module__.startswith("hieraseg") else "torch"
        return f"{got}, not {module}'s {expected.__name__}; return one, or make it a subclass"
    if kind.section in _MODULES and not isinstance(built, nn.Module):
        return f"{got}, whose weights would not be trained; make it a torch.nn.Module"
    if not callable(built):
        return f"{got}, which cannot be called; add a method __call__"
    public = [one for one in vars(expected) if not one.startswith("_")]
    missing = [one for one in (*get_annotations(expected), *public) if not hasattr(built, one)]
    if missing:
        return f"has no {missing[0]!r}, which a {kind.singular} needs; add this attribute"
    return ""


def _expected(kind: Kind) -> Any:
    """The class or protocol of what components of a kind build."""
    contract = kind.load_contract()
    call = vars(contract).get("__call__")
    if call is not None and kind.supplied & set(signature(call).parameters):
        return get_type_hints(call)["return"]  # the contract is that of the function which builds
    return contract
