"""Whether decoded images are kept, and what is said about it."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from hieraseg.data.checking import CheckedDataset
from hieraseg.data.stores import building
from hieraseg.data.stores.building import estimated_pixels, size_text
from hieraseg.data.stores.store import Store, open_store
from hieraseg.data.stores.targets import open_targets
from hieraseg.errors import DataError
from hieraseg.settings import Input
from tests.support.datasets import HIERARCHY, FakeDataset

NEEDED = 5 * 6 * 8 * 4  # bytes of five images and masks


class Usage(NamedTuple):
    free: int


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The free bytes of the disk."""
    space = [10**12]
    monkeypatch.setattr(building.shutil, "disk_usage", lambda _: Usage(space[0]))
    return space


def open_train(source: Any = "auto", resize: Any = "stretch") -> Store:
    settings = Input(size=(6, 8), store=source, resize=resize)
    return open_store(FakeDataset(), "train", HIERARCHY, settings)


def files_in(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*.*") if path.suffix in (".bin", ".npz"))


@pytest.mark.parametrize(("space", "kept"), [(2 * NEEDED + 1, True), (2 * NEEDED, False)])
def test_images_are_kept_if_they_need_less_than_half_of_the_free_space(
    free: list[int], cache: Path, space: int, kept: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    free[0] = space
    open_train()
    assert files_in(cache) == (["images.bin", "index.npz", "masks.bin"] if kept else ["index.npz"])
    lines = capsys.readouterr().err.splitlines()
    if kept:
        assert lines == [
            f"preparing 5 images of split 'train', once: about 0.0 MB in {cache} "
            "(input.store: files keeps none)"
        ]
    else:
        assert lines == [
            "5 images of split 'train' are decoded whenever they are needed; input.store: decoded "
            f"would take about 0.0 MB of the 0.0 MB that are free in {cache}",
            "checking 5 images of split 'train', once",
        ]


def test_what_is_there_is_used_however_little_space_is_left(
    free: list[int], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_train("decoded")
    free[0] = 0
    capsys.readouterr()
    store = open_train()
    assert np.shares_memory(store.image(0), store.image(0)), "decoded again"
    open_train("decoded")
    assert capsys.readouterr().err == ""


def test_it_is_chosen_again_when_there_is_more_space(free: list[int], cache: Path) -> None:
    free[0] = 0
    first = open_train()
    free[0] = 10**12
    second = open_train()
    assert files_in(cache) == ["images.bin", "index.npz", "index.npz", "masks.bin"]
    np.testing.assert_array_equal(first.image(2), second.image(2))


def test_decoded_images_that_do_not_fit_are_refused_before_they_are_decoded(
    free: list[int], cache: Path
) -> None:
    free[0] = NEEDED - 1
    with pytest.raises(DataError) as caught:
        open_train("decoded")
    assert str(caught.value).startswith("input.store: decoded, the 5 images of split 'train' take ")
    assert str(caught.value).endswith(
        "set it to files, or HIERASEG_CACHE to a folder with enough space"
    )
    assert not cache.exists()


def test_targets_are_chosen_by_their_own_size(free: list[int], cache: Path) -> None:
    free[0] = 2 * 5 * 120
    open_targets(FakeDataset(), "train", HIERARCHY)
    assert files_in(cache) == ["index.npz"]
    free[0] += 1
    open_targets(FakeDataset(), "train", HIERARCHY)
    assert "masks.bin" in files_in(cache)


def test_space_of_images_of_different_shapes_follows_from_a_sample() -> None:
    dataset = FakeDataset(length=1000, shape=[(20, 10), (40, 10)])
    checked = CheckedDataset(dataset, HIERARCHY)
    ids = checked.ids("train")

    def estimate(resize: Any) -> int:
        dataset.mask_calls.clear()
        return estimated_pixels(checked, ids, Input(size=(8, 8), resize=resize))

    assert estimate("stretch") == 1000 * 64
    assert dataset.mask_calls == []
    assert estimate("none") == pytest.approx(1000 * 300, rel=0.1)
    assert len(set(dataset.mask_calls)) == 32
    assert estimate("shorter") == pytest.approx(1000 * (16 * 8 + 32 * 8) / 2, rel=0.1)


def test_images_that_cannot_be_read_do_not_count() -> None:
    masks: dict[str, Any] = {f"train{i}": None for i in range(0, 5, 2)}
    checked = CheckedDataset(FakeDataset(masks=masks), HIERARCHY)
    assert estimated_pixels(checked, checked.ids("train"), Input(resize="none")) == 5 * 120
    masks.update({f"train{i}": None for i in range(5)})
    assert estimated_pixels(checked, checked.ids("train"), Input(resize="none")) == 0


def test_sizes() -> None:
    assert [size_text(n) for n in (0, 45_000, 1_300_000_000)] == ["0.0 MB", "0.0 MB", "1.3 GB"]


def test_the_free_space_is_that_of_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    usage = shutil.disk_usage
    monkeypatch.setattr(
        building.shutil, "disk_usage", lambda path: asked.append(Path(path)) or usage(path)
    )
    open_train()
    assert asked == [cache.parent], "the cache does not exist yet"
