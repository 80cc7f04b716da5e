"""The command line as a person meets it: what is printed where, and the exit code."""

import io
import json
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import catalogue
import pytest
import yaml

from hieraseg import Hierarchy, registry
from hieraseg.cli import main
from hieraseg.errors import DataError
from hieraseg.recipe import load
from tests.support.components import VALID, fakes  # noqa: F401

COMMANDS = ("run", "list", "show", "validate", "evaluate", "predict", "compare")
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "recipe.yaml"
    path.write_text(VALID)
    return str(path)


def test_version_and_help(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("hieraseg 0")
    assert main(["--help"]) == 0
    answer = capsys.readouterr().out
    assert all(f"    {command} " in answer for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_shows_examples(command: str, capsys: Captured) -> None:
    assert main([command, "--help"]) == 0
    assert f"\nexamples:\n  hieraseg {command}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["run", "--help"], ["list", "losse"]])
def test_quick_answers_do_not_import_torch(arguments: list[str]) -> None:
    program = (
        f"import sys; from hieraseg.cli import main; main({arguments}); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["shw"], "no command is called 'shw', did you mean 'show'?"),
        (["show"], "the following arguments are required: RECIPE"),
        (["show", "x.yaml", "--orgin"], "unknown option '--orgin', did you mean '--origin'?"),
        (["show", "x.yaml", "--los", "a"], "unknown option '--los', did you mean '--loss'?"),
        (["run", "x.yaml", "--sedes", "0"], "unknown option '--sedes', did you mean '--seeds'?"),
        (["run", "x.yaml", "--seed=0"], "unknown option '--seed', did you mean '--seeds'?"),
        (["show", "x.yaml", "--loss.gamma"], "--loss.gamma needs a value"),
        (["show", "x.yaml", "--loss.gamma", "--origin"], "--loss.gamma needs a value"),
        (["show", "x.yaml", "y.yaml"], "unexpected argument 'y.yaml'"),
        (["show", "x.yaml", "--los={name: a}"], "unknown option '--los', did you mean '--loss'?"),
        (["evaluate", "r", "--loss.gamma", "2"], "unknown option '--loss.gamma'"),
        (["evaluate", "r", "--checkpoint", "first"], "invalid choice: 'first'"),
        (["compare", "r", "--md", "--csv"], "not allowed with argument"),
    ],
)
def test_usage_problems(arguments: list[str], expected: str, capsys: Captured) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert expected in err
    assert not out


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DataError("data/x: no such folder"), 3, "hieraseg: error: data/x: no such folder\n"),
        (DataError("a: b\nc: d"), 3, "hieraseg: error:\na: b\nc: d\n"),
        (KeyboardInterrupt(), 130, "hieraseg: interrupted\n"),
    ],
)
def test_exit_codes(
    error: BaseException,
    code: int,
    message: str,
    recipe: str,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("hieraseg.recipe.load", fail)
    assert main(["show", recipe]) == code
    assert capsys.readouterr() == ("", message)


def test_a_closed_pipe_is_no_error() -> None:
    program = "import sys; from hieraseg.cli import main; sys.exit(main(['list', '--json']))"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait() == 0


def test_show_prints_a_recipe_that_gives_the_same_run(
    recipe: str, tmp_path: Path, capsys: Captured
) -> None:
    overrides = ["--training.epochs", "5", "--loss.gamma=-1", "--optimizer.lr", "-3e-4"]
    assert main(["show", *overrides, recipe, "--data.size", "[4, 6]"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    copy = tmp_path / "copy.yaml"
    copy.write_text(out)
    shown = load(copy)
    assert shown.training.epochs == 5
    assert shown["loss"].arguments["gamma"] == -1
    assert shown["optimizer"].arguments["lr"] == -3e-4
    assert shown["data"].arguments["size"] == (4, 6)
    assert shown["loss"].name == "fake_loss"


def test_show_another_component(recipe: str, capsys: Captured) -> None:
    assert main(["show", recipe, "--loss.delta", "3", "--loss", "other_loss", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] == {"name": "other_loss", "delta": 3}


def test_show_origin(recipe: str, capsys: Captured) -> None:
    assert main(["show", recipe, "--origin", "--training.epochs", "5"]) == 0
    out = capsys.readouterr().out
    assert f"  gamma: 0.3  # {recipe}:7\n" in out
    assert "  epochs: 5  # command line\n" in out
    assert "  batch_size: 16  # default\n" in out
    assert yaml.safe_load(out)["training"]["epochs"] == 5
    assert main(["show", recipe, "--origin", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["recipe"]["loss"]["gamma"] == 0.3
    assert answer["origin"]["loss.gamma"] == f"{recipe}:7"


def test_show_of_a_wrong_recipe(recipe: str, capsys: Captured) -> None:
    assert main(["show", recipe, "--loss.gama", "1"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("hieraseg: error: command line: loss.gama: ")


def test_validate(recipe: str, tmp_path: Path, capsys: Captured) -> None:
    assert main(["validate", recipe]) == 0
    assert capsys.readouterr() == (f"{recipe}: ok\n", "")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(VALID.replace("gamma", "gama").replace("epochs", "epoch"))
    assert main(["validate", recipe, str(wrong)]) == 2
    out, err = capsys.readouterr()
    assert err == ""
    assert [line.split(": ")[:2] for line in out.splitlines()] == [
        [recipe, "ok"],
        [f"{wrong}:7", "loss.gama"],
        [f"{wrong}:11", "training.epoch"],
    ]
    assert main(["validate", str(wrong), recipe, "--json"]) == 2
    first, second = json.loads(capsys.readouterr().out)
    assert (first["recipe"], first["ok"], len(first["problems"])) == (str(wrong), False, 2)
    assert second == {"recipe": recipe, "ok": True, "problems": []}
    assert main(["validate", recipe, "--training.seed", "x"]) == 2
    assert "command line: training.seed: expected an int, got 'x'" in capsys.readouterr().out


def test_list_of_all_kinds(capsys: Captured) -> None:
    assert main(["list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["losses", "fake_loss", "recipe_fakes:FakeLoss"] in rows
    assert [row[:3] for row in rows].count(["losses", "tree_min", "hieraseg"]) == 1
    assert main(["list", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {kind: sorted(names) for kind, names in answer.items()} == {
        kind: one.names() for kind, one in registry.by_name().items()
    }


@pytest.mark.parametrize("kind", ["datasets", "data"])
def test_list_of_one_kind(kind: str, capsys: Captured) -> None:
    assert main(["list", kind]) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("fake_data"))
    expected = ["fake_data", "recipe_fakes:FakeData", "root, size", "Data that need a root."]
    assert re.split("  +", row) == expected


def test_a_broken_plugin_is_shown_as_broken(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "frail_plugin.py").write_text("import no_such_module\n")
    info = tmp_path / "frail-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: frail\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hieraseg_losses]\nfrail = frail_plugin:Frail\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(catalogue, "AVAILABLE_ENTRY_POINTS", entry_points())
    assert main(["list", "losses"]) == 0
    out = capsys.readouterr().out
    assert "frail (frail_plugin:Frail)" in out
    assert "broken: loss 'frail' of frail (frail_plugin:Frail) cannot be imported" in out
    assert "A loss with arguments of every type." in out
    assert main(["list", "losses", "frail"]) == 2


def test_list_of_one_component(tmp_path: Path, capsys: Captured) -> None:
    assert main(["list", "loss", "fake_loss"]) == 0
    out = capsys.readouterr().out
    assert "Its second paragraph." in out
    assert "tests/recipe_fakes.py:" in out
    assert "    gamma (float, default 2)\n        the exponent.\n" in out
    assert "    weights (list of float or null, default null)\n        of the levels.\n" in out
    assert "    hierarchy (" not in out
    section = out.split("In a recipe:\n")[1]
    path = tmp_path / "pasted.yaml"
    start, end = VALID.index("loss:"), VALID.index("inference:")
    path.write_text(VALID[:start] + section + VALID[end:])
    assert load(path)["loss"].name == "fake_loss"


def test_list_of_one_component_as_json(capsys: Captured) -> None:
    assert main(["list", "data", "fake_data", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["arguments"] == [
        {
            "name": "root",
            "type": "str",
            "required": True,
            "default": None,
            "meaning": "the folder.",
        },
        {
            "name": "size",
            "type": "list [int, int]",
            "required": False,
            "default": [8, 8],
            "meaning": "height and width.",
        },
    ]
    assert yaml.safe_load(answer["recipe"]) == {
        "data": {"name": "fake_data", "root": None, "size": [8, 8]}
    }


def test_list_draws_a_class_tree(capsys: Captured) -> None:
    assert main(["list", "hierarchies", "pascal_part"]) == 0
    out = capsys.readouterr().out
    drawn = """\
Classes per level, coarsest first: 2 / 3 / 7

background        label 0, background
body
├── upper_body
│   ├── low_hand  label 1
│   ├── torso     label 2
│   ├── head      label 4
│   └── up_hand   label 6
└── lower_body
    ├── low_leg   label 3
    └── up_leg    label 5
"""
    assert drawn in out
    assert out.split("In a recipe:\n")[1].strip() == "hierarchy:\n  name: pascal_part"
    assert main(["list", "hierarchies", "pascal_part", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)["hierarchy"]
    assert answer["num_classes"] == [2, 3, 7]
    assert answer["tree"]["body"]["lower_body"] == {"low_leg": None, "up_leg": None}
    assert answer["labels"]["3"] == "low_leg"


def test_list_draws_the_class_tree_of_a_file(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "tree.yaml"
    path.write_text(
        "tree: {sky: , body: {arms: [left, right], head: }, sea: [salt, sweet]}\n"
        "labels: {3: body, 1: left, 2: right, 9: left, 4: salt, 5: sky}\n"
        "void: [0, 255]\nbackground: sky\npairs: [[left, right]]\n"
    )
    assert main(["list", "hierarchies", str(path)]) == 0
    assert (
        capsys.readouterr().out
        == """\
Classes per level, coarsest first: 3 / 5 / 6

sky            label 5, background
body           label 3
├── arms
│   ├── left   labels 1 9, flips to right
│   └── right  label 2, flips to left
└── head       no label
sea
├── salt       label 4
└── sweet      no label

Void: labels 0 255
"""
    )
    assert main(["list", "hierarchies", str(path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["pairs"] == [["left", "right"]]
    assert answer["void"] == [0, 255]
    assert Hierarchy.from_tree(answer["tree"]).num_classes == [3, 5, 6]


def test_list_draws_in_ascii_where_stdout_has_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tree.txt"
    path.write_text("sky\nbody\n  arm\n  t\u00eate\n", encoding="utf-8")
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert main(["list", "hierarchies", str(path)]) == 0
    drawn = stdout.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert drawn.endswith("\nbody\n|-- arm   label 1\n`-- t\\xeate  label 2\n")


def test_list_of_a_hierarchy_that_needs_an_argument(capsys: Captured) -> None:
    assert main(["list", "hierarchies", "file"]) == 0
    out = capsys.readouterr().out
    assert "path (path, required)" in out
    assert "Classes per level" not in out


def test_list_of_a_file_with_a_problem(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "tree.txt"
    path.write_text("a\n  b\n c\n")
    assert main(["list", "hierarchies", str(path)]) == 2
    assert f"hierarchy: {path}:3: 'c' is indented like no line above" in capsys.readouterr().err
    assert main(["list", "hierarchies", "fake_tree"]) == 2
    assert "hierarchy 'fake_tree' of" in capsys.readouterr().err
    assert main(["list", "hierarchies", "tree.yml"]) == 2
    assert "hierarchy: tree.yml: no such hierarchy file" in capsys.readouterr().err
    path.write_text("".join(f"{level * ' '}c{level}\n" for level in range(1_000)))
    assert main(["list", "hierarchies", str(path)]) == 2
    assert "has 1000 levels, but at most 100 can be drawn" in capsys.readouterr().err
    (tmp_path / "folder.yaml").mkdir()
    assert main(["list", "hierarchies", str(tmp_path / "folder.yaml")]) == 2
    assert "folder.yaml: cannot be read: Is a directory" in capsys.readouterr().err
    assert main(["list", "losses", str(path)]) == 2
    assert "no loss is called" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["losse"], "no kind of component is called 'losse', did you mean 'losses'?"),
        (["losses", "fake_los"], "no loss is called 'fake_los', did you mean 'fake_loss'?"),
        (["losses", "open_loss"], "its signature has **settings: int: name each argument"),
    ],
)
def test_list_problems(arguments: list[str], expected: str, capsys: Captured) -> None:
    assert main(["list", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert expected in err
