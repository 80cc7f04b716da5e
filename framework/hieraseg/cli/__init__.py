"""The command line: one file per sub-command, and `main`, which chooses among them.

A sub-command has `add_parser(commands)`, which adds its parser and sets `run`, a function of the
parsed arguments that returns the exit code. Heavy imports stand inside `run`, so that
`hieraseg --help` and `hieraseg list` answer without importing torch.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from hieraseg import __version__
from hieraseg.cli import check, compare, evaluate, list, new, predict, run, schema, show, validate
from hieraseg.cli.overrides import Overrides, split_overrides, unknown_option
from hieraseg.errors import HierasegError, did_you_mean

_COMMANDS = (run, list, show, validate, new, check, schema, evaluate, predict, compare)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `hieraseg`; those of the process if None.

    Returns:
        The exit code: 0 done, 2 recipe or usage problem, 3 data problem, 4 training diverged,
        130 interrupted.
    """
    try:
        arguments = _parse(sys.argv[1:] if argv is None else argv)
    except SystemExit as stop:  # argparse's way to end after --help or a usage problem
        return stop.code if isinstance(stop.code, int) else 0
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except SystemExit as stop:
        _complain(f"a component ended the program by sys.exit({stop.code!r}); mend the plugin")
        return HierasegError.exit_code
    except HierasegError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        print("hieraseg: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader, such as `head`, has enough. What Python flushes at its exit goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a folder that is a file, no permission
        _complain(str(error))
        return HierasegError.exit_code
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported here
            raise
        _complain("the GPU's memory is too small for this; lower training.batch_size or data.size")
        return HierasegError.exit_code


def _complain(message: str) -> None:
    """Say what is wrong; of several processes that found it, the first one does."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print("hieraseg: error:", message, sep="\n" if "\n" in message else " ", file=sys.stderr)


def _is_option(word: str, parser: argparse.ArgumentParser) -> bool:
    return word.partition("=")[0] in parser._option_string_actions


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of one command; `overrides` among them where it takes them."""
    parser = argparse.ArgumentParser(
        prog="hieraseg",
        description="Hierarchical semantic segmentation from recipes.",
        epilog="`hieraseg COMMAND --help` explains a command and shows examples.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"hieraseg {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in _COMMANDS:
        module.add_parser(commands)
    words = [word for word in argv if not word.startswith("-")]
    if words and words[0] not in commands.choices:
        hint = did_you_mean(words[0], commands.choices)
        parser.error(f"no command is called {words[0]!r}, {hint}")
    command = commands.choices[words[0]] if words else parser
    takes_overrides = command.get_default("overrides") is not None
    overrides: Overrides = []
    if takes_overrides:
        argv, overrides = split_overrides(argv, command)
    for word in argv:
        # argparse would take `--option={a: b}`, which has a blank, for a recipe.
        if word.startswith("--") and " " in word and not _is_option(word, command):
            command.error(unknown_option(word, command, takes_overrides))
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        command.error(unknown_option(unknown[0], command, takes_overrides))
    if takes_overrides:
        arguments.overrides = overrides
    return arguments
