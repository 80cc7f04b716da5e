"""The data set `folder`: splits by names, lists of ids, lists of pairs and shares."""

import random
import re
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hieraseg.errors import DataError
from hieraseg.types import ArgumentError
from hieraseg_plugins.datasets.folder_files.shares import divide
from tests.support.damage import damage
from tests.support.folders import (
    ids_of,
    open_folder,
    refused,
    write_images,
    write_mask,
    write_pairs,
)

FLAT = {"images": "images/{id}.jpg", "masks": "masks/{id}.png"}
DEEP = {"images": "images/**/{id}.jpg", "masks": "masks/**/{id}.png"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images and masks 1, 2, 3, a/1 and `b c/x 1`."""
    return write_pairs(
        tmp_path, "images/{id}.jpg", "masks/{id}.png", "1", "2", "3", "a/1", "b c/x 1"
    )


def listed(root: Path, content: str | bytes, name: str = "train.txt", **arguments: Any) -> Any:
    """The ids of a list."""
    content = content if isinstance(content, bytes) else content.encode()
    (root / name).write_bytes(content)
    return open_folder(root, splits={"train": name}, **arguments).ids("train")


# Names.


def test_names_of_splits(tmp_path: Path) -> None:
    for folder, id in (("training", "1"), ("validation", "2"), ("more", "3"), ("2012", "4")):
        write_pairs(tmp_path, f"{folder}/images/{{id}}.jpg", f"{folder}/masks/{{id}}.png", id)
    templates = {"images": "{split}/images/{id}.jpg", "masks": "{split}/masks/{id}.png"}
    splits = {"train": "training", "val": "validation", "old": "2012"}
    dataset = open_folder(tmp_path, splits=splits, **templates)
    assert ids_of(dataset) == {"train": ["training/1"], "val": ["validation/2"], "old": ["2012/4"]}
    assert dataset.splits == ("train", "val", "old")
    assert refused(tmp_path, splits={"train": "trainin"}, **templates) == (
        f"{tmp_path}: the split 'train' has no images; set data.splits.train to what {{split}} is "
        "in their paths: 2012, more, training, validation"
    )


# Lists of ids.


@pytest.mark.parametrize(
    "content",
    [
        "2\n1\nb c/x 1\n",
        "\ufeff2\r\n\r\n 1 \r\nb c/x 1",
        "2.jpg\n1.jpg\nb c/x 1.jpg\n",
    ],
)
@pytest.mark.parametrize("templates", [FLAT, DEEP])
def test_lists_of_ids(root: Path, content: str, templates: dict[str, str]) -> None:
    assert listed(root, content, **templates) == ["2", "1", "b c/x 1"]


def test_listed_ids_keep_dots(tmp_path: Path) -> None:
    write_pairs(tmp_path, "images/{id}.png", "masks/{id}.png", "1.5", "x.png")
    templates = {"images": "images/{id}.png", "masks": "masks/{id}.png"}
    assert listed(tmp_path, "1.5\nx.png\n", **templates) == ["1.5", "x.png"]
    assert listed(tmp_path, "1.5.png\nx.png.png\n", **templates) == ["1.5", "x.png"]


def test_lists_of_ids_in_folders_of_splits(tmp_path: Path) -> None:
    write_pairs(tmp_path, "train/{id}.jpg", "masks/train/{id}.png", "1", "2")
    write_pairs(tmp_path, "val/{id}.jpg", "masks/val/{id}.png", "1", "2")
    for name in ("train", "val"):
        (tmp_path / f"{name}.txt").write_text("2\n")
    dataset = open_folder(
        tmp_path,
        images="{split}/{id}.jpg",
        masks="masks/{split}/{id}.png",
        splits={"train": "train.txt", "val": "val.txt"},
    )
    assert ids_of(dataset) == {"train": ["train/2"], "val": ["val/2"]}


def test_an_id_in_two_lists(root: Path) -> None:
    (root / "val.lst").write_text("1\n")
    (root / "train.txt").write_text("1\n2\n")
    splits = {"train": "train.txt", "val": "val.lst"}
    dataset = open_folder(root, splits=splits, **FLAT)
    assert ids_of(dataset) == {"train": ["1", "2"], "val": ["1"]}


LISTS = {
    "no list": (None, "{root}/train.txt: no such file; write its path relative to data.root"),
    "empty": ("\r\n \n", "{root}/train.txt: is empty; list one image per line"),
    "not text": (b"\xff\xfe1", "{root}/train.txt: is not a UTF-8 text file (invalid start byte)"),
    "duplicate": (
        "1\n2\n1\n",
        "{root}/train.txt:3: duplicate id '1' (first at {root}/train.txt:1)",
    ),
    "up": ("1\n../1\n", "{root}/train.txt:2: '../1' leads out of data.root"),
    "up inside": ("a/../../1\n", "{root}/train.txt:1: 'a/../../1' leads out of data.root"),
    "absolute": ("/etc/passwd\n", "{root}/train.txt:1: '/etc/passwd' leads out of data.root"),
    "backslash": ("a\\1\n", "{root}/train.txt:1: 'a\\\\1' has a backslash; write / between"),
    "pairs": (
        "1\n/images/2.jpg /masks/2.png\n",
        "{root}/train.txt:2: expected an id, got the two paths '/images/2.jpg /masks/2.png'; leave "
        "out data.images and data.masks for a list of pairs",
    ),
    "no image": (
        "1\n21\n22\n",
        "train.txt: 2 of 3 images of the split 'train' are missing: 'images/21.jpg', "
        "'images/22.jpg' (the closest file to the first one is 'images/2.jpg'); add the files, or "
        "correct the list",
    ),
}


@pytest.mark.parametrize("case", LISTS)
def test_broken_lists(root: Path, case: str) -> None:
    content, expected = LISTS[case]
    if content is not None:
        content = content if isinstance(content, bytes) else content.encode()
        (root / "train.txt").write_bytes(content)
    message = refused(root, splits={"train": "train.txt"}, **FLAT)
    assert message.startswith(expected.format(root=root))


def test_a_list_in_two_roots(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for folder in (root, other):
        folder.mkdir(exist_ok=True)
        (folder / "train.txt").write_text("1\n")
    splits = {"train": str(other / "train.txt")}
    assert ids_of(open_folder([root, root, other], splits=splits, **FLAT)) == {"train": ["1"]}
    message = refused([root, other], splits={"train": "train.txt"}, **FLAT)
    assert message.startswith(f"{root}/train.txt and {other}/train.txt: both are train.txt; remove")


# Lists of pairs.


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.txt", "images/1.jpg masks/1.png\nimages/a/1.jpg  masks/a/1.png\n"),
        ("train.lst", "images/1.jpg\tmasks/1.png\r\n\r\nimages/a/1.jpg\tmasks/a/1.png"),
        ("train.csv", 'image,mask\nimages/1.jpg, masks/1.png\n"images/a/1.jpg",masks/a/1.png\n'),
        ("train.TSV", "Image\tLabel\nimages/1.jpg\tmasks/1.png\nimages/a/1.jpg\tmasks/a/1.png\n"),
        ("train.txt", "/images/1.jpg /masks/1.png\n./images/a/1.jpg ./masks/a/1.png\n"),
        ("train.txt", "{root}/images/1.jpg {root}/masks/1.png\nimages/a/1.jpg masks/a/1.png\n"),
    ],
)
def test_lists_of_pairs(root: Path, name: str, content: str) -> None:
    write_mask(root / "masks/a/1.png", np.full((4, 6), 2))
    assert listed(root, content.format(root=root), name) == ["images/1", "images/a/1"]
    dataset = open_folder(root, splits={"train": name})
    assert dataset.image("images/1").shape == (4, 6, 3)
    assert dataset.mask("images/a/1").max() == 2


def test_pairs_with_spaces_and_commas(root: Path) -> None:
    assert listed(root, "images/b c/x 1.jpg\tmasks/b c/x 1.png\n") == ["images/b c/x 1"]
    assert listed(root, "images/b c/x 1.jpg,masks/b c/x 1.png\n") == ["images/b c/x 1"]
    write_pairs(root, "{id}.jpg", "{id}.png", "a,b")
    assert listed(root, "a,b.jpg\ta,b.png\n") == ["a,b"]
    assert listed(root, '"a,b.jpg","a,b.png"\n', "train.csv") == ["a,b"]


PAIRS = {
    "one path": (
        "images/1.jpg\n",
        "{root}/train.txt:1: expected the paths of an image and its mask",
    ),
    "three": (
        "a b c\n",
        "{root}/train.txt:1: expected the paths of an image and its mask, got 'a b",
    ),
    "empty path": ("images/1.jpg,\n", "{root}/train.txt:1: expected the paths of an image and"),
    "up": ("images/1.jpg ../1.png\n", "{root}/train.txt:1: '../1.png' leads out of data.root"),
    "twice": (
        "images/1.jpg masks/1.png\nimages/1.jpg masks/2.png\n",
        "{root}/train.txt:2: 'images/1.jpg' or its name with another suffix is listed before",
    ),
    "no mask": (
        "images/1.jpg masks/1.png\nimages/2.jpg masks/2_L.png\n",
        "train.txt: 1 of 2 masks of the split 'train' are missing: 'masks/2_L.png' (the closest "
        "file to the first one is 'masks/2.png'); add the files, or correct the list",
    ),
    "no image": (
        "/home/me/1.jpg masks/1.png\n",
        "train.txt: 1 of 1 images of the split 'train' are missing: 'home/me/1.jpg' (the closest",
    ),
}


@pytest.mark.parametrize("case", PAIRS)
def test_broken_pairs(root: Path, case: str) -> None:
    content, expected = PAIRS[case]
    (root / "train.txt").write_text(content)
    assert refused(root, splits={"train": "train.txt"}).startswith(expected.format(root=root))


@pytest.mark.parametrize("kind", ["ids", "pairs", "colors"])
def test_damaged_text_files_are_read_or_refused(root: Path, kind: str) -> None:
    contents = {
        "ids": b"1\r\n2\r\n3\r\nb c/x 1.jpg\r\n",
        "pairs": b"images/1.jpg\tmasks/1.png\r\nimages/2.jpg,masks/2.png\r\n",
        "colors": b"64 128 64\tsky\r\n0 0 0\tvoid\r\n1 2 3 head\n",
    }
    arguments: dict[str, Any] = {
        "ids": {**FLAT, "splits": {"train": "file.txt"}},
        "pairs": {"splits": {"train": "file.txt"}},
        "colors": {**FLAT, "splits": {"train": 1.0}, "colors": "file.txt"},
    }[kind]
    for seed in range(150):
        (root / "file.txt").write_bytes(damage(contents[kind], random.Random(seed)))
        with suppress(DataError, ArgumentError):  # any other error fails the test
            ids_of(open_folder(root, **arguments))


def test_two_masks_of_one_image_are_refused(root: Path) -> None:
    (root / "train.txt").write_text("images/1.jpg masks/1.png\n")
    (root / "val.txt").write_text("images/1.jpg masks/2.png\n")
    message = refused(root, splits={"train": "train.txt", "val": "val.txt"})
    assert message.startswith(f"{root}/val.txt:1: 'images/1.jpg' or its name")


def test_a_pair_in_two_roots(root: Path, tmp_path: Path) -> None:
    other = write_images(tmp_path / "other", "images/1.jpg")
    (root / "train.txt").write_text("images/1.jpg masks/1.png\n")
    message = refused([root, other], splits={"train": "train.txt"})
    assert message.startswith(f"{root}/train.txt:1: {root}/images/1.jpg and {other}/images/1.jpg")


# Shares.


def test_shares(root: Path) -> None:
    splits = {"train": 0.6, "val": 0.2, "holdout": 0.2}
    found = ids_of(open_folder(root, splits=splits, **DEEP))
    assert {name: len(ids) for name, ids in found.items()} == {"train": 3, "val": 1, "holdout": 1}
    assert sorted(id for ids in found.values() for id in ids) == ["1", "2", "3", "a/1", "b c/x 1"]
    assert ids_of(open_folder(root, splits=splits, **DEEP)) == found
    others = [ids_of(open_folder(root, splits=splits, seed=seed, **DEEP)) for seed in range(1, 5)]
    assert any(one != found for one in others)


def test_groups_stay_together(tmp_path: Path) -> None:
    videos = [f"video{number}_{frame:02}" for number in range(8) for frame in range(number + 1)]
    write_pairs(tmp_path, "images/{id}.jpg", "masks/{id}.png", *videos)
    dataset = open_folder(
        tmp_path, splits={"train": 0.75, "val": 0.25}, group=r"video(\d+)_", **FLAT
    )
    groups = {split: {id[5] for id in ids} for split, ids in ids_of(dataset).items()}
    assert not groups["train"] & groups["val"]
    assert groups["train"] | groups["val"] == set("01234567")


def test_an_id_without_group(root: Path) -> None:
    message = refused(root, splits={"train": 0.5, "val": 0.5}, group=r"x (\d)", **DEEP)
    assert message == (
        "1: is in no group, since data.group 'x (\\\\d)' is not found in this id; make it match "
        "all ids"
    )


def test_fewer_images_or_groups_than_splits(root: Path) -> None:
    splits = {f"split{index}": 1 / 6 for index in range(6)}
    assert refused(root, splits=splits, **DEEP).startswith(
        "there are only 5 images for the 6 splits split0, split1, "
    )
    video = write_pairs(root / "video", "images/{id}.jpg", "masks/{id}.png", "v_1", "v_2")
    message = refused(video, splits={"train": 0.5, "val": 0.5}, group="^[a-z]+", **FLAT)
    assert message == (
        "there are only 1 groups of images (data.group is '^[a-z]+') for the 2 splits train, val; "
        "add images, or use fewer splits"
    )


IDS = st.lists(st.text("abc123/", min_size=1, max_size=5), min_size=3, max_size=40, unique=True)
SHARES = st.lists(st.integers(1, 20), min_size=1, max_size=3)


@given(IDS, SHARES, st.integers(0, 5))
def test_a_division_is_a_partition_near_its_shares(
    ids: list[str], parts: list[int], seed: int
) -> None:
    shares = {f"split{index}": part / sum(parts) for index, part in enumerate(parts)}
    divided = divide(ids, shares, seed, None)
    assert list(divided) == list(shares)
    assert sorted(id for some in divided.values() for id in some) == sorted(ids)
    shuffled = random.Random(0).sample(ids, len(ids))
    assert divide(shuffled, shares, seed, None) == divided
    for name, some in divided.items():
        assert some
        assert abs(len(some) - shares[name] * len(ids)) <= 1 + len(parts)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=7), st.floats(0.05, 0.95))
def test_groups_are_cut_where_shares_are_met_best(sizes: list[int], share: float) -> None:
    ids = [f"g{group}-{index}" for group, size in enumerate(sizes) for index in range(size)]
    divided = divide(ids, {"train": share, "val": 1 - share}, 0, r"^(.*)-")
    counts = {split: len(some) for split, some in divided.items()}
    possible = {sum(some) for count in range(1, len(sizes)) for some in combinations(sizes, count)}
    assert counts["train"] in possible
    groups = [{id.split("-")[0] for id in some} for some in divided.values()]
    assert not groups[0] & groups[1]
    # Moving one whole group is never better by more than the largest group.
    assert abs(counts["train"] - share * len(ids)) <= max(sizes) + 1e-9


def test_a_few_more_images_move_few_others() -> None:
    shares = {"train": 0.8, "val": 0.1, "holdout": 0.1}
    ids = [f"{index:04}" for index in range(1000)]
    before = {id: split for split, some in divide(ids, shares, 0, None).items() for id in some}
    more = divide([*ids, *(f"new{index}" for index in range(10))], shares, 0, None)
    after = {id: split for split, some in more.items() for id in some}
    assert sum(after[id] != split for id, split in before.items()) <= 20


# Arguments that do not go together.

ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "no splits": (FLAT, "splits is missing; say how images are divided, as in {train: 0.8, val"),
    "no templates": ({}, "images is missing; write where the images are, as in images/{id}.jpg"),
    "only images": ({"images": "i/{id}.jpg"}, "masks is missing; set both templates, or none"),
    "only masks": ({"masks": "m/{id}.png"}, "images is missing; set both templates, or none"),
    "no list": ({"splits": {"train": "training"}}, "images is missing; write where the images"),
    "no {split}": (
        {**FLAT, "splits": {"train": "training"}},
        "splits has 'training', which is no list (.txt, .lst, .csv, .tsv), and images has no ",
    ),
    "sum": ({**FLAT, "splits": {"train": 0.5, "val": 0.2}}, "splits must be positive shares that"),
    "negative": ({**FLAT, "splits": {"a": 1.5, "b": -0.5}}, "splits must be positive shares that"),
    "infinite": (
        {**FLAT, "splits": {"a": float("inf")}},
        "splits must be positive shares that sum",
    ),
    "nan": ({**FLAT, "splits": {"a": float("nan"), "b": 1.0}}, "splits must be positive shares"),
    "digits": (
        {**FLAT, "splits": {"train": 2012}},
        "splits must be positive shares that sum to 1, got {'train': 2012} (a name of digits needs",
    ),
    "mixed": ({**FLAT, "splits": {"train": 0.5, "val": "v.txt"}}, "splits must be all shares or"),
    "none": ({**FLAT, "splits": {}}, "splits must have names of splits, got {}"),
    "name": ({**FLAT, "splits": {"a/b": 1.0}}, "splits must have names of splits, got 'a/b'"),
    "shares of folders": (
        {"images": "{split}/{id}.jpg", "masks": "m/{split}/{id}.png", "splits": {"train": 1.0}},
        "splits must not be shares, since images has {split}; write ** for these folders",
    ),
    "group without shares": (
        {**FLAT, "splits": {"train": "train.txt"}, "group": "a"},
        "group is only for splits that are shares; remove it",
    ),
    "group": (
        {**FLAT, "splits": {"train": 0.5, "val": 0.5}, "group": "(a"},
        "group must be a regular expression: missing ), unterminated subpattern",
    ),
    "same": (
        {"images": "{id}.png", "masks": "{id}.png", "splits": {"a": 1.0}},
        "masks must differ",
    ),
    "more": (
        {"images": "{id}.png", "masks": "**/{id}.png", "splits": {"a": 1.0}},
        "masks has parts that images has not, got '**/{id}.png'",
    ),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_that_do_not_go_together(root: Path, case: str) -> None:
    arguments, expected = ARGUMENTS[case]
    with pytest.raises(ArgumentError, match="^" + re.escape(expected)):
        open_folder(root, **arguments)


TEMPLATES = {
    "/data/{id}.jpg": "must be a path relative to root",
    "~/{id}.jpg": "must be a path relative to root",
    "c:/{id}.jpg": "must be a path relative to root",
    "images\\{id}.jpg": "must be a path relative to root, with / between folders",
    "../{id}.jpg": "must be a path inside root",
    "images/./{id}.jpg": "must be a path inside root",
    "images//{id}.jpg": "must be a path inside root",
    "images/{id}/": "must be a path inside root",
    "images/a**/{id}.jpg": "must have ** as the whole name of a folder",
    "images/{id}/**": "must have ** as the whole name of a folder",
    "**/a/**/{id}.jpg": "must have ** only once",
    "images/{name}.jpg": "must have no braces but {split} and {id}, and has {name}",
    "images/{}.jpg": "must have no braces but {split} and {id}, and has {}",
    "images/{id.jpg": "must have no braces but {split} and {id}, and has {",
    "images/*.jpg": "must have {id}, as in images/{id}.png",
    "images": "must have {id}, as in images/{id}.png",
    "images/{split}{id}.jpg": "must have a character between two of {split}, {id} and *",
    "images/{id}*.jpg": "must have a character between two of {split}, {id} and *",
}


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("argument", ["images", "masks"])
def test_templates_that_cannot_be_used(tmp_path: Path, template: str, argument: str) -> None:
    arguments: dict[str, Any] = {**FLAT, argument: template}
    with pytest.raises(ArgumentError) as caught:
        open_folder(tmp_path, **arguments)
    assert str(caught.value).startswith(f"{argument} {TEMPLATES[template]}")
    assert str(caught.value).endswith(f", got {template!r}")


def test_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(tmp_path / "street", "images/train/{id}.jpg", "masks/train/{id}.png", "1")
    templates = {"images": "images/{split}/{id}.jpg", "masks": "masks/{split}/{id}.png"}
    monkeypatch.setenv("HIERASEG_DATA", str(tmp_path))
    found = open_folder(None, dataset="street", **templates)
    assert ids_of(found) == {"train": ["train/1"]}
    message = refused(None, dataset="city", **templates)
    assert message == (
        f"{tmp_path}/city: no such data folder; set data.root to the folder of the data set, or "
        "HIERASEG_DATA to the folder that has `city` in it"
    )
    message = refused([tmp_path / "street", tmp_path / "x"], **templates)
    assert message.startswith(f"{tmp_path}/x: no such data folder; set data.root to the folder of")
    monkeypatch.delenv("HIERASEG_DATA")
    monkeypatch.chdir(tmp_path)
    assert "data/city: no such data folder" in refused(None, dataset="city", **templates)
