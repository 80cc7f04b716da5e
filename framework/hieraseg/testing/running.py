"""Run the suite of a component inside this process, and tell what was found."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import pytest
import torch
from rich.progress import BarColumn, Progress, TextColumn

from hieraseg.console import console
from hieraseg.errors import HierasegError
from hieraseg.hierarchy import Hierarchy
from hieraseg.registry import Kind
from hieraseg.testing.component import ComponentContract, TreeContract
from hieraseg.testing.places import place_of, reason_of

OUTCOMES = ("failed", "passed", "skipped")
"""The first one that any case has is the property's."""


@dataclass(frozen=True)
class Case:
    """One test of a property.

    Attributes:
        name: of its parameters, empty where it has none.
        outcome: one of `OUTCOMES`.
        reason: why it failed or was skipped.
        place: `file:line` of the plugin where it failed, if there.
    """

    name: str
    outcome: str
    reason: str = ""
    place: str = ""


@dataclass
class Property:
    """What a suite guarantees in one sentence, with the cases that it was checked in."""

    name: str
    sentence: str
    cases: list[Case] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """Of all cases together."""
        found = {case.outcome for case in self.cases}
        return next(outcome for outcome in OUTCOMES if outcome in found)


@dataclass(frozen=True)
class Report:
    """All properties in the order of the suite, and how many seconds they took."""

    properties: list[Property]
    seconds: float

    def count(self, outcome: str) -> int:
        """How many properties have an outcome."""
        return sum(one.outcome == outcome for one in self.properties)


def suite_of(
    kind: Kind,
    component: Callable[..., Any],
    settings: Mapping[str, Any],
    hierarchy: Hierarchy | None = None,
) -> type[ComponentContract]:
    """The suite of a component with one set of arguments.

    Args:
        kind: its kind.
        component: the class or function.
        settings: its arguments, as they would stand in a recipe.
        hierarchy: the only class tree to check it on; None for those of the suite.
    """
    suite = kind.load_suite()
    given: dict[str, Any] = {"component": component, "settings": (settings,)}
    if hierarchy is not None:
        given["hierarchy"] = hierarchy
        if issubclass(suite, TreeContract):
            given["trees"] = {}
    return type("TestComponent", (suite,), given)


def run_suite(suite: type[ComponentContract]) -> Report:
    """Run all tests of a suite.

    Raises:
        HierasegError: it cannot be run.
        KeyboardInterrupt: as the user wishes.
    """
    collector = _Collector(suite)
    started, threads = time.monotonic(), torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are too small for more
    try:
        code = _pytest(collector)
    finally:
        torch.set_num_threads(threads)
    if code == pytest.ExitCode.INTERRUPTED and not collector.problems:
        raise KeyboardInterrupt
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        reasons = "; ".join(collector.problems) or f"pytest ended with {code}"
        raise HierasegError(f"the suite {suite.__name__} cannot be run: {reasons}")
    return Report(list(collector.properties.values()), time.monotonic() - started)


def _pytest(collector: "_Collector") -> int | pytest.ExitCode:
    """Run pytest on the collector's suite alone: nothing of the user's own set-up of pytest."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, collector.bar:
        patch.delenv("PYTEST_ADDOPTS", raising=False)
        patch.delenv("PYTEST_PLUGINS", raising=False)
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        settings, module = Path(folder, "pytest.ini"), Path(folder, "test_component.py")
        settings.write_text("[pytest]\n")
        module.touch()
        words = ["-c", str(settings), "--rootdir", folder, "--noconftest"]
        words += ["-p", "no:cacheprovider", "-p", "no:terminal"]
        words += ["--basetemp", os.path.join(folder, "files"), str(module)]
        return pytest.main(words, plugins=[collector])


class _Collector:
    """A plugin of pytest that gives it the suite, and keeps what becomes of each test."""

    def __init__(self, suite: type[ComponentContract]) -> None:
        self.module = ModuleType("test_component")
        self.module.__dict__["TestComponent"] = suite
        self.component = suite.component
        self.properties: dict[str, Property] = {}
        self.problems: list[str] = []
        self.bar = Progress(
            TextColumn("{task.completed}/{task.total}"),
            BarColumn(),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            # pytest keeps what is written while a test runs, and so would swallow the bar.
            auto_refresh=False,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("", total=None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makemodule(
        self, module_path: Path, parent: pytest.Collector
    ) -> pytest.Module:
        """The suite, in place of what the empty file holds."""
        module = pytest.Module.from_parent(parent, path=module_path)
        module.obj = self.module
        return module

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep why the suite cannot be collected."""
        if report.failed:
            self.problems.append(str(report.longrepr).strip().rpartition("\n")[2])

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """How many tests there are."""
        self.bar.update(self.task, total=len(session.items))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Function, call: Any) -> None:
        """Keep what becomes of a test, in the last of its phases that tells."""
        if call.excinfo is None and call.when != "call":
            return
        name = getattr(item, "originalname", item.name)
        sentence = (item.function.__doc__ or name).strip()
        own = self.properties.setdefault(name, Property(name, sentence))
        case = item.callspec.id if hasattr(item, "callspec") else ""
        own.cases.append(self._case(case, call.excinfo))
        self.bar.update(self.task, advance=1, description=sentence, refresh=True)

    def _case(self, name: str, excinfo: pytest.ExceptionInfo[BaseException] | None) -> Case:
        if excinfo is None:
            return Case(name, "passed")
        error = excinfo.value
        if isinstance(error, pytest.skip.Exception):
            return Case(name, "skipped", str(error))
        return Case(name, "failed", reason_of(error), place_of(error, self.component))
