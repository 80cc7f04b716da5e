"""Running a suite on a broken component."""

from collections.abc import Mapping
from typing import Any

from hieraseg.registry import find_registry
from hieraseg.testing.running import Report, run_suite

COMPILE = "test_compiled_matches_eager"


def check(kind: str, component: Any, compiled: bool = False, **attributes: Any) -> Report:
    """Report on a component, by default without the slow check of torch.compile."""
    given: Mapping[str, Any] = {"component": component, **attributes}
    if not compiled and hasattr(find_registry(kind).kind.load_suite(), COMPILE):
        given = {**given, COMPILE: None}
    return run_suite(type("TestBroken", (find_registry(kind).kind.load_suite(),), dict(given)))


def failed(report: Report) -> set[str]:
    """Names of the failed properties, without `test_`."""
    return {one.name.removeprefix("test_") for one in report.properties if one.outcome == "failed"}


def reasons(report: Report) -> str:
    """Reasons of all failed and skipped cases, one per line."""
    return "\n".join(case.reason for one in report.properties for case in one.cases)
