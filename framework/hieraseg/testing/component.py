"""What holds for every component, and the base of the suites of all kinds."""

from collections.abc import Iterable, Mapping, Sequence
from types import FunctionType, MappingProxyType
from typing import Any, ClassVar

import pytest
import torch

from hieraseg.hierarchy import Hierarchy
from hieraseg.recipe.arguments import arguments_of, docstring_of
from hieraseg.recipe.reading import inline
from hieraseg.recipe.values import plain
from hieraseg.registry.kinds import Kind, kinds
from hieraseg.testing.building import build_component
from hieraseg.testing.cases import MAIN_TREE, TREES

Arguments = Mapping[str, Any]
DEFAULTS: Arguments = MappingProxyType({})


class ComponentContract:
    """What every component has to offer, of whatever kind; the base of all suites.

    Attributes:
        component: the class or function to check.
        settings: the sets of arguments to check it with, each as it would stand in a recipe. The
            first one is used where one is enough.
    """

    component: ClassVar[Any]
    settings: ClassVar[Sequence[Arguments]] = (DEFAULTS,)

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        own = vars(cls).get("component")
        if isinstance(own, FunctionType):
            # Else it would be a method, which gets the suite as its first argument.
            cls.component = staticmethod(own)

    @classmethod
    def kind(cls) -> Kind:
        """The kind that this suite, or a base class of it, belongs to in the table of kinds."""
        for kind in kinds():
            if issubclass(cls, kind.load_suite()):
                return kind
        raise TypeError(f"{cls.__name__} is no suite of any kind; subclass one of hieraseg.testing")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One case for each of the sets of arguments, where a test asks for `arguments`."""
        if "arguments" in metafunc.fixturenames:
            names = [_described(arguments) for arguments in self.settings]
            metafunc.parametrize("arguments", self.settings, ids=names)
        if "device" in metafunc.fixturenames:
            marks = _marks_of_cuda(metafunc.config)
            metafunc.parametrize("device", [pytest.param("cuda", marks=marks)])

    def build(self, arguments: Arguments = DEFAULTS, **supplied: Any) -> Any:
        """The component as a run builds it.

        Override it where some arguments are known when the test runs only, as in
        `return super().build({**arguments, "root": str(self.folder)}, **supplied)`.

        Args:
            arguments: as they would stand in a recipe.
            supplied: what the runner supplies; the component gets what it asks for.
        """
        return build_component(self.component, self.kind(), arguments, **supplied)

    def test_every_argument_is_typed_and_its_default_is_of_that_type(self) -> None:
        """Every argument that a recipe may set has a type, and a default of that type if any."""
        # Raises RecipeError, which says what to mend.
        arguments_of(self.component, self.kind().supplied)

    def test_every_argument_is_documented(self) -> None:
        """The docstring says what each argument of a recipe means."""
        arguments = arguments_of(self.component, self.kind().supplied)
        silent = [name for name, argument in arguments.items() if not argument.meaning]
        assert not silent, (
            f"the docstring does not say what {_listed(silent)} means: add a line "
            f"`{silent[0]}: ...` under `Args:`"
        )

    def test_the_docstring_begins_with_a_summary(self) -> None:
        """The docstring begins with a summary of one line, which `hieraseg list` shows."""
        summary, _, rest = docstring_of(self.component).partition("\n")
        assert summary.strip(), "it has no docstring: say in one line what it is"
        assert not rest or rest.startswith("\n"), (
            f"the docstring's first sentence goes on after its first line, {summary!r}: "
            "put a summary of one line there, then an empty line"
        )


class TreeContract(ComponentContract):
    """The base of suites whose components work on class trees.

    Attributes:
        hierarchy: the tree that all sets of arguments are checked on: arguments that depend on the
            tree have to fit this one.
        trees: by name, other trees, on which the first set of arguments alone is checked.
    """

    hierarchy: ClassVar[Hierarchy] = MAIN_TREE
    trees: ClassVar[Mapping[str, Hierarchy]] = TREES

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One case for each tree too, where a test asks for `tree`."""
        super().pytest_generate_tests(metafunc)
        if "tree" in metafunc.fixturenames:
            trees = {"the main tree": self.hierarchy, **self.trees}
            metafunc.parametrize("tree", list(trees.values()), ids=list(trees))


def _marks_of_cuda(config: pytest.Config) -> list[pytest.MarkDecorator]:
    """Skipped without CUDA; marked `cuda`, for `-m cuda`, where the project knows that mark."""
    marks = [pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
    if any(line.partition(":")[0].strip() == "cuda" for line in config.getini("markers")):
        marks.append(pytest.mark.cuda)
    return marks


def _described(arguments: Arguments) -> str:
    return " ".join(f"{key}={_inline(value)}" for key, value in arguments.items()) or "defaults"


def _inline(value: Any) -> str:
    return value if isinstance(value, str) else inline(plain(value))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
