"""Time from a command to what its user waits for, and the packages whose import takes it.

Each command is a process of its own: `hieraseg list`, `hieraseg run` up to its first training step,
and `hieraseg evaluate` up to the predictions of its first batch. Stores are built before.
"""

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

PLUGIN = str(Path(__file__).with_name("leaving.py"))
_SELF_TIME = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+([\w.]+)")


class Command(NamedTuple):
    """Arguments of `hieraseg`, and when the process leaves (see `leaving.py`)."""

    arguments: tuple[str, ...]
    leave: str = ""


def start(command: Command, *options: str) -> str:
    """Run a command to its end. Returns its stderr.

    Args:
        command: the command.
        options: options of Python.
    """
    done = subprocess.run(
        [sys.executable, *options, "-m", "hieraseg", *command.arguments],
        env={**os.environ, "LEAVE": command.leave},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stderr


def timed(command: Command) -> tuple[float, float]:
    """Seconds of wall time and of CPU time of a command."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    start(command)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def import_times(command: Command) -> Counter[str]:
    """Microseconds that importing takes, without imports inside, by package."""
    times: Counter[str] = Counter()
    for microseconds, module in _SELF_TIME.findall(start(command, "-X", "importtime")):
        parts = module.split(".")
        times[".".join(parts[: 2 if parts[0] == "torch" else 1])] += int(microseconds)
    return times


def commands(recipe: str, folder: Path) -> dict[str, Command]:
    """The commands to measure, by name. The run to evaluate is trained here, for one step."""
    run = ("run", recipe, "--plugin", PLUGIN, "--inference", "leaving", "--training.device", "cpu")
    trained = (*run, "--out", str(folder / "trained"), "--training.max_steps", "1")
    start(Command(trained))
    (result,) = (folder / "trained").glob("*/*/result.json")
    evaluate = ("evaluate", str(result.parent), "--device", "cpu")
    return {
        "list": Command(("list",)),
        "run": Command((*run, "--out", str(folder / "left"), "--schedule", "leaving"), "step"),
        "evaluate": Command(evaluate, "batch"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="quickstart")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--packages", type=int, default=12, help="packages to list")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("HIERASEG_CACHE", str(Path(folder, "cache")))
        measured = commands(args.recipe, Path(folder))
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in measured}
        for _ in range(args.rounds):
            for name, command in measured.items():
                times[name].append(timed(command))
        for name, pairs in times.items():
            wall, cpu = (statistics.median(values) for values in zip(*pairs, strict=True))
            print(f"{name:10} {wall:6.2f} s, CPU time {cpu:5.2f} s")
        for name, command in measured.items():
            found = import_times(command)
            total = sum(found.values())
            print(f"\nimports of {name}, with the cost of measuring: {total / 1e6:.2f} s")
            for package, microseconds in found.most_common(args.packages):
                print(f"{microseconds / total:6.1%} {package}")


if __name__ == "__main__":
    main()
