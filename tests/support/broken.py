"""Whether a suite finds what is wrong with a component, and nothing else."""

from collections.abc import Mapping
from typing import Any

from hieraseg.registry import find_registry
from hieraseg.testing.running import Report, run_suite

COMPILE = "test_torch_compile_gives_the_same"


def check(kind: str, component: Any, compiled: bool = False, **attributes: Any) -> Report:
    """The report on a component; torch.compile takes seconds, so it is left out where not asked."""
    given: Mapping[str, Any] = {"component": component, **attributes}
    if not compiled and hasattr(find_registry(kind).kind.load_suite(), COMPILE):
        given = {**given, COMPILE: None}
    return run_suite(type("TestBroken", (find_registry(kind).kind.load_suite(),), dict(given)))


def failed(report: Report) -> set[str]:
    """Names of the properties that do not hold, without `test_`."""
    return {one.name.removeprefix("test_") for one in report.properties if one.outcome == "failed"}


def reasons(report: Report) -> str:
    """All reasons of failures."""
    return "\n".join(case.reason for one in report.properties for case in one.cases)
