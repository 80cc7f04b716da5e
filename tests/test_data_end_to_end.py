"""Images and masks of unusual kinds, from the data set to the scores.

The model is one whose prediction is known, so that a changed pixel or label lowers the score.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hieraseg import Hierarchy
from hieraseg.cli import main
from hieraseg.data.batches.batch import read_rows
from hieraseg.data.sampling import generator
from hieraseg.data.stores.store import open_store
from hieraseg.settings import Input
from hieraseg.training.setup import count_class_pixels
from tests.support.augmentation import stretched
from tests.support.datasets import FakeDataset
from tests.support.oracle import oracle_component, write_oracle_recipe
from tests.support.pascal_part import write_pascal_folder
from tests.support.runs import read_json

WIDE = Hierarchy.from_tree(
    {"left": ["l0", "l1"], "right": ["r0", "r1"], "sky": None},
    labels={0: "sky", 254: "l0", 255: "r0", 256: "l1", 40_000: "r1"},
    void=[65_535],
    pairs=[("left", "right"), ("l0", "r0"), ("l1", "r1")],
)


def run(recipe: str, out: Path, *options: str) -> dict[str, Any]:
    """Run a recipe; return the scores of `val`."""
    assert main(["run", recipe, "--out", str(out), *options]) == 0
    (folder,) = out.glob("*/*")
    scores: dict[str, Any] = read_json(folder / "result.json")["splits"]["val"]
    return scores


@pytest.mark.parametrize("resolution", ["native", "input"])
def test_labels_above_255_are_scored_right(tmp_path: Path, resolution: str) -> None:
    names = "\n".join(f"  - c{index}" for index in range(301))
    labels = "\n".join(f"  {index + 100}: c{index}" for index in range(301))
    (tmp_path / "tree.yaml").write_text(f"tree:\n{names}\nlabels:\n{labels}\nvoid: [0, 65535]\n")
    recipe = write_oracle_recipe(
        tmp_path,
        "hierarchy: {name: file, path: tree.yaml}\n"
        "data: {shape: [64, 64], shown: 40}\ninput: {size: [64, 64]}\nloss: weighted_ce\n"
        f"evaluation: {{resolution: {resolution}}}\n",
    )
    (level,) = run(recipe, tmp_path / "runs")["levels"]
    assert level["miou"] == 1.0
    scored = [name for name, iou in level["iou"].items() if iou is not None]
    assert max(int(name[1:]) for name in scored) > 155, "no label above 255 was drawn"
    (folder,) = (tmp_path / "runs").glob("*/*")
    arguments = ["evaluate", str(folder), "--split", "holdout"]
    assert main([*arguments, "--visualize", "--num_viz", "1", "--viz_dir", str(tmp_path)]) == 0


def test_labels_above_255_are_augmented_and_counted_right() -> None:
    values = np.array([0, 254, 255, 256, 40_000, 65_535], np.uint16)
    masks = {f"train{i}": np.roll(values, i).repeat(4).reshape(4, 6) for i in range(5)}
    dataset = FakeDataset(shape=(4, 6), masks=masks)
    store = open_store(dataset, "train", WIDE, Input(size=(4, 6)))
    counts = count_class_pixels(store, WIDE)
    assert [count.tolist() for count in counts] == [[40, 40, 20], [20, 20, 20, 20, 20]]
    _, flipped = stretched(*read_rows(store, torch.arange(5)), generator(0, 1), WIDE, flip=1)
    swapped = {254: 255, 255: 254, 256: 40_000, 40_000: 256}
    expected = [[swapped.get(v, v) for v in row] for row in masks["train1"][:, ::-1].tolist()]
    assert flipped[1].tolist() == expected


def test_images_and_masks_of_a_folder_agree_with_predict(tmp_path: Path) -> None:
    """The EXIF orientation counts for training and prediction, and 4-bit masks are labels."""
    rectangles = oracle_component("datasets", "rectangles")
    tree = Hierarchy.from_tree([f"c{index}" for index in range(7)])
    data = rectangles(tree, shape=(32, 48))
    root = write_pascal_folder(tmp_path / "data", images=4, holdout=1)
    image_files = sorted((root / "JPEGImages").iterdir())
    for index, file in enumerate(image_files):
        exif = Image.Exif()
        exif[0x0112] = 8  # stored turned; upright after 90 degrees counterclockwise
        turned = np.rot90(data.image(f"train{index}"), -1)
        Image.fromarray(turned).save(file, quality=100, subsampling=0, exif=exif)
        mask_file = root / "gt_masks" / f"{file.stem}.npy"
        mask_file.unlink()
        mask = Image.fromarray(data.mask(f"train{index}"))
        mask.save(mask_file.with_suffix(".png"), bits=4)
    recipe = write_oracle_recipe(
        tmp_path, f"data: {{name: pascal_part, root: {root}}}\ninput: {{size: [32, 48]}}\n"
    )
    scores = run(recipe, tmp_path / "runs")
    assert [level["miou"] for level in scores["levels"]] == [1.0, 1.0, 1.0]
    (folder,) = (tmp_path / "runs").glob("*/*")
    out = tmp_path / "predicted"
    assert main(["predict", str(folder), str(image_files[0]), "--out", str(out)]) == 0
    predicted = np.asarray(Image.open(out / f"{image_files[0].stem}_level3.png"))
    np.testing.assert_array_equal(predicted, data.mask("train0"))
