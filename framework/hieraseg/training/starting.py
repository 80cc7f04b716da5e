"""The weights that a run starts from, as the recipe's section `init` says."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from hieraseg.console import log
from hieraseg.errors import RecipeError
from hieraseg.hierarchy import Hierarchy
from hieraseg.model.build import build_model
from hieraseg.model.parts import HEAD, in_parts
from hieraseg.model.segmentation import SegmentationModel
from hieraseg.model.transfer import (
    Classes,
    Levels,
    Transfer,
    class_levels,
    probe_tree,
    shortened,
    transfer,
)
from hieraseg.model.weights import Weights, without_prefix
from hieraseg.recipe import Recipe
from hieraseg.runs.checkpoint import WEIGHTS, read_checkpoint, weights_file
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.records import sha256
from hieraseg.tracebacks import describe


@dataclass(frozen=True)
class Start:
    """Weights that a run starts from.

    Attributes:
        file: the weights file.
        sha256: its SHA-256.
        weights: its tensors by name.
        classes: class names of each level that has logits, coarsest first; None if not known.
    """

    file: Path
    sha256: str
    weights: Weights
    classes: Classes | None


def read_start(recipe: Recipe) -> Start | None:
    """Read the weights that a recipe starts from; None if it names none.

    Raises:
        RecipeError: they cannot be read.
    """
    path = recipe.init.from_
    if path is None:
        return None
    try:
        file = _file_of(path)
        weights, metadata = read_checkpoint(file)
    except RecipeError as error:
        raise _problem(recipe, "from", str(error)) from error
    classes = None
    if metadata is not None:
        every = metadata["classes"]
        classes = every if len(metadata["num_classes"]) == len(every) else every[-1:]
    return Start(file, sha256(file), weights, classes)


def start_model(
    recipe: Recipe,
    backbone: nn.Module | None,
    hierarchy: Hierarchy,
    num_classes: list[int],
    embedding_channels: int,
    start: Start | None,
    pretrained: bool = True,
) -> SegmentationModel:
    """The model of a recipe with the weights that it starts from.

    Args:
        recipe: the resolved recipe.
        backbone: the backbone, as `build_backbone` returns it.
        hierarchy: the class tree.
        num_classes: number of classes of each level that gets logits, coarsest first.
        embedding_channels: channels of the embedding, 0 for none.
        start: as `read_start` returns it.
        pretrained: whether a model loads its pretrained weights.

    Raises:
        RecipeError: the parts do not fit together; or of the weights nothing fits the model, or not
            all with `init.strict`; or `init.drop` names no part of the model.
    """
    build = partial(build_model, recipe, backbone, embedding_channels=embedding_channels)
    model = build(hierarchy, num_classes, pretrained=pretrained)
    if start is not None:
        _load(model, start, recipe, build, hierarchy, num_classes)
    return model.to(memory_format=torch.channels_last)


def _load(
    model: SegmentationModel,
    start: Start,
    recipe: Recipe,
    build: Callable[..., SegmentationModel],
    hierarchy: Hierarchy,
    num_classes: list[int],
) -> None:
    """Load what fits a model of the weights to start from, and say what does not."""
    is_dropped = in_parts(model, recipe.init.drop, f"{recipe.origin['init.drop']}: init.drop")
    state = model.state_dict()
    own = {name: one for name, one in state.items() if not is_dropped(name)}
    weights = without_prefix(start.weights, state)
    weights = {name: one for name, one in weights.items() if not is_dropped(name)}
    classes = hierarchy.level_names[-len(num_classes) :]
    is_head = in_parts(model, [HEAD], "init.drop")
    levels: dict[str, Levels] = {}
    if start.classes not in (None, classes) and any(map(is_head, own)):
        levels = _class_levels(own, recipe, build, hierarchy, num_classes)
    result = transfer(own, weights, levels, classes, start.classes or classes)
    _check(recipe, start, result)
    model.load_state_dict(result.weights, strict=False)
    log(f"init: loads {len(result.weights)} of {len(state)} tensors from {start.file}")
    if start.classes is None and any(map(is_head, result.weights)):
        log("init: the file does not say which classes it has; those of the recipe are assumed")
    if result.kept or result.other_classes:
        log(f"init: {_kept(result, classes, hierarchy.num_levels - len(classes) + 1)}")
    if result.problems:
        log(f"init: tensors that do not fit: {', '.join(result.problems)}")


def _file_of(path: Path) -> Path:
    """The weights file that `init.from` means."""
    if not path.is_dir():
        return path
    if (path / WEIGHTS).is_file():
        return path / WEIGHTS
    if (path / "recipe.yaml").is_file() or (path / "checkpoints").is_dir():
        return weights_file(RunFolder(path).checkpoint("best"))
    raise RecipeError(
        f"{path}: is neither a run folder nor a checkpoint (it has no recipe.yaml and no "
        f"{WEIGHTS}); name one that `hieraseg run` created, or a weights file"
    )


def _class_levels(
    own: Weights,
    recipe: Recipe,
    build: Callable[..., SegmentationModel],
    hierarchy: Hierarchy,
    num_classes: list[int],
) -> dict[str, Levels]:
    """The tensors of a model that depend on its classes (see `model.transfer`)."""
    try:
        tree = probe_tree(hierarchy)
        sizes = tree.num_classes[-len(num_classes) :]
        with torch.random.fork_rng(devices=[]):  # the run's random numbers stay as they are
            probe = build(tree, sizes, pretrained=False)
    except Exception as error:  # components are plugins' code, which may raise anything
        raise _problem(
            recipe,
            "from",
            "the weights are those of other classes, and which of the model's belong to classes "
            "cannot be found out, since it cannot be built for another class tree "
            f"({describe(error, 200)}); set init.drop to [head]",
        ) from error
    return class_levels(own, probe.state_dict(), num_classes, sizes)


def _check(recipe: Recipe, start: Start, result: Transfer) -> None:
    """Raise RecipeError if nothing fits, or, with `init.strict`, if not all does."""
    problems = ", ".join(result.problems)
    if not result.weights:
        fix = "name the weights of such a model, or set init.from to null"
        problem = f"{start.file}: no tensor fits the model: {problems}; {fix}"
        raise _problem(recipe, "from", problem if problems else "init.drop leaves nothing to load")
    if problems and recipe.init.strict:
        fix = "set init.strict to false to load the others, or init.drop to [head]"
        raise _problem(
            recipe, "from", f"{start.file}: tensors do not fit the model: {problems}; {fix}"
        )


def _kept(result: Transfer, classes: Classes, first: int) -> str:
    """Which classes of the model, from some level on, have weights of their own, or are new."""
    lines = []
    for level, names in enumerate(classes):
        kept = result.kept.get(level, set())
        new = [name for name in names if name not in kept]
        line = f"level {first + level} keeps the weights of {len(kept)} of {len(names)} classes"
        lines.append(line + (f" (new: {shortened(new)})" if new else ""))
    return "; ".join(lines)


def _problem(recipe: Recipe, key: str, text: str) -> RecipeError:
    return RecipeError(f"{recipe.origin[f'init.{key}']}: init.{key}: {text}")
