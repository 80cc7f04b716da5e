"""What is said once before a run trains, because its scores may surprise otherwise."""

import os
from collections.abc import Iterator

from torch import nn

from hieraseg.hierarchy import Hierarchy
from hieraseg.hierarchy.sides import sides_notice
from hieraseg.model.segmentation import SegmentationModel
from hieraseg.recipe import Recipe
from hieraseg.settings import Training

_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def notices(
    recipe: Recipe,
    hierarchy: Hierarchy,
    model: SegmentationModel,
) -> Iterator[str]:
    """One sentence each.

    Args:
        recipe: the recipe.
        hierarchy: the class tree.
        model: the model.
    """
    sides = sides_notice(hierarchy)
    if sides and (recipe.augmentation.flip or recipe.evaluation.flip):
        yield sides
    if recipe.init.from_ is None:
        yield from _on_frozen(model)
    yield from _on_processes(recipe.training, model)


def _on_frozen(model: SegmentationModel) -> Iterator[str]:
    """Frozen parts of the backbone that have random weights."""
    backbone = model.get_submodule(model.backbone_name) if model.backbone_name else nn.Module()
    for part in getattr(backbone, "untrained", ()):
        if not any(one.requires_grad for one in backbone.get_submodule(part).parameters()):
            yield (
                f"training.freeze keeps {model.backbone_name}.{part} as it is, which has random "
                "weights; to train it, freeze the other parts of the backbone by name"
            )


def _on_processes(training: Training, model: nn.Module) -> Iterator[str]:
    processes = training.devices * training.num_nodes
    trained = (module for module in model.modules() if module.training)  # some may be frozen
    has_batch_norm = any(isinstance(module, _BATCH_NORM) for module in trained)
    if processes > 1 and has_batch_norm and not training.sync_batch_norm:
        yield (
            f"batch normalization uses the {training.batch_size // processes} images of each "
            f"process, not all {training.batch_size} of the batch; on CUDA, set "
            "training.sync_batch_norm to true to use all"
        )
    if processes == 1 and training.sync_batch_norm:
        yield "training.sync_batch_norm has no effect with one process"
    others = os.environ.get("WORLD_SIZE", "1")
    if processes == 1 and others != "1":
        yield (
            f"WORLD_SIZE is {others}, but training.devices is 1: this process trains alone; set "
            "training.devices for several processes, or unset WORLD_SIZE"
        )
