"""Assembly of a model from the backbone and the decoder of a recipe."""

from dataclasses import replace
from typing import Any

from torch import nn

from hieraseg.contracts import has_argument
from hieraseg.errors import RecipeError
from hieraseg.hierarchy import Hierarchy
from hieraseg.model.segmentation import SegmentationModel
from hieraseg.recipe import Recipe
from hieraseg.recipe.build import build


def build_backbone(recipe: Recipe, pretrained: bool = True) -> nn.Module:
    """Build the backbone of a recipe.

    Args:
        recipe: the resolved recipe.
        pretrained: whether to load its pretrained weights. False if a checkpoint follows: the
            argument `weights`, if it has one, is then None (see `contracts.Backbone`).
    """
    spec = recipe["backbone"]
    if not pretrained and "weights" in spec.arguments:
        spec = replace(spec, arguments={**spec.arguments, "weights": None})
    return build(spec)


def build_model(
    recipe: Recipe,
    backbone: Any,
    hierarchy: Hierarchy,
    num_classes: list[int],
    embedding_channels: int = 0,
) -> SegmentationModel:
    """Build the decoder of a recipe on top of a backbone.

    Args:
        recipe: the resolved recipe.
        backbone: the backbone.
        hierarchy: the class tree.
        num_classes: number of classes of each level that gets logits, coarsest first.
        embedding_channels: D of the embedding that the loss trains, 0 for none.

    Raises:
        RecipeError: the loss needs an embedding, but the decoder has none.
    """
    if embedding_channels and not has_argument(recipe["decoder"].factory, "embedding_channels"):
        raise RecipeError(
            f"decoder: {recipe['decoder'].name} has no embedding, which the loss "
            f"{recipe['loss'].name} trains; choose a decoder with an argument `embedding_channels`"
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
