"""Plugin files: on the command line, in a recipe, and in a plugin folder."""

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import catalogue
import pytest

from hieraseg import registry
from hieraseg.cli import main
from hieraseg.errors import RecipeError
from hieraseg.recipe import load

ROOT = Path(__file__).parents[2]
QUICKSTART = str(ROOT / "recipes/quickstart.yaml")
SMALL = (
    *("--data.image_size", "[64, 64]", "--data.train_images", "8", "--data.val_images", "3"),
    *("--input.size", "[64, 64]"),
    *("--training.batch_size", "4", "--training.max_steps", "2", "--decoder", "linear"),
    *("--backbone.weights", "null"),
)
LOSS = '''
"""A loss in a file."""

from hieraseg import Hierarchy, Loss, registry


@registry.losses.register("mine")
class Mine(Loss):
    """Mean square of all logits.

    Args:
        hierarchy: the class tree.
        scale: of the logits.
    """

    def __init__(self, hierarchy: Hierarchy, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, prediction, targets):
        return {"mine": self.scale * sum(z.square().mean() for z in prediction.logits)}
'''
RULE = '''
import torch
from hieraseg import registry


@registry.inference.register("always_first")
class AlwaysFirst:
    """Class NUMBER of each level, whatever the scores.

    Args:
        hierarchy: the class tree.
    """

    def __init__(self, hierarchy):
        self.levels = hierarchy.num_levels

    def __call__(self, scores):
        batch, _, height, width = scores[0].shape
        shape = (batch, self.levels, height, width)
        return torch.full(shape, NUMBER, device=scores[0].device)
'''

Captured = pytest.CaptureFixture[str]


def write(path: Path, text: str = LOSS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def json_of(capsys: Captured, *arguments: str) -> Any:
    """JSON output of a successful command."""
    assert main([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


# Three ways to name a plugin file.


def test_a_file_on_the_command_line(tmp_path: Path, capsys: Captured) -> None:
    file = write(tmp_path / "my_loss.py")
    arguments = ["show", QUICKSTART, "--plugin", str(file), "--loss", "mine", "--loss.scale", "2"]
    shown = json_of(capsys, *arguments)
    assert shown["loss"] == {"name": "mine", "scale": 2.0}
    assert shown["plugins"] == [str(file)]
    assert main(["show", QUICKSTART, "--loss", "mine"]) == 2
    assert "unknown loss 'mine'" in capsys.readouterr().err


def test_plugins_of_all_layers_are_used_relative_to_their_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "one/losses/my_loss.py")
    write(tmp_path / "two/my_rule.py", RULE.replace("NUMBER", "0"))
    base = f"base: {QUICKSTART}\nplugins: [losses/my_loss.py]\nloss: mine\n"
    write(tmp_path / "one/base.yaml", base)
    text = "base: ../one/base.yaml\nplugins:\n  - my_rule.py\ninference: always_first\n"
    path = write(tmp_path / "two/recipe.yaml", text)
    monkeypatch.chdir(tmp_path)
    recipe = load(Path("two/recipe.yaml"))
    assert (recipe["loss"].name, recipe["inference"].name) == ("mine", "always_first")
    # The printed recipe can be used from any folder.
    printed = write(tmp_path / "elsewhere/printed.yaml", load(path).to_yaml())
    assert load(printed) == recipe
    assert load(printed)["loss"].factory is recipe["loss"].factory


@pytest.mark.parametrize("listed", [False, True])
def test_files_in_a_plugin_folder(
    listed: bool, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("somewhere" if listed else "plugins")
    file = write(folder / "my_loss.py", LOSS + "\nraise SystemExit('imported')\n")
    for name in ("_private", "test_my_loss", "conftest"):
        write(folder / f"{name}.py", LOSS.replace('"mine"', f'"{name}"'))
    monkeypatch.chdir(tmp_path)
    if listed:
        other = tmp_path / "not_there"
        monkeypatch.setenv("HIERASEG_PLUGINS", f"{other}{os.pathsep}{folder}")
    # The file is found but not run, which would fail.
    losses = json_of(capsys, "list")["losses"]
    assert losses["mine"] == f"{file.relative_to(tmp_path)}:7"
    assert not {"_private", "test_my_loss", "conftest"} & losses.keys()
    load(QUICKSTART)
    with pytest.raises(RecipeError, match=r"my_loss.py:\d+ cannot be imported: SystemExit"):
        load(QUICKSTART, [("loss", "mine")])
    write(file)
    recipe = load(QUICKSTART, [("loss", "mine")])
    assert [one.path for one in recipe.plugins] == [file]
    assert not load(QUICKSTART).plugins


def test_names_are_listed_without_torch(tmp_path: Path) -> None:
    write(tmp_path / "plugins/my_loss.py")
    program = (
        "import sys; from hieraseg.cli import main; code = main(['list']); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "plugins/my_loss.py:7" in done.stdout


# Plugins of a recipe do not affect other recipes.


def test_registrations_are_limited_to_their_recipe(tmp_path: Path) -> None:
    file = write(tmp_path / "my_loss.py")
    before = registry.losses.names()
    recipe = load(QUICKSTART, [("loss", "mine")], [file])
    assert recipe["loss"].factory.__name__ == "Mine"
    assert registry.losses.names() == before
    with pytest.raises(RecipeError, match="unknown loss 'mine'"):
        registry.losses.get("mine")


def test_two_recipes_with_plugins_of_the_same_name(tmp_path: Path, capsys: Captured) -> None:
    for folder, argument in (("a", "scale"), ("b", "power")):
        write(tmp_path / folder / "my_loss.py", LOSS.replace("scale", argument))
        text = f"base: {QUICKSTART}\nplugins: [my_loss.py]\nloss: {{name: mine, {argument}: 3}}\n"
        write(tmp_path / folder / "recipe.yaml", text)
    recipes = [str(tmp_path / folder / "recipe.yaml") for folder in "ab"]
    assert main(["validate", *recipes]) == 0, capsys.readouterr().out


# Broken files and duplicates.


def test_a_broken_file_fails_only_recipes_that_name_it(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "plugins/good.py")
    write(tmp_path / "plugins/torn.py", LOSS.replace("class Mine(Loss):", "class Mine(Loss"))
    lost = LOSS.replace('"mine"', '"lost"').replace(
        "from hieraseg", "import not_there\nfrom hieraseg"
    )
    write(tmp_path / "plugins/lost.py", lost)
    assert main(["list"]) == 0
    out = capsys.readouterr().out.partition("\nBROKEN\n")[2]
    assert "plugins/torn.py: SyntaxError on line 8" in out
    assert "losses.lost: loss 'lost' of plugins/lost.py:8 cannot be imported" in out
    assert "No module named 'not_there'" in out
    assert load(QUICKSTART, [("loss", "mine")])["loss"].name == "mine"
    assert main(["validate", QUICKSTART, "--loss", "lost"]) == 2
    out = capsys.readouterr().out
    assert out.startswith("command line: loss: loss 'lost': plugins/lost.py:4 cannot be imported")
    assert "Traceback" not in out


def test_two_files_with_the_same_name(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "plugins/one.py")
    write(tmp_path / "plugins/two.py", LOSS + "# another\n")
    broken = json_of(capsys, "list")["broken"]
    assert "by plugins/one.py:7 and by plugins/two.py:7" in broken["losses.mine"]
    with pytest.raises(
        RecipeError, match=r"registered by plugins/one.py:7 and by plugins/two.py:7"
    ):
        load(QUICKSTART, [("loss", "mine")])
    assert load(QUICKSTART)["loss"].name == "tree_min"


def test_a_named_file_in_a_plugin_folder_is_no_duplicate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path / "plugins/my_loss.py")
    assert load(QUICKSTART, [("loss", "mine")], [file, Path("plugins/my_loss.py")]).plugins


@pytest.mark.parametrize("is_found", [False, True])
def test_a_file_that_imports_its_neighbor(
    is_found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No run has a copy of that, even if it is found, as in the folder of `python -m hieraseg`."""
    if is_found:
        monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path / "helper_beside.py", "")
    write(tmp_path / "json.py", "raise RuntimeError('not that of Python')")
    file = write(tmp_path / "my_loss.py", "import json, helper_beside\n" + LOSS)
    with pytest.raises(
        RecipeError, match="must be self-contained; for several files, make a package"
    ):
        load(QUICKSTART, [], [file])
    write(file, "import json\n" + LOSS)
    assert load(QUICKSTART, [("loss", "mine")], [file]).plugins


@pytest.mark.parametrize(
    ("source", "attribute", "reason"),
    [
        (None, "Loss", "ModuleNotFoundError: No module named 'their_module'"),
        ("class Los: ...\n", "Loss", "defines no 'Loss'"),
        ("class Loss(:\n", "Loss", "SyntaxError on line 1"),
        ("import torch\nimport not_there\nclass Loss: ...\n", "Loss", "'not_there' (line 2)"),
        ("raise RuntimeError\nclass Loss: ...\n", "Loss", "raises an error when it is imported"),
    ],
)
def test_broken_packages_are_listed_without_importing_them(
    source: str | None, attribute: str, reason: str, tmp_path: Path
) -> None:
    if source is not None:
        write(tmp_path / "their_module.py", source)
    write(
        tmp_path / "theirs-1.0.dist-info/METADATA",
        "Metadata-Version: 2.1\nName: theirs\nVersion: 1",
    )
    points = f"[hieraseg_losses]\ntheirs = their_module:{attribute}\n"
    write(tmp_path / "theirs-1.0.dist-info/entry_points.txt", points)
    program = (
        "import sys; from hieraseg.cli import main; code = main(['list', '--json']); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    broken = json.loads(done.stdout)["broken"]
    assert list(broken) == ["losses.theirs"]
    assert "theirs (their_module:Loss)" in broken["losses.theirs"]
    assert reason in broken["losses.theirs"]


def test_an_unknown_registry(tmp_path: Path, capsys: Captured) -> None:
    file = write(tmp_path / "my_loss.py", LOSS.replace("registry.losses", "registry.loss"))
    assert main(["validate", QUICKSTART, "--plugin", str(file), "--loss", "mine"]) == 2
    first, _ = capsys.readouterr().out.splitlines()
    assert first.endswith("hieraseg.registry has no attribute 'loss', did you mean 'losses'?")


def test_a_duplicate_in_a_parent_folder(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "my_loss.py", LOSS.replace('"mine"', '"tree_min"'))
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert main(["validate", QUICKSTART, "--plugin", "../my_loss.py"]) == 2
    assert "--plugin: duplicate loss 'tree_min': registered by " in capsys.readouterr().out


def test_a_duplicate_is_reported_once(tmp_path: Path, capsys: Captured) -> None:
    files = [str(write(tmp_path / name, LOSS + f"# {name}\n")) for name in ("a.py", "b.py")]
    assert main(["list", "losses", "mine", "--plugin", files[0], "--plugin", files[1]]) == 2
    assert capsys.readouterr().err.count("duplicate loss 'mine'") == 1


def test_paths_that_no_run_could_keep(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"l\xfe")
    try:
        file = write(folder / "my_loss.py")
    except OSError:
        pytest.skip("this file system has UTF-8 names alone")
    with pytest.raises(RecipeError, match=r"plugin file '.*l\\udcfe/my_loss.py': the path must be"):
        load(QUICKSTART, [], [file])
    with pytest.raises(RecipeError, match=r"plugin file '.*' is a folder; name a file"):
        load(QUICKSTART, [], [tmp_path])


def test_unreadable_and_hidden_files_of_a_plugin_folder(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "plugins/._my_loss.py", "\0")  # as macOS leaves on other file systems
    (tmp_path / "plugins/.#my_loss.py").symlink_to("lock of an editor")
    (tmp_path / "plugins/lost.py").symlink_to("removed.py")
    assert json_of(capsys, "list")["broken"] == {
        "plugins/lost.py": "no such plugin file 'plugins/lost.py'"
    }
    with pytest.raises(
        RecipeError, match=r"unknown loss 'mine'.*\(broken plugins: plugins/lost.py"
    ):
        load(QUICKSTART, [("loss", "mine")])


@pytest.mark.parametrize("call", ["register(NAME)", 'register(name="mine")'])
def test_names_that_are_not_string_literals(
    call: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = LOSS.replace('register("mine")', call).replace("\n@", '\nNAME = "mine"\n\n\n@', 1)
    file = write(tmp_path / "plugins/my_loss.py", text)
    listed = json_of(capsys, "list")
    if "name=" in call:
        assert "mine" in listed["losses"]
        return
    assert "that is not a string literal" in listed["broken"]["plugins/my_loss.py:10"]
    with pytest.raises(RecipeError, match=r"\(broken plugins: plugins/my_loss.py:10: registers"):
        load(QUICKSTART, [("loss", "mine")])
    assert load(QUICKSTART, [("loss", "mine")], [file])["loss"].name == "mine"


def test_prints_of_a_file_go_to_stderr(tmp_path: Path, capsys: Captured) -> None:
    file = write(tmp_path / "my_loss.py", LOSS + "\nprint('hello')\n")
    assert main(["show", QUICKSTART, "--plugin", str(file), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["plugins"] == [str(file)]
    assert "hello" in err


def test_a_file_that_changes_sys_path(tmp_path: Path) -> None:
    write(tmp_path / "helper_of_mine.py", "")
    lines = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport helper_of_mine\n"
    before = list(sys.path)
    with pytest.raises(RecipeError, match=r"my_loss.py changes sys.path, but a plugin file must"):
        load(QUICKSTART, [], [write(tmp_path / "my_loss.py", lines + LOSS)])
    assert sys.path == before


def test_components_of_imported_modules_are_not_part_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "site/their_registered_losses.py", LOSS.replace('"mine"', '"theirs"'))
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(catalogue, "REGISTRY", dict(catalogue.REGISTRY))
    file = write(tmp_path / "wrapper.py", "import their_registered_losses\n")
    with pytest.raises(RecipeError, match=r"wrapper.py registers no component"):
        load(QUICKSTART, [], [file])


def test_values_that_look_like_variables(tmp_path: Path) -> None:
    text = LOSS.replace("scale: float = 1.0", 'scale: str = "${X}"')
    with pytest.raises(RecipeError, match=r"argument 'scale' has the default '\$\{X\}': remove"):
        load(QUICKSTART, [("loss", "mine")], [write(tmp_path / "my_loss.py", text)])
    with pytest.raises(RecipeError, match=r"must not contain \$\{"):
        load(QUICKSTART, [], [write(tmp_path / "${X}.py")])


@pytest.mark.parametrize("arguments", [["run"], ["validate", "--build"]])
def test_a_component_that_exits(arguments: list[str], tmp_path: Path, capsys: Captured) -> None:
    text = LOSS.replace("return {", "raise SystemExit(0)\n        return {")
    file = write(tmp_path / "my_loss.py", text)
    command = [*arguments, QUICKSTART, *SMALL, "--plugin", str(file), "--loss", "mine"]
    if arguments == ["run"]:
        command += ["--out", str(tmp_path / "runs")]
    assert main(command) == 2
    assert "SystemExit" in (said := "".join(capsys.readouterr())) or "sys.exit(0)" in said


DATA = '''
import numpy as np
from hieraseg import registry


@registry.datasets.register("plain")
class Plain:
    """One color."""

    splits = ("train", "val")

    def ids(self, split):
        return [f"{split}{number}" for number in range(4)]

    def image(self, id):
        return np.full((64, 64, 3), COLOR, np.uint8)

    def mask(self, id):
        return np.ones((64, 64), np.uint8)

    def fingerprint(self, split):
        return split
'''


def test_data_is_read_again_after_a_code_change(tmp_path: Path, capsys: Captured) -> None:
    fingerprints = set()
    for color in ("1", "2", "1"):
        file = write(tmp_path / "my_data.py", DATA.replace("COLOR", color))
        arguments = ["run", QUICKSTART, *SMALL[6:], "--out", str(tmp_path / "runs")]
        arguments += ["--plugin", str(file), "--data", "plain"]
        (run,) = json_of(capsys, *arguments)
        fingerprints.add(run["splits"]["val"]["data"])
    assert len(fingerprints) == 2


# Copies in the run folder.


@pytest.fixture
def finished(tmp_path: Path, capsys: Captured) -> Path:
    """Folder of a run with two plugin files."""
    loss, rule = write(tmp_path / "my_loss.py"), write(tmp_path / "rules/my_rule.py", RULE)
    write(rule, RULE.replace("NUMBER", "1"))
    arguments = ["run", QUICKSTART, *SMALL, "--out", str(tmp_path / "runs"), "--loss", "mine"]
    arguments += ["--plugin", str(loss), "--plugin", str(rule), "--inference", "always_first"]
    (run,) = json_of(capsys, *arguments)
    return Path(run["run"])


def test_a_run_uses_its_own_copies(
    finished: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = json.loads((finished / "result.json").read_text())["splits"]["val"]["levels"]
    assert (finished / "plugins/my_loss.py").read_text() == LOSS
    kept = json.loads((finished / "provenance.json").read_text())["plugin_files"]
    assert [one["file"] for one in kept] == ["plugins/my_loss.py", "plugins/my_rule.py"]
    # One original is removed. The other predicts differently, also from a plugin folder.
    (tmp_path / "my_loss.py").unlink()
    write(tmp_path / "rules/my_rule.py", RULE.replace("NUMBER", "0"))
    monkeypatch.setenv("HIERASEG_PLUGINS", str(tmp_path / "rules"))
    assert main(["evaluate", str(finished), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["levels"] == trained
    warnings = " ".join(err.split())
    assert f"{tmp_path}/my_loss.py is missing" in warnings
    assert f"{tmp_path}/rules/my_rule.py has changed since this run" in warnings
    # The recipe of the run uses the copies too.
    again = ["run", str(finished / "recipe.yaml"), "--out", str(tmp_path / "again")]
    (run,) = json_of(capsys, *again)
    assert run["splits"]["val"]["levels"] == trained
    assert (Path(run["run"]) / "plugins/my_rule.py").read_text() == RULE.replace("NUMBER", "1")


def test_a_changed_copy_is_refused(finished: Path, capsys: Captured) -> None:
    write(finished / "plugins/my_rule.py", RULE.replace("NUMBER", "0"))
    assert main(["evaluate", str(finished)]) == 2
    assert "my_rule.py: was changed after the run" in capsys.readouterr().err


def test_later_installations_and_links_do_not_affect_a_run(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "my_loss.py")
    (tmp_path / "link.py").symlink_to(file)
    arguments = ["run", QUICKSTART, *SMALL, "--out", str(tmp_path / "runs"), "--loss", "mine"]
    (run,) = json_of(
        capsys, *arguments, "--plugin", str(file), "--plugin", str(tmp_path / "link.py")
    )
    # The loss becomes a package, and its file is replaced by a folder of the same name.
    file.unlink()
    file.mkdir()
    write(tmp_path / "site/their_own_loss.py", LOSS)
    info = tmp_path / "site/theirs-1.0.dist-info"
    write(info / "METADATA", "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    write(info / "entry_points.txt", "[hieraseg_losses]\nmine = their_own_loss:Mine\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(catalogue, "AVAILABLE_ENTRY_POINTS", entry_points())
    assert "mine" in registry.losses.names()
    assert main(["evaluate", run["run"]]) == 0, capsys.readouterr().err
    assert "is missing" in " ".join(capsys.readouterr().err.split())


def test_runs_with_different_code_are_not_averaged(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rule = tmp_path / "my_rule.py"
    for seed, number in ((0, "0"), (1, "0"), (2, "1")):
        write(rule, RULE.replace("NUMBER", number))
        arguments = ["run", QUICKSTART, *SMALL, "--plugin", "my_rule.py", "--seeds", str(seed)]
        json_of(capsys, *arguments, "--inference", "always_first")
    rows = json_of(capsys, "compare", "quickstart")["rows"]
    assert [row["seeds"] for row in rows] == [[0, 1], [2]]
