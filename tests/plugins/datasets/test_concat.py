"""Several data sets as one."""

from pathlib import Path

import pytest

from hieraseg.cli import main
from hieraseg.errors import DataError
from hieraseg.types import ArgumentError
from hieraseg_plugins.datasets.concat import Concat
from hieraseg_plugins.datasets.mannequins import Mannequins
from tests.support.folders import open_folder, write_pairs
from tests.support.oracle import write_oracle_recipe


@pytest.fixture
def joined(tmp_path: Path) -> Concat:
    """Two data sets, of which the second has no split val, but extra."""
    for folder, ids in (("one", ("train/1", "val/2")), ("two", ("train/1", "extra/1"))):
        write_pairs(tmp_path / folder, "images/{id}.jpg", "masks/{id}.png", *ids)
    templates = {"images": "images/{split}/{id}.jpg", "masks": "masks/{split}/{id}.png"}
    return Concat([open_folder(tmp_path / folder, **templates) for folder in ("one", "two")])


def test_splits_are_those_of_all_data_sets(joined: Concat) -> None:
    assert joined.splits == ("train", "val", "extra")
    assert joined.ids("train") == ["1/train/1", "2/train/1"]
    assert joined.ids("val") == ["1/val/2"]
    assert joined.ids("extra") == ["2/extra/1"]
    assert joined.weights is None
    assert len(joined.datasets) == 2


def test_images_and_masks_are_those_of_the_data_sets() -> None:
    parts = [Mannequins(image_size=(32, 32), seed=seed) for seed in (0, 1)]
    joined = Concat(parts, [2, 0.5])
    assert joined.weights == [2, 0.5]
    for number, part in enumerate(parts, 1):
        assert (joined.image(f"{number}/val-00003") == part.image("val-00003")).all()
        assert (joined.mask(f"{number}/val-00003") == part.mask("val-00003")).all()


def test_the_fingerprint_is_that_of_the_data_sets_with_the_split(
    joined: Concat, tmp_path: Path
) -> None:
    before = {split: joined.fingerprint(split) for split in joined.splits}
    assert len(set(before.values())) == 3
    (tmp_path / "two/masks/train/1.png").touch()
    changed = {split for split in joined.splits if joined.fingerprint(split) != before[split]}
    assert changed == {"train"}


@pytest.mark.parametrize("id", ["3/train/1", "0/train/1", "train/1", "x/train/1", "", "²/train/1"])
def test_ids_of_no_data_set(joined: Concat, id: str) -> None:
    with pytest.raises(DataError, match=r"no image .*; take an id from ids\(split\)"):
        joined.image(id)


def test_unknown_split(joined: Concat) -> None:
    with pytest.raises(DataError, match="no split 'test'; the data sets have train, val, extra"):
        joined.ids("test")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], "weights must be one per data set, got 1 for 2"),
        ([1.0, 0.0], r"weights must be positive, got 0.0 at \[1\]"),
        ([1.0, float("nan")], r"weights must be finite and positive, got nan at \[1\]"),
    ],
)
def test_weights_that_cannot_be_used(weights: list[float], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Concat([Mannequins(), Mannequins()], weights)


@pytest.mark.parametrize(
    ("datasets", "code", "message"),
    [
        ("[]", 2, "data.datasets: must be non-empty, got []"),
        ("mannequins", 2, "data.datasets: expected a non-empty list of datasets, got"),
        ("[manequins]", 2, "data.datasets[0]: unknown data 'manequins', did you mean 'mannequins'"),
        ("[{name: folder, image: x}]", 2, "data.datasets[0].image: data 'folder' has no such key"),
        ("[{name: folder, root: .}]", 2, "data.datasets[0].images: folder: is missing; write"),
        (
            "\n  - mannequins\n  - {name: folder, root: ., images: 'no/{id}.jpg', masks: "
            "'no/{id}.png', splits: {train: 0.5, val: 0.5}}\n  ",
            3,
            "oracle.yaml:6: {folder}: no file matches the template 'no/{{id}}.jpg'",
        ),
        ("[{name: folder, dataset: x}]", 3, "data.datasets[0].root: {here}/data/x: no such data"),
    ],
)
def test_problems_of_data_sets_inside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], datasets: str, code: int, message: str
) -> None:
    recipe = write_oracle_recipe(tmp_path, f"data:\n  name: concat\n  datasets: {datasets}\n")
    assert main(["run", recipe, "--out", str(tmp_path / "runs")]) == code
    assert message.format(here=Path.cwd(), folder=tmp_path) in capsys.readouterr().err
