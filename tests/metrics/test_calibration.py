"""Calibration errors against torchmetrics and a loop over pixels."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import Tensor
from torchmetrics.classification import BinaryCalibrationError, MulticlassCalibrationError

from hieraseg import IGNORE_INDEX, Hierarchy
from hieraseg.metrics import SplitCounts, calibration, summarize
from tests.support.scores import approximately, mean_of, random_case
from tests.support.trees import SEEDS, Tree, nested_trees


def error_by_loop(scores: list[float], true: list[bool]) -> float | None:
    """ECE of (score, is it true) pairs with 20 bins, each with its lower edge."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for score, happened in zip(scores, true, strict=True):
        bins.setdefault(min(math.floor(score * 20), 19), []).append((score, happened))
    gaps = [
        abs(sum(happened for _, happened in found) - sum(score for score, _ in found))
        for found in bins.values()
    ]
    return sum(gaps) / len(scores) if scores else None


@given(nested_trees(), SEEDS)
def test_errors_by_loops(tree: Tree, seed: int) -> None:
    case = random_case(tree, seed)
    levels = case.summary()["levels"]
    for level, classes in enumerate(case.hierarchy.num_classes):
        truth, answer = case.targets[:, level], case.predicted[:, level]
        known = truth != IGNORE_INDEX
        scores = case.scores[level].movedim(1, -1)[known]
        truth, answer = truth[known], answer[known]
        answered = scores[torch.arange(len(answer)), answer]
        expected = error_by_loop(answered.tolist(), (truth == answer).tolist())
        assert levels[level]["ece"] == approximately(expected)
        each = [
            error_by_loop(scores[:, index].tolist(), (truth == index).tolist())
            for index in range(classes)
        ]
        assert levels[level]["classwise_ece"] == approximately(mean_of(each))


def softmax_case(seed: int) -> tuple[Hierarchy, Tensor, Tensor]:
    """Scores of 6 classes that are too sure, and truths with void."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, 6, 20, 30, generator=generator)
    drawn = torch.distributions.Categorical(logits=logits.movedim(1, -1) / 2)
    torch.manual_seed(seed)
    truth = drawn.sample()
    truth[torch.rand(truth.shape, generator=generator) < 0.2] = IGNORE_INDEX
    return Hierarchy.from_tree(list("abcdef")), logits.softmax(1), truth


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_torchmetrics(seed: int) -> None:
    hierarchy, scores, truth = softmax_case(seed)
    counts = SplitCounts(hierarchy, 2, torch.device("cpu"))
    counts.add(torch.arange(2), scores.argmax(1)[:, None], truth[:, None], [scores])
    (level,) = summarize(counts.arrays(), hierarchy)["levels"]
    top = MulticlassCalibrationError(6, n_bins=20, norm="l1", ignore_index=IGNORE_INDEX)
    assert level["ece"] == pytest.approx(top(scores, truth).item(), abs=1e-6)
    assert level["ece"] > 0.1
    known = truth != IGNORE_INDEX
    binary = [
        BinaryCalibrationError(n_bins=20, norm="l1")(
            scores[:, index][known], (truth[known] == index).long()
        ).item()
        for index in range(6)
    ]
    assert level["classwise_ece"] == pytest.approx(np.mean(binary), abs=1e-6)


def test_by_hand() -> None:
    """Four pixels, the answer's score .75 each, two answers right: .25 off."""
    hierarchy = Hierarchy.from_tree(["a", "b"])
    counts = SplitCounts(hierarchy, 1, torch.device("cpu"))
    scores = torch.tensor([0.75, 0.25])[None, :, None, None].expand(1, 2, 1, 4)
    answer, truth = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 1]])[:, None, None, None].unbind()
    counts.add(torch.tensor([0]), answer, truth, [scores])
    (level,) = summarize(counts.arrays(), hierarchy)["levels"]
    assert level["ece"] == 0.25
    # a: .75 for a share of .5; b: .25 for a share of .5.
    assert level["classwise_ece"] == 0.25


def test_classes_in_chunks_count_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hierarchy, scores, truth = softmax_case(0)
    found = []
    for chunk in (calibration._CHUNK, 2 * truth.numel(), 1):
        monkeypatch.setattr(calibration, "_CHUNK", chunk)
        counts = SplitCounts(hierarchy, 2, torch.device("cpu"))
        counts.add(torch.arange(2), scores.argmax(1)[:, None], truth[:, None], [scores])
        found.append(counts.arrays()["classwise_calibration_1"])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_what_is_no_number_or_beyond_one_is_counted_once() -> None:
    """A diverged model is scored, not a crash; sums of a softmax may exceed 1 by rounding."""
    hierarchy = Hierarchy.from_tree(["a", "b"])
    counts = SplitCounts(hierarchy, 1, torch.device("cpu"))
    scores = torch.tensor([[torch.nan, 0.5, 1.0000001], [torch.inf, 0.5, -1e-9]])[None, :, None]
    zeros = torch.zeros(1, 1, 1, 3, dtype=torch.int64)
    counts.add(torch.tensor([0]), zeros, zeros, [scores])
    pixels = counts.arrays()["classwise_calibration_1"][0]
    assert pixels[0].nonzero()[0].tolist() == [0, 10, 19]
    assert pixels.sum(1).tolist() == [3, 3]
    assert 0 <= summarize(counts.arrays(), hierarchy)["levels"][0]["classwise_ece"] <= 1
