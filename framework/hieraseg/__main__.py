"""The program `hieraseg`, and `python -m hieraseg`."""

import atexit
import sys


def main() -> int:
    """Run the command line of this process.

    Unlike `hieraseg.cli.main`, it ends in one sentence even if it is interrupted while it imports
    the command line.
    """
    try:
        from hieraseg import signals

        # The first to be registered is the last to be called. What Python does then can take half a
        # second, in which a signal would replace the exit code.
        atexit.register(signals.ignore)
        with signals.handled_by(signals.interrupt):
            from hieraseg.cli import main as run

            return run()
    except KeyboardInterrupt as error:
        print("hieraseg: interrupted", file=sys.stderr)
        return getattr(error, "exit_code", 130)


if __name__ == "__main__":
    sys.exit(main())
