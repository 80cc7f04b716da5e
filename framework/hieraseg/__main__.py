"""The program `hieraseg`, and `python -m hieraseg`."""

import sys


def main() -> int:
    """Run the command line of this process.

    Unlike `hieraseg.cli.main`, it ends in one sentence even if it is interrupted while it imports
    the command line.
    """
    try:
        from hieraseg.cli import main as run

        return run()
    except KeyboardInterrupt:
        print("hieraseg: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
