"""What all commands have in common: help, usage errors, exit codes and output streams."""

import subprocess
import sys

import pytest

from hieraseg.cli import main
from hieraseg.errors import DataError

COMMANDS = (
    *("run", "list", "show", "validate", "new", "check", "schema"),
    *("evaluate", "predict", "compare"),
)
Captured = pytest.CaptureFixture[str]


def test_version_and_help(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("hieraseg 0")
    assert main(["--help"]) == 0
    output = capsys.readouterr().out
    assert all(f"    {command} " in output for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_examples(command: str, capsys: Captured) -> None:
    assert main([command, "--help"]) == 0
    assert f"\nexamples:\n  hieraseg {command}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["run", "--help"], ["list", "losse"]])
def test_quick_commands_do_not_import_torch(arguments: list[str]) -> None:
    program = (
        f"import sys; from hieraseg.cli import main; main({arguments}); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["shw"], "unknown command 'shw', did you mean 'show'?"),
        (["show"], "the following arguments are required: RECIPE"),
        (["show", "x.yaml", "--orgin"], "unknown option '--orgin', did you mean '--origin'?"),
        (["show", "x.yaml", "--los", "a"], "unknown option '--los', did you mean '--loss'?"),
        (["run", "x.yaml", "--sedes", "0"], "unknown option '--sedes', did you mean '--seeds'?"),
        (["run", "x.yaml", "--seed=0"], "unknown option '--seed', did you mean '--seeds'?"),
        (["evaluate", "r", "--no-flp"], "unknown option '--no-flp', did you mean '--no-flip'?"),
        (["show", "x.yaml", "--hlp"], "unknown option '--hlp', did you mean '--help'?"),
        (["show", "x.yaml", "--loss.gamma"], "--loss.gamma needs a value"),
        (["show", "x.yaml", "--loss.gamma", "--origin"], "--loss.gamma needs a value"),
        (["show", "x.yaml", "y.yaml"], "unexpected argument 'y.yaml'"),
        (["show", "x.yaml", "--los={name: a}"], "unknown option '--los', did you mean '--loss'?"),
        (["evaluate", "r", "--loss.gamma", "2"], "unknown option '--loss.gamma'"),
        (["evaluate", "r", "--checkpoint", "first"], "invalid choice: 'first'"),
        (["compare", "r", "--md", "--csv"], "not allowed with argument"),
    ],
)
def test_usage_errors(arguments: list[str], expected: str, capsys: Captured) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert expected in err
    assert not out


def test_option_value_with_a_space_is_not_a_positional(capsys: Captured) -> None:
    """`--out=my runs` is the option `--out`, although it contains a space."""
    assert main(["new", "losse", "mine", "--out=my runs"]) == 2
    assert "did you mean 'losses'?" in capsys.readouterr().err


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


def test_closed_pipe_is_not_an_error() -> None:
    program = "import sys; from hieraseg.cli import main; sys.exit(main(['list', '--json']))"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait() == 0
