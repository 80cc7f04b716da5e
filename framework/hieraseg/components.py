"""Building the components that a recipe names."""

from dataclasses import replace
from typing import Any

from torch import nn

from hieraseg.contracts import asks_for
from hieraseg.errors import RecipeError
from hieraseg.hierarchy import Hierarchy
from hieraseg.model import SegmentationModel
from hieraseg.recipe import Component, Recipe


def build(component: Component, **supplied: Any) -> Any:
    """The component with the recipe's arguments and those of the supplied ones it asks for.

    The components inside it are built before it, likewise.

    Raises:
        RecipeError: it refuses an argument's value.
    """
    return _build(component, component.section, supplied)


def _build(value: Any, key: str, supplied: dict[str, Any]) -> Any:
    """A recipe's value at a dotted key, with the components in it built."""
    if isinstance(value, list):
        return [_build(item, f"{key}[{index}]", supplied) for index, item in enumerate(value)]
    if not isinstance(value, Component):
        return value
    factory = value.factory
    wanted = {name: one for name, one in supplied.items() if asks_for(factory, name)}
    arguments = {
        name: _build(one, f"{key}.{name}", supplied) for name, one in value.arguments.items()
    }
    try:
        return factory(**wanted, **arguments)
    except ValueError as error:
        raise RecipeError(f"{key}: {value.name}: {error}") from error


def build_backbone(recipe: Recipe, pretrained: bool = True) -> nn.Module:
    """The backbone of a recipe.

    Args:
        recipe: names it.
        pretrained: False where a checkpoint follows: its `weights`, if it has that argument, are
            then left out.
    """
    component = recipe["backbone"]
    if not pretrained and "weights" in component.arguments:
        component = replace(component, arguments={**component.arguments, "weights": None})
    return build(component)


def build_model(
    recipe: Recipe,
    backbone: Any,
    hierarchy: Hierarchy,
    num_classes: list[int],
    embedding_channels: int = 0,
) -> SegmentationModel:
    """The backbone with the decoder of a recipe.

    Args:
        recipe: names the decoder.
        backbone: as `build_backbone` gives it.
        hierarchy: the class tree.
        num_classes: classes of each level to answer, coarsest first.
        embedding_channels: D of the embedding that the loss trains, 0 for none.

    Raises:
        RecipeError: the loss needs an embedding, and the decoder offers none.
    """
    if embedding_channels and not asks_for(recipe["decoder"].factory, "embedding_channels"):
        raise RecipeError(
            f"decoder: {recipe['decoder'].name} offers no embedding, which the loss "
            f"{recipe['loss'].name} trains; choose a decoder that asks for `embedding_channels`"
        )
    decoder = build(
        recipe["decoder"],
        channels=list(backbone.channels),
        strides=list(backbone.strides),
        num_classes=num_classes,
        hierarchy=hierarchy,
        embedding_channels=embedding_channels,
    )
    return SegmentationModel(backbone, decoder)
