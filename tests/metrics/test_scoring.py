"""Scoring a split: at the resolution of the protocol, with masks that are decoded once."""

from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor

from hieraseg import IGNORE_INDEX, registry
from hieraseg.data.batches import stacks
from hieraseg.data.stores.store import Store, open_store
from hieraseg.data.stores.targets import TargetStore, open_scored, open_targets
from hieraseg.devices import start_fabric
from hieraseg.errors import DataError, DivergedError
from hieraseg.inference import bands
from hieraseg.inference.segmenter import Segmenter
from hieraseg.metrics import Counts, PixelCounts, SplitCounts, scoring
from hieraseg.metrics.scoring import score_split
from hieraseg.settings import Evaluation, Input
from hieraseg.testing.capturing import on_fake_tensors
from tests.support.datasets import HIERARCHY, FakeDataset
from tests.support.inference import Pointwise
from tests.support.processes import as_processes
from tests.support.runs import run_recipe
from tests.support.tracing import without_shape_checks


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDataset:
    """Five images of three shapes, with an empty cache."""
    monkeypatch.setenv("HIERASEG_CACHE", str(tmp_path / "cache"))
    return FakeDataset(shape=[(12, 10), (3, 17), (20, 6)])


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return start_fabric("cpu")


INPUT = Input(size=(6, 8))


def segmenter_of(seen: Input = INPUT, **settings: Any) -> Segmenter:
    """A segmenter with the given settings of `Evaluation`."""
    rule = registry.inference.get("independent")()
    model = Pointwise(HIERARCHY.num_classes, stride=1 if seen == INPUT else 4)
    return Segmenter(model, "softmax", rule, HIERARCHY, Evaluation(**settings), seen)


def stores_of(dataset: FakeDataset, segmenter: Segmenter) -> tuple[Store, TargetStore | None]:
    return open_scored(dataset, "val", HIERARCHY, segmenter.seen, segmenter.settings)


def expected_confusion(images: list[np.ndarray], masks: list[np.ndarray], level: int) -> np.ndarray:
    """The confusion matrix of a level, by a loop over images and pixels."""
    classes = HIERARCHY.num_classes[level]
    confusion = np.zeros((classes, classes), np.int64)
    model = Pointwise(HIERARCHY.num_classes)
    for pixels, mask in zip(images, masks, strict=True):
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            logits = model(image).logits[level]
        logits = F.interpolate(logits, mask.shape, mode="bilinear", align_corners=False)
        predicted = logits[0].argmax(0).numpy()
        target = HIERARCHY.encode(torch.from_numpy(mask.copy()))[level].numpy()
        for y, x in np.ndindex(mask.shape):
            if target[y, x] != IGNORE_INDEX:
                confusion[target[y, x], predicted[y, x]] += 1
    return confusion


def resized(image: np.ndarray, size: tuple[int, int], mask: bool = False) -> np.ndarray:
    filter = Image.Resampling.NEAREST if mask else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(image).resize(size[::-1], filter))


# The images are 12 x 10, 3 x 17 and 20 x 6.
SHAPES: dict[str, list[tuple[int, int]]] = {
    "stretch": [(6, 8)] * 3,
    "shorter": [(10, 8), (6, 34), (27, 8)],
    "longer": [(6, 5), (1, 8), (6, 2)],
    "none": [(12, 10), (3, 17), (20, 6)],
}


@pytest.mark.parametrize("resize", SHAPES)
@pytest.mark.parametrize("resolution", ["native", "input"])
@pytest.mark.parametrize("batch_size", [1, 16])
def test_images_of_all_shapes_against_a_loop(
    dataset: FakeDataset, fabric: Fabric, resize: Any, resolution: str, batch_size: int
) -> None:
    """At the resolution of each mask, or at that of the model, and padded between."""
    segmenter = segmenter_of(
        Input(size=(6, 8), resize=resize), resolution=resolution, batch_size=batch_size
    )
    store, targets = stores_of(dataset, segmenter)
    counts = score_split(fabric, segmenter, targets, store)
    shapes = [SHAPES[resize][index % 3] for index in range(5)]
    ids = dataset.ids("val")
    masks = [dataset.mask(id) for id in ids]
    images = [resized(dataset.image(id), size) for id, size in zip(ids, shapes, strict=True)]
    if resolution == "input":
        masks = [resized(mask, size, mask=True) for mask, size in zip(masks, shapes, strict=True)]
    for level in range(2):
        expected = expected_confusion(images, masks, level)
        np.testing.assert_array_equal(counts[f"confusion_{level + 1}"], expected)
    known = [int((mask != 255).sum()) for mask in masks]
    assert counts["pixels"].tolist() == known, "a row is that of another image"


@pytest.mark.parametrize("resize", ["stretch", "longer"])
@pytest.mark.parametrize("resolution", ["native", "input"])
def test_windows_count_all_pixels_once(
    dataset: FakeDataset, fabric: Fabric, resize: Any, resolution: str
) -> None:
    """A pointwise model predicts the same in windows as of the whole image."""
    whole = segmenter_of(Input(resize="none"))
    expected = score_split(fabric, whole, *reversed(stores_of(dataset, whole)))
    windows = segmenter_of(Input(size=(6, 8), resize=resize), resolution=resolution, window=(4, 8))
    counts = score_split(fabric, windows, *reversed(stores_of(dataset, windows)))
    for key, value in expected.items():
        if "calibration" in key:  # blending rounds scores
            np.testing.assert_allclose(counts[key], value, atol=200)
        else:
            np.testing.assert_array_equal(counts[key], value)


@pytest.mark.parametrize("settings", [{}, {"flip": True, "scales": (0.7, 1)}])
@pytest.mark.parametrize("kind", [PixelCounts, SplitCounts])
def test_counts_do_not_depend_on_which_images_are_stacked(
    dataset: FakeDataset,
    fabric: Fabric,
    settings: dict[str, Any],
    kind: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exactly: images one by one, and all of one size and shape at once."""
    found = []
    for limit, batch_size in ((1, 1), (2**20, 16), (1, 16)):
        monkeypatch.setitem(bands._SCORES, "cpu", limit)
        segmenter = segmenter_of(batch_size=batch_size, **settings)
        store, targets = stores_of(dataset, segmenter)
        found.append(score_split(fabric, segmenter, targets, store, kind))
    for counts in found[1:]:
        for key, value in found[0].items():
            np.testing.assert_array_equal(counts[key], value)


@pytest.mark.parametrize("settings", [{}, {"flip": True, "scales": (0.7, 1)}, {"window": (6, 8)}])
@pytest.mark.parametrize("kind", [PixelCounts, SplitCounts])
def test_nothing_is_read_from_the_device_before_the_end(
    dataset: FakeDataset, settings: dict[str, Any], kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On tensors without data, of which nothing can be read."""
    dataset.length = 3  # one image of each shape
    segmenter = segmenter_of(Input(size=(6, 8), resize="shorter"), **settings)
    store, targets = stores_of(dataset, segmenter)
    ends: list[str] = []
    monkeypatch.setattr(stacks, "pinned", lambda stack, _: stack)
    monkeypatch.setattr(scoring, "_check_finite", lambda failed: ends.append(failed.device.type))
    monkeypatch.setattr(scoring, "sum_counts", lambda counts: counts)
    with without_shape_checks(), on_fake_tensors(copies=True):
        device = torch.device("cuda")
        segmenter.model.to(device)
        score_split(OneDevice(device), segmenter, targets, store, kind)  # type: ignore[arg-type]
    assert ends == ["cuda"]


@dataclass
class OneDevice:
    """What scoring needs of fabric."""

    device: torch.device
    world_size: int = 1
    global_rank: int = 0

    def autocast(self) -> AbstractContextManager[None]:
        return nullcontext()


class Process(Fabric):
    """One of two processes."""

    world_size = 2  # type: ignore[assignment]
    global_rank = 0  # type: ignore[assignment]

    def __init__(self, rank: int) -> None:
        super().__init__(accelerator="cpu", devices=1)
        self.global_rank = rank


@pytest.mark.parametrize("settings", [{}, {"window": (4, 4), "flip": True}, {"scales": (0.7, 1)}])
def test_counts_do_not_depend_on_the_number_of_processes(
    dataset: FakeDataset, fabric: Fabric, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = segmenter_of(Input(size=(6, 8), resize="shorter"), **settings)
    store, targets = stores_of(dataset, segmenter)
    expected = score_split(fabric, segmenter, targets, store)

    def score(rank: int) -> Counts:
        return score_split(Process(rank), segmenter, targets, store)

    for counts in as_processes(monkeypatch, 2, score):
        for key, value in expected.items():
            np.testing.assert_array_equal(counts[key], value)


def test_pixel_counts_are_a_part_of_all_counts(dataset: FakeDataset, fabric: Fabric) -> None:
    segmenter = segmenter_of()
    store, targets = stores_of(dataset, segmenter)
    few, every = (
        score_split(fabric, segmenter, targets, store, kind) for kind in (PixelCounts, SplitCounts)
    )
    assert few.keys() < every.keys()
    for key, counts in few.items():
        np.testing.assert_array_equal(counts, every[key])


def test_targets_in_another_order_are_refused(
    dataset: FakeDataset, fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(dataset, "val", HIERARCHY, INPUT)
    ids = dataset.ids("val")
    monkeypatch.setattr(dataset, "ids", lambda split: ids[::-1])
    targets = open_targets(dataset, "val", HIERARCHY)
    with pytest.raises(DataError, match="ids of the split differ from one call to the next"):
        score_split(fabric, segmenter_of(), targets, store)


def test_images_without_finite_scores_are_counted(dataset: FakeDataset, fabric: Fabric) -> None:
    """Each once, however many of its bands have some."""

    class Broken(Pointwise):
        def logits(self, images: Tensor) -> list[Tensor]:
            bad = torch.nan if images.shape[-1] == 10 else 0.0  # the images of 12 x 10
            return [level + bad for level in super().logits(images)]

    whole = segmenter_of(Input(resize="none"))
    windows = segmenter_of(window=(2, 20), window_overlap=0.0)
    for one in (whole, windows):
        broken = replace(one, model=Broken(HIERARCHY.num_classes))
        store, targets = stores_of(dataset, broken)
        with pytest.raises(DivergedError, match="not finite in 2 of 5 images"):
            score_split(fabric, broken, targets, store)


def test_scoring_decodes_nothing(dataset: FakeDataset, fabric: Fabric) -> None:
    store, targets = stores_of(dataset, segmenter_of())
    dataset.mask_calls.clear()
    for _ in range(2):
        score_split(fabric, segmenter_of(), targets, store)
    assert dataset.mask_calls == []


def test_a_run_decodes_each_validation_mask_once_per_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for the store of images and once for that of targets, with any number of epochs.

    And once more for some images, to estimate the size of the stores.
    """
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
        f"val-{index:05d}": 3 for index in range(5)
    }
