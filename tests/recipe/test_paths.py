"""What a path in a recipe is relative to: its file, or the working directory."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hieraseg import data_folder
from hieraseg.cli import main
from hieraseg.errors import DataError, RecipeError
from hieraseg.recipe import Recipe, load
from tests.support.oracle import write_oracle_recipe

Patch = pytest.MonkeyPatch
Captured = pytest.CaptureFixture[str]

PLUGIN = """\
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from hieraseg import Dataset, Loss, registry

@registry.losses.register("with_paths")
class WithPaths(Loss):
    def __init__(
        self,
        file: Path | None = None,
        many: list[Path] = [],
        pair: tuple[float, Path] = (1.0, Path("here.txt")),
        named: dict[str, Path] = {},
        weights: Literal["imagenet"] | Path | str | None = None,
        text_first: str | Path | None = None,
        word: str = "word",
        inner: Loss | None = None,
        losses: list[Loss] = [],
    ) -> None:
        super().__init__()

@registry.datasets.register("with_root")
class WithRoot:
    def __init__(self, root: Path | None = None, other: Path | None = None) -> None: ...

@registry.datasets.register("with_text")
class WithText:
    def __init__(self, root: str | None = None) -> None: ...

@registry.datasets.register("any_data")
class AnyData:
    def __init__(
        self, dataset: str | None = None, root: Path | Sequence[Path] | None = None
    ) -> None: ...

@registry.datasets.register("joined")
class Joined:
    def __init__(self, datasets: Sequence[Dataset]) -> None: ...
"""
RECIPE = """\
plugins: [paths_plugin.py]
hierarchy: pascal_part
data: mannequins
backbone: {name: resnet50, weights: imagenet}
decoder: skip
loss: with_paths
inference: best_path
optimizer: adamw
schedule: cosine
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Patch) -> Path:
    """A folder `recipes` with a recipe, seen from an empty working directory beside it."""
    for name in ("recipes/sub", "work"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "recipes" / "paths_plugin.py").write_text(PLUGIN)
    (tmp_path / "recipes" / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "recipes"


def read(folder: Path, section: str = "", *overrides: tuple[str, str]) -> Recipe:
    """The recipe, read by a relative path, with another section."""
    path = folder / "own.yaml"
    path.write_text(f"base: recipe.yaml\n{section}\n")
    return load(os.path.relpath(path), overrides)


def of_loss(recipe: Recipe, argument: str) -> Any:
    return recipe["loss"].arguments[argument]


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("file: a.txt", lambda here: here / "a.txt"),
        ("file: ../b/./a.txt", lambda here: here.parent / "b/a.txt"),
        ("file: /x/a.txt", lambda here: Path("/x/a.txt")),
        ("file: ~/a.txt", lambda here: Path.home() / "a.txt"),
        ("file: ./~/a.txt", lambda here: here / "~/a.txt"),
        ('file: "${NOT_SET_HERE:-sub/a.txt}"', lambda here: here / "sub/a.txt"),
        ("file: null", lambda here: None),
        ("many: [a, sub/b, /c]", lambda here: [here / "a", here / "sub/b", Path("/c")]),
        ("pair: [2, a]", lambda here: (2.0, here / "a")),
        ("named: {a: b, c: ~/d}", lambda here: {"a": here / "b", "c": Path.home() / "d"}),
        ("weights: imagenet", lambda here: "imagenet"),
        ("weights: imagenet/.", lambda here: here / "imagenet"),
        ("weights: ./imagenet", lambda here: here / "imagenet"),
        ("weights: a.pth", lambda here: here / "a.pth"),
        ("text_first: a.txt", lambda here: here / "a.txt"),
        ("word: a/b.txt", lambda here: "a/b.txt"),
    ],
)
def test_a_path_in_a_file_is_relative_to_it(
    argument: str, expected: Callable[[Path], object], folder: Path
) -> None:
    found = of_loss(read(folder, f"loss: {{{argument}}}"), argument.split(":")[0])
    assert found == expected(folder)
    assert type(found) is type(expected(folder))


def test_a_home_of_another_user(folder: Path) -> None:
    home = Path("~root").expanduser()
    assert of_loss(read(folder, "loss: {file: ~root/a}"), "file") == home / "a"
    assert of_loss(read(folder, "loss: {file: ~no-such-user/a}"), "file") == (
        folder / "~no-such-user/a"
    )


def test_each_layer_has_a_folder_of_its_own(folder: Path) -> None:
    (folder / "sub" / "base.yaml").write_text(
        "base: ../recipe.yaml\n"
        "loss: {file: a, many: [b], losses: [{name: with_paths, file: c, named: {d: e}}]}\n"
    )
    path = folder / "own.yaml"
    path.write_text("base: sub/base.yaml\nloss: {many: [b]}\n")
    recipe = load(os.path.relpath(path))
    assert of_loss(recipe, "file") == folder / "sub/a"
    assert of_loss(recipe, "many") == [folder / "b"]
    (inner,) = of_loss(recipe, "losses")
    assert inner.arguments["file"] == folder / "sub/c"
    assert inner.arguments["named"] == {"d": folder / "sub/e"}


def test_the_command_line_and_defaults_are_relative_to_the_working_directory(
    folder: Path,
) -> None:
    here = Path.cwd()
    recipe = read(folder, "loss: {file: a}", ("loss.file", "b"), ("loss.weights", "imagenet"))
    assert of_loss(recipe, "file") == here / "b"
    assert of_loss(recipe, "weights") == "imagenet"
    assert of_loss(recipe, "pair") == (1.0, here / "here.txt")
    nested = "{name: with_paths, file: ~/a, inner: {name: with_paths, many: [b]}}"
    recipe = read(folder, "", ("loss.losses", f"[{nested}]"))
    (inner,) = of_loss(recipe, "losses")
    assert inner.arguments["file"] == Path.home() / "a"
    assert inner.arguments["inner"].arguments["many"] == [here / "b"]


def test_base_and_plugins_expand_the_home_folder(folder: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    path = folder / "sub" / "own.yaml"
    path.write_text("base: ~/recipe.yaml\nplugins: [~/paths_plugin.py]\n")
    assert load("~/sub/own.yaml") == load(folder / "recipe.yaml")


def test_what_is_printed_means_the_same_from_anywhere(
    folder: Path, tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    recipe = read(folder, "loss: {file: a, many: [b], losses: [{name: with_paths, file: ~/c}]}")
    assert main(["show", str(folder / "own.yaml")]) == 0
    printed = tmp_path / "elsewhere" / "printed.yaml"
    printed.parent.mkdir()
    printed.write_text(capsys.readouterr().out)
    monkeypatch.chdir("/")
    assert load(printed) == recipe
    assert main(["show", str(folder / "own.yaml"), "--origin"]) == 0
    line = f"  file: {folder / 'a'}  # {folder / 'own.yaml'}:2\n"
    assert line in capsys.readouterr().out


def test_missing_files_are_reported_one_by_one(folder: Path) -> None:
    (folder / "there").touch()
    read(folder, "loss:\n  many:\n  - there\n  - not\n  named: {a: nor}\n  file: there")
    with pytest.raises(RecipeError) as caught:
        load(folder / "own.yaml", require_paths=True)
    assert [line.partition("; set")[0] for line in str(caught.value).splitlines()] == [
        f"{folder}/own.yaml:5: loss.many[1]: {folder}/not: no such file or folder",
        f"{folder}/own.yaml:6: loss.named.a: {folder}/nor: no such file or folder",
    ]


def test_a_run_folder_with_a_path_that_is_not_utf8_is_refused(
    folder: Path, tmp_path: Path, capsys: Captured
) -> None:
    place = tmp_path / "d\udcff"
    assert main(["run", write_oracle_recipe(folder), "--out", str(place)]) == 2
    assert r"d\udcff/oracle': the path of a run folder must be UTF-8" in capsys.readouterr().err
    assert not place.exists()
    assert main(["evaluate", str(place)]) == 2
    assert r"d\udcff': the path of a run folder must be UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "reason"),
    [("d\udcff", "is not UTF-8"), ("a${b}", "must not contain ${")],
)
def test_a_path_that_no_recipe_can_write_is_refused(
    name: str, reason: str, tmp_path: Path, folder: Path, capsys: Captured
) -> None:
    elsewhere = tmp_path / name
    elsewhere.mkdir()
    (elsewhere / "own.yaml").write_text(f"base: {folder}/recipe.yaml\nloss: {{file: a}}\n")
    assert main(["show", str(elsewhere / "own.yaml")]) == 2
    said = capsys.readouterr().err
    assert "own.yaml:2: loss.file: " in said
    assert f"{ascii(name)[1:-1]}/a" in said
    assert f": the path {reason}" in said
    assert load(elsewhere / "own.yaml", [("loss.file", "a")])


MOVING = """\
import os
import numpy as np
from hieraseg import registry

os.chdir(TARGET)

@registry.datasets.register("moving")
class Moving:
    splits = ("train", "val")

    def __init__(self, hierarchy) -> None:
        os.chdir(TARGET)

    def fingerprint(self, split):
        return "moving"

    def ids(self, split):
        os.chdir(TARGET)
        return [split + "0", split + "1"]

    def image(self, id):
        os.chdir(TARGET)
        return np.zeros((32, 32, 3), np.uint8)

    def mask(self, id):
        return np.ones((32, 32), np.uint8)
"""


def test_a_plugin_that_changes_the_directory_moves_nothing(folder: Path, tmp_path: Path) -> None:
    here, target = Path.cwd(), tmp_path / "target"
    target.mkdir()
    (folder / "moving_plugin.py").write_text(MOVING.replace("TARGET", repr(str(target))))
    recipe = read(folder, "plugins: [moving_plugin.py]\nloss: {file: a}", ("loss.weights", "b"))
    assert of_loss(recipe, "file") == folder / "a"
    assert of_loss(recipe, "weights") == here / "b"
    path = write_oracle_recipe(folder, "plugins: [moving_plugin.py]\ndata: moving\n")
    assert main(["run", os.path.relpath(path), "--out", "runs"]) == 0
    assert Path.cwd() == here
    assert (here / "runs/oracle/base-seed0/result.json").is_file()
    assert not list(target.iterdir())


def test_the_folder_of_a_data_set(folder: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    def root(section: str, *overrides: tuple[str, str]) -> object:
        return read(folder, f"data: {section}", *overrides)["data"].arguments["root"]

    assert root("with_root") == tmp_path / "work/data/with_root"
    monkeypatch.setenv("HIERASEG_DATA", "~/sets")
    assert root("with_root") == Path.home() / "sets/with_root"
    assert root("{name: with_root, root: null}") == Path.home() / "sets/with_root"
    assert root("{name: with_root, root: here}") == folder / "here"
    assert root("with_root", ("data.root", "here")) == tmp_path / "work/here"
    assert root("with_text") is None
    assert read(folder, "data: with_root")["data"].arguments["other"] is None
    monkeypatch.setenv("HIERASEG_DATA", "")
    assert data_folder("my_data") == tmp_path / "work/data/my_data"


def test_the_folder_of_a_data_set_that_is_named_by_an_argument(
    folder: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    def root(section: str, *overrides: tuple[str, str]) -> object:
        return read(folder, f"data: {section}", *overrides)["data"].arguments["root"]

    monkeypatch.setenv("HIERASEG_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("WHICH", "lip")
    assert root("any_data") == tmp_path / "sets/any_data"
    assert root("{name: any_data, dataset: camvid}") == tmp_path / "sets/camvid"
    assert root("any_data", ("data.dataset", "camvid")) == tmp_path / "sets/camvid"
    assert root("{name: any_data, dataset: '${WHICH}'}") == tmp_path / "sets/lip"
    assert root("{name: any_data, dataset: lip, root: here}") == folder / "here"
    assert root("{name: any_data, root: [a, /b]}") == [folder / "a", Path("/b")]


def test_the_folders_of_joined_data_sets(folder: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("HIERASEG_DATA", str(tmp_path / "sets"))
    members = "[{name: any_data, dataset: camvid}, with_root, {name: with_root, root: here}]"
    recipe = read(folder, f"data: {{name: joined, datasets: {members}}}")
    roots = [one.arguments["root"] for one in recipe["data"].arguments["datasets"]]
    assert roots == [tmp_path / "sets/camvid", tmp_path / "sets/with_root", folder / "here"]
    with pytest.raises(DataError) as caught:
        load(recipe.path, require_paths=True)
    found = str(caught.value).splitlines()
    sets = tmp_path / "sets"
    assert [line.partition("own.yaml:")[2] for line in found] == [
        f"2: data.datasets[0].root: {sets}/camvid: no such data folder; set data.datasets[0].root, "
        "or set HIERASEG_DATA to the folder that has `camvid` in it (default: ./data)",
        f"2: data.datasets[1].root: {sets}/with_root: no such data folder; set "
        "data.datasets[1].root, or set HIERASEG_DATA to the folder that has `with_root` in it "
        "(default: ./data)",
        f"2: data.datasets[2].root: {folder}/here: no such data folder; set data.datasets[2].root "
        "to an existing one",
    ]


def test_a_list_of_folders_of_which_one_is_not_there(folder: Path) -> None:
    (folder / "a").mkdir()
    recipe = read(folder, "data:\n  name: any_data\n  root:\n    - a\n    - b")
    with pytest.raises(DataError, match=r"yaml:6: data.root\[1\]: .*/b: no such data folder; "):
        load(recipe.path, require_paths=True)


def test_a_data_set_that_is_not_there(folder: Path, monkeypatch: Patch, capsys: Captured) -> None:
    monkeypatch.setenv("HIERASEG_DATA", "sets")
    with pytest.raises(DataError) as caught:
        load("pascal_part/tree_min", require_paths=True)
    assert f"data.root: {Path.cwd()}/sets/pascal_part: no such data folder" in str(caught.value)
    assert "HIERASEG_DATA" in str(caught.value)
    assert "./data" in str(caught.value)
    assert main(["validate", "pascal_part/tree_min"]) == 0
    assert "ok, but a run needs its data" in capsys.readouterr().out
    assert main(["run", "pascal_part/tree_min"]) == 3
