"""Running the suite of a component in this process, and reporting the results."""

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
from rich.progress import BarColumn

from hieraseg.console import progress_bar, text_column
from hieraseg.errors import HierasegError
from hieraseg.hierarchy import Hierarchy
from hieraseg.registry import Kind
from hieraseg.testing.component import ComponentContract, TreeContract
from hieraseg.testing.decoders import Pyramid
from hieraseg.tracebacks import describe, place_in

OUTCOMES = ("failed", "passed", "skipped")
"""A property has the first of these outcomes that any of its cases has."""


@dataclass(frozen=True)
class Case:
    """Result of one test of a property.

    Attributes:
        name: name of the test's parameters, empty if it has none.
        outcome: one of `OUTCOMES`.
        reason: why it failed or was skipped.
        place: `file:line` in the plugin where it failed, empty if it failed elsewhere.
    """

    name: str
    outcome: str
    reason: str = ""
    place: str = ""


@dataclass
class Property:
    """A property that a suite checks, described by one sentence, and its cases."""

    name: str
    sentence: str
    cases: list[Case] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """Outcome of all cases together."""
        found = {case.outcome for case in self.cases}
        return next(outcome for outcome in OUTCOMES if outcome in found)


@dataclass(frozen=True)
class Report:
    """All properties in the order of the suite, and the time that the checks took."""

    properties: list[Property]
    seconds: float

    def count(self, outcome: str) -> int:
        """Number of properties with an outcome."""
        return sum(one.outcome == outcome for one in self.properties)


def suite_of(
    kind: Kind,
    component: Callable[..., Any],
    settings: Mapping[str, Any],
    hierarchy: Hierarchy | None = None,
    backbone: Any = None,
) -> type[ComponentContract]:
    """Make the suite of a component with one set of arguments.

    Args:
        kind: kind of the component.
        component: the class or function.
        settings: its arguments, as in a recipe.
        hierarchy: the only class tree to check it on. None for the trees of the suite.
        backbone: the only backbone to check a decoder on. None for the pyramids of the suite.
    """
    suite = kind.load_suite()
    given: dict[str, Any] = {"component": component, "settings": (settings,)}
    if hierarchy is not None:
        given["hierarchy"] = hierarchy
        if issubclass(suite, TreeContract):
            given["trees"] = {}
    if backbone is not None:
        pyramid = Pyramid(tuple(backbone.channels), tuple(backbone.strides))
        # Recipes choose an image size that fits their backbone and decoder.
        given["pyramids"] = {"this backbone": pyramid.aligned()}
    return type("TestComponent", (suite,), given)


def run_suite(suite: type[ComponentContract]) -> Report:
    """Run all tests of a suite.

    Raises:
        HierasegError: the suite cannot be run.
        KeyboardInterrupt: the user stopped it.
        Stopped: so did the system.
    """
    collector = _Collector(suite)
    started, threads = time.monotonic(), torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are too small for more
    try:
        code = _pytest(collector)
    finally:
        torch.set_num_threads(threads)
    if code == pytest.ExitCode.INTERRUPTED and not collector.problems:
        raise collector.interrupt
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        reasons = "; ".join(collector.problems) or f"pytest ended with {code}"
        raise HierasegError(f"the suite {suite.__name__} cannot be run: {reasons}")
    return Report(list(collector.properties.values()), time.monotonic() - started)


def _pytest(collector: "_Collector") -> int | pytest.ExitCode:
    """Run pytest on the collector's suite, without the user's own configuration of pytest."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, collector.bar:
        patch.delenv("PYTEST_ADDOPTS", raising=False)
        patch.delenv("PYTEST_PLUGINS", raising=False)
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        settings, module = Path(folder, "pytest.ini"), Path(folder, "test_component.py")
        settings.write_text("[pytest]\n")
        module.touch()
        options = ["-c", str(settings), "--rootdir", folder, "--noconftest"]
        options += ["-p", "no:cacheprovider", "-p", "no:terminal"]
        # It collects garbage five times, which takes longer than most suites.
        options += ["-p", "no:unraisableexception"]
        options += ["--basetemp", os.path.join(folder, "files")]
        return pytest.main([*options, str(module)], plugins=[collector])


class _Collector:
    """Plugin of pytest that provides the suite and records the result of each test."""

    def __init__(self, suite: type[ComponentContract]) -> None:
        self.module = ModuleType("test_component")
        self.module.__dict__["TestComponent"] = suite
        self.component = suite.component
        self.properties: dict[str, Property] = {}
        self.problems: list[str] = []
        self.interrupt = KeyboardInterrupt()
        self.bar = progress_bar(
            text_column("{task.completed}/{task.total}"),
            BarColumn(),
            text_column("{task.description}"),
            # pytest captures output while a test runs, which would hide the bar.
            auto_refresh=False,
        )
        self.task = self.bar.add_task("", total=None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makemodule(
        self, module_path: Path, parent: pytest.Collector
    ) -> pytest.Module:
        """Replace the empty test file by the suite."""
        module = pytest.Module.from_parent(parent, path=module_path)
        module.obj = self.module
        return module

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Record why the suite cannot be collected."""
        if report.failed:
            self.problems.append(str(report.longrepr).strip().rpartition("\n")[2])

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Record what pytest makes one exit code of."""
        if isinstance(excinfo.value, KeyboardInterrupt):
            self.interrupt = excinfo.value

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Set the length of the progress bar."""
        self.bar.update(self.task, total=len(session.items))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Function, call: Any) -> None:
        """Record the result of a test: that of its call, or a failure of its setup or teardown."""
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
        return Case(name, "failed", describe(error), place_in(self.component, error))
