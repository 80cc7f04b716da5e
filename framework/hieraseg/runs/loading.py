"""A run's model, ready to predict."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from lightning_fabric import Fabric

from hieraseg.errors import RecipeError
from hieraseg.inference.segmenter import Segmenter
from hieraseg.model.build import build_backbone, build_model
from hieraseg.recipe import Recipe
from hieraseg.recipe.build import build
from hieraseg.runs.checkpoint import load_checkpoint, read_metadata
from hieraseg.runs.folder import RunFolder


def with_views(recipe: Recipe, views: Mapping[str, Any]) -> Recipe:
    """A recipe with other settings of its evaluation. Raises RecipeError for a bad value."""
    try:
        return replace(recipe, evaluation=replace(recipe.evaluation, **views))
    except ValueError as error:
        raise RecipeError(f"evaluation: {error}") from error


def load_segmenter(
    folder: RunFolder, recipe: Recipe, which: str, fabric: Fabric
) -> tuple[Segmenter, dict[str, Any]]:
    """The model of a run's checkpoint, ready to answer, and what was saved about it."""
    path = folder.checkpoint(which)
    hierarchy = build(recipe["hierarchy"])
    about = read_metadata(path)
    if about.get("classes", hierarchy.level_names) != hierarchy.level_names:
        raise RecipeError(
            f"hierarchy: {recipe['hierarchy'].name} no longer has the classes that {path} was "
            "trained for; restore the class tree, or run the recipe again"
        )
    model = build_model(
        recipe,
        build_backbone(recipe, False),
        hierarchy,
        about["num_classes"],
        about.get("embedding_channels", 0),
    )
    load_checkpoint(path, model)
    model = model.to(fabric.device).to(memory_format=torch.channels_last).eval()
    rule = build(recipe["inference"], hierarchy=hierarchy)
    return Segmenter(model, about["activation"], rule, hierarchy, recipe.evaluation), about
