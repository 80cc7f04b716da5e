"""From a recipe to all the parts that train together."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hieraseg.contracts import Dataset, Loss, asks_for
from hieraseg.data.augmentation import Augmentation
from hieraseg.data.sampling import steps_per_epoch
from hieraseg.data.store import Store, open_store
from hieraseg.data.subset import FirstImages
from hieraseg.errors import RecipeError
from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.inference.segmenter import Segmenter
from hieraseg.model.build import build_backbone, build_model
from hieraseg.processes import on_all_ranks, start_fabric
from hieraseg.recipe import Recipe
from hieraseg.recipe.build import build
from hieraseg.recipe.spec import components_in


@dataclass
class Parts:
    """The parts of a run, the same objects from its first to its last step."""

    recipe: Recipe
    fabric: Fabric
    hierarchy: Hierarchy
    dataset: Dataset
    train_store: Store
    val_store: Store
    model: _FabricModule
    segmenter: Segmenter
    loss: Loss
    optimizer: Optimizer
    schedule: LRScheduler
    augment: Augmentation
    num_classes: list[int]
    total_steps: int


def assemble(recipe: Recipe, images: int | None = None) -> Parts:
    """Build everything that a recipe names; images are decoded here if they never were.

    Args:
        recipe: the resolved recipe.
        images: only so many images of each split, for a trial; all of them if None.

    Raises:
        HierasegError: a component refuses its arguments, data cannot be used, no CUDA.
    """
    settings = recipe.training
    fabric = start_fabric(settings.device, settings.precision, settings.devices, settings.num_nodes)
    torch.manual_seed(settings.seed)
    hierarchy: Hierarchy = build(recipe["hierarchy"])
    dataset: Dataset = build(recipe["data"], hierarchy=hierarchy)
    if images is not None:
        dataset = cast(Dataset, FirstImages(dataset, images))
    for split in ("train", "val"):
        if split not in dataset.splits:
            raise RecipeError(f"data: the data set has no split {split!r}, which training needs")
    code = recipe["data"].code
    augment = build_augmentation(recipe)
    rule = build(recipe["inference"], hierarchy=hierarchy)
    backbone = build_backbone(recipe)
    # Decoding may take minutes: what can be wrong without it is found before.
    train_store, val_store = on_all_ranks(
        fabric,
        lambda: [open_store(dataset, split, hierarchy, code) for split in ("train", "val")],
    )
    loss = build_loss(recipe, hierarchy, train_store).to(fabric.device)
    num_classes = hierarchy.num_classes if loss.levels == "all" else hierarchy.num_classes[-1:]
    model = build_model(recipe, backbone, hierarchy, num_classes, loss.embedding_channels)
    model = model.to(memory_format=torch.channels_last)

    total_steps = settings.epochs * steps_per_epoch(len(train_store), settings.batch_size)
    if settings.max_steps is not None:
        total_steps = min(total_steps, settings.max_steps)
    parameters = {
        "backbone": list(model.backbone.parameters()),
        "head": list(model.decoder.parameters()),
    }
    optimizer = build(recipe["optimizer"], parameters=parameters)
    schedule = build(recipe["schedule"], optimizer=optimizer, total_steps=total_steps)
    wrapped, optimizer = fabric.setup(model, optimizer)
    return Parts(
        recipe=recipe,
        fabric=fabric,
        hierarchy=hierarchy,
        dataset=dataset,
        train_store=train_store,
        val_store=val_store,
        model=wrapped,
        segmenter=Segmenter(model, loss.activation, rule, hierarchy, recipe.evaluation),
        loss=loss,
        optimizer=optimizer,
        schedule=schedule,
        augment=augment,
        num_classes=num_classes,
        total_steps=total_steps,
    )


def build_augmentation(recipe: Recipe) -> Augmentation:
    """The recipe's augmentation. Raises RecipeError for a value out of range."""
    try:
        return Augmentation(**recipe.augmentation)
    except ValueError as error:
        raise RecipeError(f"augmentation: {error}") from error


def build_loss(recipe: Recipe, hierarchy: Hierarchy, train_store: Store) -> Loss:
    """The recipe's loss; the classes' training pixels are counted if it, or one in it, asks.

    Raises:
        RecipeError: it refuses an argument, or trains no logits.
    """
    component = recipe["loss"]
    supplied: dict[str, Any] = {"hierarchy": hierarchy}
    if any(asks_for(one.factory, "class_pixels") for one in components_in(component)):
        supplied["class_pixels"] = count_class_pixels(train_store, hierarchy)
    loss: Loss = build(component, **supplied)
    if loss.levels == "none":
        raise RecipeError(
            f"loss: {component.name} trains an embedding and no class scores; "
            "add a loss that trains these"
        )
    return loss


def count_class_pixels(store: Store, hierarchy: Hierarchy) -> list[Tensor]:
    """Pixels of each class in a store's masks: float64 `[C_l]` per level."""
    values = torch.zeros(256, dtype=torch.float64)
    for mask in store.masks:
        values += torch.from_numpy(mask.copy()).flatten().bincount(minlength=256)
    classes = hierarchy.encode(torch.arange(256).view(1, 1, 256))[0, :, 0]
    counts = []
    for level, size in enumerate(hierarchy.num_classes):
        known = classes[level] != IGNORE_INDEX
        count = torch.zeros(size, dtype=torch.float64)
        counts.append(count.index_add(0, classes[level][known], values[known]))
    return counts
