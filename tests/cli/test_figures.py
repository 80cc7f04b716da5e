"""`figures/` of a finished run."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib import font_manager
from PIL import Image

from hieraseg.cli import main
from hieraseg.errors import DataError
from hieraseg.runs import figures
from hieraseg.runs.figures import output_path
from hieraseg.visualize.fonts import find_fonts
from tests.support.oracle import write_oracle_recipe
from tests.support.runs import read_json

Captured = pytest.CaptureFixture[str]


def test_a_finished_run_has_curves_and_figures_of_its_best_weights(
    trained_run: Path, run_copy: Path
) -> None:
    assert Image.open(trained_run / "figures/curves.png").size == (1000, 400)
    drawn = sorted((trained_run / "figures/val").iterdir())
    names = [f"val-0000{index}.png" for index in (0, 1, 3, 4)]  # spread over 5 images
    assert [figure.name for figure in drawn] == names
    out = run_copy / "again"
    options = ["--visualize", "--num_viz", "4", "--viz_dir", str(out)]
    assert main(["evaluate", str(run_copy), *options]) == 0
    for figure in drawn:
        again = np.asarray(Image.open(out / figure.name))
        np.testing.assert_array_equal(np.asarray(Image.open(figure)), again)


def test_figures_of_another_protocol_do_not_replace_those_of_the_run(
    run_copy: Path, capsys: Captured
) -> None:
    folder = run_copy / "figures"
    before = {file: file.read_bytes() for file in (folder / "val").iterdir()}
    options = ["--checkpoint", "last", "--flip", "--visualize", "--num_viz", "1", "--json"]
    assert main(["evaluate", str(run_copy), *options]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["checkpoint"] == "last"
    assert f"figures are in {folder / 'val@last,flip'}" in captured.err
    assert [file.name for file in (folder / "val@last,flip").iterdir()] == ["val-00000.png"]
    assert {file: file.read_bytes() for file in (folder / "val").iterdir()} == before


def test_a_run_says_where_its_figures_are(tmp_path: Path, capsys: Captured) -> None:
    recipe = write_oracle_recipe(tmp_path, "logging: {images: 0}\n")
    assert main(["run", recipe, "--out", str(tmp_path / "runs")]) == 0
    captured = capsys.readouterr()
    folder = Path(captured.out.splitlines()[-1])
    assert captured.err.splitlines()[-1] == f"curves and figures are in {folder / 'figures'}"
    assert [file.name for file in (folder / "figures").rglob("*.png")] == ["curves.png"]


def test_a_run_that_cannot_draw_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no display")

    monkeypatch.setattr(figures, "draw_curves", broken)
    assert main(["run", write_oracle_recipe(tmp_path), "--out", str(tmp_path / "runs")]) == 0
    captured = capsys.readouterr()
    folder = Path(captured.out.splitlines()[-1])
    assert "figures cannot be drawn (no display); the run is complete" in captured.err
    assert "figures are in" not in captured.err
    assert read_json(folder / "result.json")["cost"]["epochs"] == 1


def test_names_that_no_font_has_are_listed_beside_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    find_fonts.cache_clear()
    tree = {"背景": None, "身体": {"上": ["头", "arm"], "下": ["leg"]}}
    labels = {0: "背景", 1: "头", 2: "arm", 3: "leg"}
    (tmp_path / "tree.yaml").write_text(json.dumps({"tree": tree, "labels": labels}))
    recipe = write_oracle_recipe(tmp_path, "hierarchy: {name: file, path: tree.yaml}\n")
    assert main(["run", recipe, "--out", str(tmp_path / "runs")]) == 0
    captured = capsys.readouterr()
    file = Path(captured.out.splitlines()[-1]) / "figures/val/classes.json"
    assert "no installed font has the characters of 5 class names" in captured.err
    text = file.read_text(encoding="utf-8")
    assert "头" in text, "for people to read"
    assert json.loads(text)["level3"] == ["背景", "头", "arm", "leg"]
    find_fonts.cache_clear()


@pytest.mark.parametrize("id", ["a", "a.b", "x.png", "aachen/x", "./a", "a/../b", "..b", "\udce9"])
def test_an_output_is_in_its_folder(id: str, tmp_path: Path) -> None:
    path = output_path(tmp_path, id, ".png")
    assert path == tmp_path / f"{id}.png"
    assert path.resolve().is_relative_to(tmp_path.resolve())


@pytest.mark.parametrize("id", ["../a", "/a", "a/../../b", "link/a", "link/../../a"])
def test_an_output_never_leaves_its_folder(id: str, tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(DataError, match="would not be in"):
        output_path(folder, id, ".png")
