"""A transform of a user: a plugin file that is listed, checked, trained with and kept."""

import json
from pathlib import Path

import pytest

from hieraseg.cli import main
from tests.support.processes import write_recipe

Captured = pytest.CaptureFixture[str]

PLUGIN = '''\
from pathlib import Path
from hieraseg import registry


@registry.transforms.register("tint")
class Tint:
    """Random colors, within limits from a file.

    Args:
        limits: a file with three numbers.
    """

    def __init__(self, limits: Path) -> None:
        self.limits = [float(one) for one in limits.read_text().split()]

    def __call__(self, images, masks, draws):
        images = images.clone()
        for channel, limit in enumerate(self.limits):
            factor = draws.uniform(1 - limit, 1)
            images[:, channel] *= draws.to_device(factor)[:, None, None]
        return images, masks
'''


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    """A recipe with the transform."""
    (tmp_path / "tint.py").write_text(PLUGIN)
    (tmp_path / "limits.txt").write_text("0.1 0.5 0")
    (tmp_path / "own.yaml").write_text(
        f"base: {write_recipe(tmp_path)}\n"
        "plugins: [tint.py]\n"
        "augmentation: {transforms: [{name: tint, limits: limits.txt}, noise]}\n"
    )
    return str(tmp_path / "own.yaml")


def run(recipe: str, out: Path, *options: str) -> Path:
    assert main(["run", recipe, "--out", str(out), *options]) == 0
    (folder,) = out.glob("*/*")
    return folder


def losses(folder: Path) -> list[float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_listed_and_checked(recipe: str, tmp_path: Path, capsys: Captured) -> None:
    plugin = ["--plugin", str(tmp_path / "tint.py")]
    assert main(["list", "transforms", *plugin]) == 0
    assert "Random colors, within limits from a file." in capsys.readouterr().out
    assert main(["list", "transform", "tint", *plugin]) == 0
    out = capsys.readouterr().out
    assert "augmentation:\n  transforms:\n    - name: tint\n      limits:  # required" in out
    limits = ["--transform.limits", str(tmp_path / "limits.txt")]
    assert main(["check", "transform", "tint", *limits, *plugin]) == 0
    assert main(["check", "transform", "tint", *plugin]) == 2
    assert "transform.limits: missing" in capsys.readouterr().err


def test_trained_with_and_kept(recipe: str, tmp_path: Path) -> None:
    folder = run(recipe, tmp_path / "runs")
    assert (folder / "plugins/tint.py").read_text() == PLUGIN
    assert (folder / "files/limits.txt").read_text() == "0.1 0.5 0"
    kept = (folder / "recipe.yaml").read_text()
    assert "    - {name: tint, limits: files/limits.txt}\n" in kept
    assert "    - {name: noise, probability: 0.5, deviation: [0.0, 0.05]}\n" in kept
    provenance = json.loads((folder / "provenance.json").read_text())
    names = [one["name"] for one in provenance["plugins"]["transform"]]
    assert names == ["tint", "noise"]
    # The copies are enough to evaluate, and to run it again with the same losses.
    (tmp_path / "tint.py").unlink()
    (tmp_path / "limits.txt").unlink()
    assert main(["evaluate", str(folder)]) == 0
    again = run(str(folder / "recipe.yaml"), tmp_path / "again")
    assert losses(again) == losses(folder)


def test_other_limits_are_other_colors(recipe: str, tmp_path: Path) -> None:
    first = run(recipe, tmp_path / "one")
    (tmp_path / "limits.txt").write_text("1 1 1")
    assert losses(run(recipe, tmp_path / "other")) != losses(first)


@pytest.mark.parametrize(
    ("transforms", "said"),
    [
        ("[{name: tint, limits: gone.txt}]", "augmentation.transforms[0].limits: "),
        ("[blur, tnt]", "augmentation.transforms[1]: unknown transform 'tnt', did you mean 'tint'"),
        ("[{name: blur, sigma: [2, 1]}]", "augmentation.transforms[0].sigma: must be ascending"),
        ("[{name: cutout, hierarchy: 1}]", "augmentation.transforms[0].hierarchy: is supplied by"),
        ("blur", "augmentation.transforms: expected a list of transforms, got 'blur'"),
    ],
)
def test_transforms_that_cannot_be_read(
    transforms: str, said: str, recipe: str, capsys: Captured
) -> None:
    assert main(["run", recipe, "--augmentation.transforms", transforms]) == 2
    assert f"command line: {said}" in capsys.readouterr().err


def test_a_transform_that_refuses_its_file(recipe: str, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "limits.txt").write_text("x")
    assert main(["run", recipe, "--out", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr().err
    assert "augmentation.transforms[0]: tint: could not convert string to float: 'x'" in said
