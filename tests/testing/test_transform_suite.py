"""The suite of transforms finds what each of these transforms does wrong."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hieraseg import Draws, Hierarchy
from hieraseg.functional import where_chosen
from hieraseg.testing import TransformContract
from hieraseg.types import Probability, check_arguments
from tests.support.broken import check, failed, reasons

RANDOM = "all_randomness_comes_from_the_draws"
PROCESSES = "number_of_processes_does_not_matter"
INDEPENDENT = "images_are_independent"
NUMBERS = "each_step_draws_equally_many_numbers"
CAPTURED = "can_be_captured"
EVERYWHERE = "changing_all_images_gives_the_same"
VALID = {"results_are_valid", "sizes", "trees_of_every_shape", "wide_labels"}


def column(values: Tensor) -> Tensor:
    return values[:, None, None, None]


class Transform:
    """Inverts some images."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        return torch.where(column(draws.chosen(0.5)), 1 - images, images), masks


class InPlace(Transform):
    """Writes into the images."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        images[:, 0] = 0
        return images, masks


class MasksInPlace(Transform):
    """Writes into the masks."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.void = hierarchy.void_value

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        return images, masks.masked_fill_(masks == masks[0, 0, 0], self.void)


class TooBright(Transform):
    """Leaves 0..1."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        return images + column(draws.uniform(0, 0.1)), masks


class NotFinite(Transform):
    """Divides by zero."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        return images / images.amax((1, 2, 3), keepdim=True).round().where(masks[0] < 0, 0.0), masks


class Doubles(Transform):
    """Returns another type of numbers."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        return images.double(), masks


class Halves(Transform):
    """Returns smaller images."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        return images[..., ::2], masks[..., ::2]


class Alone(Transform):
    """Returns images without masks."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        return images


class UnknownLabels(Transform):
    """Writes a value that is no label."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        return images, masks.masked_fill(masks == masks[0, 0, 0], 201)


class Bytes(Transform):
    """Only knows masks of uint8."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        return images, masks.byte()


class EvenSides(Transform):
    """Only knows images of an even width."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        left, right = images.split(images.shape[3] // 2, 3)
        return torch.cat([left, right], 3), masks


class Torch(Transform):
    """Uses the global random numbers of PyTorch."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        return images * torch.rand(1), masks


class NumPy(Transform):
    """Uses the global random numbers of NumPy, without any effect."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        np.random.rand()
        return images, masks


class Python(Transform):
    """Uses the global random numbers of Python."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        return images * random.random(), masks


class Counting(Transform):
    """Changes from call to call."""

    calls = 0

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        self.calls += 1
        return images / self.calls, masks


class DrawsOfTheChosen(Transform):
    """Draws noise only where this process has a chosen image."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        chosen = draws.chosen(0.3)
        if chosen.any():
            draws.uniform(0, 1)
        return images * column(draws.uniform(0, 1)), masks


class Reads(Transform):
    """Reads a number of an image."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        chosen = draws.chosen(0.5)
        return (1 - images if chosen[0] else images), masks


class Constants(Transform):
    """Copies a color to the device in each step."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        return images * draws.to_device(torch.tensor([0.5, 1, 1]))[:, None, None], masks


class ChosenInPlace(Transform):
    """Writes into the images that are chosen, which are copies on a CPU only."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        return where_chosen(draws.chosen(0.5), lambda one: one.mul_(0.5), images), masks


class ChosenTogether(Transform):
    """Changes each chosen image by the number of those that are chosen."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        return where_chosen(draws.chosen(0.5), lambda one: one / len(one), images), masks


class Averages(Transform):
    """Mixes the images of a batch, and does not say so."""

    def __call__(self, images: Tensor, masks: Tensor, draws: Draws) -> Any:
        return (images + images.mean(0)) / 2, masks


class Mixes(Averages):
    """Mixes the images of a batch."""

    mixes = True


@check_arguments
class Ignores(Transform):
    """Does not do what its probability says.

    Args:
        probability: probability of a change.
    """

    def __init__(self, probability: Probability = 0.5) -> None: ...


@pytest.mark.parametrize("component", [Transform, Mixes])
def test_transforms_that_are_right(component: Any) -> None:
    report = check("transforms", component)
    assert failed(report) == set(), reasons(report)


def test_what_is_skipped() -> None:
    said = reasons(check("transforms", Mixes))
    assert "it mixes the images of a batch" in said
    assert "it has no argument `probability`" in said


@pytest.mark.parametrize(
    ("component", "properties", "reason"),
    [
        (InPlace, {"inputs_are_not_modified"}, "it modifies the images: clone them"),
        (MasksInPlace, {"inputs_are_not_modified"}, "it modifies the masks: clone them"),
        (TooBright, VALID, "keep them in 0..1, as with `clamp`"),
        (NotFinite, VALID, "the images have values that are not finite"),
        (Doubles, VALID, "dtype of the images: torch.float64 instead of torch.float32"),
        (Halves, VALID, "shape of the images"),
        (Alone, VALID, "it must return a tuple of two tensors, images and masks"),
        (UnknownLabels, VALID, "the masks have the values [201], which the hierarchy does not"),
        (Bytes, {"wide_labels"}, "dtype of the masks: torch.uint8 instead of torch.int32"),
        (EvenSides, {"sizes"}, "ValueError"),
        (Torch, {RANDOM}, "it uses the global random numbers of PyTorch"),
        (NumPy, {RANDOM}, "it uses the random numbers of NumPy"),
        (Python, {RANDOM}, "the same draws give another result"),
        (Counting, {RANDOM}, "the same draws give another result"),
        (DrawsOfTheChosen, {PROCESSES}, "draw numbers for all images"),
        (DrawsOfTheChosen, {NUMBERS, CAPTURED}, "whether or not an image is chosen"),
        (Reads, {CAPTURED}, "it reads a value back from the device"),
        (Constants, {CAPTURED}, "it copies a tensor from cpu to cuda"),
        (ChosenInPlace, {EVERYWHERE}, "must change each image by itself, and not in place"),
        (ChosenTogether, {EVERYWHERE}, "must change each image by itself, and not in place"),
        (Averages, {INDEPENDENT}, "say so with the class attribute `mixes = True`"),
        (Ignores, {"probability_0_changes_nothing"}, "with probability 0, it changes the images"),
    ],
)
def test_transforms_that_are_wrong(component: Any, properties: set[str], reason: str) -> None:
    """The properties are among those that fail, since one fault may break several."""
    report = check("transforms", component)
    assert properties <= failed(report), reasons(report)
    assert reason in reasons(report)


def test_the_suite_of_a_kind() -> None:
    class Suite(TransformContract):
        component = Transform

    assert Suite.kind().name == "transforms"
