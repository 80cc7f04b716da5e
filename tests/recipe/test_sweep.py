"""The section `sweep` of recipes: its values and places, inherited, left out by other commands."""

from pathlib import Path

import pytest

from hieraseg.cli import main
from hieraseg.errors import RecipeError
from hieraseg.recipe import load, load_row
from hieraseg.recipe.composing import compose
from hieraseg.recipe.sweep import Sweep
from tests.support.components import VALID, fakes  # noqa: F401

Captured = pytest.CaptureFixture[str]
SWEEP = """\
sweep:
  seeds: [3, 1]
  grid:
    loss.gamma: [0, 1e-3]
    decoder: [fake_decoder, {name: fake_decoder, width: 8}]
  rows:
    plain: {}
    empty:
    focal:
      loss: {name: fake_loss, mode: FOCAL}
      training: {epochs: 5}
"""


def write(folder: Path, text: str, name: str = "study.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def read(path: Path) -> Sweep:
    sweep = compose(path, ()).sweep
    assert sweep is not None
    return sweep


def test_values_and_their_places(tmp_path: Path) -> None:
    path = write(tmp_path, SWEEP)
    sweep = read(path)
    assert (sweep.seeds, str(sweep.seeds_place)) == ([3, 1], f"{path}:2")
    texts = {key: [value.text for value in values] for key, values in sweep.grid.items()}
    assert texts == {
        "loss.gamma": ["0", "0.001"],
        "decoder": ["fake_decoder", "{name: fake_decoder, width: 8}"],
    }
    assert str(sweep.grid["decoder"][1].place) == f"{path}:5"
    assert list(sweep.rows) == ["plain", "empty", "focal"]
    assert not sweep.rows["plain"]
    assert not sweep.rows["empty"]
    mode = sweep.rows["focal"]["loss"].value["mode"]
    assert (mode.value, str(mode.place)) == ("FOCAL", f"{path}:10")


def test_a_row_is_merged_above_the_recipe_and_below_overrides(tmp_path: Path) -> None:
    path = write(tmp_path, VALID + SWEEP)
    recipe = load_row(path, [("training.seed", "9")], row="focal")
    assert (recipe.training.epochs, recipe.training.seed) == (5, 9)
    assert recipe["loss"].arguments["gamma"] == 0.3  # the component is that of the recipe
    assert recipe.origin["training.epochs"] == f"{path}:{VALID.count(chr(10)) + 11}"
    assert load_row(path, [("training.epochs", "1")], row="focal").training.epochs == 1
    assert load_row(path, row="plain").training.epochs == 2


def test_a_sweep_is_inherited_key_by_key(tmp_path: Path) -> None:
    write(tmp_path, VALID + SWEEP)
    sweep = read(write(tmp_path, "base: study.yaml\nsweep: {seeds: [5]}\n", "child.yaml"))
    assert sweep.seeds == [5]
    assert list(sweep.rows) == ["plain", "empty", "focal"]


def test_other_commands_leave_it_out_and_say_so(tmp_path: Path, capsys: Captured) -> None:
    path = write(tmp_path, VALID + SWEEP)
    assert load(path) == load(write(tmp_path, VALID, "plain.yaml"))
    assert capsys.readouterr().err.count("its sweep is left out") == 1
    assert main(["show", str(path)]) == 0
    assert "sweep" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sweep", "problem"),
    [
        ("sweep: 3", ":12: sweep: expected a mapping with seeds, grid or rows"),
        ("sweep: {seed: [1]}", ":12: sweep.seed: sweep has no such key, did you mean 'seeds'?"),
        ("sweep: {seeds: 1}", ":12: sweep.seeds: expected a list of integers, as in [0, 1, 2]"),
        ("sweep: {seeds: [true]}", ":12: sweep.seeds: expected a list of integers"),
        ("sweep: {seeds: [1, 2, 1]}", ":12: sweep.seeds: duplicate 1"),
        ("sweep: {grid: [1]}", ":12: sweep.grid: expected a mapping of keys to values"),
        (
            "sweep:\n grid:\n  loss.gamma: 1",
            ":14: sweep.grid.loss.gamma: expected a list of values",
        ),
        ("sweep: {grid: {loss.gamma: []}}", ":12: sweep.grid.loss.gamma: expected a list"),
        ("sweep: {grid: {loss.gamma: [1, 1]}}", ":12: sweep.grid.loss.gamma: duplicate 1"),
        ("sweep: {grid: {training.seed: [1]}}", "sweep.grid.training.seed: cannot be swept"),
        ("sweep: {grid: {plugins: [x.py]}}", "sweep.grid.plugins: plugins cannot be swept"),
        ("sweep: {rows: []}", ":12: sweep.rows: expected a mapping of row names to sections"),
        ("sweep: {rows: {a/b: {}}}", ":12: sweep.rows.a/b: a row is called by letters, digits"),
        ("sweep: {rows: {1: {}}}", ":12: sweep.rows.1: a row is called by letters, digits"),
        ("sweep: {rows: {a: 3}}", ":12: sweep.rows.a: expected a mapping of sections"),
        ("sweep: {rows: {a: {base: x}}}", "sweep.rows.a.base: cannot stand in a row"),
        ("swep: {}", ":12: swep: unknown section, did you mean 'sweep'?"),
    ],
)
def test_problems(sweep: str, problem: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"{VALID}{sweep}\n")
    with pytest.raises(RecipeError) as caught:
        load(path)
    assert problem in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_problems_inside_a_row_have_their_line(tmp_path: Path) -> None:
    path = write(tmp_path, VALID + SWEEP.replace("mode: FOCAL", "modus: FOCAL"))
    with pytest.raises(RecipeError, match=r"study.yaml:21: loss.modus: .* did you mean 'mode'\?"):
        load_row(path, row="focal")
    with pytest.raises(RecipeError, match=r"sweep.rows: no such row 'fokal', did you mean 'focal'"):
        load_row(path, row="fokal")


def test_it_cannot_be_overridden(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"sweep\.seeds: can only be given in a recipe file"):
        load(write(tmp_path, VALID), [("sweep.seeds", "[1]")])
