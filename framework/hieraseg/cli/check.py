"""`hieraseg check`: check a component against the contract of its kind."""

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from hieraseg.cli.options import add_command, add_component, add_json, add_plugins
from hieraseg.cli.overrides import Overrides
from hieraseg.cli.plugins import loaded_plugins
from hieraseg.cli.report import print_result
from hieraseg.errors import DataError, HierasegError, RecipeError, from_here
from hieraseg.registry import Registry, find_registry

if TYPE_CHECKING:
    from hieraseg.recipe.spec import ComponentSpec
    from hieraseg.testing import DatasetContract
    from hieraseg.testing.running import Case, Property, Report

HIERARCHY, BACKBONE = "hierarchy", "backbone"
_OUTCOMES = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}


def add_parser(commands: Any) -> None:
    """Add the parser of `hieraseg check`."""
    parser = add_command(
        commands,
        "check",
        run,
        summary="check a component against the contract of its kind",
        description="""
            Check one component against the contract of its kind: arguments, shapes, gradients,
            ignored pixels, precision, reproducibility, saving and loading, and whether a training
            step with it can be captured in a CUDA graph, which needs no GPU. The report has one
            line per property, and explains each failure with the line of the plugin that causes
            it. The same checks are in `hieraseg.testing`, for a plugin's own tests.

            Set arguments of the component as in a recipe. --hierarchy NAME selects the class tree
            to check on; for a data set, choose the one of its labels. --backbone NAME selects the
            backbone whose feature maps a decoder is checked on.

            Exit code 0 if all properties hold, 2 if one fails or the component cannot be
            imported.
        """,
        examples="""
            hieraseg check loss tree_min --loss.gamma 2
            hieraseg check loss my_loss --plugin my_loss.py
            hieraseg check decoder skip --backbone resnet50
            hieraseg check model coarse_to_fine --model.backbone resnet50
            hieraseg check data mannequins --hierarchy pascal_part --data.image_size "[64, 64]"
        """,
        takes_overrides=True,
    )
    add_component(parser, "name of the component")
    add_plugins(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Run the contract test suite of a component, and print the report."""
    with loaded_plugins(arguments):
        return _run(arguments)


def _run(arguments: Namespace) -> int:
    registry = find_registry(arguments.kind)
    component, settings, others = _read(registry, arguments.name, arguments.overrides)
    # These import torch, which a usage error does not have to wait for.
    from hieraseg.recipe.build import build
    from hieraseg.testing import DatasetContract
    from hieraseg.testing.running import run_suite, suite_of

    built = {section: build(other) for section, other in others.items()}
    suite = suite_of(registry.kind, component.factory, settings, **built)
    if issubclass(suite, DatasetContract):
        _require_data(suite, settings, has_hierarchy=HIERARCHY in built)
    report = run_suite(suite)
    origin = registry.find(component.name).origin
    text = f"{registry.singular} {component.name}, from {origin}\n\n{_as_text(report)}"
    print_result(arguments.json, _as_dict(component, origin, report), text)
    return RecipeError.exit_code if report.count("failed") else 0


def _require_data(
    suite: type["DatasetContract"], settings: dict[str, Any], has_hierarchy: bool
) -> None:
    """Raise the error of a data set that cannot be opened, instead of one error per property."""
    try:
        suite().make(settings)
    except HierasegError as error:
        hint = "" if has_hierarchy else " (on a small class tree; select another with --hierarchy)"
        raise type(error)(f"{error}{hint}") from error


def _read(
    registry: Registry, name: str, overrides: Overrides
) -> tuple["ComponentSpec", dict[str, Any], dict[str, "ComponentSpec"]]:
    """Check the overrides like a recipe.

    Returns:
        The component; its given arguments as YAML values; and by section, the components that are
        given to check it on.

    Raises:
        RecipeError: all problems of the component, its arguments and the others.
        DataError: the only problem is that the data set's files do not exist.
    """
    from hieraseg.recipe.checking import Checker
    from hieraseg.recipe.composing import override_layer
    from hieraseg.recipe.reading import COMMAND_LINE, Entry
    from hieraseg.recipe.values import plain

    layer, problems = override_layer(overrides)
    checker = Checker(COMMAND_LINE, require_paths=True)
    own = layer.pop(registry.singular, Entry({}, COMMAND_LINE))
    if not isinstance(own.value, dict) or "name" in own.value:
        text = f"conflicts with {name!r}, the component to check; only set its arguments"
        checker.note(own.place, registry.singular, text)
        own = Entry({}, COMMAND_LINE)
    named = Entry({**own.value, "name": Entry(name, COMMAND_LINE)}, COMMAND_LINE)
    component = checker.component(registry.singular, registry, named)
    others: dict[str, ComponentSpec] = {}
    for section, entry in layer.items():
        if section in _checked_on(registry):
            other = checker.component(section, find_registry(section), entry)
            others |= {} if other is None else {section: other}
        elif section == HIERARCHY:
            text = f"{registry.kind.name} take no hierarchy; remove --hierarchy"
            checker.note(entry.place, section, text)
        else:
            text = f"not part of this check; only set arguments of {registry.singular}"
            checker.note(COMMAND_LINE, section, text)
    problems += checker.problems
    if component is None or problems:
        is_data = all(one.of_data for one in problems)
        missing = [one for one in problems if one.key in checker.missing]
        ordered = [*(one for one in problems if one not in missing), *missing]
        message = "\n".join(f"{one.key}: {one.text}" for one in ordered)
        given = " ".join(f"--{one.key} VALUE" for one in missing if one.key.count(".") == 1)
        if given:  # other keys are inside the value of an argument
            message = f"{message.rstrip('.')}; add `{given}` to the command"
        raise (DataError if is_data else RecipeError)(message)
    return component, {key: plain(component.arguments[key]) for key in own.value}, others


def _checked_on(registry: Registry) -> list[str]:
    """Sections of other components that one of this kind can be checked on."""
    sections = {HIERARCHY: "hierarchy", BACKBONE: "channels"}
    return [section for section, given in sections.items() if given in registry.kind.supplied]


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
    """One line per property, then the reasons of failures, then the counts."""
    lines = [_line(one) for one in report.properties]
    for reason, failures in _failures_by_reason(report).items():
        cases = [case for _, case in failures]
        lines += ["", *dict.fromkeys(f"FAILED: {one.sentence}" for one, _ in failures)]
        lines.append(f"    {reason}")
        lines += dict.fromkeys(f"    at {from_here(case.place)}" for case in cases if case.place)
        names = dict.fromkeys(case.name for case in cases if case.name)
        if len(names) > 1 or any(len(one.cases) > 1 for one, _ in failures):
            lines.append(f"    with {', '.join(names)}")
    lines += _skipped_cases(report)
    counts = [f"{report.count('passed')} of {len(report.properties)} properties passed"]
    counts += [f"{report.count(key)} {key}" for key in ("failed", "skipped") if report.count(key)]
    return "\n".join([*lines, "", f"{', '.join(counts)}, in {report.seconds:.1f} s"])


def _line(one: "Property") -> str:
    line = f"{_OUTCOMES[one.outcome]:<8} {one.sentence}"
    if one.outcome == "skipped":
        return f"{line} ({one.cases[0].reason})"
    return line


def _skipped_cases(report: "Report") -> list[str]:
    """A line for each reason why a case of a property that other cases have was skipped."""
    cases = [
        case
        for one in report.properties
        for case in one.cases
        if case.outcome == "skipped" and one.outcome != "skipped"
    ]
    lines = []
    for reason in dict.fromkeys(case.reason for case in cases):
        names = dict.fromkeys(case.name for case in cases if case.reason == reason)
        lines += ["", f"skipped with {', '.join(names)}", f"    {reason}"]
    return lines


def _failures_by_reason(report: "Report") -> dict[str, list[tuple["Property", "Case"]]]:
    """Failed cases grouped by reason, as one fault may break several properties."""
    failures: dict[str, list[tuple[Property, Case]]] = {}
    for one in report.properties:
        for case in one.cases:
            if case.outcome == "failed":
                failures.setdefault(case.reason, []).append((one, case))
    return failures
