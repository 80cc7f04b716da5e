"""Scoring a split: at the resolution of the protocol, with masks that are decoded once."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from hieraseg import IGNORE_INDEX, Prediction, registry
from hieraseg.data.store import Store, open_store
from hieraseg.data.targets import open_targets
from hieraseg.devices import start_fabric
from hieraseg.errors import DataError
from hieraseg.inference.segmenter import Segmenter
from hieraseg.metrics import PixelCounts, SplitCounts
from hieraseg.metrics.scoring import score_split
from hieraseg.settings import Evaluation
from tests.support.datasets import HIERARCHY, FakeDataset
from tests.support.runs import run_recipe


class Pointwise(nn.Module):
    """The logits of a pixel depend on its color only."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.levels = nn.ModuleList(nn.Conv2d(3, n, 1) for n in HIERARCHY.num_classes)

    def forward(self, images: Tensor) -> Prediction:
        return Prediction(tuple(20 * level(images) for level in self.levels))


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDataset:
    """Five images of three shapes, with an empty cache."""
    monkeypatch.setenv("HIERASEG_CACHE", str(tmp_path / "cache"))
    return FakeDataset(shape=[(12, 10), (3, 17), (20, 6)])


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return start_fabric("cpu")


@pytest.fixture
def segmenter() -> Segmenter:
    rule = registry.inference.get("independent")()
    return Segmenter(Pointwise(), "softmax", rule, HIERARCHY)


def expected_confusion(
    segmenter: Segmenter, store: Store, masks: list[np.ndarray], level: int
) -> np.ndarray:
    """The confusion matrix of a level, by a loop over images and pixels."""
    classes = HIERARCHY.num_classes[level]
    confusion = np.zeros((classes, classes), np.int64)
    for row, mask in enumerate(masks):
        image = torch.from_numpy(store.images[row].copy()).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            logits = segmenter.model(image).logits[level]
        logits = F.interpolate(logits, mask.shape, mode="bilinear", align_corners=False)
        predicted = logits[0].argmax(0).numpy()
        target = HIERARCHY.encode(torch.from_numpy(mask.copy()))[level].numpy()
        for y, x in np.ndindex(mask.shape):
            if target[y, x] != IGNORE_INDEX:
                confusion[target[y, x], predicted[y, x]] += 1
    return confusion


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_native_resolution_is_that_of_each_mask(
    dataset: FakeDataset, fabric: Fabric, segmenter: Segmenter, batch_size: int
) -> None:
    store = open_store(dataset, "val", HIERARCHY)
    targets = open_targets(dataset, "val", HIERARCHY)
    settings = Evaluation(batch_size=batch_size)
    counts = score_split(fabric, segmenter, targets, store, settings)
    masks = [dataset.mask(id) for id in store.ids]
    for level in range(2):
        expected = expected_confusion(segmenter, store, masks, level)
        np.testing.assert_array_equal(counts[f"confusion_{level + 1}"], expected)
    known = [int((mask != 255).sum()) for mask in masks]
    assert counts["pixels"].tolist() == known, "a row is that of another image"


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_input_resolution_is_that_of_the_store(
    dataset: FakeDataset, fabric: Fabric, segmenter: Segmenter, batch_size: int
) -> None:
    store = open_store(dataset, "val", HIERARCHY)
    settings = Evaluation(batch_size=batch_size, resolution="input")
    counts = score_split(fabric, segmenter, None, store, settings)
    for level in range(2):
        expected = expected_confusion(segmenter, store, list(store.masks), level)
        np.testing.assert_array_equal(counts[f"confusion_{level + 1}"], expected)


def test_pixel_counts_are_a_part_of_all_counts(
    dataset: FakeDataset, fabric: Fabric, segmenter: Segmenter
) -> None:
    store = open_store(dataset, "val", HIERARCHY)
    targets = open_targets(dataset, "val", HIERARCHY)
    few, every = (
        score_split(fabric, segmenter, targets, store, Evaluation(), kind)
        for kind in (PixelCounts, SplitCounts)
    )
    assert few.keys() < every.keys()
    for key, counts in few.items():
        np.testing.assert_array_equal(counts, every[key])


def test_targets_in_another_order_are_refused(
    dataset: FakeDataset,
    fabric: Fabric,
    segmenter: Segmenter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = open_store(dataset, "val", HIERARCHY)
    ids = dataset.ids("val")
    monkeypatch.setattr(dataset, "ids", lambda split: ids[::-1])
    targets = open_targets(dataset, "val", HIERARCHY)
    with pytest.raises(DataError, match="ids of the split differ from one call to the next"):
        score_split(fabric, segmenter, targets, store, Evaluation())


def test_scoring_decodes_nothing(
    dataset: FakeDataset, fabric: Fabric, segmenter: Segmenter
) -> None:
    store = open_store(dataset, "val", HIERARCHY)
    targets = open_targets(dataset, "val", HIERARCHY)
    dataset.mask_calls.clear()
    for _ in range(2):
        score_split(fabric, segmenter, targets, store, Evaluation())
    assert dataset.mask_calls == []


def test_a_run_decodes_each_validation_mask_once_per_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for the store of images and once for that of targets, with any number of epochs."""
    dataset = registry.datasets.get("mannequins")
    decoded: Counter[str] = Counter()
    decode = dataset.mask

    def mask(self: object, id: str) -> np.ndarray:
        decoded[id] += 1
        return decode(self, id)

    monkeypatch.setattr(dataset, "mask", mask)
    monkeypatch.setenv("HIERASEG_CACHE", str(tmp_path / "cache"))
    run_recipe(tmp_path, "--training.epochs", "3")
    assert {id: n for id, n in decoded.items() if id.startswith("val")} == {
        f"val-{index:05d}": 2 for index in range(5)
    }
