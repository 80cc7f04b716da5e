"""What all commands have in common: help, usage errors, exit codes and output streams."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hieraseg.cli import main
from hieraseg.cli.parser import parse
from hieraseg.errors import DataError
from hieraseg.recipe.shipped import recipe_file
from tests.support.runs import ROOT

COMMANDS = (
    *("run", "list", "show", "validate", "bench", "new", "check", "schema"),
    *("evaluate", "predict", "compare", "clean"),
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


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_can_be_parsed(command: str, capsys: Captured) -> None:
    """They use options that exist, and recipes that are shipped."""
    assert main([command, "--help"]) == 0
    examples = capsys.readouterr().out.partition("\nexamples:\n")[2].strip().splitlines()
    for example in examples:
        program, *words = shlex.split(example.partition(" > ")[0])
        assert program == "hieraseg"
        arguments = parse(words)
        recipe = getattr(arguments, "recipe", None)
        if getattr(arguments, "verify", False):  # of a run folder
            continue
        assert recipe is None or recipe_file(ROOT / recipe if "/" in recipe else recipe).is_file()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "--seeds", "0", "1", "r.yaml"], ("r.yaml", [0, 1])),
        (["run", "--seeds", "0", "1", "r.yaml", "--json"], ("r.yaml", [0, 1])),
        (["run", "--json", "--seeds", "2", "r.yaml", "--out", "o"], ("r.yaml", [2])),
        (["run", "r.yaml", "--seeds", "0", "1"], ("r.yaml", [0, 1])),
        (["run", "--seeds", "0", "1", "--", "r.yaml"], ("r.yaml", [0, 1])),
        (["run", "--loss.gamma", "2", "--seeds", "0", "r.yaml"], ("r.yaml", [0])),
    ],
)
def test_several_numbers_before_a_positional(
    words: list[str], expected: tuple[str, list[int]]
) -> None:
    """`--seeds 0 1 RECIPE`: the recipe is no seed."""
    arguments = parse(words)
    assert (arguments.recipe, arguments.seeds) == expected


def test_scales_before_a_positional() -> None:
    arguments = parse(["evaluate", "--scales", "0.5", "1", "run", "--flip"])
    assert (arguments.run_folder, arguments.scales) == (Path("run"), [0.5, 1.0])


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (MemoryError(), 2, "hieraseg: error: out of main memory; decrease training.batch_size"),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"
            ),
            2,
            "hieraseg: error: out of main memory",
        ),
        (
            OSError(28, "No space left on device", "runs/x"),
            2,
            "hieraseg: error: runs/x: No space left on device\n",
        ),
        (SystemExit(7), 2, "hieraseg: error: a component called sys.exit(7)"),
    ],
)
def test_errors_without_a_traceback(
    error: BaseException,
    code: int,
    expected: str,
    recipe: str,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("hieraseg.recipe.load", fail)
    assert main(["show", recipe]) == code
    assert capsys.readouterr().err.startswith(expected)


def test_fault_of_the_code_has_a_traceback(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hieraseg.recipe.load", None)
    with pytest.raises(TypeError):
        main(["show", recipe])


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["run", "--help"], ["list"], ["list", "losse"]),
        *(["compare", "none"], ["run", "none.yaml"]),
    ],
)
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
        (["show", "x.yaml", "--training", "epochs=2"], "--training is a section; set a key"),
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
