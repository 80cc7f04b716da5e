"""The command line, with one module per sub-command.

The module of a sub-command has a function `add_parser(commands)`. It adds the parser and sets its
default `run`, a function that takes the parsed arguments and returns the exit code. Modules that
import torch are imported inside `run`, so that `hieraseg --help` and `hieraseg list` are fast.
Results are written with `hieraseg.cli.streams.write_result`; what is printed goes to stderr.
"""

import os
import sys
from collections.abc import Sequence

from hieraseg import signals
from hieraseg.cli.failures import failure_of, print_failure
from hieraseg.cli.parser import parse
from hieraseg.cli.streams import prepare_streams, separate_results, write_result
from hieraseg.errors import HierasegError
from hieraseg.launch import Finished, leave


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: command line arguments, without the program name. Default: those of the process.

    Returns:
        The exit code: 0 done, 2 recipe, plugin or usage problem, 3 data problem, 4 training
        diverged, 5 a repetition differs, 75 stopped by the system or not all done, 130 interrupted.
    """
    prepare_streams()
    try:
        with signals.handled_by(signals.interrupt):
            code = _run(argv)
    except Finished as finished:
        code = int(finished.code or 0)
    except BaseException as error:
        failure = failure_of(error)
        if failure is None:
            raise
        print_failure(failure)
        code = failure.exit_code
    leave(code)
    return code


def _run(argv: Sequence[str] | None) -> int:
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
    except SystemExit as error:  # argparse exits after --help and after usage errors
        write_result("", end="")  # flushes the help
        return error.code if isinstance(error.code, int) else 0
    try:
        os.getcwd()
    except FileNotFoundError as error:
        text = "the working directory no longer exists; change to another one"
        raise HierasegError(text) from error
    with separate_results(restore=argv is not None):
        code: int = arguments.run(arguments)
        return code
