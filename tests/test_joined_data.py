"""Runs on several data sets as one: trained by weight, scored on all, stored one by one."""

import json
from pathlib import Path

import pytest

from hieraseg.cli import main
from tests.support.oracle import write_oracle_recipe

JOINED = """
data:
  name: concat
  datasets:
    - {name: rectangles, images: 6}
    - {name: rectangles, shape: [20, 40], images: 4}
  weights: [1, 3]
training: {epochs: 2, batch_size: 4, max_steps: null}
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HIERASEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("source", "resize"),
    [
        ("decoded", "shorter"),
        ("files", "stretch"),
        pytest.param("decoded", "stretch", marks=pytest.mark.slow),
        pytest.param("files", "shorter", marks=pytest.mark.slow),
    ],
)
def test_run(tmp_path: Path, cache: Path, resize: str, source: str) -> None:
    """Images of their own size lose no pixel, so the oracle is right everywhere."""
    changes = f"input: {{size: [32, 32], resize: {resize}, store: {source}}}\n"
    recipe = write_oracle_recipe(tmp_path, JOINED.replace("[20, 40]", "[32, 32]") + changes)
    assert main(["run", recipe, "--out", str(tmp_path / "runs")]) == 0
    (folder,) = tmp_path.glob("runs/*/*")
    scores = json.loads((folder / "result.json").read_text())["splits"]["val"]
    assert [level["miou"] for level in scores["levels"]] == [1.0, 1.0, 1.0]
    assert scores["images"] == 5
    assert main(["evaluate", str(folder), "--split", "holdout"]) == 0
    stores = {path.name.rpartition("-")[0] for path in cache.glob("*/index.npz")}
    assert len(list(cache.glob("train*/index.npz"))) == 2, f"not one per data set: {stores}"


def test_dry_run(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_oracle_recipe(tmp_path, JOINED)
    assert main(["validate", recipe, "--build"]) == 0
    assert "4 images" in capsys.readouterr().out


def test_a_member_that_cannot_be_used(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_oracle_recipe(
        tmp_path, "hierarchy: pascal_part\n" + JOINED.replace("shape: [20, 40]", "shape: [0, 4]")
    )
    assert main(["run", recipe, "--out", str(tmp_path / "runs")]) == 3
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "datasets[1]" in line)
    assert "Traceback" not in line


@pytest.mark.parametrize(
    ("weights", "options", "exit_code", "message"),
    [
        ("[1, 3]", [], 2, "oracle.yaml:9: training.repeat_threshold: cannot be combined with data"),
        ("null", ["--build"], 0, "the rarest class, are"),
    ],
)
def test_images_are_drawn_by_weight_or_by_class(
    tmp_path: Path,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
    weights: str,
    options: list[str],
    exit_code: int,
    message: str,
) -> None:
    recipe = write_oracle_recipe(
        tmp_path, JOINED.replace("[1, 3]", weights).replace("epochs: 2", "repeat_threshold: 1")
    )
    assert main(["validate", recipe, *options]) == exit_code
    assert message in "".join(capsys.readouterr())
