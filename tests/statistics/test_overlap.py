"""IoU and its mean, by hand."""

import numpy as np

from hieraseg.statistics.overlap import Overlap, iou, mean_iou


def test_iou_of_absent_classes_is_undefined() -> None:
    found = iou(np.array([2, 0, 0]), np.array([4, 3, 0]))
    np.testing.assert_array_equal(found, [0.5, 0, np.nan])


def test_means_leave_undefined_classes_out() -> None:
    found = mean_iou(np.array([[0.5, 0, np.nan], [np.nan, np.nan, np.nan]]))
    np.testing.assert_array_equal(found, [0.25, np.nan])


def test_scores() -> None:
    """The mean leaves background out, which can be shown."""
    counts = np.array([[[[9, 1, 0], [0, 1, 0]]], [[[10, 2, 1], [5, 2, 1]]]], float)
    overlap = Overlap(counts, np.array([False, True, True]), np.array([0, 1]))
    np.testing.assert_allclose(overlap.scores(overlap.total()), [[0.25, 9 / 15, 0.5]])
    weights = np.array([[2, 0], [0, 1]], np.uint8)
    expected = [[[0.25, 0.9, 0.5], [0.25, 0, 0.5]]]
    np.testing.assert_allclose(overlap.scores(overlap.sums(weights)), expected)
