"""Kill a run again and again, resume it until it ends, and compare what it leaves, bit by bit.

A run is killed by SIGKILL, SIGTERM or SIGINT: at a random moment, in a random phase, or before a
random file operation, such as the renaming of a checkpoint. Then `hieraseg resume` goes on, and may
be killed in turn; where it says that there is nothing to go on from, the recipe runs again, as it
says. The caches of runs are their own, so that stores are built by those that are killed, too.

The exit code is 1 if a run ended with other weights, records, scores or counts than the one that
was never killed, with another exit code, or with a traceback; its folder and output are kept.
"""

import argparse
import hashlib
import importlib
import json
import mmap
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from hieraseg.cli import main as hieraseg

PHASES = {
    "setting up": None,
    "building a store": "hieraseg.data.stores.cache.write_folder",
    "restoring the state": "hieraseg.train.restore",
    "training": "hieraseg.train.train_interval",
    "validating": "hieraseg.train.score_split",
    "between epochs": "hieraseg.training.recorder.Recorder.save_validation",
    "writing the result": "hieraseg.training.recorder.Recorder.save_result",
    "drawing figures": "hieraseg.training.recorder.save_run_figures",
    "saving": "hieraseg.training.checkpoints.CheckpointWriter.write",
}
"""Functions whose calls are the phases of a run. Of those that overlap, the last one counts."""

SMALL = (
    *("--data.image_size", "[64, 64]", "--input.size", "[64, 64]", "--data.train_images", "24"),
    *("--data.val_images", "6", "--data.holdout_images", "3", "--decoder.width", "8"),
    *("--backbone.weights", "null", "--training.batch_size", "4", "--training.epochs", "3"),
    *("--training.device", "cpu", "--checkpoints.every", "2 steps"),
)
"""Options that make a run of the quickstart recipe take seconds: three epochs of six steps."""

TIMES = ("images_per_second", "waiting_for_data", "seconds", "checksum", "peak_memory_bytes")
"""Keys of what differs from one execution to the next."""

_OPERATIONS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate")
_CODES = {signal.SIGKILL: {-9}, signal.SIGTERM: {75, 0}, signal.SIGINT: {130, 0}}
_RUNS = "*/*-seed*"
_AGAIN = re.compile(r"has no checkpoint to go on from|is not a run folder")


class Kill(NamedTuple):
    """When a process is killed, and how.

    Attributes:
        signal: the signal.
        seconds: earliest time after the start, if there is no `operation`.
        phase: phase in which it is killed then; empty for any.
        operation: number of the file operation before which it is killed.
    """

    signal: signal.Signals
    seconds: float | None = None
    phase: str = ""
    operation: int | None = None


class Ended(NamedTuple):
    """How a process ended.

    Attributes:
        code: exit code; that of a signal is negative.
        seconds: its duration.
        phase: phase in which it was killed; empty if it was not.
        operations: number of its file operations.
        saved: step of the newest checkpoint that was complete.
        output: what it said.
    """

    code: int
    seconds: float
    phase: str
    operations: int
    saved: int
    output: str


class Shared:
    """Numbers that a process and its parent see, by name."""

    NAMES = (*PHASES, "started", "ended", "operations", "saved", "killed in")

    def __init__(self) -> None:
        self._numbers = np.frombuffer(mmap.mmap(-1, 8 * len(self.NAMES)), np.int64)

    def __getitem__(self, name: str) -> int:
        return int(self._numbers[self.NAMES.index(name)])

    def __setitem__(self, name: str, value: int) -> None:
        self._numbers[self.NAMES.index(name)] = value

    @property
    def phase(self) -> int:
        """Index of the phase."""
        return max(index for index, name in enumerate(PHASES) if self[name] or not index)


@dataclass
class Server:
    """Runs commands in processes of their own, which have what this one has imported.

    Args:
        folder: where the output of each command is kept.
        limit: seconds after which a process that has not ended counts as one that hangs.
    """

    folder: Path
    limit: float = 600.0

    def run(self, words: Sequence[str], cache: Path, kill: Kill | None = None) -> Ended:
        """Run a command, and kill it, unless it ends before.

        Args:
            words: the command line without `hieraseg`.
            cache: folder of its cache.
            kill: when to kill it, and how.
        """
        shared, log = Shared(), self.folder / "output.txt"
        log.unlink(missing_ok=True)
        process = os.fork()
        if not process:
            _be_command(words, cache, log, shared, kill)
        code, phase = None, ""
        while code is None and not shared["started"]:
            code = _wait(process, time.monotonic() + 0.001)
        started = time.monotonic()
        if code is None and kill is not None and kill.seconds is not None:
            code = _wait(process, started + kill.seconds)
            while code is None and kill.phase and not shared[kill.phase]:
                code = _wait(process, time.monotonic() + 0.0005)
            if code is None:
                phase = "leaving" if shared["ended"] else list(PHASES)[shared.phase]
                os.kill(process, kill.signal)
        if code is None:
            code = _wait(process, started + self.limit)
        if code is None:
            os.kill(process, signal.SIGKILL)
            _wait(process, started + 2 * self.limit)
            code, phase = 124, f"{phase} (hangs)"
        if shared["killed in"]:
            phase = list(PHASES)[shared["killed in"] - 1]
        seconds = time.monotonic() - started
        output = log.read_text(errors="replace") if log.exists() else ""
        return Ended(code, seconds, phase, shared["operations"], shared["saved"], output)


def _wait(process: int, end: float) -> int | None:
    """Exit code of a process; None if it has not ended in time."""
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.0005)


def _be_command(
    words: Sequence[str], cache: Path, log: Path, shared: Shared, kill: Kill | None
) -> NoReturn:
    """Run a command in this process, which was forked for it."""
    code = 99
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.environ["HIERASEG_CACHE"] = str(cache)
        sys.argv = ["hieraseg", *words]
        torch.set_num_threads(1)
        _note_phases(shared)
        _note_operations(shared, kill)
        shared["started"] = 1
        code = hieraseg(list(words))
        shared["ended"] = 1
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        log.with_name("modules.txt").write_text("\n".join(sys.modules))
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _note_phases(shared: Shared) -> None:
    """Let functions note that they are running, and which checkpoint is complete."""

    def noting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            shared[name] += 1
            try:
                result = function(*arguments, **options)
            finally:
                shared[name] -= 1
            if name == "saving":
                shared["saved"] = arguments[1].metadata["step"]
            return result

        return wrapper

    for name, path in PHASES.items():
        if path is not None:
            owner, attribute = _owner(path)
            setattr(owner, attribute, noting(name, getattr(owner, attribute)))


def _owner(path: str) -> tuple[Any, str]:
    """The module or class that has a function, and the function's name."""
    parent, _, name = path.rpartition(".")
    try:
        return importlib.import_module(parent), name
    except ModuleNotFoundError:
        module, _, owner = parent.rpartition(".")
        return getattr(importlib.import_module(module), owner), name


def _note_operations(shared: Shared, kill: Kill | None) -> None:
    """Count what changes files, and kill this process before one of these operations."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if shared["ended"]:
            return
        if event == "open":
            flags = arguments[2] if len(arguments) > 2 else 0
            if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event not in _OPERATIONS:
            return
        shared["operations"] += 1
        if kill is not None and kill.operation == shared["operations"]:
            shared["killed in"] = shared.phase + 1
            os.kill(os.getpid(), kill.signal)

    sys.addaudithook(hook)


def outcome(run: Path) -> dict[str, Any]:
    """All that a run ends with, without times: weights, records, scores and counts, by file."""
    found: dict[str, Any] = {}
    for which in ("last", "best"):
        weights = load_file(run / "checkpoints" / which / "model.safetensors")
        found[which] = {name: _digest(tensor) for name, tensor in weights.items()}
    lines = (run / "metrics.jsonl").read_text().splitlines()
    found["metrics.jsonl"] = without_times([json.loads(line) for line in lines])
    found["result.json"] = without_times(json.loads((run / "result.json").read_text()))
    for path in sorted(run.glob("evaluation/*.npz")):
        with np.load(path) as counts:
            found[path.name] = {name: counts[name].tolist() for name in counts}
    return found


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()


def without_times(value: Any) -> Any:
    """A JSON value without what differs from one execution to the next."""
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key not in TIMES}
    return [without_times(one) for one in value] if isinstance(value, list) else value


@dataclass
class Report:
    """What was tried, and what was found.

    Attributes:
        kills: number of kills, by signal and phase.
        equal: number of runs that ended bit-identical, also of those that ended before their kill.
        problems: what went wrong.
    """

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    equal: int = 0
    problems: list[str] = field(default_factory=list)

    def table(self) -> str:
        """Kills by phase and signal."""
        signals = [one.name for one in _CODES]
        rows = [["phase", *signals]]
        rows += [
            [phase, *(str(self.kills[one, phase]) for one in signals)]
            for phase in dict.fromkeys((*PHASES, *(phase for _, phase in self.kills)))
        ]
        sums = [sum(n for (one, _), n in self.kills.items() if one == name) for name in signals]
        rows.append(["all", *map(str, sums)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                [row[0].ljust(widths[0])]
                + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            )
            for row in rows
        )


class Trials:
    """Runs of a recipe that are killed.

    Args:
        folder: an empty folder for all that they write.
        words: recipe and overrides.
        seed: seed of the moments.

    Attributes:
        report: see `Report`.
    """

    def __init__(self, folder: Path, words: Sequence[str], seed: int) -> None:
        self.folder, self.words = folder, words
        self.random = random.Random(seed)
        self.report = Report()
        self.server = Server(folder)
        self.reference = self._run_whole("whole")
        self.expected = outcome(next(folder.glob(f"whole/{_RUNS}")))
        self.server.limit = 60 + 20 * self.reference.seconds

    def import_all(self) -> None:
        """Import what a run imports, so that processes that are forked have it."""
        for name in (self.folder / "modules.txt").read_text().splitlines():
            with suppress(Exception):  # such as a file of a plugin, which has no name to import
                importlib.import_module(name)
        self.reference = self._run_whole("again")

    def _run_whole(self, name: str) -> Ended:
        """A run that is not killed."""
        out = self.folder / name
        ended = self.server.run(["run", *self.words, "--out", str(out)], out / "cache")
        if ended.code:
            raise SystemExit(f"the run that is not killed fails:\n{ended.output}")
        return ended

    def draw(self) -> Kill:
        """A random moment: by the clock, by the phase, or by the number of file operations."""
        number = self.random.choices(list(_CODES), weights=(2, 1, 1))[0]
        seconds = self.random.uniform(0, self.reference.seconds)
        phase = self.random.choice(list(PHASES)[1:])
        operation = self.random.randint(1, self.reference.operations)
        kills = (
            Kill(number, seconds=seconds),
            Kill(number, seconds=seconds / 2, phase=phase),
            Kill(number, operation=operation),
        )
        return self.random.choice(kills)

    def try_one(self, kills: Sequence[Kill]) -> bool:
        """Kill a run, and each time that it is resumed, as often as there are kills.

        Returns:
            Whether it ended as it should have.
        """
        out, moments, before = self.folder / "killed", iter(kills), len(self.report.problems)
        shutil.rmtree(out, ignore_errors=True)
        words, history, run = ["run", *self.words, "--out", str(out)], list[str](), None
        saved = 0
        for _ in range(3 * len(kills) + 3):
            kill = next(moments, None)
            ended = self.server.run(words, out / "cache", kill)
            history.append(f"$ hieraseg {' '.join(words)}\n{kill} -> {ended.code}\n{ended.output}")
            self._check(kill, ended, saved if words[0] == "resume" else 0)
            run = max(out.glob(_RUNS), key=lambda path: path.stat().st_mtime, default=None)
            is_refused = ended.code == 2 and words[0] == "resume"
            if ended.code == 0:
                break
            if run is None or (is_refused and _AGAIN.search(ended.output)):
                recipe = None if run is None else run / "recipe.yaml"
                again = [str(recipe)] if recipe and recipe.exists() else self.words
                words, saved = ["run", *again, "--out", str(out)], 0
            else:
                words, saved = ["resume", str(run)], max(saved, ended.saved)
        self._compare(run)
        found = self.report.problems[before:]
        if found:
            self._keep(out, found, history)
        else:
            self.report.equal += 1
        return not found

    def _check(self, kill: Kill | None, ended: Ended, saved: int) -> None:
        """Note a kill, and what is wrong with how the process ended."""
        allowed = {0, 2}
        if kill is not None and ended.phase:
            self.report.kills[kill.signal.name, ended.phase] += 1
            allowed = _CODES[kill.signal]
            if not ended.output:  # before the command could say what to do with signals
                allowed = {*allowed, -kill.signal}
        if ended.code not in allowed:
            self.report.problems.append(f"exit code {ended.code} after {kill} ({ended.phase})")
        if "Traceback" in ended.output:
            self.report.problems.append(f"a traceback after {kill} ({ended.phase})")
        step = re.search(r"goes on after step (\d+)", ended.output)
        if step and int(step[1]) < saved:
            self.report.problems.append(f"goes on after step {step[1]}, but {saved} was saved")

    def _compare(self, run: Path | None) -> None:
        try:
            found = outcome(run) if run is not None else {}
        except Exception as error:
            self.report.problems.append(f"the end cannot be read: {error}")
            return
        names = self.expected.keys() | found.keys()
        other = sorted(name for name in names if found.get(name) != self.expected.get(name))
        if other:
            self.report.problems.append(f"other {', '.join(other)}")

    def _keep(self, out: Path, problems: list[str], history: list[str]) -> None:
        kept = self.folder / f"problem{len(list(self.folder.glob('problem*'))) + 1}"
        out.rename(kept)
        (kept / "history.txt").write_text("\n".join([*problems, *history]))
        print(f"{'; '.join(problems)}: see {kept}/history.txt", flush=True)


@contextmanager
def _folder(path: Path | None) -> Iterator[Path]:
    """An empty folder: a new one, or one that is removed in the end."""
    if path is not None:
        path.mkdir(parents=True)
        yield path.resolve()
    else:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)


def main() -> int:
    """Kill runs, print what was found, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=30, help="kills to try (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (default: 0)")
    parser.add_argument("--folder", type=Path, help="new folder for the runs (default: temporary)")
    parser.add_argument("--recipe", default="quickstart", help="(default: quickstart)")
    parser.add_argument(
        "overrides", nargs="*", help="options of `hieraseg run`, after `--` (default: a small run)"
    )
    args = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell ignores it
    with _folder(args.folder) as folder:
        trials = Trials(folder, [args.recipe, *(args.overrides or SMALL)], args.seed)
        trials.import_all()
        report, whole = trials.report, trials.reference
        print(f"not killed: {whole.seconds:.1f} s, {whole.operations} file operations", flush=True)
        with suppress(KeyboardInterrupt):
            while report.kills.total() < args.kills:
                trials.try_one([trials.draw() for _ in range(trials.random.choice((1, 2, 3)))])
                print(f"{report.kills.total()} kills", file=sys.stderr, flush=True)
    print(report.table())
    print(f"{report.kills.total()} kills, {report.equal} bit-identical ends")
    print(f"{len(report.problems)} problems", *Counter(report.problems), sep="\n  ")
    return int(bool(report.problems))


if __name__ == "__main__":
    sys.exit(main())
