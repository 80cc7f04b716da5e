"""The command line, with one module per sub-command.

The module of a sub-command has a function `add_parser(commands)`. It adds the parser and sets its
default `run`, a function that takes the parsed arguments and returns the exit code. Modules that
import torch are imported inside `run`, so that `hieraseg --help` and `hieraseg list` are fast.
"""

import os
import sys
from collections.abc import Sequence

from hieraseg.cli.parser import parse
from hieraseg.console import is_main_process
from hieraseg.errors import HierasegError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: command line arguments, without the program name. Default: those of the process.

    Returns:
        The exit code: 0 done, 2 recipe, plugin or usage problem, 3 data problem, 4 training
        diverged, 130 interrupted.
    """
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
    except SystemExit as error:  # argparse exits after --help and after usage errors
        return error.code if isinstance(error.code, int) else 0
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except SystemExit as error:
        _print_error(f"a component called sys.exit({error.code!r}); fix the plugin")
        return HierasegError.exit_code
    except HierasegError as error:
        _print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        print("hieraseg: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe. Discard what Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # such as a full disk or a missing permission
        _print_error(str(error))
        return HierasegError.exit_code
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # of torch, which is not imported here
            raise
        _print_error("out of GPU memory; decrease training.batch_size or data.size")
        return HierasegError.exit_code


def _print_error(message: str) -> None:
    """Print an error once, even if several processes raise it."""
    if is_main_process():
        print("hieraseg: error:", message, sep="\n" if "\n" in message else " ", file=sys.stderr)
