"""Plugins that are one file: named by a command or a recipe, or found in a folder."""

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
    *("--data.size", "[64, 64]", "--data.train_images", "8", "--data.val_images", "3"),
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


def answer(capsys: Captured, *words: str) -> Any:
    """What a command that succeeds prints as JSON."""
    assert main([*words, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


# The three ways in.


def test_a_file_on_the_command_line(tmp_path: Path, capsys: Captured) -> None:
    file = write(tmp_path / "my_loss.py")
    words = ["show", QUICKSTART, "--plugin", str(file), "--loss", "mine", "--loss.scale", "2"]
    shown = answer(capsys, *words)
    assert shown["loss"] == {"name": "mine", "scale": 2.0}
    assert shown["plugins"] == [str(file)]
    assert main(["show", QUICKSTART, "--loss", "mine"]) == 2
    assert "unknown loss 'mine'" in capsys.readouterr().err


def test_files_that_recipes_name_are_relative_to_them_and_add_up(
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
    # What is printed works from any place.
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
    # Found, but not run: that would fail.
    losses = answer(capsys, "list")["losses"]
    assert losses["mine"] == f"{file.relative_to(tmp_path)}:7"
    assert not {"_private", "test_my_loss", "conftest"} & losses.keys()
    load(QUICKSTART)
    with pytest.raises(RecipeError, match=r"my_loss.py:\d+ cannot be imported: SystemExit"):
        load(QUICKSTART, [("loss", "mine")])
    write(file)
    recipe = load(QUICKSTART, [("loss", "mine")])
    assert [one.path for one in recipe.plugins] == [file]
    assert not load(QUICKSTART).plugins


def test_names_are_listed_without_importing_torch(tmp_path: Path) -> None:
    write(tmp_path / "plugins/my_loss.py")
    program = (
        "import sys; from hieraseg.cli import main; code = main(['list']); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "plugins/my_loss.py:7" in done.stdout


# One recipe's plugins are no other's.


def test_what_a_recipe_registers_lives_for_it_alone(tmp_path: Path) -> None:
    file = write(tmp_path / "my_loss.py")
    before = registry.losses.names()
    recipe = load(QUICKSTART, [("loss", "mine")], [file])
    assert recipe["loss"].factory.__name__ == "Mine"
    assert registry.losses.names() == before
    with pytest.raises(RecipeError, match="unknown loss 'mine'"):
        registry.losses.get("mine")


def test_two_recipes_with_a_plugin_of_one_name_each(tmp_path: Path, capsys: Captured) -> None:
    for folder, argument in (("a", "scale"), ("b", "power")):
        write(tmp_path / folder / "my_loss.py", LOSS.replace("scale", argument))
        text = f"base: {QUICKSTART}\nplugins: [my_loss.py]\nloss: {{name: mine, {argument}: 3}}\n"
        write(tmp_path / folder / "recipe.yaml", text)
    recipes = [str(tmp_path / folder / "recipe.yaml") for folder in "ab"]
    assert main(["validate", *recipes]) == 0, capsys.readouterr().out


# What is broken, and what is there twice.


def test_a_broken_file_hurts_only_a_recipe_that_names_it(
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


def test_a_name_that_two_files_register(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "plugins/one.py")
    write(tmp_path / "plugins/two.py", LOSS + "# another\n")
    broken = answer(capsys, "list")["broken"]
    assert "by plugins/one.py:7 and by plugins/two.py:7" in broken["losses.mine"]
    with pytest.raises(RecipeError, match=r"twice, by plugins/one.py:7 and by plugins/two.py:7"):
        load(QUICKSTART, [("loss", "mine")])
    assert load(QUICKSTART)["loss"].name == "tree_min"


def test_a_file_that_is_named_and_in_a_folder_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path / "plugins/my_loss.py")
    assert load(QUICKSTART, [("loss", "mine")], [file, Path("plugins/my_loss.py")]).plugins


def test_a_file_that_needs_another_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "helper.py", "")
    file = write(tmp_path / "my_loss.py", "import helper\n" + LOSS)
    with pytest.raises(RecipeError, match="a plugin file stands alone: for several files make a"):
        load(QUICKSTART, [], [file])


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
def test_packages_are_known_as_broken_without_importing_them(
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


def test_a_registry_that_there_is_none_of(tmp_path: Path, capsys: Captured) -> None:
    file = write(tmp_path / "my_loss.py", LOSS.replace("registry.losses", "registry.loss"))
    assert main(["validate", QUICKSTART, "--plugin", str(file), "--loss", "mine"]) == 2
    first, _ = capsys.readouterr().out.splitlines()
    assert first.endswith("hieraseg.registry has no attribute 'loss', did you mean 'losses'?")


def test_a_duplicate_by_a_path_with_dots(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "my_loss.py", LOSS.replace('"mine"', '"tree_min"'))
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert main(["validate", QUICKSTART, "--plugin", "../my_loss.py"]) == 2
    assert "--plugin: duplicate loss 'tree_min': registered by " in capsys.readouterr().out


@pytest.mark.parametrize("call", ["register(NAME)", 'register(name="mine")'])
def test_names_that_are_not_written_out(
    call: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = LOSS.replace('register("mine")', call).replace("\n@", '\nNAME = "mine"\n\n\n@', 1)
    file = write(tmp_path / "plugins/my_loss.py", text)
    listed = answer(capsys, "list")
    if "name=" in call:
        assert "mine" in listed["losses"]
        return
    assert "by a name that is no plain text" in listed["broken"]["plugins/my_loss.py:10"]
    with pytest.raises(RecipeError, match=r"\(broken plugins: plugins/my_loss.py:10: registers"):
        load(QUICKSTART, [("loss", "mine")])
    assert load(QUICKSTART, [("loss", "mine")], [file])["loss"].name == "mine"


def test_what_a_file_prints_is_no_result(tmp_path: Path, capsys: Captured) -> None:
    file = write(tmp_path / "my_loss.py", LOSS + "\nprint('hello')\n")
    assert main(["show", QUICKSTART, "--plugin", str(file), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["plugins"] == [str(file)]
    assert "hello" in err


def test_a_file_that_changes_the_path_of_imports(tmp_path: Path) -> None:
    write(tmp_path / "helper_of_mine.py", "")
    lines = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport helper_of_mine\n"
    before = list(sys.path)
    with pytest.raises(RecipeError, match=r"my_loss.py changes sys.path, but a plugin file stands"):
        load(QUICKSTART, [], [write(tmp_path / "my_loss.py", lines + LOSS)])
    assert sys.path == before


def test_a_component_of_an_imported_module_is_no_part_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "site/their_registered_losses.py", LOSS.replace('"mine"', '"theirs"'))
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(catalogue, "REGISTRY", dict(catalogue.REGISTRY))
    file = write(tmp_path / "wrapper.py", "import their_registered_losses\n")
    with pytest.raises(RecipeError, match=r"wrapper.py registers no component"):
        load(QUICKSTART, [], [file])


def test_values_that_a_recipe_could_not_say_again(tmp_path: Path) -> None:
    text = LOSS.replace("scale: float = 1.0", 'scale: str = "${X}"')
    with pytest.raises(RecipeError, match=r"argument 'scale' has the default '\$\{X\}': remove"):
        load(QUICKSTART, [("loss", "mine")], [write(tmp_path / "my_loss.py", text)])
    with pytest.raises(RecipeError, match=r"a recipe cannot name a path with \$\{"):
        load(QUICKSTART, [], [write(tmp_path / "${X}.py")])


@pytest.mark.parametrize("words", [["run"], ["validate", "--build"]])
def test_a_component_that_ends_the_program(
    words: list[str], tmp_path: Path, capsys: Captured
) -> None:
    text = LOSS.replace("return {", "raise SystemExit(0)\n        return {")
    file = write(tmp_path / "my_loss.py", text)
    command = [*words, QUICKSTART, *SMALL, "--plugin", str(file), "--loss", "mine"]
    if words == ["run"]:
        command += ["--out", str(tmp_path / "runs")]
    assert main(command) == 2
    assert "SystemExit" in (said := "".join(capsys.readouterr())) or "sys.exit(0)" in said


DATA = '''
import numpy as np
from hieraseg import registry


@registry.datasets.register("plain")
class Plain:
    """One colour."""

    size, splits = (64, 64), ("train", "val")

    def ids(self, split):
        return [f"{split}{number}" for number in range(4)]

    def image(self, id):
        return np.full((64, 64, 3), COLOUR, np.uint8)

    def mask(self, id):
        return np.zeros((64, 64), np.uint8)

    def fingerprint(self, split):
        return split
'''


def test_data_are_read_again_when_their_code_changes(tmp_path: Path, capsys: Captured) -> None:
    fingerprints = set()
    for colour in ("1", "2", "1"):
        file = write(tmp_path / "my_data.py", DATA.replace("COLOUR", colour))
        words = ["run", QUICKSTART, *SMALL[6:], "--out", str(tmp_path / "runs")]
        words += ["--plugin", str(file), "--data", "plain"]
        (run,) = answer(capsys, *words)
        fingerprints.add(run["splits"]["val"]["data"])
    assert len(fingerprints) == 2


# What a run keeps of them.


@pytest.fixture
def finished(tmp_path: Path, capsys: Captured) -> Path:
    """The folder of a run that used two plugin files."""
    loss, rule = write(tmp_path / "my_loss.py"), write(tmp_path / "rules/my_rule.py", RULE)
    write(rule, RULE.replace("NUMBER", "1"))
    words = ["run", QUICKSTART, *SMALL, "--out", str(tmp_path / "runs"), "--loss", "mine"]
    words += ["--plugin", str(loss), "--plugin", str(rule), "--inference", "always_first"]
    (run,) = answer(capsys, *words)
    return Path(run["run"])


def test_a_run_keeps_what_it_used_and_needs_no_flag(
    finished: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = json.loads((finished / "result.json").read_text())["splits"]["val"]["levels"]
    assert (finished / "plugins/my_loss.py").read_text() == LOSS
    kept = json.loads((finished / "provenance.json").read_text())["plugin_files"]
    assert [one["file"] for one in kept] == ["plugins/my_loss.py", "plugins/my_rule.py"]
    # The originals change: one is gone, and one answers otherwise, even from a plugin folder.
    (tmp_path / "my_loss.py").unlink()
    write(tmp_path / "rules/my_rule.py", RULE.replace("NUMBER", "0"))
    monkeypatch.setenv("HIERASEG_PLUGINS", str(tmp_path / "rules"))
    assert main(["evaluate", str(finished), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["levels"] == trained
    words = " ".join(err.split())
    assert f"{tmp_path}/my_loss.py is missing, or cannot be read" in words
    assert f"{tmp_path}/rules/my_rule.py has changed since this run" in words
    # Its recipe can be run again, with its own copies.
    again = ["run", str(finished / "recipe.yaml"), "--out", str(tmp_path / "again")]
    (run,) = answer(capsys, *again)
    assert run["splits"]["val"]["levels"] == trained
    assert (Path(run["run"]) / "plugins/my_rule.py").read_text() == RULE.replace("NUMBER", "1")


def test_a_copy_that_was_changed_is_refused(finished: Path, capsys: Captured) -> None:
    write(finished / "plugins/my_rule.py", RULE.replace("NUMBER", "0"))
    assert main(["evaluate", str(finished)]) == 2
    assert "my_rule.py: was changed after the run" in capsys.readouterr().err


def test_a_run_does_without_what_was_installed_or_linked_since(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "my_loss.py")
    (tmp_path / "link.py").symlink_to(file)
    words = ["run", QUICKSTART, *SMALL, "--out", str(tmp_path / "runs"), "--loss", "mine"]
    (run,) = answer(capsys, *words, "--plugin", str(file), "--plugin", str(tmp_path / "link.py"))
    # The loss becomes a package, and its file cannot be read any more: a folder has its name.
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
    assert "is missing, or cannot be read" in " ".join(capsys.readouterr().err.split())


def test_runs_of_different_code_are_not_averaged(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rule = tmp_path / "my_rule.py"
    for seed, number in ((0, "0"), (1, "0"), (2, "1")):
        write(rule, RULE.replace("NUMBER", number))
        words = ["run", QUICKSTART, *SMALL, "--plugin", "my_rule.py", "--seeds", str(seed)]
        answer(capsys, *words, "--inference", "always_first")
    rows = answer(capsys, "compare", "quickstart")["rows"]
    assert [row["seeds"] for row in rows] == [[0, 1], [2]]
