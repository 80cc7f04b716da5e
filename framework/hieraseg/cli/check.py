"""`hieraseg check`: does a component keep the contract of its kind?"""

import json
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from hieraseg.cli.parsing import add_command, add_json, add_plugins, given_plugins
from hieraseg.errors import HierasegError, RecipeError, from_here
from hieraseg.registry import Registry, find_registry

if TYPE_CHECKING:
    from hieraseg.recipe.spec import ComponentSpec
    from hieraseg.testing import DatasetContract
    from hieraseg.testing.running import Case, Property, Report

HIERARCHY = "hierarchy"
_WORDS = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `hieraseg`."""
    parser = add_command(
        commands,
        "check",
        run,
        summary="check a component against the contract of its kind",
        description="""
            Check all that a run counts on from one component: its arguments, shapes, gradients,
            ignored pixels, precision, whether it is repeatable, can be saved and loaded. Each
            property is a line of the report; those that fail are explained below it, with the
            place in the plugin where there is one. Exit code 0 if all hold, 2 if any does not or
            the component cannot be imported. `hieraseg.testing` has the same properties, for a
            plugin's own tests.

            The component's arguments are set as in a recipe, and --hierarchy NAME chooses the
            class tree to check it on: for a data set, the one of its labels.
        """,
        examples="""
            hieraseg check losses my_loss
            hieraseg check loss my_loss --plugin my_loss.py --loss.gamma 2
            hieraseg check data my_data --hierarchy my_tree --data.size "[64, 64]" --json
        """,
        takes_overrides=True,
    )
    parser.add_argument("kind", metavar="KIND", help="as in losses, or loss")
    parser.add_argument("name", metavar="NAME", help="one component of that kind")
    add_plugins(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Run the suite of the kind, and print its report."""
    with given_plugins(arguments):
        return _run(arguments)


def _run(arguments: Namespace) -> int:
    registry = find_registry(arguments.kind)
    component, given, tree = _read(registry, arguments.name, arguments.overrides)
    # Checking needs torch.
    from hieraseg.recipe.build import build
    from hieraseg.testing import DatasetContract
    from hieraseg.testing.running import run_suite, suite_of

    hierarchy = None if tree is None else build(tree)
    suite = suite_of(registry.kind, component.factory, given, hierarchy)
    if issubclass(suite, DatasetContract):
        _open(suite, given, hierarchy is None)
    report = run_suite(suite)
    origin = registry.find(component.name).origin
    if arguments.json:
        print(json.dumps(_as_dict(component, origin, report), indent=2))
    else:
        print(f"{component.section} {component.name}, from {origin}\n")
        print(_as_text(report))
    return RecipeError.exit_code if report.count("failed") else 0


def _open(suite: type["DatasetContract"], given: dict[str, Any], on_any_tree: bool) -> None:
    """Raise the error of a data set that cannot be opened, once and not for each property."""
    try:
        suite().make(given)
    except HierasegError as error:
        hint = " (on a small class tree; --hierarchy NAME takes another)" if on_any_tree else ""
        raise type(error)(f"{error}{hint}") from error


def _read(
    registry: Registry, name: str, overrides: list[tuple[str, str]]
) -> tuple["ComponentSpec", dict[str, Any], "ComponentSpec | None"]:
    """The component, the arguments that were given as YAML gives them, and the class tree.

    Raises:
        RecipeError: all that is wrong with it and with them.
    """
    from hieraseg.recipe.checking import Checker
    from hieraseg.recipe.composing import override_layer
    from hieraseg.recipe.reading import COMMAND_LINE, Entry
    from hieraseg.recipe.values import plain

    layer, problems = override_layer(overrides)
    checker = Checker(COMMAND_LINE, require_paths=True)
    own = layer.pop(registry.section, Entry({}, COMMAND_LINE))
    if not isinstance(own.value, dict) or "name" in own.value:
        checker.note(own.place, registry.section, f"is {name!r} already; set its arguments alone")
        own = Entry({}, COMMAND_LINE)
    named = Entry({**own.value, "name": Entry(name, COMMAND_LINE)}, COMMAND_LINE)
    component = checker.component(registry.section, registry, named)
    on_tree, tree = layer.pop(HIERARCHY, None), None
    if on_tree is not None and "hierarchy" not in registry.kind.supplied:
        checker.note(on_tree.place, HIERARCHY, f"no {registry.section} has a class tree")
    elif on_tree is not None:
        tree = checker.component(HIERARCHY, find_registry(HIERARCHY), on_tree)
    for section in layer:
        text = f"is no part of this check: only arguments of the {registry.section} are"
        checker.note(COMMAND_LINE, section, text)
    problems += checker.problems
    if component is None or problems:
        raise RecipeError("\n".join(f"{one.key}: {one.text}" for one in problems))
    return component, {key: plain(component.arguments[key]) for key in own.value}, tree


def _as_dict(component: "ComponentSpec", origin: str, report: "Report") -> dict[str, Any]:
    return {
        "section": component.section,
        "name": component.name,
        "origin": origin,
        "ok": not report.count("failed"),
        "properties": [
            {
                "name": one.name,
                "sentence": one.sentence,
                "outcome": one.outcome,
                "cases": [vars(case) for case in one.cases],
            }
            for one in report.properties
        ],
        "seconds": round(report.seconds, 1),
    }


def _as_text(report: "Report") -> str:
    """A line per property, then why some failed, then how many."""
    lines = [_line(one) for one in report.properties]
    for reason, failures in _failures(report).items():
        cases = [case for _, case in failures]
        lines += ["", *dict.fromkeys(f"FAILED: {one.sentence}" for one, _ in failures)]
        lines.append(f"    {reason}")
        lines += dict.fromkeys(f"    at {from_here(case.place)}" for case in cases if case.place)
        named = dict.fromkeys(case.name for case in cases if case.name)
        if len(named) > 1 or any(len(one.cases) > 1 for one, _ in failures):
            lines.append(f"    with {', '.join(named)}")
    counts = [f"{report.count('passed')} of {len(report.properties)} properties hold"]
    counts += [f"{report.count(key)} {key}" for key in ("failed", "skipped") if report.count(key)]
    return "\n".join([*lines, "", f"{', '.join(counts)}, in {report.seconds:.1f} s"])


def _line(one: "Property") -> str:
    line = f"{_WORDS[one.outcome]:<8} {one.sentence}"
    if one.outcome == "skipped":
        return f"{line} ({one.cases[0].reason})"
    return line


def _failures(report: "Report") -> dict[str, list[tuple["Property", "Case"]]]:
    """The failed cases by reason, as one problem may break several properties."""
    failures: dict[str, list[tuple[Property, Case]]] = {}
    for one in report.properties:
        for case in one.cases:
            if case.outcome == "failed":
                failures.setdefault(case.reason, []).append((one, case))
    return failures
