"""The suites of hierarchies, data sets, inference rules, optimizers and schedules."""

import time
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn, optim
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from hieraseg import Hierarchy
from hieraseg.testing.cases import MAIN_TREE
from hieraseg.testing.running import Report
from tests.support.broken import check, failed, reasons

COUNTER = count()


def assert_failed(report: Report, properties: set[str], message: str) -> None:
    assert failed(report) == properties, reasons(report)
    assert message in reasons(report)


# Hierarchies.


def tree(depth: int = 2) -> Hierarchy:
    """A tree.

    Args:
        depth: number of leaves below the arm.
    """
    return Hierarchy.from_tree({"sky": None, "body": {"arm": ["hand", "elbow"][:depth]}}, void=[9])


def shifting() -> Hierarchy:
    """The order of its leaves changes between calls."""
    names = ["arm", "leg"] if next(COUNTER) % 2 else ["leg", "arm"]
    return Hierarchy.from_tree({"sky": None, "body": names})


def wide_labels() -> Hierarchy:
    """A label above 255, as in masks of 16 bits."""
    return Hierarchy.from_tree(["a", "b"], labels={0: "a", 300: "b"})


def unlabelled() -> Hierarchy:
    """No label at all."""
    return Hierarchy.from_tree(["a", "b"], labels={})


class Misencoded(Hierarchy):
    """Encodes wrong parents."""

    def encode(self, mask: Tensor, check: bool = True) -> Tensor:
        encoded = super().encode(mask, check)
        encoded[..., 0, :, :] = torch.where(encoded[..., 0, :, :] < 0, -100, 0)
        return encoded


def misencoded() -> Hierarchy:
    """A hierarchy that encodes wrong parents."""
    return Misencoded.from_tree({"a": ["x"], "b": ["y"]})


def test_hierarchies() -> None:
    report = check("hierarchies", tree, settings=({}, {"depth": 1}))
    assert failed(report) == set(), reasons(report)
    assert_failed(check("hierarchies", shifting), {"building_is_repeatable"}, "sets have no")
    report = check("hierarchies", wide_labels)
    assert failed(report) == set(), reasons(report)
    assert "there are no labels" in reasons(check("hierarchies", unlabelled))
    assert_failed(
        check("hierarchies", misencoded), {"labels_are_encoded_as_paths"}, "not a path of the tree"
    )


def test_leaves_without_a_label_are_listed() -> None:
    def bare() -> Hierarchy:
        """A leaf without a label."""
        return Hierarchy.from_tree(["a", "b"], labels={0: "a"})

    report = check("hierarchies", bare)
    assert failed(report) == set()
    assert "which cannot be trained: b" in reasons(report)


def test_returning_something_else_than_a_hierarchy() -> None:
    def mapping() -> Any:
        """A dict."""
        return {"a": None}

    report = check("hierarchies", mapping)
    assert "mapping is of type dict, not hieraseg's Hierarchy" in reasons(report)


# Data sets.


class Data:
    """Three small images per split."""

    splits: Any = ("train", "val")

    def ids(self, split: str) -> list[str]:
        return [f"{split}-{index}" for index in range(3)]

    def image(self, id: str) -> np.ndarray:
        return np.full((6, 7, 3), len(id) * 9 + int(id[-1]), np.uint8)

    def mask(self, id: str) -> np.ndarray:
        return np.full((6, 7), int(id[-1]), np.uint8)

    def fingerprint(self, split: str) -> str:
        return f"data {split}"


class NoVal(Data):
    """Has no split val."""

    splits = ("train", "test")


class SharedIds(Data):
    """Splits share ids."""

    def ids(self, split: str) -> list[str]:
        return ["0", "1"]


class AbsolutePaths(Data):
    """Ids are absolute paths."""

    def ids(self, split: str) -> list[str]:
        return [f"/data/{split}-{index}" for index in range(3)]


class Unordered(Data):
    """The order of ids changes between calls."""

    def ids(self, split: str) -> list[str]:
        return super().ids(split)[:: 1 if next(COUNTER) % 2 else -1]


class OneFingerprint(Data):
    """All splits have the same fingerprint."""

    def fingerprint(self, split: str) -> str:
        return "data"


class FloatImages(Data):
    """Images are floats."""

    def image(self, id: str) -> np.ndarray:
        return super().image(id) / 255


class LargerMask(Data):
    """Masks are larger than images."""

    def mask(self, id: str) -> np.ndarray:
        return np.zeros((12, 14), np.uint8)


class UnknownLabel(Data):
    """Masks have a label that the hierarchy does not know."""

    def mask(self, id: str) -> np.ndarray:
        return super().mask(id) + np.uint8(70)


class OtherNames(Data):
    """Labels have the names of other classes of the hierarchy."""

    label_names = (*reversed([*MAIN_TREE.labels.values()]),)


class NamesOfNothing(Data):
    """Names of labels are no names."""

    label_names = "background"


class ReturnsCache(Data):
    """Returns cached arrays without copying."""

    def __init__(self) -> None:
        self.kept: dict[str, np.ndarray] = {}

    def image(self, id: str) -> np.ndarray:
        return self.kept.setdefault(id, super().image(id))


class SharedState(Data):
    """Keeps state that threads share."""

    def image(self, id: str) -> np.ndarray:
        self.current = id
        time.sleep(0.01)  # lets another thread run
        return super().image(self.current)


def test_datasets() -> None:
    report = check("datasets", Data)
    assert failed(report) == set(), reasons(report)


@pytest.mark.parametrize(
    ("broken", "properties", "message"),
    [
        (NoVal, {"splits_are_valid"}, "missing split val"),
        (SharedIds, {"ids_are_unique"}, "in 'train' and in 'val'"),
        (AbsolutePaths, {"ids_are_file_names"}, "is an absolute path"),
        (Unordered, {"ids_and_fingerprints_are_stable"}, "sort the files of a folder"),
        (OneFingerprint, {"fingerprints_of_splits_differ"}, "the same fingerprint"),
        (
            FloatImages,
            {"images_and_masks_are_arrays_of_the_same_size"},
            "must be uint8, got float64",
        ),
        (LargerMask, {"images_and_masks_are_arrays_of_the_same_size"}, "but its mask (12, 14)"),
        (UnknownLabel, {"labels_belong_to_the_hierarchy"}, "has the values [70]"),
        (OtherNames, {"label_names_agree_with_the_hierarchy"}, "label 0 is "),
        (NamesOfNothing, {"label_names_agree_with_the_hierarchy"}, "label_names is 'background'"),
        (ReturnsCache, {"reading_is_repeatable"}, "copies of cached arrays"),
        (SharedState, {"reading_is_thread_safe"}, "threads must not share state"),
    ],
)
def test_broken_data_sets(broken: Any, properties: set[str], message: str) -> None:
    assert_failed(check("datasets", broken), properties, message)


def test_hierarchy_may_be_a_function() -> None:
    def labelled() -> Hierarchy:
        return Hierarchy.from_tree(["a", "b"])

    report = check("datasets", Data, hierarchy=labelled)
    assert_failed(report, {"labels_belong_to_the_hierarchy"}, "[2]")


# Inference rules.


class Rule:
    """The class with the highest score on each level."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy

    def __call__(self, scores: list[Tensor]) -> Tensor:
        return torch.stack([level.max(1).indices for level in scores], dim=1)


class AsInt32(Rule):
    """Returns int32."""

    def __call__(self, scores: list[Tensor]) -> Tensor:
        return super().__call__(scores).int()


class LeavesOnly(Rule):
    """Returns one level."""

    def __call__(self, scores: list[Tensor]) -> Tensor:
        return super().__call__(scores)[:, -1:]


class CountsFromOne(Rule):
    """Counts classes from 1."""

    def __call__(self, scores: list[Tensor]) -> Tensor:
        return super().__call__(scores) + 1


class WorstClass(Rule):
    """Predicts the class with the lowest score."""

    def __call__(self, scores: list[Tensor]) -> Tensor:
        return super().__call__([-level for level in scores])


class RandomTies(Rule):
    """Breaks ties at random."""

    def __call__(self, scores: list[Tensor]) -> Tensor:
        return super().__call__([level + 1e-6 * torch.rand_like(level) for level in scores])


class BatchMean(Rule):
    """Subtracts the mean of the batch."""

    def __call__(self, scores: list[Tensor]) -> Tensor:
        return super().__call__([level - level.mean((0, 2, 3), True) for level in scores])


class InPlace(Rule):
    """Modifies the scores in place."""

    def __call__(self, scores: list[Tensor]) -> Tensor:
        return super().__call__([level.mul_(2) for level in scores])


class Masked(Rule):
    """Selects pixels by a mask."""

    def __call__(self, scores: list[Tensor]) -> Tensor:
        predicted = super().__call__(scores)
        uncertain = scores[-1].amax(1) < 0.1
        predicted[:, -1][uncertain] = predicted[:, -1][uncertain]
        return predicted


ANY = {"predictions_are_valid", "trees_of_every_shape", "ties_are_deterministic"}


@pytest.mark.parametrize(
    ("broken", "properties", "message"),
    [
        (Rule, set(), ""),
        (AsInt32, ANY, "it must return int64"),
        (LeavesOnly, {*ANY, "certain_scores_are_followed"}, "it must return [B, L, H, W]"),
        (
            CountsFromOne,
            {*ANY, "certain_scores_are_followed"} - {"ties_are_deterministic"},
            "which has classes 0 to 2",
        ),
        (WorstClass, {"certain_scores_are_followed"}, "0% are predicted as that path"),
        (RandomTies, {"ties_are_deterministic"}, "give different predictions"),
        (BatchMean, {"images_in_a_batch_are_independent"}, "without the other images in its batch"),
        (InPlace, {"scores_are_not_modified"}, "clone them before writing in place"),
        (Masked, {"can_be_captured"}, "whose shape depends on the data (`x[mask]`)"),
    ],
)
def test_broken_inference_rules(broken: Any, properties: set[str], message: str) -> None:
    assert_failed(check("inference", broken), properties, message)


def test_rule_that_claims_to_be_coherent() -> None:
    found = {"predictions_are_valid", "trees_of_every_shape"}
    report = check("inference", Rule, coherent=True)
    assert_failed(report, found, "coherent is true, but")


# Optimizers.

Parts = dict[str, list[nn.Parameter]]


def correct_optimizer(parameters: Parts, lr: float = 0.01) -> optim.Optimizer:
    """Adam.

    Args:
        lr: learning rate.
    """
    return optim.Adam([{"params": own} for own in parameters.values() if own], lr=lr)


def head_only(parameters: Parts) -> optim.Optimizer:
    """Leaves out the backbone, unless the head is empty."""
    return optim.Adam(parameters["head"] or parameters["backbone"])


def maximizes(parameters: Parts) -> optim.Optimizer:
    """Maximizes the loss."""
    return optim.SGD(
        [one for own in parameters.values() for one in own], lr=0.01, maximize=True, fused=True
    )


def empty_groups(parameters: Parts) -> optim.Optimizer:
    """Assumes that there is a backbone."""
    first = parameters["backbone"][0]
    assert first.requires_grad
    return correct_optimizer(parameters)


class Decays(optim.SGD):
    """Shrinks parameters even without a gradient."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(0.9)
        return super().step(closure)


def decays(parameters: Parts) -> optim.Optimizer:
    """Shrinks parameters without a gradient."""
    return Decays([one for own in parameters.values() for one in own], lr=0.01, fused=True)


class Counts(optim.SGD):
    """Counts its steps, but not in the state dict."""

    steps = 0

    def step(self, closure: Any = None) -> Any:
        self.steps += 1
        for group in self.param_groups:
            group["lr"] = 0.01 / self.steps
        return super().step(closure)


def counts(parameters: Parts) -> optim.Optimizer:
    """Takes shorter steps, and does not save their number."""
    return Counts([one for own in parameters.values() for one in own], lr=0.01, fused=True)


def no_rate(parameters: Parts) -> optim.Optimizer:
    """Has an initial learning rate of 0."""
    return Counts([one for own in parameters.values() for one in own], lr=0.0, fused=True)


def adagrad(parameters: Parts) -> optim.Optimizer:
    """Counts its steps in tensors of the CPU."""
    return optim.Adagrad([one for own in parameters.values() for one in own], lr=0.1)


def not_fused(parameters: Parts) -> optim.Optimizer:
    """Reads the learning rate from the device."""
    return optim.SGD([one for own in parameters.values() for one in own], lr=0.01)


class Numbers(optim.Optimizer):
    """Gradient descent, whose number of steps is a number in its state."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for one in group["params"]:
                if one.grad is not None:
                    self.state[one]["step"] = self.state[one].get("step", 0) + 1
                    one.sub_(one.grad * group["lr"])


def numbers(parameters: Parts) -> optim.Optimizer:
    """Counts its steps in Python."""
    return Numbers([one for own in parameters.values() for one in own], {"lr": 0.01})


@pytest.mark.parametrize(
    ("broken", "properties", "message"),
    [
        (correct_optimizer, set(), ""),
        (head_only, {"has_every_parameter_once", "minimizes"}, "would not be trained"),
        (maximizes, {"minimizes", "parts_may_be_empty"}, "a sum of squares goes from"),
        (empty_groups, {"parts_may_be_empty"}, "leave out empty groups"),
        (
            decays,
            {"parameters_without_gradient_are_unchanged"},
            "changes a parameter without a gradient",
        ),
        (
            counts,
            {"resumes_exactly", "can_be_captured"},
            "keep everything that a step depends on",
        ),
        (
            no_rate,
            {"learning_rates_are_non_negative", "resumes_exactly", "can_be_captured"},
            "nothing is trained",
        ),
        (adagrad, {"can_be_captured"}, "its state has a number that changes, a tensor of the CPU"),
        (not_fused, {"can_be_captured"}, "optimizers of torch need `fused=True`"),
        (numbers, {"can_be_captured"}, "its state has a number that changes, a tensor of the CPU"),
    ],
)
def test_broken_optimizers(broken: Any, properties: set[str], message: str) -> None:
    assert_failed(check("optimizers", broken), properties, message)


# Schedules.


def correct_schedule(optimizer: optim.Optimizer, total_steps: int) -> LRScheduler:
    """Linear decay to 0."""
    return LambdaLR(optimizer, lambda step: max(1 - step / total_steps, 0))


def below_zero(optimizer: optim.Optimizer, total_steps: int) -> LRScheduler:
    """Linear decay that is negative after the last step."""
    return LambdaLR(optimizer, lambda step: 1 - (step + 1) / total_steps)


def divides_by_zero(optimizer: optim.Optimizer, total_steps: int) -> LRScheduler:
    """Divides by the number of steps minus one."""
    return LambdaLR(optimizer, lambda step: 1 / (1 + step / (total_steps - 1)))


class UnsavedCalls(LRScheduler):
    """Does not save its state."""

    def __init__(self, optimizer: optim.Optimizer) -> None:
        self.calls = 0
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        self.calls += 1
        return [rate / self.calls for rate in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        return {key: one for key, one in super().state_dict().items() if key != "calls"}


def unsaved_calls(optimizer: optim.Optimizer, total_steps: int) -> LRScheduler:
    """Does not save how often it was called."""
    return UnsavedCalls(optimizer)


def random_rates(optimizer: optim.Optimizer, total_steps: int) -> LRScheduler:
    """Random learning rates."""
    return LambdaLR(optimizer, lambda step: float(torch.rand(())))


def shrinks(optimizer: optim.Optimizer, total_steps: int) -> LRScheduler:
    """Changes parameters."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.data.mul_(0.5)
    return correct_schedule(optimizer, total_steps)


RATES = "learning_rates_are_non_negative"


@pytest.mark.parametrize(
    ("broken", "properties", "message"),
    [
        (correct_schedule, set(), ""),
        (below_zero, {RATES}, "before step 10 (counted from 0) must be"),
        (divides_by_zero, {RATES}, "ZeroDivisionError"),
        (unsaved_calls, {"resumes_exactly"}, "in `state_dict()`"),
        (
            random_rates,
            {"is_repeatable", "resumes_exactly"},
            "the second time",
        ),
        (shrinks, {"changes_only_learning_rates"}, "it changes the values of parameters"),
    ],
)
def test_broken_schedules(broken: Any, properties: set[str], message: str) -> None:
    assert_failed(check("schedules", broken), properties, message)


def test_components_may_be_functions() -> None:
    """`component = my_factory` does not become a method of the suite."""
    assert check("optimizers", correct_optimizer, settings=({"lr": 0.1},)).count("passed") == 10
