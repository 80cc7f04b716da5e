"""`hieraseg new`: plugins to start from, which work as they are written."""

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

SECTIONS = sorted(registry.by_section())
ROOT = Path(__file__).parents[2]

Captured = pytest.CaptureFixture[str]


def new(capsys: Captured, *words: str) -> Any:
    """What `hieraseg new` answers."""
    assert main(["new", *words, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("section", SECTIONS)
def test_the_check_that_it_names_is_green(section: str, capsys: Captured) -> None:
    check, _ = new(capsys, section, f"my_{section}")["next"]
    program, *words = shlex.split(check)
    assert program == "hieraseg"
    assert main(words) == 0, capsys.readouterr().out


def test_the_tests_that_it_writes_are_green(tmp_path: Path, capsys: Captured) -> None:
    commands = [shlex.split(new(capsys, one, f"my_{one}")["next"][1]) for one in SECTIONS]
    assert all(command[:-1] == ["python", "-m", "pytest"] for command in commands)
    done = run_module(Path(sys.executable), tmp_path, "pytest", *(words[-1] for words in commands))
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_packages_of_all_kinds(tmp_path: Path, capsys: Captured) -> None:
    roots = []
    for section in SECTIONS:
        answer = new(capsys, section, f"my_{section}", "--package")
        install, test = map(shlex.split, answer["next"])
        roots.append(Path(test[-1]))
        assert install == ["python", "-m", "pip", "install", "--editable", test[-1]]
    python = new_environment(tmp_path / "environment", *(root.absolute() for root in roots))
    listed = json.loads(run_module(python, tmp_path, "hieraseg", "list", "--json").stdout)
    for section in SECTIONS:
        origin = listed[registry.by_section()[section].kind.name][f"my_{section}"]
        assert origin.startswith(f"hieraseg-my-{section} (hieraseg_my_{section}.my_{section}:")
    done = run_module(python, tmp_path, "pytest", *map(str, roots))
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_what_it_writes_is_formatted(tmp_path: Path, capsys: Captured) -> None:
    for section in SECTIONS:
        new(capsys, section, f"my_{section}")
        new(capsys, section, f"my_{section}", "--package")
    for words in (["check", "--ignore", "F722"], ["format", "--line-length", "100", "--check"]):
        command = [sys.executable, "-m", "ruff", *words, "--isolated", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_a_folder_on_the_plugin_path_needs_no_flag(capsys: Captured) -> None:
    answer = new(capsys, "optimizer", "mine", "--out", "plugins")
    assert answer["files"] == ["plugins/mine.py", "plugins/test_mine.py"]
    assert answer["next"][0] == "hieraseg check optimizer mine"
    assert main(["show", "quickstart", "--optimizer", "mine"]) == 0


def test_people_read_what_was_written_and_what_comes_next(capsys: Captured) -> None:
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
    ("words", "expected"),
    [
        (["los", "mine"], "no kind of component is called 'los', did you mean 'loss'?"),
        (["loss", "my-loss"], "'my-loss' is no name for a plugin: use small letters and _, as in"),
        (["loss", "MyLoss"], "as in 'myloss'"),
        (["loss", "1st"], "'1st' is no name for a plugin"),
        (["loss", "_"], "'_' is no name for a plugin"),
        (["loss", "class"], "say more, as in 'my_class'"),
        (["loss", "random"], "say more, as in 'my_random'"),
        (["loss", "torch"], "say more, as in 'my_torch'"),
        (["loss", "prediction"], "say more, as in 'my_prediction'"),
        (["optimizer", "parameters"], "say more, as in 'my_parameters'"),
        (["loss", "test_loss"], "'test_loss' is a name for tests"),
        (["loss", "tree_min"], "loss 'tree_min' is already registered by hieraseg ("),
    ],
)
def test_names_that_cannot_be_used(
    words: list[str], expected: str, tmp_path: Path, capsys: Captured
) -> None:
    assert main(["new", *words]) == 2
    assert expected in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "test_mine.py").write_text("precious")
    assert main(["new", "loss", "mine"]) == 2
    assert "test_mine.py: is there already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["test_mine.py"]
    assert (tmp_path / "test_mine.py").read_text() == "precious"
