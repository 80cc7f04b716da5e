"""What `hieraseg data --sheet` shows is what the first steps of a run train on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hieraseg.cli import main
from hieraseg.data.sampling import training_order
from hieraseg.errors import DataError
from hieraseg.preview import first_samples, preview
from hieraseg.recipe import Recipe, load
from hieraseg.training.order import run_step
from hieraseg.training.setup import set_up
from tests.support.pascal_part import write_pascal_folder
from tests.support.runs import QUICKSTART, SMALL

CROPS = [
    ("data.image_size", "[72, 96]"),
    ("input.resize", "shorter"),
    ("augmentation.crop", "0"),
    ("augmentation.scale", "[0.4, 2]"),
    ("augmentation.crop_tries", "3"),
]


def small(*overrides: tuple[str, str]) -> Recipe:
    """The quickstart recipe with the overrides `SMALL` and others."""
    names = [option.removeprefix("--") for option in SMALL[::2]]
    return load(QUICKSTART, [*zip(names, SMALL[1::2], strict=True), *overrides])


def trained_on(recipe: Recipe, steps: int) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Ids, images and targets of the first steps of a run, by the parts that train it."""
    parts, _ = set_up(recipe)
    store, settings = parts.stores["train"], recipe.training
    order = training_order(
        len(store), settings.batch_size, settings.seed, 1, store.members, store.repeats
    )
    first = [run_step(parts, 1, step, rows) for step, rows in enumerate(order[:steps], 1)]
    augmented = [parts.view.augment(batch) for batch in parts.view.load(first)]
    images, masks = (torch.cat(one) for one in zip(*augmented, strict=True))
    ids = [store.ids[row] for rows in order[:steps] for row in rows.tolist()]
    return ids, images, parts.hierarchy.encode(masks, check=False)


RARE = [("training.repeat_threshold", "1"), ("input.size", "[8, 8]")]
"""In masks of this size, some classes are missing."""


@pytest.mark.parametrize("overrides", [[], CROPS, [("training.seed", "3")], RARE], ids=str)
def test_samples_are_those_of_the_first_steps(overrides: list[tuple[str, str]]) -> None:
    recipe = small(*overrides)
    ids, images, targets = trained_on(recipe, 2)
    samples = first_samples(recipe, 6)  # one and a half steps
    assert samples.ids == ids[:6]
    assert torch.equal(samples.images, images[:6])
    assert torch.equal(samples.targets, targets[:6])


def test_samples_of_joined_data_sets(tmp_path: Path) -> None:
    """Sampled by weight as in training, from a plain store of these images alone."""
    member = "{{name: pascal_part, root: {}}}"
    roots = [
        write_pascal_folder(tmp_path / name, images, seed=images)
        for name, images in (("a", 8), ("b", 6))
    ]
    path = tmp_path / "joined.yaml"
    members = ", ".join(member.format(root) for root in roots)
    path.write_text(
        f"base: {QUICKSTART}\n"
        f"data: {{name: concat, datasets: [{members}], weights: [1, 3]}}\n"
        "input: {size: [32, 32]}\n"
        "backbone: {name: efficientnet_lite, variant: 0, weights: null}\n"
        "training: {batch_size: 4}\n"
    )
    recipe = load(path)
    ids, images, targets = trained_on(recipe, 1)
    samples = first_samples(recipe, 4)
    assert samples.ids == ids
    assert torch.equal(samples.images, images)
    assert torch.equal(samples.targets, targets)


def test_the_sheet_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "sheet.png"
    assert main(["data", QUICKSTART, *SMALL, "--sheet", str(file), "--images", "3", "--json"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("{")
    assert str(file) in err
    with Image.open(file) as found:
        assert np.array_equal(np.asarray(found), np.asarray(preview(small(), 3)))


def test_an_epoch_has_no_more_images() -> None:
    assert len(first_samples(small(), 100).ids) == 12


def test_only_the_images_of_the_steps_are_read(tmp_path: Path) -> None:
    root = write_pascal_folder(tmp_path / "data", images=12)
    overrides = {"data": "pascal_part", "data.root": str(root), "training.batch_size": "2"}
    recipe = load(QUICKSTART, list(overrides.items()))
    shown = first_samples(recipe, 2).ids
    for file in (root / "JPEGImages").iterdir():
        if file.stem not in shown:
            file.write_bytes(b"damaged")
    assert first_samples(recipe, 2).ids == shown
    with pytest.raises(DataError, match="damaged"):
        preview(recipe, 4)
