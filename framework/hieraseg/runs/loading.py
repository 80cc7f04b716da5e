"""Loading a run: its recipe and its trained model, ready to predict."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hieraseg.console import warn
from hieraseg.devices import Fabric, start_predicting
from hieraseg.errors import RecipeError, did_you_mean
from hieraseg.files.writing import existing_folder
from hieraseg.hierarchy import Hierarchy
from hieraseg.hierarchy.identity import differing_parts
from hieraseg.hierarchy.sides import sides_notice
from hieraseg.inference.segmenter import Segmenter
from hieraseg.model.build import build_backbone, build_model
from hieraseg.recipe import Recipe, load
from hieraseg.recipe.arguments import arguments_of
from hieraseg.recipe.build import build
from hieraseg.recipe.values import plain
from hieraseg.runs.argument_files import check_argument_files
from hieraseg.runs.changes import edited_settings
from hieraseg.runs.checkpoint import Metadata, load_checkpoint, read_metadata
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.plugins import check_plugins
from hieraseg.runs.records import sha256
from hieraseg.settings import Evaluation


@dataclass(frozen=True)
class LoadedRun:
    """A run whose model is ready to predict.

    Attributes:
        folder: the run folder.
        recipe: its recipe, with the requested test-time augmentation.
        own_protocol: the evaluation settings of its recipe.
        fabric: device and precision.
        segmenter: the model on the device, in evaluation mode, with its inference rule.
        metadata: metadata of the checkpoint.
    """

    folder: RunFolder
    recipe: Recipe
    own_protocol: Evaluation
    fabric: Fabric
    segmenter: Segmenter
    metadata: Metadata


def load_run(
    run: str | Path,
    checkpoint: str = "best",
    device: str = "auto",
    tta: Mapping[str, Any] | None = None,
    run_plugins: bool = True,
    overrides: Sequence[tuple[str, str]] = (),
) -> LoadedRun:
    """Load the model of a run.

    Args:
        run: the run folder.
        checkpoint: `best` or `last`.
        device: `auto`, `cpu` or `cuda`.
        tta: settings of `Evaluation` that replace those of the recipe, such as `flip`.
        run_plugins: whether plugin files of the run folder may be run.
        overrides: dotted keys of the recipe, and their values as YAML, that only say where the data
            are.

    Raises:
        RecipeError: there is no such run or checkpoint, a setting is out of range, the hierarchy
            is not the one of the checkpoint, or CUDA is requested but not available.
    """
    folder = RunFolder.open(run)
    own = load_recipe(folder, run_plugins, overrides, trains=False)
    recipe = with_tta(own, tta or {})
    fabric = start_predicting(device, recipe.training.precision)
    path = folder.checkpoint(checkpoint)
    metadata = read_metadata(path)
    hierarchy = build(recipe["hierarchy"])
    _check_tree(recipe, hierarchy, metadata, path)
    _warn_of_another_recipe(folder, metadata, path)
    model = build_model(
        recipe,
        build_backbone(recipe, pretrained=False),
        hierarchy,
        metadata["num_classes"],
        metadata.get("embedding_channels", 0),
        pretrained=False,
    )
    metadata = _load_weights(path, model)
    _warn_if_unfinished(folder, recipe, path, metadata["epoch"])
    model = model.to(fabric.device).to(memory_format=torch.channels_last).eval()
    sides = sides_notice(hierarchy)
    if sides and recipe.evaluation.flip:
        warn(sides)
    rule = build(recipe["inference"], hierarchy=hierarchy)
    segmenter = Segmenter(
        model, metadata["activation"], rule, hierarchy, recipe.evaluation, recipe.input
    )
    return LoadedRun(folder, recipe, own.evaluation, fabric, segmenter, metadata)


def load_recipe(
    folder: RunFolder,
    run_plugins: bool = True,
    overrides: Sequence[tuple[str, str]] = (),
    trains: bool = True,
) -> Recipe:
    """The recipe of a run, which uses the run's own copies of plugins and other files.

    Args:
        folder: the run folder.
        run_plugins: whether plugin files of the run folder may be run.
        overrides: dotted keys of the recipe, and their values as YAML.
        trains: whether it is trained; older runs may have settings of components that only
            training uses, such as the schedule, which are refused today.

    Raises:
        RecipeError: the recipe has problems, or a copy was changed after the run.
    """
    check_plugins(folder, run_plugins)
    check_argument_files(folder)
    return load(folder.recipe, overrides, trains=trains)


def with_tta(recipe: Recipe, tta: Mapping[str, Any]) -> Recipe:
    """The recipe with other settings of test-time augmentation.

    Raises:
        RecipeError: there is no such setting, or it has another type or is out of range.
    """
    known, settings = arguments_of(Evaluation), {}
    for name, value in tta.items():
        if name not in known:
            raise RecipeError(f"evaluation.{name}: no such setting, {did_you_mean(name, known)}")
        try:
            settings[name] = known[name].read(plain(value))
        except ValueError as error:
            raise RecipeError(f"evaluation.{name}: {error}") from error
    return replace(recipe, evaluation=replace(recipe.evaluation, **settings))


def _load_weights(path: Path, model: nn.Module) -> Metadata:
    """Load the weights of a checkpoint, and read their own metadata.

    A run that trains may replace the checkpoint meanwhile.

    Raises:
        RecipeError: it is damaged, or belongs to another model.
    """
    while True:
        version = _version(path)
        try:
            load_checkpoint(path, model)
            metadata = read_metadata(path)
        except RecipeError:
            if _version(path) == version:
                raise
        else:
            if _version(path) == version:
                return metadata


def _version(path: Path) -> tuple[int, int] | None:
    """What tells a checkpoint from the one that replaces it; None while there is none."""
    try:
        stat = existing_folder(path).stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def _warn_if_unfinished(folder: RunFolder, recipe: Recipe, path: Path, epoch: int) -> None:
    with suppress(RecipeError):  # a damaged result says nothing of the weights
        if not folder.is_finished():
            warn(
                f"{folder.path}: is not finished; {path.name} has the weights of epoch {epoch} of "
                f"{recipe.training.epochs}"
            )


def _warn_of_another_recipe(folder: RunFolder, metadata: Metadata, path: Path) -> None:
    """Say that settings are not those that a checkpoint was trained with."""
    digests = {metadata.get("recipe"), sha256(folder.recipe)} - {None}
    recorded = folder.recipe_digests()
    if len(digests) < 2 or digests <= recorded:
        return
    changed = ""
    if metadata.get("recipe") in recorded:  # so it can only be the file that has changed
        edited = [str(one) for one in edited_settings(folder)]
        if not edited:
            return
        changed = f" ({', '.join(edited[:3])}{', ...' if len(edited) > 3 else ''})"
    warn(f"{folder.recipe} is not the one that {path} was trained with{changed}")


def _check_tree(recipe: Recipe, hierarchy: Hierarchy, metadata: Metadata, path: Path) -> None:
    """Raise RecipeError if the class tree is not the one that the run was trained with."""
    parts = differing_parts(hierarchy, metadata)
    if parts:
        raise RecipeError(
            f"hierarchy: {recipe['hierarchy'].name} no longer has the {' and '.join(parts)} that "
            f"{path} was trained with; restore the class tree, or run the recipe again"
        )
