"""Calibration errors against torchmetrics and a loop over pixels."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy
from hieraseg.metrics import SplitCounts, calibration, summarize
from tests.support.scores import approximately, mean_of, random_case
from tests.support.trees import SEEDS, Tree, nested_trees


def error_by_loop(scores: list[float], positives: list[bool]) -> float | None:
    """ECE with 20 bins, each with its lower edge."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for score, positive in zip(scores, positives, strict=True):
        bins.setdefault(min(math.floor(score * 20), 19), []).append((score, positive))
    gaps = [
        abs(sum(positive for _, positive in found) - sum(score for score, _ in found))
        for found in bins.values()
    ]
    return sum(gaps) / len(scores) if scores else None


@given(nested_trees(), SEEDS)
def test_errors_by_loops(tree: Tree, seed: int) -> None:
    case = random_case(tree, seed)
    levels = case.summary()["levels"]
    for level, classes in enumerate(case.hierarchy.num_classes):
        target, predicted = case.targets[:, level], case.predicted[:, level]
        known = target != IGNORE_INDEX
        scores = case.scores[level].movedim(1, -1)[known]
        target, predicted = target[known], predicted[known]
        confidence = scores[torch.arange(len(predicted)), predicted]
        expected = error_by_loop(confidence.tolist(), (target == predicted).tolist())
        assert levels[level]["ece"] == approximately(expected)
        each = [
            error_by_loop(scores[:, index].tolist(), (target == index).tolist())
            for index in range(classes)
        ]
        assert levels[level]["classwise_ece"] == approximately(mean_of(each))


def softmax_case(seed: int) -> tuple[Hierarchy, Tensor, Tensor]:
    """Overconfident scores of 6 classes, and targets with void."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, 6, 20, 30, generator=generator)
    drawn = torch.distributions.Categorical(logits=logits.movedim(1, -1) / 2)
    torch.manual_seed(seed)
    target = drawn.sample()
    target[torch.rand(target.shape, generator=generator) < 0.2] = IGNORE_INDEX
    return Hierarchy.from_tree(list("abcdef")), logits.softmax(1), target


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_torchmetrics(seed: int) -> None:
    # Not at the top, since each process that collects tests would take seconds to import it.
    from torchmetrics.classification import BinaryCalibrationError, MulticlassCalibrationError

    hierarchy, scores, target = softmax_case(seed)
    counts = SplitCounts(hierarchy, 2, torch.device("cpu"))
    counts.add(torch.arange(2), scores.argmax(1)[:, None], target[:, None], [scores])
    (level,) = summarize(counts.arrays(), hierarchy)["levels"]
    top = MulticlassCalibrationError(6, n_bins=20, norm="l1", ignore_index=IGNORE_INDEX)
    assert level["ece"] == pytest.approx(top(scores, target).item(), abs=1e-6)
    assert level["ece"] > 0.1
    known = target != IGNORE_INDEX
    binary = [
        BinaryCalibrationError(n_bins=20, norm="l1")(
            scores[:, index][known], (target[known] == index).long()
        ).item()
        for index in range(6)
    ]
    assert level["classwise_ece"] == pytest.approx(np.mean(binary), abs=1e-6)


def test_by_hand() -> None:
    """Four pixels with a confidence of .75, two of them correct: an error of .25."""
    hierarchy = Hierarchy.from_tree(["a", "b"])
    counts = SplitCounts(hierarchy, 1, torch.device("cpu"))
    scores = torch.tensor([0.75, 0.25])[None, :, None, None].expand(1, 2, 1, 4)
    predicted, target = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 1]])[:, None, None, None].unbind()
    counts.add(torch.tensor([0]), predicted, target, [scores])
    (level,) = summarize(counts.arrays(), hierarchy)["levels"]
    assert level["ece"] == 0.25
    # a: .75 for a fraction of .5; b: .25 for a fraction of .5.
    assert level["classwise_ece"] == 0.25


def test_chunks_do_not_change_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    hierarchy, scores, target = softmax_case(0)
    found = []
    pixels = target.numel()
    for chunk in (calibration._CHUNK["cpu"], 2 * pixels, pixels // 2, 70, 1):
        monkeypatch.setitem(calibration._CHUNK, "cpu", chunk)
        counts = SplitCounts(hierarchy, 2, torch.device("cpu"))
        counts.add(torch.arange(2), scores.argmax(1)[:, None], target[:, None], [scores])
        found.append(counts.arrays()["classwise_calibration_1"])
    for counts_in_chunks in found[1:]:
        np.testing.assert_array_equal(found[0], counts_in_chunks)


def test_scores_that_are_nan_or_above_one_are_counted_once() -> None:
    """Diverged models can be scored, and sums of a softmax may exceed 1 by rounding."""
    hierarchy = Hierarchy.from_tree(["a", "b"])
    counts = SplitCounts(hierarchy, 1, torch.device("cpu"))
    scores = torch.tensor([[torch.nan, 0.5, 1.0000001], [torch.inf, 0.5, -1e-9]])[None, :, None]
    zeros = torch.zeros(1, 1, 1, 3, dtype=torch.int64)
    counts.add(torch.tensor([0]), zeros, zeros, [scores])
    pixels = counts.arrays()["classwise_calibration_1"][0]
    assert pixels[0].nonzero()[0].tolist() == [0, 10, 19]
    assert pixels.sum(1).tolist() == [3, 3]
    assert 0 <= summarize(counts.arrays(), hierarchy)["levels"][0]["classwise_ece"] <= 1
