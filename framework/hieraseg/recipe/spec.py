"""Specifications of components: what a section of a recipe names, before it is built."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hieraseg.registry.files import PluginFile


@dataclass(frozen=True)
class ComponentSpec:
    """A component and its arguments, not built yet.

    Attributes:
        section: recipe section of its kind, as in `loss`.
        name: name in the registry.
        arguments: arguments by name, in the types of the signature and with defaults filled in;
            nested components are specs themselves.
        factory: class or function that builds it. Kept here, because components of a recipe's own
            plugin files are not in the registry after the recipe is read.
        file: plugin file that it comes from, if any.
        places: file and line of `name` and of each argument that the recipe gives.
    """

    section: str
    name: str
    arguments: dict[str, Any]
    factory: Any = field(default=None, compare=False, repr=False)
    file: PluginFile | None = field(default=None, compare=False, repr=False)
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def code(self) -> str:
        """SHA-256 of its plugin file; empty if it does not come from one."""
        return self.file.sha256 if self.file else ""

    def is_pretrained(self, argument: str) -> bool:
        """Whether an argument names pretrained weights (see `contracts.Backbone`)."""
        return self.section in ("backbone", "model") and argument == "weights"


def components_in(value: Any) -> Iterator[ComponentSpec]:
    """All specs in a spec, an argument's value or a list of these, outermost first."""
    if isinstance(value, ComponentSpec):
        yield value
        value = list(value.arguments.values())
    if isinstance(value, list):
        for item in value:
            yield from components_in(item)
