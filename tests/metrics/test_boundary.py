"""Boundary IoU against erosion of each class, and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion
from torch import Tensor

from hieraseg import IGNORE_INDEX, Hierarchy
from hieraseg.metrics import SplitCounts, summarize
from hieraseg.metrics.boundary import boundary_distance, near_boundary
from tests.support.scores import Case, approximately, mean_of, random_case
from tests.support.trees import SEEDS, Tree, nested_trees

FLAT = Hierarchy.from_tree(["background", "a", "b"], background="background")


def eroded_away(mask: np.ndarray, distance: int) -> np.ndarray:
    """The pixels that erosion removes, as in the published code: 0 outside of the image."""
    square = np.ones((3, 3), bool)
    return mask & ~binary_erosion(mask, square, iterations=distance, border_value=0)


def blobs(size: tuple[int, int, int], classes: int, generator: torch.Generator) -> Tensor:
    """Label maps `[B, H, W]` of large regions with a few single pixels."""
    images, height, width = size
    coarse = torch.randint(classes, (images, height // 8 + 1, width // 8 + 1), generator=generator)
    labels = coarse.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, :height, :width]
    stray = torch.rand(labels.shape, generator=generator) < 0.01
    return torch.where(stray, torch.randint(classes, size, generator=generator), labels)


@given(SEEDS, st.integers(1, 6))
def test_boundary_region_is_removed_by_erosion(seed: int, distance: int) -> None:
    labels = blobs((2, 30, 21), 4, torch.Generator().manual_seed(seed))
    labels[1, 3:17, 4:9] = IGNORE_INDEX
    band = near_boundary(labels, distance).numpy()
    for image in range(2):
        for index in range(4):
            mask = labels[image].numpy() == index
            np.testing.assert_array_equal(band[image] & mask, eroded_away(mask, distance))


@given(nested_trees(), SEEDS)
def test_scores_by_loops(tree: Tree, seed: int) -> None:
    """Small images, where each pixel is compared with its eight neighbors."""
    case = random_case(tree, seed)
    assert boundary_distance(*case.targets.shape[-2:]) == 1
    levels = case.summary()["levels"]
    for level, names in enumerate(case.hierarchy.level_names):
        iou = {name: iou_by_loop(case, level, index) for index, name in enumerate(names)}
        foreground = [iou[name] for name in names if name != case.hierarchy.background]
        expected = {name: approximately(value) for name, value in iou.items()}
        assert levels[level]["boundary_iou"] == expected
        assert levels[level]["mean_boundary_iou"] == approximately(mean_of(foreground))


def iou_by_loop(case: Case, level: int, index: int) -> float | None:
    both = either = 0
    images, height, width = case.targets[:, level].shape
    for image in range(images):
        target = case.targets[image, level].tolist()
        predicted = case.predicted[image, level].tolist()
        for y, x in np.ndindex(height, width):
            neighbors = [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]

            def inside(
                labels: list[list[int]],
                place: tuple[int, int],
                target: list[list[int]] = target,
            ) -> bool:
                row, column = place
                if not (0 <= row < height and 0 <= column < width):
                    return False
                return target[row][column] != IGNORE_INDEX and labels[row][column] == index

            near = [
                inside(labels, (y, x)) and not all(inside(labels, place) for place in neighbors)
                for labels in (target, predicted)
            ]
            both += all(near)
            either += any(near)
    return both / either if either else None


@pytest.mark.parametrize("step", [120, 17, 1])
def test_large_image_against_erosion(step: int) -> None:
    """With a diagonal of 150 pixels, the region has 3 pixels on each side of a boundary.

    The rows come at once, in bands of 17, and one by one.
    """
    generator = torch.Generator().manual_seed(0)
    target = blobs((2, 120, 90), 3, generator)
    predicted = torch.where(
        torch.rand(target.shape, generator=generator) < 0.001, (target + 1) % 3, target
    ).roll(1, dims=2)
    assert boundary_distance(120, 90) == 3
    counts = SplitCounts(FLAT, 2, torch.device("cpu"))
    boundaries = counts.boundaries(torch.arange(2), (120, 90))
    for start in range(0, 120, step):
        rows = slice(start, start + step)
        boundaries.add(predicted[:, None, rows], target[:, None, rows])
        assert boundaries.kept[0].shape[2] <= max(step, 6) + 6
    scores = [torch.rand(2, 3, 120, 90, generator=generator)]
    counts.add(torch.arange(2), predicted[:, None], target[:, None], scores)
    (level,) = summarize(counts.arrays(), FLAT)["levels"]
    for index, name in enumerate(FLAT.level_names[0]):
        near = [
            [eroded_away(image.numpy() == index, 3) for image in labels]
            for labels in (target, predicted)
        ]
        both, either = np.logical_and(*near).sum(), np.logical_or(*near).sum()
        assert level["boundary_iou"][name] == pytest.approx(both / either)
        # A shift by one pixel has more effect near boundaries.
        assert level["boundary_iou"][name] < level["iou"][name]


def test_correct_predictions_next_to_void_are_correct() -> None:
    target = torch.tensor([[1, 1, 1, -100, -100, 2, 2, 2, 2]] * 7)[None, None]
    predicted = torch.tensor([[1, 1, 1, 1, 2, 2, 2, 2, 2]] * 7)[None, None]
    counts = SplitCounts(FLAT, 1, torch.device("cpu"))
    counts.add(torch.tensor([0]), predicted, target, [torch.rand(1, 3, 7, 9)])
    counts.boundaries(torch.tensor([0]), (7, 9)).add(predicted, target)
    (level,) = summarize(counts.arrays(), FLAT)["levels"]
    assert level["boundary_iou"] == {"background": None, "a": 1, "b": 1}
    # All but the inner 5 x 1 of a and 5 x 2 of b: void is a boundary like the image border.
    np.testing.assert_array_equal(counts.arrays()["boundary_truth_1"], [[0, 16, 18]])


@pytest.mark.parametrize(
    ("height", "width", "distance"), [(1, 1, 1), (30, 40, 1), (60, 80, 2), (1024, 2048, 46)]
)
def test_distance(height: int, width: int, distance: int) -> None:
    """2 % of the diagonal, rounded, at least 1."""
    assert boundary_distance(height, width) == distance
