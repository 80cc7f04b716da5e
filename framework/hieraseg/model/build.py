"""Building the components that a recipe names."""

from dataclasses import replace
from typing import Any

from torch import nn

from hieraseg.contracts import asks_for
from hieraseg.errors import RecipeError
from hieraseg.hierarchy import Hierarchy
from hieraseg.model.segmentation import SegmentationModel
from hieraseg.recipe import Recipe
from hieraseg.recipe.build import build


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
