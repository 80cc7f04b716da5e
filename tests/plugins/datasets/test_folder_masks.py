"""The data set `folder`: masks of labels and of colors, mapped onto a class tree."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hieraseg import VOID, Hierarchy
from hieraseg.data.checking import CheckedDataset
from hieraseg.errors import DataError
from hieraseg.types import ArgumentError
from hieraseg_plugins.datasets.folder import Folder
from tests.support.folders import TREE, open_folder, write_images, write_mask

INNER = Hierarchy.from_tree(
    {"sky": None, "body": ["head", "leg"]}, labels={0: "sky", 5: "body", 300: "head", 301: "leg"}
)
NO_VOID = Hierarchy.from_tree(["sky", "road"])
COLORS: dict[str, tuple[int, int, int]] = {
    "sky": (0, 0, 255),
    "head": (10, 20, 30),
    "leg": (255, 255, 255),
    "void": (0, 0, 0),
}


def one_image(root: Path, mask: Any, suffix: str = "png") -> Path:
    """A root with one image and its mask, in the split `train`."""
    size = np.asarray(mask).shape[:2]
    write_images(root, "images/train/1.jpg", size=(size[0], size[1]))
    return write_mask(root / f"masks/train/1.{suffix}", mask)


def opened(root: Path, tree: Hierarchy = TREE, **arguments: Any) -> Folder:
    templates = {"images": "images/{split}/{id}.jpg", "masks": "masks/{split}/{id}.*"}
    return open_folder(root, tree, **templates, **arguments)


def read(root: Path, tree: Hierarchy = TREE, **arguments: Any) -> np.ndarray:
    """The mask of `one_image`."""
    return opened(root, tree, **arguments).mask("train/1")


def refused(root: Path, tree: Hierarchy = TREE, **arguments: Any) -> str:
    """The sentence of arguments that are refused."""
    with pytest.raises(ArgumentError) as caught:
        opened(root, tree, **arguments)
    return str(caught.value)


# Labels.


@pytest.mark.parametrize("suffix", ["png", "tif", "npy"])
def test_labels_as_they_are(tmp_path: Path, suffix: str) -> None:
    values = [[0, 1, 2], [255, 300, 65535]]
    one_image(tmp_path, values, suffix)
    mask = read(tmp_path)
    assert mask.dtype == np.uint16
    assert mask.tolist() == values


def test_labels_are_mapped_onto_the_tree(tmp_path: Path) -> None:
    one_image(tmp_path, [[7, 8, 0], [9, 255, 40]])
    labels = {7: "head", 8: "leg", 9: "leg", 0: "sky", "*": "void"}
    mask = read(tmp_path, labels=labels)
    assert mask.dtype == np.uint8
    assert mask.tolist() == [[1, 2, 0], [2, 255, 255]]
    mask = read(tmp_path, INNER, labels={7: "body", "*": "leg"})
    assert mask.dtype == np.uint16
    assert mask.tolist() == [[5, 301, 301], [301, 301, 301]]
    assert read(tmp_path, labels={"*": "sky"}).max() == 0


def test_void_in_a_tree_without_void(tmp_path: Path) -> None:
    one_image(tmp_path, [[1, 2]])
    labels = {1: "road", "*": "void"}
    assert read(tmp_path, NO_VOID, labels=labels).tolist() == [[1, VOID]]
    checked = CheckedDataset(opened(tmp_path, NO_VOID, labels=labels), NO_VOID)
    assert checked.mask("train/1").tolist() == [[1, NO_VOID.void_value]]
    full = Hierarchy.from_tree(["sky", "road"], labels={0: "sky", VOID: "road"})
    assert refused(tmp_path, full, labels=labels) == (
        "labels has void, but the tree has no void value, and uses 65535 as a label"
    )


def test_a_class_that_is_called_void(tmp_path: Path) -> None:
    one_image(tmp_path, [[3]])
    tree = Hierarchy.from_tree(["sky", "void"], void=[255])
    assert read(tmp_path, tree, labels={3: "void"}).tolist() == [[1]]


def test_values_that_are_not_mapped(tmp_path: Path) -> None:
    path = one_image(tmp_path, [[7, 7], [7, 300]])
    with pytest.raises(DataError) as caught:
        read(tmp_path, labels={7: "head", 0: "sky"})
    assert str(caught.value) == (
        f"{path}: the value 300, at row 1, column 1, is not in data.labels; add it there, or "
        '"*" for all others'
    )
    one_image(tmp_path, [[9, 8], [9, 7]])
    with pytest.raises(DataError, match=r"value 9, .* data.labels \(nor are 8\); add them there"):
        read(tmp_path, labels={7: "head", 0: "sky"})


UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "class": ({"labels": {1: "haed"}}, "labels has 'haed', which is no class of the tree, did you"),
    "no label": (
        {"labels": {1: "body"}},
        "labels has the class 'body', which has no label value in the tree; write the tree to a "
        "file, and add one there (`labels`, see the hierarchy `file`)",
    ),
    "negative": ({"labels": {-1: "sky"}}, "labels has the value -1; masks have values in 0..65535"),
    "large": ({"labels": {65536: "sky"}}, "labels has the value 65536; masks have values in"),
    "quoted": (
        {"labels": {"7": "sky"}},
        "labels has '7', but values of masks are numbers; remove the quotes",
    ),
    "name": (
        {"labels": {"Himmel": "sky"}},
        "labels has 'Himmel', but values of masks are numbers; a name needs colors",
    ),
    "number": (
        {"labels": {0: "sky"}, "colors": COLORS},
        "labels has 0, which is no name of colors, known: sky, head, leg, void",
    ),
    "no color": (
        {"labels": {"hed": "head"}, "colors": COLORS},
        "labels has 'hed', which is no name of colors, did you mean 'head'?",
    ),
    "color": (
        {"colors": {**COLORS, "Leg": (1, 2, 3)}},
        "colors has 'Leg', which is no class of the tree, did you mean 'leg'?; map it with labels, "
        "as in {Leg: void}, or all others with '*'",
    ),
    "color of an inner class": (
        {"colors": {"body": (1, 2, 3)}, "labels": {"*": "void"}},
        "colors has the class 'body', which has no label value in the tree; write the tree to a",
    ),
    "same color": (
        {"colors": {**COLORS, "night": (0, 0, 0)}},
        "colors has [0, 0, 0] for 'void' and another name; give each name a color of its own",
    ),
    "no colors": ({"colors": {}}, "colors must have at least one color"),
    "range": (
        {"colors": {"sky": (0, 0, 256)}},
        "colors must be in [0, 255], got 256 at ['sky'][2]",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_labels_and_colors_that_do_not_fit(tmp_path: Path, case: str) -> None:
    one_image(tmp_path, [[0]])
    arguments, expected = UNFIT[case]
    assert refused(tmp_path, **arguments).startswith(expected)


# Colors.


def colored(labels: Any) -> np.ndarray:
    """The colors of label values."""
    table = np.zeros((256, 3), np.uint8)
    for value, name in {0: "sky", 1: "head", 2: "leg", 255: "void"}.items():
        table[value] = COLORS[name]
    return table[np.asarray(labels)]


def test_colors_in_the_recipe(tmp_path: Path) -> None:
    labels = [[0, 1, 2], [255, 2, 0]]
    one_image(tmp_path, colored(labels))
    mask = read(tmp_path, colors=COLORS)
    assert mask.dtype == np.uint8
    assert mask.tolist() == labels


def test_names_of_colors_are_mapped_onto_the_tree(tmp_path: Path) -> None:
    one_image(tmp_path, colored([[0, 1, 2, 255]]))
    names = {"Sky": COLORS["sky"], "head": COLORS["head"], "foot": COLORS["leg"], "x": (0, 0, 0)}
    labels = {"Sky": "sky", "foot": "leg", "x": "void"}
    assert read(tmp_path, colors=names, labels=labels).tolist() == [[0, 1, 2, 255]]
    labels = {"Sky": "sky", "*": "leg"}
    found = read(tmp_path, colors=names, labels=labels)
    assert found.tolist() == [[0, 1, 2, 2]], "head is a class of the tree itself"
    void = read(tmp_path, NO_VOID, colors=names, labels={"Sky": "road", "*": "void"})
    assert void.tolist() == [[1, VOID, VOID, VOID]]


LINES = [("sky", "0 0 255"), ("head", "10 20 30"), ("leg", "255 255 255"), ("void", "0 0 0")]
TABLES = {
    "camvid.txt": "\r\n".join(f"{rgb}\t\t{name}" for name, rgb in LINES),
    "spaces.txt": "\n".join(f"{rgb.replace(' ', '   ')}  {name}  " for name, rgb in LINES) + "\n\n",
    "kaggle.csv": "name, r, g, b\n"
    + "".join(f"{name}, {rgb.replace(' ', ', ')}\n" for name, rgb in LINES),
    "other.csv": "\ufeffR,G,B,Name\r\n"
    + "".join(f'{rgb.replace(" ", ",")},"{name}"\r\n' for name, rgb in LINES),
    "bare.csv": "".join(f"{rgb.replace(' ', ',')},{name}\n" for name, rgb in LINES),
}


@pytest.mark.parametrize("name", TABLES)
def test_colors_in_a_file(tmp_path: Path, name: str) -> None:
    labels = [[0, 1, 2], [255, 2, 0]]
    one_image(tmp_path, colored(labels))
    (tmp_path / name).write_text(TABLES[name])
    assert read(tmp_path, colors=name).tolist() == labels
    assert read(tmp_path, colors=str(tmp_path / name)).tolist() == labels


def test_names_with_spaces_in_a_file_of_colors(tmp_path: Path) -> None:
    one_image(tmp_path, colored([[0]]))
    (tmp_path / "colors.txt").write_text("0 0 255 the blue sky\n")
    assert read(tmp_path, colors="colors.txt", labels={"the blue sky": "leg"}).tolist() == [[2]]


BAD_TABLES = {
    "missing": (None, "{root}/colors.txt: no such file; write its path relative to data.root"),
    "empty": ("\n", "{root}/colors.txt: has no colors; write lines such as 64 128 64 Animal"),
    "header only": ("name,r,g,b\n", "{root}/colors.txt: has no colors"),
    "no name": (
        "0 0 0 void\n1 2 3\n",
        "{root}/colors.txt:2: expected red, green and blue in 0..255",
    ),
    "range": ("0 0 256 sky\n", "{root}/colors.txt:1: expected red, green and blue in 0..255 and a"),
    "no number": ("name,r,g\nsky,1,2\n", "{root}/colors.txt:1: expected red, green and blue in"),
    "color": (
        "0 0 0 sky\n0 0 0 leg\n",
        "{root}/colors.txt:2: 'sky' has [0, 0, 0] already; give each",
    ),
    "name": ("0 0 0 sky\n0 0 1 sky\n", "{root}/colors.txt:2: duplicate name 'sky'; give each name"),
    "not text": (b"\xff\xfe", "{root}/colors.txt: is not a UTF-8 text file"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_files_of_colors(tmp_path: Path, case: str) -> None:
    one_image(tmp_path, colored([[0]]))
    content, expected = BAD_TABLES[case]
    if content is not None:
        content = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "colors.txt").write_bytes(content)
    with pytest.raises(DataError, match="^" + re.escape(expected.format(root=tmp_path))):
        opened(tmp_path, colors="colors.txt")


def test_an_unknown_color_is_named_with_its_place(tmp_path: Path) -> None:
    pixels = colored([[0, 0, 0], [0, 1, 0]])
    pixels[1, 1:] = [9, 8, 7]
    path = one_image(tmp_path, pixels)
    with pytest.raises(DataError) as caught:
        read(tmp_path, colors=COLORS)
    assert str(caught.value) == (
        f"{path}: the color [9, 8, 7], at row 1, column 1 and in 2 pixels, is not in the table of "
        "colors; add it, or fix the mask"
    )


def test_colors_without_a_table(tmp_path: Path) -> None:
    path = one_image(tmp_path, colored([[0]]))
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(f"{path}: an image of mode RGB is not a mask; save label")
    assert "colors" in str(caught.value)


@pytest.mark.parametrize("channels", [1, 4])
def test_one_hot_channels_are_refused(tmp_path: Path, channels: int) -> None:
    path = one_image(tmp_path, np.zeros((4, 6, channels), np.uint8), "npy")
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(f"{path}: a uint8 array of shape (4, 6, {channels}) is not")
    assert "one label per pixel" in str(caught.value)


def test_sizes_of_image_and_mask_are_compared_upright(tmp_path: Path) -> None:
    one_image(tmp_path, np.ones((4, 6)))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4)).save(tmp_path / "images/train/1.jpg", exif=exif)
    checked = CheckedDataset(opened(tmp_path), TREE)
    with pytest.raises(DataError, match=r"train/1: the image is 4x6 pixels, but its mask is 6x4; "):
        checked.pair("train/1")
    write_mask(tmp_path / "masks/train/1.png", np.ones((6, 4)))
    image, mask = checked.pair("train/1")
    assert (image.shape, mask.shape) == ((6, 4, 3), (6, 4))
