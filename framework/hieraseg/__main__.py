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

        with signals.handled_by(signals.interrupt):
            from hieraseg import launch

            # The first to be registered are the last to be called. What Python does then can take
            # half a second, in which a signal would replace the exit code.
            atexit.register(launch.end)
            atexit.register(signals.ignore)
            from hieraseg.cli import main as run

            return run()
    except KeyboardInterrupt as error:
        print("hieraseg: interrupted", file=sys.stderr)
        return getattr(error, "exit_code", 130)


if __name__ == "__main__":
    sys.exit(main())
