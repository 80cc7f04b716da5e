"""The components of a recipe, for a training loop of one's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.optim import Optimizer

from hieraseg.contracts import Loss, Prediction, has_argument
from hieraseg.data.batches.cropping import num_levels
from hieraseg.data.stores.store import Store, open_store
from hieraseg.files.strict_yaml import inline
from hieraseg.hierarchy import Hierarchy
from hieraseg.inference.segmenter import Segmenter
from hieraseg.model.build import build_backbone
from hieraseg.model.parts import freeze
from hieraseg.model.segmentation import SegmentationModel
from hieraseg.recipe import Recipe, load
from hieraseg.recipe.build import build as build_component
from hieraseg.recipe.dataset import build_dataset, data_digest
from hieraseg.recipe.values import plain
from hieraseg.training.forward import loss_terms
from hieraseg.training.loss import build_loss
from hieraseg.training.setup import count_class_pixels
from hieraseg.training.starting import read_start, start_model


@dataclass(frozen=True, repr=False)
class Components:
    """What a recipe trains, built on the CPU.

    Attributes:
        recipe: the resolved recipe.
        hierarchy: the class tree; `hierarchy.encode(masks)` turns label values into targets.
        model: a `torch.nn.Module`: RGB images `[B, 3, H, W]` in 0..1 -> `Prediction`, with the
            logits `[B, C_l, H, W]` of each level. Its weights are those that a run starts with.
        loss: a `torch.nn.Module`: prediction and targets `[B, L, H, W]` -> named terms (see also
            `terms`).
        optimizer: the optimizer of the model's parameters.
    """

    recipe: Recipe
    hierarchy: Hierarchy
    model: SegmentationModel
    loss: Loss
    optimizer: Optimizer
    _segmenter: Segmenter

    def terms(
        self, prediction: Prediction, targets: Int[Tensor, "B levels H W"], progress: float = 0.0
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms of the loss, whose sum a run minimises, with that of an auxiliary head.

        Args:
            prediction: what the model returned.
            targets: target class per level, -100 where it is ignored.
            progress: share of training that is done, in [0, 1), for losses that change with it.
        """
        arguments = {"progress": progress} if has_argument(self.loss.forward, "progress") else {}
        weight = self.recipe.auxiliary.weight
        return loss_terms(self.loss, prediction, targets, arguments, weight)

    def scores(self, prediction: Prediction) -> list[Float[Tensor, "B _ H W"]]:
        """Scores in 0..1 of all classes per level, by the activation of the loss."""
        return self._segmenter.scores([prediction], tuple(prediction.logits[0].shape[-2:]))

    def classes(self, prediction: Prediction) -> Int[Tensor, "B levels H W"]:
        """One class per level and pixel, by the inference rule of the recipe."""
        return self._segmenter.classes(prediction)


def build(
    recipe: str | Path,
    overrides: Mapping[str, Any] | None = None,
    plugins: Sequence[str | Path] = (),
) -> Components:
    """Build the model, loss and optimizer of a recipe, for a training loop of one's own.

    No data is read, unless the loss counts the pixels of each class.

    Args:
        recipe: path of a recipe, or the name of a shipped one.
        overrides: values that replace those of the recipe by their dotted key, as in
            `{"loss": "tree_min", "optimizer.lr": 1e-4}`.
        plugins: plugin files, in addition to those of the recipe.

    Raises:
        RecipeError: the recipe has problems, or a component refuses its arguments.
        DataError: the data is needed, and cannot be used.
    """
    given = [(key, inline(plain(value))) for key, value in (overrides or {}).items()]
    resolved = load(recipe, given, list(map(Path, plugins)))
    with torch.random.fork_rng(devices=[]):  # the seed is that of the weights alone
        torch.random.default_generator.manual_seed(resolved.training.seed)
        return _build(resolved)


def _build(recipe: Recipe) -> Components:
    hierarchy: Hierarchy = build_component(recipe["hierarchy"])
    rule = build_component(recipe["inference"], hierarchy=hierarchy)
    backbone, start = build_backbone(recipe), read_start(recipe)
    loss = build_loss(
        recipe, hierarchy, lambda: count_class_pixels(_train_store(recipe, hierarchy), hierarchy)
    )
    num_classes = hierarchy.num_classes if loss.levels == "all" else hierarchy.num_classes[-1:]
    model = start_model(recipe, backbone, hierarchy, num_classes, loss.embedding_channels, start)
    freeze(model, recipe.training.freeze, f"{recipe.origin['training.freeze']}: training.freeze")
    optimizer = build_component(recipe["optimizer"], parameters=model.parts(), model=model)
    segmenter = Segmenter(model, loss.activation, rule, hierarchy, recipe.evaluation, recipe.input)
    return Components(recipe, hierarchy, model, loss, optimizer, segmenter)


def _train_store(recipe: Recipe, hierarchy: Hierarchy) -> Store:
    dataset = build_dataset(recipe, hierarchy)
    code, levels = data_digest(recipe, dataset), num_levels(recipe.input, recipe.augmentation)
    return open_store(dataset, "train", hierarchy, recipe.input, code, levels)
