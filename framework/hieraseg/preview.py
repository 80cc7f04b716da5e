"""Job: draw the first training images of a recipe as the model sees them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from hieraseg.contracts import Dataset
from hieraseg.data.batches.batch import Step
from hieraseg.data.batches.cropping import num_levels
from hieraseg.data.batches.views import View, open_view
from hieraseg.data.checking import CheckedDataset
from hieraseg.data.joining import members_of, weighted_members
from hieraseg.data.sampling import generator, training_order
from hieraseg.data.stores.store import open_store
from hieraseg.data.subset import ChosenImages
from hieraseg.draws import Draws
from hieraseg.files.paths import keep_working_directory
from hieraseg.hierarchy import Hierarchy
from hieraseg.model.build import build_backbone, build_model
from hieraseg.recipe import Recipe
from hieraseg.recipe.build import build, build_transforms
from hieraseg.recipe.dataset import build_dataset, data_digest, open_train_store
from hieraseg.visualize import draw_samples


@dataclass(frozen=True)
class Samples:
    """Images as the model sees them in training.

    Attributes:
        ids: their ids.
        images: RGB in 0..1.
        targets: class of each pixel per level, -100 where it is ignored.
        hierarchy: the class tree.
    """

    ids: list[str]
    images: Float[Tensor, "N 3 H W"]
    targets: Int[Tensor, "N levels H W"]
    hierarchy: Hierarchy


def preview(recipe: Recipe, count: int) -> Image.Image:
    """Draw the first training images of a recipe, and their classes per level.

    Args:
        recipe: the resolved recipe.
        count: number of images; at most those of an epoch are drawn.

    Raises:
        RecipeError: a component refuses its arguments.
        DataError: images or masks cannot be used.
    """
    samples = first_samples(recipe, count)
    pixels = (samples.images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1)
    return draw_samples(pixels.numpy(), samples.targets.numpy(), samples.ids, samples.hierarchy)


@keep_working_directory()
def first_samples(recipe: Recipe, count: int) -> Samples:
    """The first images of the first epoch, resized and augmented as in a run on one device.

    Only the images of the steps that have them are read, and no weights; all of the split if
    `training.repeat_threshold` is set.
    """
    hierarchy: Hierarchy = build(recipe["hierarchy"])
    dataset = build_dataset(recipe, hierarchy)
    every_id = CheckedDataset(dataset, hierarchy).ids("train")
    settings = recipe.training
    repeats = None
    if settings.repeat_threshold is not None:  # for which all masks are read
        repeats = open_train_store(recipe, dataset, hierarchy).repeats
    order = training_order(
        len(every_id), settings.batch_size, settings.seed, 1, _members(dataset), repeats
    )
    order = order[: -(-count // settings.batch_size)]
    ids = [every_id[row] for row in torch.cat(order).tolist()]
    chosen = {id: row for row, id in enumerate(dict.fromkeys(ids))}
    rows = torch.tensor([chosen[id] for id in ids]).split([len(one) for one in order])
    steps = [
        Step(own, Draws(generator(settings.seed, 1, step), len(own)))
        for step, own in enumerate(rows, 1)
    ]
    view = _open_view(recipe, hierarchy, dataset, list(chosen))
    batches = [view.augment(batch) for batch in view.load(steps)]
    images, masks = (torch.cat(one)[:count] for one in zip(*batches, strict=True))
    return Samples(ids[:count], images, hierarchy.encode(masks, check=False), hierarchy)


def _members(dataset: Dataset) -> Sequence[tuple[int, float]]:
    """Number of images and weight of each data set that is sampled by weight (see `Store`)."""
    members = enumerate(members_of(dataset) or [], 1)
    sizes = {number: len(one.ids("train")) for number, one in members if "train" in one.splits}
    return weighted_members(dataset, sizes)


def _open_view(recipe: Recipe, hierarchy: Hierarchy, dataset: Dataset, ids: Sequence[str]) -> View:
    """The training view of some images of a data set."""
    transforms = build_transforms(recipe, hierarchy)
    backbone = build_backbone(recipe, pretrained=False)
    model = build_model(recipe, backbone, hierarchy, hierarchy.num_classes, pretrained=False)
    store = open_store(
        ChosenImages(dataset, ids),
        "train",
        hierarchy,
        replace(recipe.input, store="files"),  # few images, and once
        data_digest(recipe, dataset),
        num_levels(recipe.input, recipe.augmentation),
    )
    return open_view(
        store,
        recipe.input,
        recipe.augmentation,
        transforms,
        hierarchy,
        torch.device("cpu"),
        tuple(model.mean.flatten().tolist()),
    )
