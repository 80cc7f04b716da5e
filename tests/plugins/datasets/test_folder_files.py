"""The data set `folder`: which files its templates find."""

import os
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hieraseg.errors import DataError
from hieraseg_plugins.datasets.folder_files.templates import Template, Values
from tests.support.folders import (
    ids_of,
    open_folder,
    refused,
    write_images,
    write_mask,
    write_pairs,
)

SPLIT = {"images": "images/{split}/{id}.jpg", "masks": "masks/{split}/{id}.png"}
HALVES: dict[str, Any] = {"splits": {"train": 0.5, "val": 0.5}}


def all_ids(root: Path, **arguments: Any) -> list[str]:
    """The ids of all splits, sorted."""
    return sorted(id for ids in ids_of(open_folder(root, **arguments)).values() for id in ids)


def test_splits_are_the_folders_that_have_images(tmp_path: Path) -> None:
    write_pairs(tmp_path, "images/train/{id}.jpg", "masks/train/{id}.png", "2", "1")
    write_pairs(tmp_path, "images/val/{id}.jpg", "masks/val/{id}.png", "1")
    (tmp_path / "images/notes").mkdir()
    dataset = open_folder(tmp_path, **SPLIT)
    assert ids_of(dataset) == {"train": ["train/1", "train/2"], "val": ["val/1"]}
    assert dataset.image("train/1").shape == (4, 6, 3)
    assert dataset.mask("val/1").tolist() == [[1] * 6] * 4


def test_folders_of_an_image_are_those_of_its_mask(tmp_path: Path) -> None:
    cities = ("aachen/aachen_0", "bonn/west/bonn_0", "aachen_0")
    images, masks = (
        "leftImg8bit/train/{id}_leftImg8bit.png",
        "gtFine/train/{id}_gtFine_labelIds.png",
    )
    write_pairs(tmp_path, images, masks, *cities)
    write_mask(tmp_path / "gtFine/train/aachen/aachen_0_gtFine_color.png", np.zeros((4, 6)))
    write_mask(tmp_path / masks.format(id="bonn/west/bonn_0"), np.full((4, 6), 2))
    dataset = open_folder(
        tmp_path,
        images="leftImg8bit/{split}/**/{id}_leftImg8bit.png",
        masks="gtFine/{split}/**/{id}_gtFine_labelIds.png",
    )
    assert dataset.ids("train") == sorted(f"train/{city}" for city in cities)
    assert dataset.mask("train/bonn/west/bonn_0").max() == 2
    assert dataset.mask("train/aachen/aachen_0").max() == 1


def test_names_may_have_spaces_dots_and_any_letters(tmp_path: Path) -> None:
    names = ["a b", "Straße 1.2", "日本", "x{1}", "100%", "naïve+(2)[3]"]
    for name in names:
        write_images(tmp_path, f"my images/{name}.jpg")
        write_mask(tmp_path / f"my masks/{name}.png", np.ones((4, 6)))
    arguments = {"images": "my images/{id}.jpg", "masks": "my masks/{id}.png", **HALVES}
    assert all_ids(tmp_path, **arguments) == sorted(names)
    assert open_folder(tmp_path, **arguments).mask("x{1}").shape == (4, 6)


@pytest.mark.parametrize(
    ("image", "mask", "listed"), [("NFD", "NFC", "NFC"), ("NFC", "NFD", "NFD")]
)
def test_composed_and_decomposed_letters_are_the_same(
    tmp_path: Path, image: Any, mask: Any, listed: Any
) -> None:
    folder, name = "Bilder für alle", "Größe é"
    write_images(tmp_path, normalize(image, f"{folder}/{name}.jpg"))
    write_mask(tmp_path / normalize(mask, f"Masken für alle/{name}.png"), np.ones((4, 6)))
    (tmp_path / "train.txt").write_text(normalize(listed, name))
    dataset = open_folder(
        tmp_path,
        images=normalize(mask, f"{folder}/{{id}}.jpg"),
        masks=normalize(image, "Masken für alle/{id}.png"),
        splits={"train": "train.txt"},
    )
    assert dataset.ids("train") == [normalize("NFC", name)]
    assert dataset.image(dataset.ids("train")[0]).shape == (4, 6, 3)
    (tmp_path / "pairs.txt").write_text(
        normalize(listed, f"{folder}/{name}.jpg\tMasken für alle/{name}.png")
    )
    pairs = open_folder(tmp_path, splits={"train": "pairs.txt"})
    assert pairs.mask(pairs.ids("train")[0]).shape == (4, 6)


def test_suffixes_in_any_case_and_of_any_kind(tmp_path: Path) -> None:
    write_images(tmp_path, "images/a.JPG", "images/b.jpeg", "images/c.png")
    (tmp_path / "images/Thumbs.db").touch()
    (tmp_path / "images/c.json").touch()
    write_mask(tmp_path / "masks/a.PNG", np.ones((4, 6)))
    write_mask(tmp_path / "masks/b.npy", np.ones((4, 6), int))
    write_mask(tmp_path / "masks/c.tif", np.ones((4, 6)))
    arguments = {"images": "images/{id}.*", "masks": "masks/{id}.*", **HALVES}
    assert all_ids(tmp_path, **arguments) == ["a", "b", "c"]
    write_pairs(tmp_path / "two", "{id}.JPG", "{id}.Png", "1", "2")
    assert all_ids(tmp_path / "two", images="{id}.jpg", masks="{id}.png", **HALVES) == ["1", "2"]


def test_any_part_of_a_name(tmp_path: Path) -> None:
    write_images(tmp_path, "cam0/x_1.jpg", "cam1/y_z_2.jpg")
    write_mask(tmp_path / "masks/1_version7_L.png", np.ones((4, 6)))
    write_mask(tmp_path / "masks/z_2__L.png", np.ones((4, 6)))
    arguments = {"images": "*/*_{id}.jpg", "masks": "masks/{id}_*_L.png", **HALVES}
    assert all_ids(tmp_path, **arguments) == ["1", "z_2"]


def test_images_and_masks_can_share_a_folder(tmp_path: Path) -> None:
    for id in ("1", "2"):
        write_images(tmp_path, f"{id}.png", f"{id}/image.png")
        write_mask(tmp_path / f"{id}_mask.png", np.ones((4, 6)))
        write_mask(tmp_path / f"{id}/mask.png", np.ones((4, 6)))
    assert all_ids(tmp_path, images="{id}.png", masks="{id}_mask.png", **HALVES) == ["1", "2"]
    per_image = {"images": "{id}/image.png", "masks": "{id}/mask.png"}
    assert all_ids(tmp_path, **per_image, **HALVES) == ["1", "2"]


def test_split_and_id_in_one_name(tmp_path: Path) -> None:
    write_pairs(tmp_path, "train_images/{id}_x.jpg", "train_masks/{id}.png", "a_b")
    write_pairs(tmp_path, "val_images/{id}_x.jpg", "val_masks/{id}.png", "c")
    dataset = open_folder(
        tmp_path, images="{split}_images/{id}_x.jpg", masks="{split}_masks/{id}.png"
    )
    assert ids_of(dataset) == {"train": ["train/a_b"], "val": ["val/c"]}


def test_hidden_files_are_left_out_and_links_are_followed(tmp_path: Path) -> None:
    write_pairs(tmp_path / "real", "images/{id}.jpg", "masks/{id}.png", "1", "sub/2")
    for name in (".trash/3", "._1"):
        write_images(tmp_path / "real", f"images/{name}.jpg")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/images").symlink_to(tmp_path / "real/images")
    (tmp_path / "root/masks").symlink_to(tmp_path / "real/masks")
    (tmp_path / "real/images/loop").symlink_to(tmp_path / "real/images")
    os.mkfifo(tmp_path / "real/images/pipe.jpg")
    arguments = {"images": "images/**/{id}.jpg", "masks": "masks/**/{id}.png", **HALVES}
    assert all_ids(tmp_path / "root", **arguments) == ["1", "sub/2"]


def test_several_roots_are_searched_like_one(tmp_path: Path) -> None:
    write_pairs(tmp_path / "one", "images/{id}.jpg", "masks/{id}.png", "a")
    write_images(tmp_path / "one", "images/b.jpg")
    write_mask(tmp_path / "two/masks/b.png", np.full((4, 6), 2))
    roots = [tmp_path / "one", tmp_path / "two"]
    arguments: dict[str, Any] = {"images": "images/{id}.jpg", "masks": "masks/{id}.png", **HALVES}
    dataset = open_folder(roots, **arguments)
    assert dataset.mask("b").max() == 2
    write_images(tmp_path / "two", "images/a.jpg")
    message = refused(roots, **arguments)
    assert message.startswith(f"{tmp_path}/one/images/a.jpg and {tmp_path}/two/images/a.jpg: both")


def test_two_files_of_one_id_are_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path, "images/{id}.jpg", "masks/{id}.png", "1", "2")
    write_images(tmp_path, "images/1.png")
    message = refused(tmp_path, images="images/{id}.*", masks="masks/{id}.png", **HALVES)
    assert message.startswith(f"{tmp_path}/images/1.jpg and {tmp_path}/images/1.png: both are '1'")
    assert "make the templates images and masks more specific" in message
    write_mask(tmp_path / "masks/2.tif", np.ones((4, 6)))
    message = refused(tmp_path, images="images/{id}.jpg", masks="masks/{id}.*", **HALVES)
    assert message.startswith(f"{tmp_path}/masks/2.png and {tmp_path}/masks/2.tif: both are '2'")


def test_one_mask_of_two_images_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path, "images/a/1.jpg", "images/b/1.jpg")
    write_mask(tmp_path / "masks/1.png", np.ones((4, 6)))
    message = refused(tmp_path, images="images/**/{id}.jpg", masks="masks/{id}.png", **HALVES)
    assert message.startswith(f"{tmp_path}/masks/1.png: is the mask of both ")
    assert "'a/1'" in message
    assert "'b/1'" in message


def test_an_image_is_not_its_own_mask(tmp_path: Path) -> None:
    write_images(tmp_path, "1.png")
    message = refused(tmp_path, images="{id}.*", masks="{id}.png", **HALVES)
    assert message.startswith(f"{tmp_path}/1.png: is the image and the mask of '1'; make the")


def test_names_that_no_output_can_have_are_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path, "images/{id}.jpg", "masks/{id}.png", "a\nb", "1")
    message = refused(tmp_path, images="images/{id}.jpg", masks="masks/{id}.png", **HALVES)
    assert "a\\nb.jpg': the name has control characters, or is not UTF-8; rename" in message
    os.rename(tmp_path / "images/a\nb.jpg", os.fsencode(tmp_path) + b"/images/\xff.jpg")
    message = refused(tmp_path, images="images/{id}.jpg", masks="masks/{id}.png", **HALVES)
    assert "is not UTF-8; rename the file" in message


@pytest.mark.parametrize(
    ("images", "first", "closest"),
    [
        ("img/{split}/{id}.jpg", "'images/train/1.jpg'", "'images/train/1.jpg'"),
        ("images/{split}/{id}.jpeg", "'images/train/1.jpg'", "'images/train/1.jpg'"),
        ("images/{split}/{id}_rgb.jpg", "'images/train/1.jpg'", "'images/train/1.jpg'"),
        ("masks/{split}/x/{id}.png", "'masks/train/1.png'", "'masks/train/1.png'"),
    ],
)
def test_nothing_that_matches(tmp_path: Path, images: str, first: str, closest: str) -> None:
    write_pairs(tmp_path, "images/train/{id}.jpg", "masks/train/{id}.png", *"123456")
    message = refused(tmp_path, images=images, masks="masks/{split}/{id}.png")
    assert message.startswith(
        f"{tmp_path}: no file matches the template {images!r}; the first files"
    )
    assert f"there are {first}, " in message
    assert f"the closest one is {closest}; change the template to match it" in message
    assert len(message) < 400 + len(str(tmp_path))


def test_an_empty_root(tmp_path: Path) -> None:
    assert refused(tmp_path, **SPLIT) == (
        f"{tmp_path}: has no files; set data.root to the folder of the data set"
    )


def test_missing_masks(tmp_path: Path) -> None:
    write_pairs(tmp_path, "images/train/{id}.jpg", "masks/train/{id}.png", *"12345")
    for id in "2345":
        os.rename(tmp_path / f"masks/train/{id}.png", tmp_path / f"masks/train/{id}_L.png")
    assert refused(tmp_path, **SPLIT) == (
        f"{tmp_path}: 4 of 5 masks of the split 'train' are missing: 'masks/train/2.png', "
        "'masks/train/3.png', 'masks/train/4.png', ... (the closest file to the first one is "
        "'masks/train/2_L.png'); add the files, correct data.masks, or leave the split out of "
        "data.splits"
    )


def test_files_of_other_splits_are_no_hint_where_a_missing_one_is(tmp_path: Path) -> None:
    write_pairs(tmp_path, "images/train/{id}.jpg", "masks/train/{id}.png", "1")
    write_pairs(tmp_path, "images/val/{id}.jpg", "masks/val/{id}.png", "1", "2")
    os.remove(tmp_path / "masks/train/1.png")
    assert refused(tmp_path, **SPLIT).startswith(
        f"{tmp_path}: 1 of 1 masks of the split 'train' are missing: 'masks/train/1.png'; add"
    )


def test_masks_without_an_image_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pairs(tmp_path, "images/train/{id}.jpg", "masks/train/{id}.png", *"123")
    assert len(open_folder(tmp_path, **SPLIT).ids("train")) == 3
    assert not capsys.readouterr().err
    for id in "23":
        os.rename(tmp_path / f"images/train/{id}.jpg", tmp_path / f"images/train/{id}.jpeg")
    assert open_folder(tmp_path, **SPLIT).ids("train") == ["train/1"]
    assert capsys.readouterr().err == (
        f"warning: {tmp_path}/masks/train/2.png: this mask, one of 2 of 3, has no image, and is "
        "not used; data.images may leave out images with another name or suffix\n"
    )


def test_splits_without_masks_do_not_hinder_others(tmp_path: Path) -> None:
    write_pairs(tmp_path, "images/train/{id}.jpg", "masks/train/{id}.png", "1")
    write_images(tmp_path, "images/test/1.jpg")
    dataset = open_folder(tmp_path, **SPLIT)
    assert dataset.ids("train") == ["train/1"]
    with pytest.raises(DataError, match="1 of 1 masks of the split 'test' are missing"):
        dataset.ids("test")


def test_unknown_splits_and_ids(tmp_path: Path) -> None:
    dataset = open_folder(
        write_pairs(tmp_path, "images/a/{id}.jpg", "masks/a/{id}.png", "1"), **SPLIT
    )
    with pytest.raises(DataError, match="no split 'train'; it has a"):
        dataset.ids("train")
    with pytest.raises(DataError, match=r"no image '../1'; take an id from ids\(split\)"):
        dataset.image("../1")


def test_folder_that_cannot_be_read(tmp_path: Path) -> None:
    write_pairs(tmp_path, "images/train/{id}.jpg", "masks/train/{id}.png", "1")
    (tmp_path / "images/loop").symlink_to("loop")
    message = refused(tmp_path, **SPLIT)
    assert message.startswith(f"{tmp_path}/images: cannot be read (Too many levels of symbolic")


def test_fingerprint_changes_with_the_files_and_the_labels(tmp_path: Path) -> None:
    write_pairs(tmp_path, "images/train/{id}.jpg", "masks/train/{id}.png", "1", "2")
    write_pairs(tmp_path, "images/val/{id}.jpg", "masks/val/{id}.png", "1")

    def found(split: str = "train", **arguments: Any) -> str:
        return open_folder(tmp_path, **SPLIT, **arguments).fingerprint(split)

    first = found()
    assert found() == first
    prints = [first, found("val"), found(labels={1: "leg"}), found(labels={1: "head"})]
    os.utime(tmp_path / "images/val/1.jpg", ns=(0, 0))
    assert found() == first, "files of another split do not count"
    for name in ("images/train/1.jpg", "masks/train/2.png"):
        path = tmp_path / name
        changed = path.stat().st_mtime_ns + 1
        os.utime(path, ns=(changed, changed))
        prints.append(found())
        path.write_bytes(path.read_bytes() + b"\0")
        os.utime(path, ns=(changed, changed))
        prints.append(found())
    write_pairs(tmp_path, "images/train/{id}.jpg", "masks/train/{id}.png", "3")
    prints.append(found())
    assert len(set(prints)) == len(prints)


def test_fingerprint_of_files_that_are_gone(tmp_path: Path) -> None:
    dataset = open_folder(
        write_pairs(tmp_path, "images/a/{id}.jpg", "masks/a/{id}.png", "1"), **SPLIT
    )
    (tmp_path / "masks/a/1.png").unlink()
    with pytest.raises(DataError, match=r"masks/a/1.png: cannot be read \(No such file"):
        dataset.fingerprint("a")


# Templates alone.

NAME = st.text("ab._- é{}*0", min_size=1, max_size=6).filter(lambda one: one not in (".", ".."))


@given(NAME, st.lists(NAME, max_size=3), NAME)
def test_a_filled_template_matches_with_its_values(split: str, folders: list[str], id: str) -> None:
    template = Template("images", "x/{split}/**/{id}_y.png")
    values = Values(normalize("NFC", split), "".join(f"{one}/" for one in folders), id)
    path = template.fill(values)
    assert path == "/".join(["x", split, *folders, f"{id}_y.png"])
    assert template.match(path) == values
    assert template.match(f"z{path}") is None
    assert values.path == "/".join([split, *folders, id])


@pytest.mark.parametrize(
    ("template", "path", "id"),
    [
        ("{id}.png", "a.b.png", "a.b"),
        ("{id}.png", "a/b.png", None),
        ("{id}.png", "a_png", None),
        ("a.c/{id}.png", "abc/1.png", None),
        ("{id}/{id}.png", "1/1.png", "1"),
        ("{id}/{id}.png", "1/2.png", None),
        ("**/{id}.png", "1.png", "1"),
        ("**/{id}.png", "a/b/1.png", "a/b/1"),
        ("x/**/y/{id}.png", "x/y/1.png", "1"),
        ("x/**/y/{id}.png", "x/a/y/1.png", "a/1"),
        ("x/**/y/{id}.png", "x/ay/1.png", None),
        ("{id}_*.png", "1_2_3.png", "1_2"),
        ("*_{id}.png", "1_2_3.png", "2_3"),
        ("{id}.*", "1.tar.gz", None),
        ("{id}.*", "1.x.WebP", "1.x"),
        ("{id}", "1.png", "1.png"),
    ],
)
def test_matches(template: str, path: str, id: str | None) -> None:
    found = Template("images", template).match(path)
    assert (found.path if found else None) == id
