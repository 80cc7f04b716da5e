"""The counts of a validation during training."""

import numpy as np
import torch

from hieraseg import Hierarchy
from hieraseg.metrics import PixelCounts, WatchedCounts, summarize

MANY = [f"part {index}" for index in range(60)]
HIERARCHY = Hierarchy.from_tree({"sky": None, "body": MANY})
CPU = torch.device("cpu")


def test_confusion_matrices_beside_the_same_scores() -> None:
    random = torch.Generator().manual_seed(0)
    leaves = torch.randint(61, (2, 2, 9, 9), generator=random)
    predicted, targets = (HIERARCHY.paths[one].movedim(-1, 1).contiguous() for one in leaves)
    targets[0, :, :3] = -100
    targets[1, 1, 4] = -100
    watched, counted = WatchedCounts(HIERARCHY, 2, CPU), PixelCounts(HIERARCHY, 2, CPU)
    for counts in (watched, counted):
        counts.add(torch.arange(2), predicted, targets)
    expected = np.zeros((2, 2), np.int64)
    known = targets[:, 0] >= 0
    np.add.at(expected, (targets[:, 0][known].numpy(), predicted[:, 0][known].numpy()), 1)
    found = watched.arrays()
    np.testing.assert_array_equal(found["confusion_1"], expected)
    assert "confusion_2" not in found, "of 61 classes"
    assert summarize(found, HIERARCHY) == summarize(counted.arrays(), HIERARCHY)
