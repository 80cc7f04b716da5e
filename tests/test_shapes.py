"""Images of several shapes, from a recipe to scores and class maps.

The oracle predicts each pixel right, so that any score below 1.0 is due to the framework. No image
is resized, since that mixes colors. It refuses images that are not padded to its stride.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hieraseg import Hierarchy, registry
from hieraseg.cli import main
from tests.support.oracle import oracle_component, write_oracle_recipe
from tests.support.runs import read_json

Captured = pytest.CaptureFixture[str]

SHAPES = {
    "shorter": [(24, 32), (24, 50), (71, 32), (33, 32), (24, 24)],
    "longer": [(24, 20), (20, 32), (3, 32), (24, 1), (24, 24)],
    "none": [(24, 32), (7, 90), (1, 1), (41, 23), (70, 70)],
}
RESIZED = [(70, 101), (33, 57), (40, 40)]
TREE = """\
tree: {background: null, person: {upper: [left_arm, right_arm], lower: [left_leg, right_leg]}}
labels: {0: background, 300: left_arm, 301: right_arm, 2000: left_leg, 65534: right_leg}
background: background
pairs: [[left_arm, right_arm], [left_leg, right_leg]]
"""


def oracle_run_of(
    folder: Path, resize: str, changes: str = "", shapes: list[tuple[int, int]] | None = None
) -> Path:
    """The folder of a run on images of the given shapes, or those that are not resized."""
    shown = [list(shape) for shape in shapes or SHAPES[resize]]
    recipe = write_oracle_recipe(
        folder,
        f"data: {{name: rectangles, images: 10, shapes: {shown}}}\n"
        f"input: {{size: [24, 32], resize: {resize}}}\n"
        f"backbone: {{name: oracle, stride: 4}}\n{changes}",
    )
    assert main(["run", recipe, "--out", str(folder / "runs")]) == 0
    return next(folder.glob("runs/*/*"))


def scores(folder: Path, key: str = "val") -> list[float]:
    """mIoU per level."""
    levels = read_json(folder / "result.json")["splits"][key]["levels"]
    return [level["miou"] for level in levels]


# Slow: the next two tests score images that are not resized, whole and in windows.
@pytest.mark.parametrize(
    "resize", ["shorter", "longer", pytest.param("none", marks=pytest.mark.slow)]
)
def test_whole_images_and_windows_are_scored_right(resize: str, tmp_path: Path) -> None:
    run = oracle_run_of(tmp_path, resize, "evaluation: {batch_size: 2}\n")
    assert scores(run) == [1.0] * 3
    for options, key in (
        (["--flip"], "val@flip"),
        (["--window", "16", "24"], "val@window=16x24"),
        (["--window", "200", "9", "--flip"], "val@flip,window=200x9"),
    ):
        assert main(["evaluate", str(run), *options]) == 0
        assert scores(run, key) == [1.0] * 3
        pixels = np.load(run / f"evaluation/{key}.npz")["pixels"]
        assert pixels.tolist() == [height * width for height, width in SHAPES[resize]]


def test_the_own_protocol_of_a_run_with_windows(tmp_path: Path) -> None:
    """Scored after each epoch and at the end; figures have the shape of each image."""
    evaluation = "evaluation: {window: [16, 16], resolution: input}\n"
    run = oracle_run_of(tmp_path, "none", evaluation)
    assert scores(run) == [1.0] * 3
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert [level["miou"] for level in json.loads(lines[-1])["val"]["levels"]] == [1.0] * 3
    drawn = {path.stem: Image.open(path).size for path in (run / "figures/val").iterdir()}
    assert set(drawn) == {"val0", "val1", "val3", "val4"}
    assert drawn["val3"][1] > drawn["val1"][1] + 200  # 41 x 23 and 7 x 90


def test_labels_above_255_and_left_right_pairs(tmp_path: Path) -> None:
    (tmp_path / "tree.yaml").write_text(TREE)
    run = oracle_run_of(tmp_path, "none", "hierarchy: {name: file, path: tree.yaml}\n")
    assert main(["evaluate", str(run), "--window", "16", "24"]) == 0
    assert scores(run) == scores(run, "val@window=16x24") == [1.0] * 3


def test_predict_gives_the_shapes_and_folders_of_images(tmp_path: Path) -> None:
    run = oracle_run_of(tmp_path, "none")
    hierarchy: Hierarchy = registry.hierarchies.get("pascal_part")()
    data = oracle_component("datasets", "rectangles")(hierarchy, shapes=SHAPES["none"])
    for index in range(5):
        file = tmp_path / f"in/a b/{index}/ö.png"
        file.parent.mkdir(parents=True)
        Image.fromarray(data.image(f"val{index}")).save(file)
    for options in ([], ["--window", "16", "16"], ["--flip"]):
        out = tmp_path / "out"
        command = ["predict", str(run), str(tmp_path / "in"), "--out", str(out)]
        assert main([*command, *options]) == 0
        for index, shape in enumerate(SHAPES["none"]):
            leaves = np.asarray(Image.open(out / f"a b/{index}/ö_level3.png"))
            assert leaves.shape == shape
            np.testing.assert_array_equal(leaves, data.mask(f"val{index}"))


@pytest.fixture(scope="module")
def resizing_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs that resize images, so that colors are mixed and predictions wrong at borders."""
    return {
        resize: oracle_run_of(tmp_path_factory.mktemp(resize), resize, shapes=RESIZED)
        for resize in ("stretch", "shorter")
    }


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ((), "val"),
        (("--flip", "--scales", "0.5", "1"), "val@flip,scales=0.5+1"),
        (("--scales", "0.5", "--window", "40", "32", "--flip"), "val@flip,scales=0.5,window=40x32"),
    ],
)
@pytest.mark.parametrize("resize", ["stretch", "shorter"])
def test_predict_and_evaluate_agree_on_each_pixel(
    resize: str, options: tuple[str, ...], key: str, resizing_runs: dict[str, Path], tmp_path: Path
) -> None:
    """The counts of each image are those of its class map."""
    run, out = resizing_runs[resize], tmp_path / "out"
    assert main(["evaluate", str(run), *options]) == 0
    assert 0 < scores(run, key)[2] < 1
    counts = np.load(run / f"evaluation/{key}.npz")
    hierarchy: Hierarchy = registry.hierarchies.get("pascal_part")()
    data = oracle_component("datasets", "rectangles")(hierarchy, shapes=RESIZED)
    (tmp_path / "in").mkdir()
    for id in counts["ids"]:
        Image.fromarray(data.image(id)).save(tmp_path / f"in/{id}.png")
    assert main(["predict", str(run), str(tmp_path / "in"), "--out", str(out), *options]) == 0
    for row, id in enumerate(counts["ids"]):
        predicted = np.asarray(Image.open(out / f"{id}_level3.png"))
        correct = predicted[predicted == data.mask(id)]
        for key, classes in (("predicted_3", predicted), ("intersection_3", correct)):
            np.testing.assert_array_equal(counts[key][row], np.bincount(classes.ravel(), None, 7))
