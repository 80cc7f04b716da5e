"""The properties of every component, and the base class of all suites."""

from collections.abc import Iterable, Mapping, Sequence
from types import FunctionType, MappingProxyType
from typing import Any, ClassVar

import pytest
import torch

from hieraseg.contracts import why_not_capturable
from hieraseg.files.strict_yaml import inline
from hieraseg.hierarchy import Hierarchy
from hieraseg.recipe.arguments import arguments_of, docstring_of
from hieraseg.recipe.keywords import by_parameter
from hieraseg.recipe.values import plain
from hieraseg.registry.kinds import Kind, all_kinds
from hieraseg.testing.building import build_component, keyword_arguments
from hieraseg.testing.cases import MAIN_TREE, TREES
from hieraseg.testing.violations import violating_value

Arguments = Mapping[str, Any]
DEFAULTS: Arguments = MappingProxyType({})


class ComponentContract:
    """The contract of every component, and the base class of all suites.

    Attributes:
        component: class or function to check.
        settings: sets of arguments to check it with, each as in a recipe. Tests that need only one
            set use the first.
    """

    component: ClassVar[Any]
    settings: ClassVar[Sequence[Arguments]] = (DEFAULTS,)
    _build = staticmethod(build_component)

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        own = vars(cls).get("component")
        if isinstance(own, FunctionType):
            # Otherwise it would be bound as a method, with the suite as its first argument.
            cls.component = staticmethod(own)

    @classmethod
    def kind(cls) -> Kind:
        """The kind of component that this suite checks."""
        for kind in all_kinds():
            if issubclass(cls, kind.load_suite()):
                return kind
        raise TypeError(
            f"{cls.__name__} is not the suite of any kind; subclass a suite of hieraseg.testing"
        )

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize tests that have a parameter `arguments` or `device`."""
        if "arguments" in metafunc.fixturenames:
            names = [_described(arguments) for arguments in self.settings]
            metafunc.parametrize("arguments", self.settings, ids=names)
        if "device" in metafunc.fixturenames:
            marks = _cuda_marks(metafunc.config)
            metafunc.parametrize("device", [pytest.param("cuda", marks=marks)])

    def build(self, arguments: Arguments = DEFAULTS, **supplied: Any) -> Any:
        """Build the component the way a run does.

        Override this method to add arguments that are known only when the test runs, as in
        `return super().build({**arguments, "root": str(self.folder)}, **supplied)`.

        Args:
            arguments: arguments as in a recipe.
            supplied: arguments that the runner supplies.
        """
        return self._build(self.component, self.kind(), arguments, **supplied)

    def supplied(self) -> dict[str, Any]:
        """Arguments that the runner supplies, for an example of a call."""
        return {}

    def test_arguments_are_typed(self) -> None:
        """Every recipe argument has a type, and its default is of that type."""
        # Raises RecipeError, whose message says how to fix it.
        arguments_of(self.component, self.kind().supplied)

    def test_arguments_are_documented(self) -> None:
        """Every recipe argument is documented."""
        arguments = arguments_of(self.component, self.kind().supplied)
        missing = [name for name, argument in arguments.items() if not argument.meaning]
        assert not missing, (
            f"the docstring does not document {_listed(missing)}: add a line `{missing[0]}: ...` "
            "under `Args:`"
        )

    def test_docstring_starts_with_a_summary(self) -> None:
        """The docstring starts with a one-line summary, which `hieraseg list` shows."""
        summary, _, rest = docstring_of(self.component).partition("\n")
        assert summary.strip(), "there is no docstring: describe the component in one line"
        assert not rest or rest.startswith("\n"), (
            f"the summary of the docstring continues after its first line, {summary!r}: "
            "shorten it to one line, followed by an empty line"
        )

    def test_out_of_range_arguments_raise_value_error(self) -> None:
        """A direct call with an argument outside the range of its type raises ValueError."""
        arguments = arguments_of(self.component, self.kind().supplied)
        excluded = {name: violating_value(argument.type) for name, argument in arguments.items()}
        excluded = {name: value for name, value in excluded.items() if value is not None}
        if not excluded:
            pytest.skip("no argument has a restricted type")
        supplied = self.supplied()
        self._build = keyword_arguments  # of this test's own instance
        valid = self.build(self.settings[0], **supplied)
        for name, value in excluded.items():
            error = self._error({**valid, **by_parameter({name: value})})
            is_clear = isinstance(error, ValueError) and name in str(error)
            assert is_clear, (
                f"called with {name}={value!r}, it raises {_described_error(error)}: decorate it "
                f"with `hieraseg.types.check_arguments`, or raise a ValueError that names {name!r}"
            )

    def _error(self, arguments: Arguments) -> Exception | None:
        """The error that a call raises."""
        try:
            self.component(**arguments)
        except Exception as error:  # the component is the plugin's code, which may raise anything
            return error
        return None


class CapturableContract(ComponentContract):
    """Base class of the suites of components that are part of a training step."""

    @property
    def is_capturable(self) -> bool:
        """Whether it says that it can be part of a captured training step."""
        return why_not_capturable(self.component) is None

    def assert_capturable(self, arguments: Arguments) -> None:
        """Assert that it can (see `testing.capturing`)."""
        raise NotImplementedError

    def test_can_be_captured(self, arguments: Arguments) -> None:
        """It can be part of a captured training step, or says why it cannot."""
        if self.is_capturable:
            return self.assert_capturable(arguments)
        reason = getattr(self.component, "capturable_reason", None)
        assert reason, (
            "capturable is false, but no reason is given, which the log of a run would show: set "
            '`capturable_reason`, as in "sorts on the host"'
        )
        pytest.skip(f"it says that it cannot: {reason}")


class TreeContract(ComponentContract):
    """Base class of the suites of components that depend on a class tree.

    Attributes:
        hierarchy: tree to check all settings on. Arguments that depend on the tree must fit it.
        trees: further trees by name, to check the first settings on.
    """

    hierarchy: ClassVar[Hierarchy] = MAIN_TREE
    trees: ClassVar[Mapping[str, Hierarchy]] = TREES

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Also parametrize tests that have a parameter `tree`."""
        super().pytest_generate_tests(metafunc)
        if "tree" in metafunc.fixturenames:
            trees = {"the main tree": self.hierarchy, **self.trees}
            metafunc.parametrize("tree", list(trees.values()), ids=list(trees))


def _cuda_marks(config: pytest.Config) -> list[pytest.MarkDecorator]:
    """Skip without CUDA. Add the mark `cuda`, for `-m cuda`, if the project registers it."""
    marks = [pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
    if any(line.partition(":")[0].strip() == "cuda" for line in config.getini("markers")):
        marks.append(pytest.mark.cuda)
    return marks


def _described_error(error: Exception | None) -> str:
    return "no error" if error is None else f"{type(error).__name__}: {error}"


def _described(arguments: Arguments) -> str:
    return " ".join(f"{key}={_inline(value)}" for key, value in arguments.items()) or "defaults"


def _inline(value: Any) -> str:
    return value if isinstance(value, str) else inline(plain(value))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
