"""The Pascal-Part data set: its splits, and the error messages for broken folders."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hieraseg import Hierarchy
from hieraseg.data.stores.store import Store, open_store
from hieraseg.errors import DataError
from hieraseg.settings import Input
from hieraseg_plugins.datasets.pascal_part import PascalPart
from hieraseg_plugins.hierarchies.pascal_part import pascal_part
from tests.support.pascal_part import CLASSES, write_list, write_pascal_folder

FIRST = "2008_000000"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HIERASEG_CACHE", str(tmp_path / "cache"))
    return write_pascal_folder(tmp_path / "data")


def _open(root: Path, train_images: int | None = None) -> PascalPart:
    return PascalPart(pascal_part(), root, train_images)


def _store(root: Path) -> Store:
    return open_store(_open(root), "train", pascal_part(), Input(size=(24, 32)))


def _error(act: Callable[[], object]) -> str:
    """Message of the DataError."""
    with pytest.raises(DataError) as caught:
        act()
    assert caught.value.exit_code == 3
    return str(caught.value)


def test_splits_follow_the_lists(root: Path) -> None:
    dataset = _open(root)
    ids = (root / "train_id.txt").read_text().split()
    assert dataset.ids("train") == ids[:10], "2400 / 2826 of 12"
    assert dataset.ids("val") == ids[10:]
    assert dataset.ids("holdout") == [f"2008_{i:06}" for i in (12, 13, 14)]
    assert _open(root, train_images=5).ids("train") == ids[:5]
    assert _open(root, train_images=5).ids("val") == ids[5:]


def test_the_reference_split_is_2400_of_2826(root: Path) -> None:
    listed = [f"a{i}" for i in range(2826)]
    write_list(root / "train_id.txt", listed)
    for id in listed:
        (root / "JPEGImages" / f"{id}.jpg").touch()
        (root / "gt_masks" / f"{id}.npy").touch()
    assert _open(root).ids("train") == listed[:2400]
    assert _open(root).ids("val") == listed[2400:]


def test_the_folder_is_found(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIERASEG_DATA", str(tmp_path / "sets"))
    message = _error(lambda: PascalPart(pascal_part()))
    assert message.startswith(f"{tmp_path}/sets/pascal_part: no such data folder")
    assert "set data.root" in message
    assert "HIERASEG_DATA" in message
    (tmp_path / "sets").mkdir()
    root.rename(tmp_path / "sets/pascal_part")
    assert PascalPart(pascal_part()).root == tmp_path / "sets/pascal_part"
    monkeypatch.delenv("HIERASEG_DATA")
    (tmp_path / "sets").rename(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    assert PascalPart(pascal_part()).root == tmp_path / "data/pascal_part"


def test_list_of_two_has_one_image_in_each_split(root: Path) -> None:
    write_list(root / "train_id.txt", [FIRST, "2008_000001"])
    assert _open(root).ids("train") == [FIRST]
    assert _open(root).ids("val") == ["2008_000001"]


def test_image_and_mask(root: Path) -> None:
    dataset = _open(root)
    image, mask = dataset.image(FIRST), dataset.mask(FIRST)
    assert image.shape == (48, 40, 3)
    assert mask.shape == (48, 40)
    assert image.dtype == mask.dtype == np.uint8
    assert set(np.unique(mask)) == set(range(7))
    torso = image[mask == 2].astype(float)
    assert torso.std(axis=0).max() < 40, "colors of the image match the mask"


def test_grayscale_jpeg_is_read_as_rgb(root: Path) -> None:
    Image.fromarray(np.full((48, 40), 90, np.uint8)).save(root / "JPEGImages" / f"{FIRST}.jpg")
    assert _open(root).image(FIRST).shape == (48, 40, 3)


@pytest.mark.parametrize("mode", ["L", "P"])
def test_png_masks(root: Path, mode: str) -> None:
    dataset = _open(root)
    expected = dataset.mask(FIRST)
    image = Image.fromarray(expected)
    if mode == "P":
        image.putpalette([value % 256 for value in range(40, 808)])
    image.save(root / "gt_masks" / f"{FIRST}.png")
    (root / "gt_masks" / f"{FIRST}.npy").unlink()
    assert Image.open(root / "gt_masks" / f"{FIRST}.png").mode == mode
    np.testing.assert_array_equal(dataset.mask(FIRST), expected)
    assert FIRST in dataset.ids("train")
    assert dataset.mask("2008_000001").shape == (50, 46), "the others are still arrays"


def test_masks_of_other_integer_types(root: Path) -> None:
    path = root / "gt_masks" / f"{FIRST}.npy"
    np.save(path, np.load(path).astype(np.int64))
    assert _open(root).mask(FIRST).dtype == np.uint8


def test_store_of_a_split(root: Path) -> None:
    store = _store(root)
    assert store.shapes.tolist() == [[24, 32]] * 10
    assert set(np.unique(store.mask(0))) == set(range(7))


def _remove(*names: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        for name in names:
            (root / name).unlink()

    return change


def _write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes(content)


IMAGE, MASK = f"JPEGImages/{FIRST}.jpg", f"gt_masks/{FIRST}.npy"
LISTS = {
    "no list": (_remove("train_id.txt"), "train_id.txt: no such file", "unpack"),
    "no image": (_remove(IMAGE), f"{FIRST} has no image {IMAGE};", "add the files"),
    "no mask": (_remove(MASK), f"{FIRST} has no mask {MASK};", "add the files"),
    "neither": (_remove(IMAGE, MASK), f"no image {IMAGE} and no mask {MASK};", "add the files"),
    "twice": (
        _write("train_id.txt", f"{FIRST}\r\na\r\n{FIRST}".encode()),
        f"train_id.txt: duplicate {FIRST}",
        "list each id once",
    ),
    "empty": (_write("train_id.txt", b"\r\n"), "train_id.txt: has no ids left", "list more ids"),
    "not text": (_write("train_id.txt", b"\xff\xfe1"), "train_id.txt: is not a UTF-8 text", ""),
}


@pytest.mark.parametrize("case", LISTS)
def test_broken_lists(root: Path, case: str) -> None:
    change, problem, fix = LISTS[case]
    change(root)
    message = _error(lambda: _open(root).ids("train"))
    assert problem in message
    assert fix in message
    assert message.startswith(f"{root}/train_id.txt: ")
    assert "\n" not in message


def test_many_missing_files(root: Path) -> None:
    for number in range(8):
        (root / "gt_masks" / f"2008_{number:06}.npy").unlink()
    message = _error(lambda: _open(root).ids("train"))
    assert "8 ids have no image or mask" in message
    assert "... and 3 more" in message
    assert message.count("gt_masks/") == 5


def test_missing_folders(root: Path, tmp_path: Path) -> None:
    message = _error(lambda: _open(tmp_path / "nowhere"))
    assert message.startswith(f"{tmp_path}/nowhere: no such data folder")
    assert "set data.root" in message
    (root / "gt_masks").rename(root / "masks")
    message = _error(lambda: _open(root).ids("train"))
    assert message.startswith(f"{root}/gt_masks: no such folder")


def test_empty_split(root: Path) -> None:
    message = _error(lambda: _open(root, train_images=12).ids("val"))
    assert "has no ids left for the split 'val'" in message
    assert "set data.train_images lower" in message
    write_list(root / "val_id.txt", [])
    assert f"{root}/val_id.txt: has no ids" in _error(lambda: _open(root).ids("holdout"))


def test_unknown_split(root: Path) -> None:
    message = _error(lambda: _open(root).ids("test"))
    assert "no split 'test'; it has train, val, holdout" in message


@pytest.mark.parametrize("value", [0, -3])
def test_arguments_out_of_range(root: Path, value: int) -> None:
    with pytest.raises(ValueError, match="train_images must be positive, got"):
        _open(root, train_images=value)


@pytest.mark.parametrize("keep", [0, 100, -30])
def test_truncated_jpeg(root: Path, keep: int) -> None:
    path = root / IMAGE
    path.write_bytes(path.read_bytes()[:keep])
    message = _error(lambda: _open(root).image(FIRST))
    assert message.startswith(f"{path}: is damaged")
    assert "copy the file again" in message
    # Building the store reports it too.
    assert _error(lambda: _store(root)) == message


def _bytes_of_npz(tmp_path: Path) -> bytes:
    np.savez(tmp_path / "many.npz", mask=np.zeros((4, 4), np.uint8))
    return (tmp_path / "many.npz").read_bytes()


def test_damaged_arrays(root: Path, tmp_path: Path) -> None:
    path = root / MASK
    whole = path.read_bytes()
    unclosed = whole.replace(b"(48, 40), }", b"(48, 40,  }")
    assert unclosed != whole
    damaged = [b"", b"hello", b"PK\x03\x04", whole[:-7], whole[:30], unclosed]
    for content in (*damaged, pickle.dumps([1, 2]), _bytes_of_npz(tmp_path)):
        path.write_bytes(content)
        message = _error(lambda: _open(root).mask(FIRST))
        assert message.startswith(f"{path}: cannot be read (")
        assert "np.save" in message


def test_arrays_are_never_unpickled(root: Path, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "executed"),)

    np.save(root / MASK, np.array([[Payload()]], dtype=object), allow_pickle=True)
    message = _error(lambda: _open(root).mask(FIRST))
    assert message.startswith(f"{root / MASK}: cannot be read (it needs pickle)")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.zeros((48, 40, 3), np.uint8), "uint8 array of shape (48, 40, 3)"),
        (np.zeros((48, 40), np.float32), "float32 array of shape (48, 40)"),
        (np.full((48, 40), -1, np.int16), "labels must be in 0..65535"),
        (np.full((48, 40), 65_536, np.int32), "labels must be in 0..65535"),
    ],
)
def test_arrays_that_are_not_masks(root: Path, array: np.ndarray, problem: str) -> None:
    np.save(root / MASK, array)
    message = _error(lambda: _open(root).mask(FIRST))
    assert message.startswith(f"{root / MASK}: ")
    assert problem in message


def test_rgb_png_is_not_a_mask(root: Path) -> None:
    (root / MASK).unlink()
    path = root / "gt_masks" / f"{FIRST}.png"
    Image.fromarray(np.zeros((48, 40, 3), np.uint8)).save(path)
    message = _error(lambda: _open(root).mask(FIRST))
    assert message.startswith(f"{path}: an image of mode RGB is not a mask")
    assert "save label values as a grayscale or palette PNG" in message


def test_mask_of_another_size(root: Path) -> None:
    np.save(root / MASK, np.zeros((40, 48), np.uint8))
    message = _error(lambda: _store(root))
    assert message.startswith(f"{FIRST}: the image is 40x48 pixels, but its mask is 48x40")


def test_unknown_label(root: Path) -> None:
    mask = np.load(root / MASK)
    mask[0, 0] = 7
    np.save(root / MASK, mask)
    message = _error(lambda: _store(root))
    assert message.startswith(f"{FIRST}: the mask has the label 7, but the hierarchy")


RENAMED = [f"{i}: {name}" for i, name in enumerate(CLASSES)]
CLASS_FILES = {
    "other order": (
        [*RENAMED[:1], "1: torso", "2: low_hand", *RENAMED[3:]],
        "label 1 is 'torso' in the data set, but 'low_hand' in the tree (1 other label differs",
    ),
    "missing": (RENAMED[:6], "label 6 is 'up_hand' in the tree, but missing in the data set;"),
    "unknown": ([*RENAMED, "7: hat"], "label 7 is 'hat' in the data set, but missing in the tree;"),
    "no colon": ([*RENAMED[:2], "2 torso"], "classes.txt:3: expected `1: low_hand`, got '2 torso'"),
    "no number": (["zero: bg"], "classes.txt:1: expected `1: low_hand`, got 'zero: bg'"),
}


@pytest.mark.parametrize("case", CLASS_FILES)
def test_classes_that_disagree_with_the_hierarchy(root: Path, case: str) -> None:
    lines, problem = CLASS_FILES[case]
    write_list(root / "classes.txt", lines)
    message = _error(lambda: _open(root))
    assert message.startswith(f"{root}/classes.txt:")
    assert problem in message
    assert "\n" not in message


def test_another_hierarchy(root: Path) -> None:
    other = Hierarchy.from_tree(["background", "head"])
    message = _error(lambda: PascalPart(other, root))
    assert "label 4 is 'head' in the data set, but missing in the tree" in message


def test_a_tree_may_rename_and_merge_labels(root: Path) -> None:
    merged = {0: "rest", 1: "arm", 6: "arm", 2: "torso", 4: "head", 3: "leg", 5: "leg"}
    tree = {"rest": None, "person": ["arm", "torso", "head", "leg"]}
    dataset = PascalPart(Hierarchy.from_tree(tree, labels=merged), root)
    assert dataset.label_names[6] == "up_hand"
    del merged[6]
    dataset = PascalPart(Hierarchy.from_tree(tree, labels=merged, void=[6]), root)
    assert len(dataset.ids("train")) == 10


def test_names_of_the_background(root: Path) -> None:
    write_list(root / "classes.txt", ["0: background", *RENAMED[1:]])
    assert len(_open(root).ids("train")) == 10
    write_list(root / "classes.txt", RENAMED[1:])
    assert len(_open(root).ids("train")) == 10


def test_fingerprint_changes_with_the_files(root: Path) -> None:
    found = [_open(root).fingerprint("train")]
    assert _open(root).fingerprint("train") == found[0]
    found.append(_open(root).fingerprint("val"))
    found.append(_open(root, train_images=9).fingerprint("train"))
    for name in (IMAGE, MASK):
        path = root / name
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        found.append(_open(root).fingerprint("train"))
        path.write_bytes(path.read_bytes() + b"\0")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        found.append(_open(root).fingerprint("train"))
    ids = (root / "train_id.txt").read_text().split()
    write_list(root / "train_id.txt", [ids[1], ids[0], *ids[2:]])
    found.append(_open(root).fingerprint("train"))
    assert len(set(found)) == len(found)


def test_fingerprint_ignores_files_of_other_splits(root: Path) -> None:
    before = _open(root).fingerprint("train")
    os.utime(root / "gt_masks" / "2008_000011.npy", ns=(0, 0))
    assert _open(root).fingerprint("train") == before


@pytest.mark.real_data
def test_real_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = os.environ.get("HIERASEG_PASCAL_PART")
    if not root:
        pytest.skip("HIERASEG_PASCAL_PART is not set")
    monkeypatch.setenv("HIERASEG_CACHE", str(tmp_path))
    dataset = PascalPart(pascal_part(), root)
    sizes = {split: len(dataset.ids(split)) for split in dataset.splits}
    assert sizes == {"train": 2400, "val": 426, "holdout": 707}
    store = open_store(dataset, "val", pascal_part(), Input(size=(64, 64)))
    assert len(store) == 426
    assert set(np.flatnonzero(store.label_pixels)) == set(range(7))
