"""What is said once of a run, because its scores may surprise otherwise."""

import os
from collections.abc import Iterator

from torch import nn

from hieraseg.hierarchy import Hierarchy
from hieraseg.hierarchy.sides import sides_notice
from hieraseg.metrics import Counts
from hieraseg.model.segmentation import SegmentationModel
from hieraseg.recipe import Recipe
from hieraseg.settings import Training
from hieraseg.training.intervals import Plan

_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


_SHOWN = 3  # names in a sentence


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


def length_notices(training: Training, plan: Plan, images: int) -> Iterator[str]:
    """One sentence for each setting of the steps that is larger than what there is.

    Args:
        training: the settings.
        plan: the steps of the run.
        images: number of training images.
    """
    if training.max_steps is not None and training.max_steps > plan.total_steps:
        yield (
            f"training.max_steps {training.max_steps} has no effect, since {training.epochs} "
            f"epochs are {plan.total_steps} steps; for more, increase training.epochs"
        )
    if training.batch_size > images:
        yield (
            f"training.batch_size {training.batch_size} is more than the {images} images of the "
            f"split train, so each step has {images}"
        )


def unused_weights(model: nn.Module) -> str | None:
    """What to say of weights that got no gradient in the first step; None if all got one."""
    trained = (pair for pair in model.named_parameters() if pair[1].requires_grad)
    names = [name for name, one in trained if one.grad is None]
    if not names:
        return None
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (
        f"the loss does not depend on the weights {', '.join(names[:_SHOWN])}{more}, which stay "
        "as they are; remove them from the model, or freeze them with training.freeze"
    )


class ConstantPredictions:
    """Notices that all of a split is predicted as one class, in two validations in a row.

    In the first one it may only have had too little training.

    Args:
        hierarchy: the class tree.
    """

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy
        self.before: set[int] = set()
        self.was_said = False

    def notice(self, counts: Counts) -> str | None:
        """What to say after a validation, once in a run.

        Args:
            counts: counts of the split, as of `PixelCounts`.
        """
        levels = range(1, self.hierarchy.num_levels + 1)
        found = {level for level in levels if _is_constant(counts, level)}
        again, self.before = sorted(found & self.before), found
        if not again or self.was_said:
            return None
        self.was_said = True
        level = again[0]
        index = int(counts[f"predicted_{level}"].sum(0).argmax())
        name = self.hierarchy.level_names[level - 1][index]
        return (
            f"all pixels of val are predicted as {name} on level {level}, in two validations in a "
            "row; check the masks, or change optimizer.lr or the loss"
        )


def _is_constant(counts: Counts, level: int) -> bool:
    """Whether one class is predicted, where there are several."""
    predicted, truth = (counts[f"{key}_{level}"].sum(0) for key in ("predicted", "truth"))
    return bool((predicted > 0).sum() == 1 and (truth > 0).sum() > 1)


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
    if training.accumulate > 1 and has_batch_norm:
        images = training.batch_size // processes // training.accumulate
        yield (
            f"batch normalization uses the {images} images of each part of a batch, since "
            f"training.accumulate is {training.accumulate}; scores can differ from those of whole "
            "batches"
        )
    if processes == 1 and training.sync_batch_norm:
        yield "training.sync_batch_norm has no effect with one process"
    others = os.environ.get("WORLD_SIZE", "1")
    if processes == 1 and others != "1":
        yield (
            f"WORLD_SIZE is {others}, but training.devices is 1: this process trains alone; set "
            "training.devices for several processes, or unset WORLD_SIZE"
        )
