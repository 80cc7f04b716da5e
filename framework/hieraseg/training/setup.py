"""Set-up of a run: from a recipe to all the parts that train together."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from hieraseg.console import warn
from hieraseg.contracts import Dataset, Loss
from hieraseg.data.batches.views import View, open_view
from hieraseg.data.checking import missing_splits
from hieraseg.data.label_names import naming_notices
from hieraseg.data.sampling import steps_per_epoch
from hieraseg.data.shapes import evaluation_input
from hieraseg.data.stores.store import Store, open_store
from hieraseg.data.stores.targets import TargetStore, open_scored
from hieraseg.data.subset import FirstImages, unwrapped
from hieraseg.devices import Fabric, start_fabric
from hieraseg.errors import RecipeError
from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy
from hieraseg.inference.segmenter import Segmenter
from hieraseg.model.build import build_backbone
from hieraseg.model.parts import freeze
from hieraseg.model.segmentation import SegmentationModel
from hieraseg.model.synced import with_synced_batch_norm
from hieraseg.processes import on_all_ranks
from hieraseg.recipe import Recipe
from hieraseg.recipe.build import build, build_transforms
from hieraseg.recipe.dataset import build_dataset, data_digest, open_train_store
from hieraseg.settings import Training, Validation
from hieraseg.training.averaging import WeightAverage
from hieraseg.training.capturing import capture_problems, optimizer_problems
from hieraseg.training.checks import not_finite
from hieraseg.training.compiling import Compiled, what_to_compile
from hieraseg.training.finite import FiniteSteps
from hieraseg.training.forward import TrainingForward
from hieraseg.training.intervals import Plan, read_interval
from hieraseg.training.loss import build_loss
from hieraseg.training.monitor import check_monitor
from hieraseg.training.notices import length_notices, notices
from hieraseg.training.starting import read_start, start_model
from hieraseg.training.state import State
from hieraseg.training.totals import Totals
from hieraseg.training.trackers import check_packages


@dataclass(frozen=True)
class Parts:
    """The parts of a run that stay the same from its first to its last step (see also `State`).

    Attributes:
        recipe: the resolved recipe.
        fabric: device, precision and processes.
        hierarchy: the class tree.
        stores: images of the splits `train` and `val`.
        targets: masks of `val` at their own resolution; None if it is scored at the model's.
        for_loss: images of `val` whose loss is computed; None if it is not.
        forward: from a batch to the terms of the loss (see `TrainingForward`), as fabric wraps it.
        segmenter: the model that is scored (see `State.scored_model`), with the inference rule.
        loss: the loss.
        view: how training sees the store `train`.
        num_classes: number of classes of each level that has logits, coarsest first.
        total_steps: optimizer steps of the whole run.
        not_finite: names of buffers that are not finite on purpose, such as masks.
        capture_problems: what keeps the step from being captured or compiled, one sentence each.
        compiled: what of a step is compiled.
        started: path and SHA-256 of the weights file that the recipe's `init` names, if any.
    """

    recipe: Recipe
    fabric: Fabric
    hierarchy: Hierarchy
    stores: dict[str, Store]
    targets: TargetStore | None
    for_loss: Store | None
    forward: nn.Module
    segmenter: Segmenter
    loss: Loss
    view: View
    num_classes: list[int]
    total_steps: int
    not_finite: set[str]
    capture_problems: list[str]
    compiled: Compiled
    started: dict[str, str] | None = None


def set_up(
    recipe: Recipe, images: int | None = None, has_weights: bool = False
) -> tuple[Parts, State]:
    """Build everything that a recipe names. Images are decoded here on first use.

    Args:
        recipe: the resolved recipe.
        images: use only the first images of each split, for a dry run; all of them if None.
        has_weights: whether the state will be restored, so that no weights file is needed.

    Raises:
        RecipeError: a component refuses its arguments, components do not fit together, or CUDA
            is not available.
        DataError: the data cannot be used.
    """
    settings = recipe.training
    check_packages(recipe.listed("trackers"))
    fabric = start_fabric(settings.device, settings.precision, settings.devices, settings.num_nodes)
    device = fabric.device
    torch.manual_seed(settings.seed)
    hierarchy: Hierarchy = build(recipe["hierarchy"])
    check_monitor(recipe, hierarchy)
    hierarchy.on(device)  # its tables are there before the step is compiled
    dataset = _build_dataset(recipe, hierarchy, images)
    transforms = build_transforms(recipe, hierarchy)
    rule = build(recipe["inference"], hierarchy=hierarchy)
    backbone = build_backbone(recipe, pretrained=not has_weights)
    start = None if has_weights else read_start(recipe)
    # Last of what can fail, because decoding takes minutes.
    stores, targets, for_loss = _open_all(recipe, dataset, hierarchy, fabric.world_size)
    loss = build_loss(recipe, hierarchy, lambda: count_class_pixels(stores["train"], hierarchy))
    loss = loss.to(device)
    num_classes = hierarchy.num_classes if loss.levels == "all" else hierarchy.num_classes[-1:]
    model = start_model(
        recipe, backbone, hierarchy, num_classes, loss.embedding_channels, start, not has_weights
    )
    model = _prepared(model, recipe, hierarchy, device)
    trained = len(stores["train"] if images is None else unwrapped(dataset).ids("train"))
    plan = make_plan(settings, recipe.validation, trained)
    for sentence in [*naming_notices(dataset, hierarchy), *length_notices(settings, plan, trained)]:
        warn(sentence)
    average = None if settings.ema is None else WeightAverage(model, settings.ema, device)
    scored = model if average is None else average.model
    segmenter = Segmenter(scored, loss.activation, rule, hierarchy, recipe.evaluation, recipe.input)
    fill = tuple(model.mean.flatten().tolist())
    view = open_view(
        stores["train"], recipe.input, recipe.augmentation, transforms, hierarchy, device, fill
    )
    problems = capture_problems(recipe, model)
    compiled = what_to_compile(settings, problems)
    called = torch.compile(model) if compiled == "model" else model
    forward = TrainingForward(
        cast(nn.Module, called), view, loss, segmenter, device, recipe.auxiliary.weight
    )
    wrapped, state = _build_state(recipe, fabric, forward, model, hierarchy, plan, average)
    if compiled == "step":
        forward.compile(fullgraph=True)
    parts = Parts(
        recipe=recipe,
        fabric=fabric,
        hierarchy=hierarchy,
        stores=stores,
        targets=targets,
        for_loss=for_loss,
        forward=wrapped,
        segmenter=segmenter,
        loss=loss,
        view=view,
        num_classes=num_classes,
        total_steps=plan.total_steps,
        not_finite=_infinite_buffers(model),
        capture_problems=[*problems, *optimizer_problems(recipe, state.optimizer)],
        compiled=compiled,
        started=None if start is None else {"file": str(start.file), "sha256": start.sha256},
    )
    return parts, state


def _prepared(
    model: SegmentationModel, recipe: Recipe, hierarchy: Hierarchy, device: torch.device
) -> SegmentationModel:
    """The model as the recipe trains it: which parts, and how their batches are normalized."""
    settings = recipe.training
    if settings.sync_batch_norm:
        model = with_synced_batch_norm(model, device)
    freeze(model, settings.freeze, f"{recipe.origin['training.freeze']}: training.freeze")
    for sentence in notices(recipe, hierarchy, model):
        warn(sentence)
    return model


def make_plan(settings: Training, validation: Validation, images: int) -> Plan:
    """When a run on this number of images validates, and when it ends."""
    epoch = steps_per_epoch(images, settings.batch_size)
    number, unit = read_interval(validation.every)
    every = number * epoch if unit == "epoch" else number
    return Plan(total_steps(settings, images), epoch, every, validation.patience)


def total_steps(settings: Training, images: int) -> int:
    """Number of optimizer steps of a run on this number of images."""
    steps = settings.epochs * steps_per_epoch(images, settings.batch_size)
    return steps if settings.max_steps is None else min(steps, settings.max_steps)


def _build_dataset(recipe: Recipe, hierarchy: Hierarchy, images: int | None) -> Dataset:
    dataset = build_dataset(recipe, hierarchy)
    if images is not None:
        dataset = cast(Dataset, FirstImages(dataset, images))
    problems = missing_splits(dataset)
    if problems:
        raise RecipeError("\n".join(problems))
    return dataset


def open_data(
    recipe: Recipe, dataset: Dataset, hierarchy: Hierarchy
) -> tuple[dict[str, Store], TargetStore | None]:
    """The images of the splits `train` and `val`, and the targets that `val` is scored with.

    Raises:
        RecipeError: images are to be drawn in two ways.
        DataError: images or masks cannot be used.
    """
    train = open_train_store(recipe, dataset, hierarchy)
    seen, code = evaluation_input(recipe.input, recipe.evaluation), data_digest(recipe, dataset)
    val, targets = open_scored(dataset, "val", hierarchy, seen, recipe.evaluation, code)
    return {"train": train, "val": val}, targets


def _open_all(
    recipe: Recipe, dataset: Dataset, hierarchy: Hierarchy, processes: int
) -> tuple[dict[str, Store], TargetStore | None, Store | None]:
    """What `open_data` opens in all processes, and the images of `val` whose loss is computed.

    Raises:
        RecipeError: as `open_data`; or a process would have no image in a step.
        DataError: as `open_data`.
    """
    stores, targets = on_all_ranks(lambda: open_data(recipe, dataset, hierarchy))
    for_loss = None
    if recipe.validation.loss:
        for_loss = on_all_ranks(lambda: _open_for_loss(recipe, dataset, hierarchy, stores["val"]))
    _warn_of_shared(stores)
    _check_shares(stores["train"], processes)
    return stores, targets, for_loss


def _open_for_loss(recipe: Recipe, dataset: Dataset, hierarchy: Hierarchy, val: Store) -> Store:
    """The images of `val` as `input` resizes them; windows slide over others."""
    if recipe.evaluation.window is None:
        return val
    return open_store(dataset, "val", hierarchy, recipe.input, data_digest(recipe, dataset))


def _warn_of_shared(stores: dict[str, Store]) -> None:
    shared = sorted(set(stores["train"].ids) & set(stores["val"].ids))
    if shared:
        warn(
            f"data: {len(shared)} ids are in both train and val, such as {shared[0]!r}; val then "
            "scores images that were trained on"
        )


def _infinite_buffers(model: nn.Module) -> set[str]:
    """Names of the buffers that are not finite before training, none of which is saved.

    Raises:
        RecipeError: others are not finite.
    """
    names = not_finite(model)
    saved = sorted(names & model.state_dict().keys())
    if saved:
        raise RecipeError(
            f"the weights {saved[0]} are not finite before training; use another weights file "
            "(a buffer that is infinite on purpose needs `persistent=False`)"
        )
    return names


def _check_shares(train_store: Store, processes: int) -> None:
    """Raise RecipeError if a process would have no image in a step."""
    if len(train_store) < processes:
        raise RecipeError(
            f"training.devices: {processes} processes need at least as many images, but the "
            f"split train has {len(train_store)}; decrease training.devices"
        )


def _build_state(
    recipe: Recipe,
    fabric: Fabric,
    forward: TrainingForward,
    model: SegmentationModel,
    hierarchy: Hierarchy,
    plan: Plan,
    average: WeightAverage | None,
) -> tuple[nn.Module, State]:
    """The forward pass as fabric wraps it, and the state with its optimizer and schedule."""
    optimizer = build(recipe["optimizer"], parameters=model.parts(), model=model)
    schedule = build(
        recipe["schedule"],
        optimizer=optimizer,
        total_steps=plan.total_steps,
        steps_per_epoch=plan.steps_per_epoch,
    )
    wrapped, optimizer = fabric.setup(forward, optimizer)
    totals = Totals(hierarchy, fabric.device)
    settings = recipe.training
    finite = FiniteSteps(
        model,
        fabric.device,
        stops=settings.on_nonfinite == "stop",
        has_scaler=settings.precision == "16-mixed",
    )
    precision = fabric.strategy.precision
    state = State(model, optimizer, schedule, precision, totals, plan, finite, average)
    return wrapped, state


def count_class_pixels(store: Store, hierarchy: Hierarchy) -> list[Tensor]:
    """Number of pixels of each class in the masks of a store: float64 `[C_l]` per level."""
    values = torch.from_numpy(store.label_pixels).double()
    classes = hierarchy.encode(torch.arange(len(values)).view(1, 1, -1), check=False)[0, :, 0]
    counts = []
    for level, size in enumerate(hierarchy.num_classes):
        known = classes[level] != IGNORE_INDEX
        count = torch.zeros(size, dtype=torch.float64)
        counts.append(count.index_add(0, classes[level][known], values[known]))
    return counts
