"""Assembly of a model from the components of a recipe."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from hieraseg.contracts import has_argument
from hieraseg.errors import RecipeError
from hieraseg.hierarchy import Hierarchy
from hieraseg.model.auxiliary import AuxiliaryHead
from hieraseg.model.segmentation import EncoderDecoder, SegmentationModel, WholeModel
from hieraseg.recipe import Recipe
from hieraseg.recipe.build import build
from hieraseg.recipe.spec import ComponentSpec


def build_backbone(recipe: Recipe, pretrained: bool = True) -> nn.Module | None:
    """Build the backbone of a recipe; None if it has a model instead of backbone and decoder.

    Args:
        recipe: the resolved recipe.
        pretrained: whether to load its pretrained weights. False if a checkpoint follows: the
            argument `weights`, if it has one, is then None (see `contracts.Backbone`).
    """
    if "model" in recipe.components:
        return None
    spec = recipe["backbone"]
    return build(spec if pretrained else _without_weights(spec))


def build_model(
    recipe: Recipe,
    backbone: nn.Module | None,
    hierarchy: Hierarchy,
    num_classes: list[int],
    embedding_channels: int = 0,
    pretrained: bool = True,
) -> SegmentationModel:
    """Build the decoder of a recipe on top of a backbone, or its model.

    Args:
        recipe: the resolved recipe.
        backbone: the backbone, as `build_backbone` returns it.
        hierarchy: the class tree.
        num_classes: number of classes of each level that gets logits, coarsest first.
        embedding_channels: D of the embedding that the loss trains, 0 for none.
        pretrained: whether a model loads its pretrained weights.

    Raises:
        RecipeError: the loss needs an embedding, but the decoder or model has none; or the
            auxiliary head does not fit the backbone or the loss.
    """
    spec = recipe["decoder" if backbone else "model"]
    if embedding_channels and not has_argument(spec.factory, "embedding_channels"):
        raise RecipeError(
            f"{spec.section}: {spec.name} has no embedding, which the loss {recipe['loss'].name} "
            f"trains; choose a {spec.section} with an argument `embedding_channels`"
        )
    supplied: dict[str, Any] = {
        "num_classes": num_classes,
        "hierarchy": hierarchy,
        "embedding_channels": embedding_channels,
    }
    if backbone is None:
        return WholeModel(build(spec if pretrained else _without_weights(spec), **supplied))
    pyramid: Any = backbone
    supplied |= {"channels": list(pyramid.channels), "strides": list(pyramid.strides)}
    decoder = build(spec, **supplied)
    auxiliary = _auxiliary_head(recipe, pyramid.channels, num_classes, embedding_channels)
    return EncoderDecoder(backbone, decoder, auxiliary)


def _auxiliary_head(
    recipe: Recipe, channels: Sequence[int], num_classes: list[int], embedding_channels: int
) -> AuxiliaryHead | None:
    """The auxiliary head that a recipe asks for on a backbone with these channels, or None.

    It is built last, so that it does not change the random weights of the decoder.
    """
    settings = recipe.auxiliary
    if settings.stage is None:
        return None
    problem = ""
    if settings.stage > len(channels):
        problem = (
            f"the backbone {recipe['backbone'].name} has {len(channels)} stages, got "
            f"{settings.stage}; set it to at most {len(channels)}"
        )
    elif embedding_channels:
        problem = (
            f"the loss {recipe['loss'].name} trains an embedding, which the auxiliary head does "
            "not have; set it to null, or choose another loss"
        )
    if problem:
        raise RecipeError(f"{recipe.origin['auxiliary.stage']}: auxiliary.stage: {problem}")
    index = settings.stage - 1
    return AuxiliaryHead(index, channels[index], num_classes, settings.channels, settings.dropout)


def _without_weights(value: Any) -> Any:
    """A spec without pretrained weights, nor the backbones and models in its arguments."""
    if isinstance(value, list):
        return [_without_weights(item) for item in value]
    if not isinstance(value, ComponentSpec):
        return value
    arguments = {
        name: None if value.is_pretrained(name) else _without_weights(one)
        for name, one in value.arguments.items()
    }
    return replace(value, arguments=arguments)
