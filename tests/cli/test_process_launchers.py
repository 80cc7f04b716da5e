"""Processes that other programs start, and two machines: one process is told to stop."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hieraseg.runs.checkpoint import read_state
from tests.support.processes import write_recipe

HIERASEG = [sys.executable, "-m", "hieraseg"]
SRUN = {
    "SLURM_JOB_ID": "31234",
    "SLURM_JOB_NAME": "train",
    "SLURM_NODELIST": "127.0.0.1",
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NNODES": "1",
    "SLURM_NODEID": "0",
}
Process = subprocess.Popen[str]
Launcher = Callable[[list[str]], list[Process]]


def started(words: list[str], **variables: str) -> Process:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)


def by_torchrun(words: list[str]) -> list[Process]:
    program = shutil.which("torchrun", path=Path(sys.executable).parent)
    assert program is not None
    own = [program, "--nproc-per-node", "2", "--master-port", "29541", "-m", "hieraseg"]
    return [started([*own, *words, "--training.devices", "2"])]


def by_srun(words: list[str]) -> list[Process]:
    """As srun starts them: with its variables, one after the other."""
    own = [*HIERASEG, *words, "--training.devices", "2"]
    ranks = [{"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in range(2)]
    return [started(own, **SRUN, **rank) for rank in ranks]


def on_two_nodes(words: list[str]) -> list[Process]:
    own = [*HIERASEG, *words, "--training.num_nodes", "2"]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29551"}
    return [started(own, **place, NODE_RANK=str(rank)) for rank in range(2)]


@contextmanager
def training(launcher: Launcher, folder: Path) -> Iterator[list[Process]]:
    """A run that trains, by one of the functions above."""
    words = ["run", write_recipe(folder), "--training.epochs", "900"]
    processes = launcher([*words, "--out", str(folder / "runs")])
    try:
        lines = processes[0].stderr
        assert lines is not None
        assert any(line.startswith("epoch 1/") for line in lines)
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "codes"), [(by_torchrun, [1]), (by_srun, [75, 75]), (on_two_nodes, [75, 75])]
)
def test_a_signal_to_one_stops_all(launcher: Launcher, codes: list[int], tmp_path: Path) -> None:
    """The last command gets it: torchrun, the second process, that of the second machine."""
    with training(launcher, tmp_path) as processes:
        processes[-1].send_signal(signal.SIGTERM)
        assert [process.wait(60) for process in processes] == codes
        assert processes[0].stderr is not None
        said = processes[0].stderr.read()
    assert said.count("interrupted in epoch") == 1
    (run,) = tmp_path.glob("runs/*/*")
    step = read_state(run / "checkpoints/last")["progress"]["step"]
    assert f"of step {step}" in said or f"of epoch {step}" in said, "an epoch has one step"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "codes"), [(by_srun, [2, -signal.SIGKILL]), (on_two_nodes, [2, 137])]
)
def test_the_end_of_one_ends_all(launcher: Launcher, codes: list[int], tmp_path: Path) -> None:
    """The process itself is killed, not a command that has started it."""
    with training(launcher, tmp_path) as processes:
        last = processes[-1].pid
        children = Path(f"/proc/{last}/task/{last}/children").read_text().split()
        os.kill(int(children[0]) if launcher is on_two_nodes else last, signal.SIGKILL)
        assert [process.wait(60) for process in processes] == codes
        assert processes[0].stderr is not None
        said = processes[0].stderr.read()
    assert "another process of this run has ended" in said
    assert "Traceback" not in said
    (run,) = tmp_path.glob("runs/*/*")
    assert read_state(run / "checkpoints/last")["progress"]["step"] >= 1


@pytest.mark.slow
def test_processes_end_with_torchrun(tmp_path: Path) -> None:
    """It is killed, so that it cannot end them itself."""
    with training(by_torchrun, tmp_path) as (torchrun,):
        torchrun.kill()
        assert torchrun.stderr is not None
        said = torchrun.stderr.read()  # until none of its processes can write any more
    assert "hieraseg: error: torchrun was killed" in said
