"""The suites of trees, data, rules, optimizers and schedules: what they find."""

import time
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn, optim
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from hieraseg import Hierarchy
from hieraseg.testing.running import Report
from tests.support.broken import check, failed, reasons

COUNTER = count()


def assert_found(report: Report, properties: set[str], words: str) -> None:
    assert failed(report) == properties, reasons(report)
    assert words in reasons(report)


# Hierarchies.


def tree(depth: int = 2) -> Hierarchy:
    """A tree.

    Args:
        depth: of it.
    """
    return Hierarchy.from_tree({"sky": None, "body": {"arm": ["hand", "elbow"][:depth]}}, void=[9])


def shifting() -> Hierarchy:
    """The order of its leaves is another each time."""
    names = ["arm", "leg"] if next(COUNTER) % 2 else ["leg", "arm"]
    return Hierarchy.from_tree({"sky": None, "body": names})


def wide_labels() -> Hierarchy:
    """A label that no uint8 has."""
    return Hierarchy.from_tree(["a", "b"], labels={0: "a", 300: "b"})


class Misencoded(Hierarchy):
    """It takes the parents of other classes."""

    def encode(self, mask: Tensor) -> Tensor:
        encoded = super().encode(mask)
        encoded[..., 0, :, :] = torch.where(encoded[..., 0, :, :] < 0, -100, 0)
        return encoded


def misencoded() -> Hierarchy:
    """A hierarchy whose masks are encoded wrongly."""
    return Misencoded.from_tree({"a": ["x"], "b": ["y"]})


def test_hierarchies() -> None:
    report = check("hierarchies", tree, settings=({}, {"depth": 1}))
    assert failed(report) == set(), reasons(report)
    assert_found(check("hierarchies", shifting), {"the_same_again_gives_the_same"}, "a set has no")
    assert_found(check("hierarchies", wide_labels), {"labels_fit_into_a_mask"}, "[300]")
    assert_found(
        check("hierarchies", misencoded), {"labels_are_encoded_as_paths"}, "no path of the tree"
    )


def test_a_leaf_without_a_label_is_named() -> None:
    def bare() -> Hierarchy:
        """A leaf without a label."""
        return Hierarchy.from_tree(["a", "b"], labels={0: "a"})

    report = check("hierarchies", bare)
    assert failed(report) == set()
    assert "which nothing trains: b" in reasons(report)


def test_what_is_no_hierarchy() -> None:
    def nothing() -> Any:
        """No hierarchy."""
        return {"a": None}

    assert "it gives a dict: return a `hieraseg.Hierarchy`" in reasons(
        check("hierarchies", nothing)
    )


# Data sets.


class Data:
    """Three small images per split."""

    splits: Any = ("train", "val")
    size: Any = (8, 8)

    def ids(self, split: str) -> list[str]:
        return [f"{split}-{index}" for index in range(3)]

    def image(self, id: str) -> np.ndarray:
        return np.full((6, 7, 3), len(id) * 9 + int(id[-1]), np.uint8)

    def mask(self, id: str) -> np.ndarray:
        return np.full((6, 7), int(id[-1]), np.uint8)

    def fingerprint(self, split: str) -> str:
        return f"data {split}"


class NoVal(Data):
    """It has no split val."""

    splits = ("train", "test")


class TwiceTheSame(Data):
    """Its splits share ids."""

    def ids(self, split: str) -> list[str]:
        return ["0", "1"]


class Rooted(Data):
    """Its ids are paths."""

    def ids(self, split: str) -> list[str]:
        return [f"/data/{split}-{index}" for index in range(3)]


class Unordered(Data):
    """The order of its ids is another each time."""

    def ids(self, split: str) -> list[str]:
        return super().ids(split)[:: 1 if next(COUNTER) % 2 else -1]


class OnePrint(Data):
    """All its splits have one fingerprint."""

    def fingerprint(self, split: str) -> str:
        return "data"


class Floats(Data):
    """Its images are floats."""

    def image(self, id: str) -> np.ndarray:
        return super().image(id) / 255


class OtherMask(Data):
    """Its masks are larger than its images."""

    def mask(self, id: str) -> np.ndarray:
        return np.zeros((12, 14), np.uint8)


class UnknownLabel(Data):
    """Its masks have a label that the hierarchy does not know."""

    def mask(self, id: str) -> np.ndarray:
        return super().mask(id) + np.uint8(70)


class GivesItsOwn(Data):
    """It gives out the array that it keeps."""

    def __init__(self) -> None:
        self.kept: dict[str, np.ndarray] = {}

    def image(self, id: str) -> np.ndarray:
        return self.kept.setdefault(id, super().image(id))


class OneReader(Data):
    """It keeps what it reads where other threads write too."""

    def image(self, id: str) -> np.ndarray:
        self.current = id
        time.sleep(0.01)  # long enough for another thread
        return super().image(self.current)


def test_datasets() -> None:
    report = check("datasets", Data)
    assert failed(report) == set(), reasons(report)


@pytest.mark.parametrize(
    ("broken", "properties", "words"),
    [
        (NoVal, {"it_has_a_size_and_splits"}, "no split val"),
        (TwiceTheSame, {"ids_are_unique"}, "is in 'train' and in 'val'"),
        (Rooted, {"ids_are_file_names"}, "leave out the root"),
        (Unordered, {"ids_and_fingerprints_are_stable"}, "sort what a folder lists"),
        (OnePrint, {"fingerprints_tell_splits_apart"}, "the same fingerprint"),
        (Floats, {"images_and_masks_are_bytes_of_one_size"}, "is float64: give uint8"),
        (OtherMask, {"images_and_masks_are_bytes_of_one_size"}, "its mask (12, 14)"),
        (UnknownLabel, {"labels_are_those_of_the_hierarchy"}, "has the values [70]"),
        (GivesItsOwn, {"reading_again_gives_the_same"}, "copies of what is cached"),
        (OneReader, {"threads_read_the_same"}, "keep no state that threads share"),
    ],
)
def test_what_is_wrong_with_a_data_set(broken: Any, properties: set[str], words: str) -> None:
    assert_found(check("datasets", broken), properties, words)


def test_a_hierarchy_may_be_a_function() -> None:
    def labelled() -> Hierarchy:
        return Hierarchy.from_tree(["a", "b"])

    report = check("datasets", Data, hierarchy=labelled)
    assert_found(report, {"labels_are_those_of_the_hierarchy"}, "[2]")


# Inference rules.


class Rule:
    """The best class of each level."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy

    def __call__(self, scores: list[Tensor]) -> Tensor:
        return torch.stack([level.max(1).indices for level in scores], dim=1)


class AsInt32(Rule):
    """It answers in int32."""

    def __call__(self, scores: list[Tensor]) -> Tensor:
        return super().__call__(scores).int()


class LeavesOnly(Rule):
    """It answers one level."""

    def __call__(self, scores: list[Tensor]) -> Tensor:
        return super().__call__(scores)[:, -1:]


class FromOne(Rule):
    """It counts classes from 1."""

    def __call__(self, scores: list[Tensor]) -> Tensor:
        return super().__call__(scores) + 1


class WorstClass(Rule):
    """It answers the worst class."""

    def __call__(self, scores: list[Tensor]) -> Tensor:
        return super().__call__([-level for level in scores])


class RandomTies(Rule):
    """It throws dice where scores are equal."""

    def __call__(self, scores: list[Tensor]) -> Tensor:
        return super().__call__([level + 1e-6 * torch.rand_like(level) for level in scores])


class ByBatch(Rule):
    """It compares the scores of all images."""

    def __call__(self, scores: list[Tensor]) -> Tensor:
        return super().__call__([level - level.mean((0, 2, 3), True) for level in scores])


class InPlace(Rule):
    """It writes into the scores."""

    def __call__(self, scores: list[Tensor]) -> Tensor:
        return super().__call__([level.mul_(2) for level in scores])


ANY = {"one_class_per_level_of_any_scores", "trees_of_every_shape", "ties_are_settled_alike"}


@pytest.mark.parametrize(
    ("broken", "properties", "words"),
    [
        (Rule, set(), ""),
        (AsInt32, ANY, "give int64"),
        (LeavesOnly, {*ANY, "sure_scores_are_followed"}, "give [B, L, H, W]"),
        (
            FromOne,
            {*ANY, "sure_scores_are_followed"} - {"ties_are_settled_alike"},
            "which has classes 0 to 2",
        ),
        (WorstClass, {"sure_scores_are_followed"}, "0% get its classes"),
        (RandomTies, {"ties_are_settled_alike"}, "get several answers"),
        (ByBatch, {"images_of_a_batch_do_not_affect_each_other"}, "the others of its batch"),
        (InPlace, {"scores_are_not_changed"}, "clone before writing in place"),
    ],
)
def test_what_is_wrong_with_a_rule(broken: Any, properties: set[str], words: str) -> None:
    assert_found(check("inference", broken), properties, words)


def test_a_rule_that_says_it_is_coherent() -> None:
    found = {"one_class_per_level_of_any_scores", "trees_of_every_shape"}
    report = check("inference", Rule, coherent=True)
    assert_found(report, found, "says that it is coherent")


# Optimizers.

Parts = dict[str, list[nn.Parameter]]


def right_optimizer(parameters: Parts, lr: float = 0.01) -> optim.Optimizer:
    """Adam.

    Args:
        lr: learning rate.
    """
    return optim.Adam([{"params": own} for own in parameters.values() if own], lr=lr)


def head_only(parameters: Parts) -> optim.Optimizer:
    """It forgets the backbone, unless nothing else is there."""
    return optim.Adam(parameters["head"] or parameters["backbone"])


def uphill(parameters: Parts) -> optim.Optimizer:
    """It goes uphill."""
    return optim.SGD([one for own in parameters.values() for one in own], lr=0.01, maximize=True)


def empty_groups(parameters: Parts) -> optim.Optimizer:
    """It takes for granted that there is a backbone."""
    first = parameters["backbone"][0]
    assert first.requires_grad
    return right_optimizer(parameters)


class Decays(optim.SGD):
    """It shrinks parameters whether or not they have a gradient."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(0.9)
        return super().step(closure)


def decays(parameters: Parts) -> optim.Optimizer:
    """It shrinks parameters that have no gradient."""
    return Decays([one for own in parameters.values() for one in own], lr=0.01)


class Counts(optim.SGD):
    """It counts its steps where no state dict has them."""

    steps = 0

    def step(self, closure: Any = None) -> Any:
        self.steps += 1
        for group in self.param_groups:
            group["lr"] = 0.01 / self.steps
        return super().step(closure)


def counts(parameters: Parts) -> optim.Optimizer:
    """Its steps get shorter, and it does not save how many there were."""
    return Counts([one for own in parameters.values() for one in own], lr=0.01)


def no_rate(parameters: Parts) -> optim.Optimizer:
    """Its learning rate is 0 at first."""
    return Counts([one for own in parameters.values() for one in own], lr=0.0)


@pytest.mark.parametrize(
    ("broken", "properties", "words"),
    [
        (right_optimizer, set(), ""),
        (head_only, {"every_parameter_is_in_it_once", "it_goes_downhill"}, "so never learn"),
        (uphill, {"it_goes_downhill", "a_frozen_part_is_left_out"}, "the cost goes from"),
        (empty_groups, {"a_frozen_part_is_left_out"}, "leave out the groups that are empty"),
        (decays, {"parameters_without_a_gradient_stay"}, "without a gradient is changed"),
        (counts, {"a_saved_state_goes_on_as_before"}, "keep all that a step depends on"),
        (
            no_rate,
            {"learning_rates_are_numbers_from_0_up", "a_saved_state_goes_on_as_before"},
            "nothing is learnt",
        ),
    ],
)
def test_what_is_wrong_with_an_optimizer(broken: Any, properties: set[str], words: str) -> None:
    assert_found(check("optimizers", broken), properties, words)


# Schedules.


def right_schedule(optimizer: optim.Optimizer, total_steps: int) -> LRScheduler:
    """A line to 0."""
    return LambdaLR(optimizer, lambda step: max(1 - step / total_steps, 0))


def below_zero(optimizer: optim.Optimizer, total_steps: int) -> LRScheduler:
    """A line that goes below 0 after the last step."""
    return LambdaLR(optimizer, lambda step: 1 - (step + 1) / total_steps)


def by_zero(optimizer: optim.Optimizer, total_steps: int) -> LRScheduler:
    """It divides by one step less."""
    return LambdaLR(optimizer, lambda step: 1 / (1 + step / (total_steps - 1)))


class Wanders(LRScheduler):
    """Its state is not saved."""

    def __init__(self, optimizer: optim.Optimizer) -> None:
        self.calls = 0
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        self.calls += 1
        return [rate / self.calls for rate in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        return {key: one for key, one in super().state_dict().items() if key != "calls"}


def wanders(optimizer: optim.Optimizer, total_steps: int) -> LRScheduler:
    """It forgets how often it was called."""
    return Wanders(optimizer)


def dice(optimizer: optim.Optimizer, total_steps: int) -> LRScheduler:
    """Its learning rates are random."""
    return LambdaLR(optimizer, lambda step: float(torch.rand(())))


def shrinks(optimizer: optim.Optimizer, total_steps: int) -> LRScheduler:
    """It changes parameters."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.data.mul_(0.5)
    return right_schedule(optimizer, total_steps)


RATES = "learning_rates_are_numbers_from_0_up"


@pytest.mark.parametrize(
    ("broken", "properties", "words"),
    [
        (right_schedule, set(), ""),
        (below_zero, {RATES}, "before step 10 (the first is 0) are"),
        (by_zero, {RATES}, "ZeroDivisionError"),
        (wanders, {"a_saved_state_goes_on_as_before"}, "in `state_dict()`"),
        (
            dice,
            {"the_same_again_gives_the_same", "a_saved_state_goes_on_as_before"},
            "the second time",
        ),
        (shrinks, {"it_changes_learning_rates_only"}, "it changes parameters"),
    ],
)
def test_what_is_wrong_with_a_schedule(broken: Any, properties: set[str], words: str) -> None:
    assert_found(check("schedules", broken), properties, words)


def test_a_function_is_no_method() -> None:
    """`component = my_factory` works, though a function in a class is a method."""
    assert check("optimizers", right_optimizer, settings=({"lr": 0.1},)).count("passed") == 9
