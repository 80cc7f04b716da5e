"""Component registries, one for each kind: `registry.losses`, `registry.backbones`, ...

    from hieraseg import registry

    @registry.losses.register("my_loss")
    class MyLoss(Loss): ...

    registry.losses.names()
    registry.losses.get("my_loss")

The kinds are those of the table in `hieraseg.registry.kinds`.
"""

from functools import cache

from hieraseg.errors import did_you_mean
from hieraseg.registry.kinds import Kind, add_kind, all_kinds, find_kind
from hieraseg.registry.registry import Listing, Registry, plugin_files, registered_by

__all__ = [
    "Kind",
    "Listing",
    "Registry",
    "add_kind",
    "all_kinds",
    "by_name",
    "by_section",
    "by_singular",
    "find_registry",
    "plugin_files",
    "registered_by",
    "registry_of",
]


@cache
def registry_of(kind: Kind) -> Registry:
    """The registry of a kind."""
    return Registry(kind)


def by_name() -> dict[str, Registry]:
    """All registries by the plural name of their kind."""
    return {kind.name: registry_of(kind) for kind in all_kinds()}


def by_section() -> dict[str, Registry]:
    """The registries of all kinds that have a recipe section of their own, by this section."""
    return {kind.section: registry_of(kind) for kind in all_kinds() if not kind.within}


def by_singular() -> dict[str, Registry]:
    """All registries by what one of their components is called."""
    return {kind.singular: registry_of(kind) for kind in all_kinds()}


def find_registry(word: str) -> Registry:
    """The registry of the kind with this plural name, singular name or section.

    Raises:
        RecipeError: there is no such kind.
    """
    return registry_of(find_kind(word))


def __getattr__(attribute: str) -> Registry:
    registries = by_name()
    if attribute in registries:
        return registries[attribute]
    singular = by_singular().get(attribute)
    hint = f"did you mean {singular.kind.name!r}?" if singular else ""
    raise AttributeError(
        f"hieraseg.registry has no attribute {attribute!r}, "
        f"{hint or did_you_mean(attribute, registries)}"
    )


def __dir__() -> list[str]:
    return [*__all__, *by_name()]
