"""Standard streams: stdout for results alone, stderr for all else, both for any character."""

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from typing import Any, cast

from hieraseg import launch

_STDOUT, _STDERR = 1, 2
_COLUMNS = 80  # of a terminal that does not say
# ASCII for the characters that hieraseg itself draws and writes.
_ASCII = str.maketrans({"│": "|", "├": "|", "└": "`", "─": "-", "±": "+-", "…": "..."})
_ASCII |= str.maketrans({"†": "(+)", "‡": "(++)", "§": "(S)"})

_ERRORS = "hieraseg.ascii"
"""Name of the handler of characters that the encoding of a stream does not have."""


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_ASCII)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


codecs.register_error(_ERRORS, _in_ascii)

_results: ContextVar[io.TextIOBase | None] = ContextVar("results", default=None)


class _LossyFile(io.FileIO):
    """A file that drops what cannot be written: a run does not end because its log reader has."""

    def write(self, data: Any) -> int:
        with suppress(OSError):
            return super().write(data)
        return len(data)


def prepare_streams() -> None:
    """Make stdout and stderr accept any character, even if they are closed or break later."""
    # Files that are opened later must not get the number of a closed stream (`>&-`).
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(descriptor)
    if sys.stdout is None:
        sys.stdout = _open(io.FileIO(_STDOUT, "w", closefd=False))
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        encoding = None if sys.stderr is None else sys.stderr.encoding
        sys.stderr = _open(_LossyFile(_STDERR, "w", closefd=False), encoding)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


@contextmanager
def separate_results(restore: bool = True) -> Iterator[None]:
    """Send all that is printed to stderr, but results to stdout, as `--json` needs.

    This includes what compiled code and child processes print.

    Args:
        restore: whether stdout is as before after this context. If not, what is printed while
            Python exits goes to stderr, too.
    """
    stdout = _stdout()
    undo = ExitStack()
    if _is_stdout_of_process(stdout):
        stdout.flush()
        stdout = _open(io.FileIO(os.dup(_STDOUT), "w"), stdout.encoding)
        undo.callback(stdout.close)
        os.dup2(_STDERR, _STDOUT)
        undo.callback(os.dup2, stdout.fileno(), _STDOUT)
        launch.results = stdout.fileno()
        undo.callback(setattr, launch, "results", None)
    undo.enter_context(redirect_stdout(sys.stderr))
    token = _results.set(stdout)
    try:
        yield
    finally:
        _results.reset(token)
        if restore:
            undo.close()


def write_result(text: str, end: str = "\n") -> None:
    """Write a result to stdout. A reader that has closed the pipe, such as `head`, is no error.

    Raises:
        OSError: it cannot be written, as on a full disk.
    """
    stream = _stdout()
    try:
        stream.write(text + end)
        stream.flush()
    except OSError as error:
        # What is left in the buffer would fail again when the stream is closed.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            raise OSError(error.errno, error.strerror, "stdout") from error


def can_write(text: str) -> bool:
    """Whether stdout can encode all characters of a string, so that none is replaced."""
    try:
        text.encode(_stdout().encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def terminal_width() -> int | None:
    """Columns of the terminal that shows the results; None if stdout is a file or a pipe."""
    stream = _stdout()
    if not stream.isatty():
        return None
    if os.environ.get("COLUMNS", "").isdecimal():
        return int(os.environ["COLUMNS"]) or _COLUMNS
    with suppress(OSError):
        return os.get_terminal_size(stream.fileno()).columns or _COLUMNS
    return _COLUMNS


def _stdout() -> io.TextIOBase:
    return _results.get() or cast(io.TextIOBase, sys.stdout)


def _open(file: io.FileIO, encoding: str | None = None) -> io.TextIOWrapper:
    buffer = io.BufferedWriter(file)
    return io.TextIOWrapper(buffer, encoding, _ERRORS, line_buffering=True)


def _is_stdout_of_process(stream: io.TextIOBase) -> bool:
    """Whether a stream is that of the process, rather than one that a test or notebook reads."""
    with suppress(OSError, AttributeError):
        return stream.fileno() == _STDOUT
    return False
