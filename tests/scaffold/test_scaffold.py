"""`hieraseg new`: plugins that work as they are written."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hieraseg import registry
from hieraseg.cli import main
from tests.support.environments import new_environment, run_module

SECTIONS = sorted(registry.by_singular())
ROOT = Path(__file__).parents[2]

Captured = pytest.CaptureFixture[str]


def new(capsys: Captured, *arguments: str) -> Any:
    """Output of `hieraseg new`."""
    assert main(["new", *arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("section", SECTIONS)
def test_suggested_check_passes(section: str, capsys: Captured) -> None:
    check, _ = new(capsys, section, f"my_{section}")["next"]
    program, *arguments = shlex.split(check)
    assert program == "hieraseg"
    assert main(arguments) == 0, capsys.readouterr().out


def test_written_tests_pass(tmp_path: Path, capsys: Captured) -> None:
    commands = [shlex.split(new(capsys, one, f"my_{one}")["next"][1]) for one in SECTIONS]
    assert all(command[:-1] == ["python", "-m", "pytest"] for command in commands)
    done = run_module(
        Path(sys.executable), tmp_path, "pytest", *(command[-1] for command in commands)
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.slow
def test_packages_of_all_kinds(tmp_path: Path, capsys: Captured) -> None:
    roots = []
    for section in SECTIONS:
        written = new(capsys, section, f"my_{section}", "--package")
        install, test = map(shlex.split, written["next"])
        roots.append(Path(test[-1]))
        assert install == ["python", "-m", "pip", "install", "--editable", test[-1]]
    python = new_environment(tmp_path / "environment", *(root.absolute() for root in roots))
    listed = json.loads(run_module(python, tmp_path, "hieraseg", "list", "--json").stdout)
    for section in SECTIONS:
        origin = listed[registry.by_singular()[section].kind.name][f"my_{section}"]
        assert origin.startswith(f"hieraseg-my-{section} (hieraseg_my_{section}.my_{section}:")
    done = run_module(python, tmp_path, "pytest", *map(str, roots))
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_written_files_are_formatted(tmp_path: Path, capsys: Captured) -> None:
    for section in SECTIONS:
        new(capsys, section, f"my_{section}")
        new(capsys, section, f"my_{section}", "--package")
    for options in (["check", "--ignore", "F722"], ["format", "--line-length", "100", "--check"]):
        command = [sys.executable, "-m", "ruff", *options, "--isolated", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_plugin_folder_needs_no_option(capsys: Captured) -> None:
    written = new(capsys, "optimizer", "mine", "--out", "plugins")
    assert written["files"] == ["plugins/mine.py", "plugins/test_mine.py"]
    assert written["next"][0] == "hieraseg check optimizer mine"
    assert main(["show", "quickstart", "--optimizer", "mine"]) == 0


def test_output_lists_files_and_next_commands(capsys: Captured) -> None:
    assert main(["new", "losses", "my_loss"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "wrote my_loss.py",
        "wrote test_my_loss.py",
        "",
        "Next:",
        "    hieraseg check loss my_loss --plugin my_loss.py",
        "    python -m pytest test_my_loss.py",
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["los", "mine"], "unknown kind of component 'los', did you mean 'loss'?"),
        (
            ["loss", "my-loss"],
            "invalid name 'my-loss'; use lower-case letters, digits and underscores, as in",
        ),
        (["loss", "MyLoss"], "as in 'myloss'"),
        (["loss", "1st"], "invalid name '1st'"),
        (["loss", "_"], "invalid name '_'"),
        (["loss", "class"], "use another one, as in 'my_class'"),
        (["loss", "random"], "use another one, as in 'my_random'"),
        (["loss", "torch"], "use another one, as in 'my_torch'"),
        (["loss", "prediction"], "use another one, as in 'my_prediction'"),
        (["optimizer", "parameters"], "use another one, as in 'my_parameters'"),
        (
            ["loss", "test_loss"],
            "invalid name 'test_loss'; plugin folders ignore files with names of tests",
        ),
        (["loss", "tree_min"], "loss 'tree_min' is already registered by hieraseg ("),
    ],
)
def test_invalid_names(
    arguments: list[str], expected: str, tmp_path: Path, capsys: Captured
) -> None:
    assert main(["new", *arguments]) == 2
    assert expected in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_existing_files_are_kept(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "test_mine.py").write_text("precious")
    assert main(["new", "loss", "mine"]) == 2
    assert "test_mine.py: file exists" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["test_mine.py"]
    assert (tmp_path / "test_mine.py").read_text() == "precious"
