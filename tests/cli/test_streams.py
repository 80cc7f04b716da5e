"""Standard streams: stdout for results alone, and any character, broken pipe or closed stream."""

import ast
import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from hieraseg import cli
from hieraseg.cli import main
from hieraseg.cli.streams import prepare_streams, separate_results, terminal_width, write_result

COMMAND = [sys.executable, "-m", "hieraseg"]
Captured = pytest.CaptureFixture[str]

NOISY = """
import atexit, os, sys
from hieraseg import registry

print("from Python")
os.write(1, b"from compiled code\\n")
os.system("echo from a program")
atexit.register(print, "at exit")

@registry.schedules.register("noisy")
def noisy(optimizer, total_steps):
    pass
"""


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([*COMMAND, *arguments], text=True, **given)  # type: ignore[call-overload,no-any-return]


def test_only_results_are_on_stdout(tmp_path: Path) -> None:
    """What a plugin prints, in any way and at any time, is on stderr."""
    plugin = tmp_path / "noisy.py"
    plugin.write_text(NOISY)
    done = run("list", "--json", "--plugin", str(plugin))
    assert "noisy" in json.loads(done.stdout)["schedules"]
    for text in ("from Python", "from compiled code", "from a program", "at exit"):
        assert text in done.stderr


def test_no_command_prints_results_by_itself() -> None:
    """`print` goes to stderr, so results need `write_result` or `print_result`."""
    for path in Path(cli.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_print = isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
            assert not is_print or "file=sys.stderr" in ast.unparse(node), path.name


def test_stdout_of_a_caller_is_restored(capfd: pytest.CaptureFixture[str]) -> None:
    """What `main` leaves behind is as it was, if it is called from Python."""
    assert main(["list", "--json"]) == 0
    print("after")
    out, _ = capfd.readouterr()
    assert out.endswith("}\nafter\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_character_in_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters that it does not have are written in ASCII, or escaped."""
    stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    prepare_streams()
    write_result("├── tête 世界 0.5 ± 0.1 † \udcff")
    written = stdout.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    expected = {
        "ascii": "|-- t\\xeate \\u4e16\\u754c 0.5 +- 0.1 (+) \\udcff\n",
        "latin-1": "|-- tête \\u4e16\\u754c 0.5 ± 0.1 (+) \\udcff\n",
        "utf-8": "├── tête 世界 0.5 ± 0.1 † \\udcff\n",
    }
    assert written == expected[encoding]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_errors_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    """Also names of files that are not UTF-8."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    names = [os.fsdecode(b"t\xff.yaml"), "世界.yaml"]
    for name in names:
        done = run("show", name, cwd=tmp_path, env=environment)
        assert done.returncode == 2
        assert "no such recipe file" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-", "2>/dev/full"])
@pytest.mark.parametrize("arguments", [["list"], ["--help"]])
def test_closed_streams(closed: str, arguments: list[str]) -> None:
    """What cannot be written is lost, and the command does what it should."""
    script = f'exec "$0" "$@" {closed}'
    done = subprocess.run(["sh", "-c", script, *COMMAND, *arguments], capture_output=True)
    assert done.returncode == 0
    assert not done.stderr


@pytest.mark.parametrize("arguments", [["list"], ["--help"]])
def test_full_disk(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = run(*arguments, stdout=full)
    assert done.returncode == 2
    assert done.stderr == "hieraseg: error: stdout: No space left on device\n"


def test_reader_of_the_log_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log line that nobody reads ends no run: `hieraseg run RECIPE 2>&1 | head -1`."""
    program = (
        "from hieraseg.cli import main; from hieraseg.cli.streams import write_result; "
        "from hieraseg.console import log; import hieraseg.cli.list as command, sys\n"
        "def run(_):\n"
        "    for index in range(9999): log('a line of the log')\n"
        "    return 7\n"
        "command.run = run; sys.exit(main(['list']))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert process.stderr.readline() == b"a line of the log\n"
    process.stderr.close()
    assert process.wait() == 7


def test_working_directory_that_is_gone(tmp_path: Path) -> None:
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$0" "$@"'
    command = ["sh", "-c", script, *COMMAND, "list"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "the working directory no longer exists" in done.stderr


@pytest.mark.parametrize(("columns", "expected"), [("", 61), ("90", 90), ("0", 80)])
def test_width_of_the_terminal(
    columns: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert terminal_width() is None  # pytest reads stdout
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 61, 0, 0))
    monkeypatch.setenv("COLUMNS", columns)
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "w") as terminal, separate_results():
        monkeypatch.setattr("hieraseg.cli.streams._stdout", lambda: terminal)
        assert terminal_width() == expected
