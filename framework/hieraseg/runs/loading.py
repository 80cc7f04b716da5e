"""Loading a run: its recipe and its trained model, ready to predict."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from hieraseg.errors import RecipeError
from hieraseg.hierarchy import Hierarchy
from hieraseg.inference.segmenter import Segmenter
from hieraseg.model.build import build_backbone, build_model
from hieraseg.processes import start_fabric
from hieraseg.recipe import Recipe, load
from hieraseg.recipe.build import build
from hieraseg.runs.checkpoint import load_checkpoint, read_metadata
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.plugins import check_plugins
from hieraseg.types import ArgumentError


@dataclass(frozen=True)
class LoadedRun:
    """A run whose model is ready to predict.

    Attributes:
        folder: the run folder.
        recipe: its recipe, with the requested test-time augmentation.
        fabric: device and precision.
        segmenter: the model on the device, in evaluation mode, with its inference rule.
        metadata: metadata of the checkpoint.
    """

    folder: RunFolder
    recipe: Recipe
    fabric: Fabric
    segmenter: Segmenter
    metadata: dict[str, Any]


def load_run(
    run: str | Path,
    checkpoint: str = "best",
    device: str = "auto",
    tta: Mapping[str, Any] | None = None,
) -> LoadedRun:
    """Load the model of a run.

    Args:
        run: the run folder.
        checkpoint: `best` or `last`.
        device: `auto`, `cpu` or `cuda`.
        tta: settings of `Evaluation` that replace those of the recipe, such as `flip`.

    Raises:
        RecipeError: there is no such run or checkpoint, a setting is out of range, the hierarchy
            is not the one of the checkpoint, or CUDA is requested but not available.
    """
    folder = RunFolder.open(run)
    recipe = with_tta(load_recipe(folder), tta or {})
    fabric = start_fabric(device, recipe.training.precision)
    path = folder.checkpoint(checkpoint)
    metadata = read_metadata(path)
    hierarchy = build(recipe["hierarchy"])
    _check_classes(recipe, hierarchy, metadata, path)
    model = build_model(
        recipe,
        build_backbone(recipe, pretrained=False),
        hierarchy,
        metadata["num_classes"],
        metadata.get("embedding_channels", 0),
    )
    load_checkpoint(path, model)
    model = model.to(fabric.device).to(memory_format=torch.channels_last).eval()
    rule = build(recipe["inference"], hierarchy=hierarchy)
    segmenter = Segmenter(model, metadata["activation"], rule, hierarchy, recipe.evaluation)
    return LoadedRun(folder, recipe, fabric, segmenter, metadata)


def load_recipe(folder: RunFolder) -> Recipe:
    """The recipe of a run, which uses the run's own copies of plugin files.

    Raises:
        RecipeError: the recipe has problems, or a copy was changed after the run.
    """
    check_plugins(folder)
    return load(folder.recipe)


def with_tta(recipe: Recipe, tta: Mapping[str, Any]) -> Recipe:
    """The recipe with other settings of test-time augmentation.

    Raises:
        RecipeError: a setting is out of range.
    """
    try:
        return replace(recipe, evaluation=replace(recipe.evaluation, **tta))
    except ArgumentError as error:
        raise RecipeError(f"evaluation.{error.argument}: {error.problem}") from error


def _check_classes(
    recipe: Recipe, hierarchy: Hierarchy, metadata: Mapping[str, Any], path: Path
) -> None:
    """Raise RecipeError if the hierarchy has other classes than when the run was trained."""
    if metadata.get("classes", hierarchy.level_names) != hierarchy.level_names:
        raise RecipeError(
            f"hierarchy: {recipe['hierarchy'].name} no longer has the classes that {path} was "
            "trained with; restore the class tree, or run the recipe again"
        )
