"""What a section of a recipe names."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hieraseg.registry.files import PluginFile


@dataclass(frozen=True)
class ComponentSpec:
    """A component and its arguments.

    Attributes:
        section: the recipe section that names such components, as in `loss`.
        name: in the section's registry.
        arguments: by name, defaults filled in, in the types of the signature; a component inside
            another is a `ComponentSpec` itself.
        factory: the class or function. Kept here, since what a recipe's own files register is in
            no registry once the recipe is read.
        file: the plugin file that it is part of, if any.
    """

    section: str
    name: str
    arguments: dict[str, Any]
    factory: Any = field(default=None, compare=False, repr=False)
    file: PluginFile | None = field(default=None, compare=False, repr=False)

    @property
    def code(self) -> str:
        """What its code is known by, where a plugin file brings it; else empty."""
        return self.file.sha256 if self.file else ""


def components_in(value: Any) -> Iterator[ComponentSpec]:
    """The components in an argument's value, or in a component: itself, then those inside it."""
    if isinstance(value, ComponentSpec):
        yield value
        value = list(value.arguments.values())
    if isinstance(value, list):
        for item in value:
            yield from components_in(item)
