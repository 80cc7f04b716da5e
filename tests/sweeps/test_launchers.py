"""Launchers: the jobs of a command done by an engine, here submitit's local one and a local ray."""

import inspect
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest

from hieraseg.cli import main
from hieraseg.recipe import load
from hieraseg.sweeps.jobs import Job, Source
from hieraseg.sweeps.launchers.options import _KEYS
from hieraseg.sweeps.launchers.ray_cluster import Ray
from hieraseg.sweeps.launchers.slurm import Slurm, _Repeatable
from hieraseg.sweeps.launchers.tasks import Done, Task, do, new_folder, outcome, prepare
from hieraseg.sweeps.launchers.waiting import Engine, Handle, Launcher
from tests.support.oracle import write_oracle_recipe
from tests.support.runs import read_json

Captured = pytest.CaptureFixture[str]
LOCAL = ("--launcher", "slurm", "--slurm", "cluster=local", "--slurm", "time=5")


def task(folder: Path, *arguments: str, title: str = "job", devices: int = 0) -> Task:
    """A task that runs `hieraseg` with arguments."""
    return Task(title, arguments, str(folder), str(folder / f"{title}.txt"), devices)


def wait_for(handle: Handle) -> Done:
    """How a task ends, within a minute."""
    for _ in range(600):
        done = handle.poll()
        if done is not None:
            return done
        time.sleep(0.1)
    raise TimeoutError


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Two jobs of a recipe with a plugin file."""
    sources = [Source(path=Path(write_oracle_recipe(tmp_path)), seed=seed) for seed in (0, 1)]
    return [Job(one.load(), "row,x=1", tmp_path / "runs", one) for one in sources]


def test_a_task_has_all_of_its_job(jobs: list[Job], tmp_path: Path) -> None:
    """The recipe file resolves to the same recipe, and names the run folder as the job does."""
    folder = new_folder(tmp_path / "runs")
    assert folder.stat().st_mode & 0o777 == 0o700, "pickled objects of engines are in there"
    assert new_folder(tmp_path / "runs") != folder
    for job, one in zip(jobs, prepare(jobs, folder), strict=True):
        assert load(one.arguments[1], require_paths=True) == job.recipe
        assert Path(one.arguments[1]).stem == job.recipe.path.stem
        assert one.title == job.title
        assert f"--run-name={job.name}" in one.arguments
        assert pickle.loads(pickle.dumps(one)) == one


def test_engines_need_no_torch() -> None:
    """What a worker imports before it starts the process of a job."""
    code = "import sys, hieraseg.sweeps.launchers.tasks; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_job_of_slurm_whose_time_is_over_goes_on_in_the_next(tmp_path: Path) -> None:
    """It is told to save its state, then asked again; Slurm's notice does not end it before."""
    pytest.importorskip("submitit")
    code = """
        import signal, sys, time
        from pathlib import Path

        def save(*_):
            Path("saved").touch()
            sys.exit(75)

        if Path("saved").exists():
            print("[]")
            sys.exit()
        signal.signal(signal.SIGTERM, save)
        signal.raise_signal(signal.SIGUSR2)
        Path("trains").touch()
        time.sleep(60)
    """
    (tmp_path / "hieraseg").mkdir()
    (tmp_path / "hieraseg/__main__.py").write_text(dedent(code))
    work, one = _Repeatable(), task(tmp_path)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(work, one)
        while not (tmp_path / "trains").exists():
            time.sleep(0.01)
        following = pickle.loads(pickle.dumps(work.checkpoint(one)))
        assert first.result().exit_code == 75
    assert following.result() == Done(0, "[]\n", following.result().seconds)


def test_a_task_is_one_process_of_slurm_which_starts_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With SLURM_NTASKS, a run on several GPUs would expect that Slurm has started them all."""
    code = "import os; print('SLURM_NTASKS' in os.environ, os.environ['SLURM_JOB_ID'])"
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    (tmp_path / "hieraseg").mkdir()
    (tmp_path / "hieraseg/__main__.py").write_text(code)  # found first in the working directory
    done = do(task(tmp_path))
    assert (done.exit_code, done.output) == (0, "False 7\n")


@pytest.mark.parametrize(
    ("done", "log", "expected"),
    [
        (Done(0, '[{"run": "runs/a", "cost": {}}]'), "", ("finished", "", 0)),
        (Done(75), "skipped: runs/a runs elsewhere\n", ("runs elsewhere", "", 75)),
        (
            Done(75),
            "hieraseg: interrupted in epoch 1; go on with\n",
            ("failed", "interrupted in epoch 1", 75),
        ),
        (Done(4), "hi\nhieraseg: error: the loss\n", ("failed", "the loss", 4)),
        (Done(2), "hieraseg: error:\n2 problems:\n  a\n", ("failed", "2 problems:\n  a", 2)),
        (
            Done(130),
            "hieraseg: interrupted in epoch 1\n",
            ("failed", "interrupted in epoch 1", 130),
        ),
        (Done(-9), "run folder x\n", ("failed", "ended with exit code 137; see ", 137)),
        (Done(1, problem="job 7 was lost"), "", ("failed", "job 7 was lost; see ", 1)),
        (Done(1, problem="lost"), "hieraseg: in epoch 1\n", ("failed", "lost: in epoch 1", 1)),
        (Done(1, '{"not": "a list"'), "Traceback\n", ("failed", "ended with exit code 1; see ", 1)),
    ],
)
def test_outcomes(tmp_path: Path, done: Done, log: str, expected: tuple[str, str, int]) -> None:
    one = task(tmp_path)
    Path(one.log).write_text(log)
    found = outcome(one, done)
    assert (found.title, found.state, found.exit_code) == ("job", expected[0], expected[2])
    assert found.message.startswith(expected[1])
    assert (found.folder is not None) == (found.state == "finished")


class Stuck:
    """An engine whose first task has begun, and whose second never does; then the user waits no
    longer."""

    name = "stuck"

    def __init__(self, outlives: bool) -> None:
        self.outlives = outlives
        self.cancelled: list[str] = []
        self.closed = False

    def start(self, tasks: Sequence[Task], folder: Path) -> list[Handle]:
        Path(tasks[0].log).touch()
        return [StuckHandle(self, one) for one in tasks]

    def close(self) -> None:
        self.closed = True


class StuckHandle:
    def __init__(self, engine: Stuck, one: Task) -> None:
        self.engine, self.task = engine, one

    def poll(self) -> Done | None:
        if not self.task.has_begun:
            raise KeyboardInterrupt
        return None

    def cancel(self) -> None:
        self.engine.cancelled.append(self.task.title)


@pytest.mark.parametrize(("outlives", "word"), [(True, "go on"), (False, "are interrupted")])
def test_an_interrupt_cancels_what_has_not_begun_and_says_what_goes_on(
    jobs: list[Job], outlives: bool, word: str
) -> None:
    engine = Stuck(outlives)
    with pytest.raises(KeyboardInterrupt, match=f"1 jobs .* cancelled, and 1 {word}: .*seed0"):
        list(Launcher(engine)(jobs))
    assert engine.cancelled == [job.title for job in (jobs[1:] if outlives else jobs)]
    assert engine.closed


def test_jobs_that_may_go_on_are_not_called_not_run(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hieraseg.sweeps.launchers.options._engine", lambda *_: Stuck(True))
    recipe = write_oracle_recipe(tmp_path)
    command = ["run", recipe, "--out", str(tmp_path / "runs"), "--seeds", "0", "1"]
    assert main([*command, *LOCAL]) == 130
    out, err = capsys.readouterr()
    assert out.count("not waited for") == 2
    assert "hieraseg: not waited for: 2 jobs" in err
    assert "not run" not in out + err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--launcher", "slurm", "--slurm", "time=5"], "there is no sbatch here"),
        (["--launcher", "slurm", "--slurm", "cluster=local"], "--slurm time: must be the minutes"),
        ([*LOCAL, "--slurm", "time=6"], "--slurm time: is given twice"),
        ([*LOCAL, "--slurm", "partion=gpu"], "unknown setting 'partion', did you mean 'partition'"),
        ([*LOCAL, "--slurm", "partition"], "--slurm partition: has no value"),
        ([*LOCAL, "--slurm", "setup=[a"], "--slurm setup: is no YAML value"),
        ([*LOCAL, "--jobs", "2"], "--jobs: the launcher decides"),
        ([*LOCAL, "--training.num_nodes", "2"], "training.num_nodes: a launcher starts"),
        (["--slurm", "time=5"], "--slurm: needs --launcher slurm; add it"),
        (["--launcher", "ray", "--ray", "adress=x"], "did you mean 'address'?"),
        (["--launcher", "ray", "--ray", "address=127.0.0.1:1"], "--ray address: no cluster can"),
    ],
)
def test_problems_are_one_sentence(
    tmp_path: Path, arguments: list[str], message: str, capsys: Captured
) -> None:
    recipe = write_oracle_recipe(tmp_path)
    assert main(["run", recipe, "--out", str(tmp_path / "runs"), *arguments]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert message in last
    assert not list(tmp_path.glob("runs/oracle"))


@pytest.mark.parametrize(("name", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_a_missing_package_is_one_sentence(
    name: str, package: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hieraseg.sweeps.launchers.options.find_spec", lambda name: None)
    recipe = write_oracle_recipe(tmp_path)
    assert main(["run", recipe, "--out", str(tmp_path / "runs"), "--launcher", name]) == 2
    expected = f"--launcher {name}: needs the package {package}; `pip install 'hieraseg[{name}]'`"
    assert expected in capsys.readouterr().err


def test_settings_of_slurm_are_those_of_submitit() -> None:
    submitit = pytest.importorskip("submitit")
    from submitit.slurm import slurm

    known = inspect.signature(slurm._make_sbatch_string).parameters
    assert set(_KEYS["slurm"]) - {"cluster"} <= known.keys()
    assert submitit.AutoExecutor


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Programs of Slurm that only note what they are asked, whose `sbatch` is a shell script."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")

    def install(sbatch: str) -> Path:
        scripts = {
            "srun": "",
            "sbatch": sbatch,
            "sacct": "echo 'JobID|State|NodeList'; echo '7_0|TIMEOUT|n1'; echo '7_1|PENDING|n1'",
            "scancel": f'echo "$@" >> {programs}/cancelled',
        }
        for name, script in scripts.items():
            (programs / name).write_text(f"#!/bin/sh\n{script}\n")
            (programs / name).chmod(0o755)
        return programs

    return install


def test_what_slurm_is_asked_for(cluster: Callable[[str], Path], tmp_path: Path) -> None:
    """One array of jobs, with the GPUs of the recipe, and what `--slurm` says."""
    programs = cluster(f'cp "$1" {tmp_path}/script; echo "Submitted batch job 7"')
    settings = {"time": 30, "partition": "gpu", "mem": "16GB", "array_parallelism": 1}
    tasks = [task(tmp_path, "list", title=title, devices=2) for title in "ab"]
    first, second = Slurm(settings).start(tasks, tmp_path)
    script = (tmp_path / "script").read_text()
    asked = ("array=0-1%1", "time=30", "partition=gpu", "mem=16GB", "gpus-per-node=2", "nodes=1")
    for option in asked:
        assert f"#SBATCH --{option}\n" in script
    second.cancel()
    assert (programs / "cancelled").read_text() == "7_1\n"
    assert second.poll() is None
    first.job._results_timeout_s = 0  # type: ignore[attr-defined]  # of slow file systems
    lost = wait_for(first)
    assert lost.exit_code == 1
    assert lost.problem == "job 7_0 of slurm ended without a result (state timeout)"


def test_what_slurm_refuses_is_one_sentence(
    cluster: Callable[[str], Path], tmp_path: Path, capsys: Captured
) -> None:
    cluster('echo "sbatch: error: invalid partition specified: gpuu" >&2; exit 1')
    recipe = write_oracle_recipe(tmp_path)
    options = ["--launcher", "slurm", "--slurm", "time=5", "--slurm", "partition=gpuu"]
    assert main(["run", recipe, "--out", str(tmp_path / "runs"), *options]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "--launcher slurm: the jobs are refused" in last
    assert "invalid partition specified: gpuu" in last


def test_submitit_runs_jobs_whose_runs_a_second_command_skips(
    tmp_path: Path, capsys: Captured
) -> None:
    """In processes of this machine."""
    pytest.importorskip("submitit")
    out = tmp_path / "runs"
    recipe = write_oracle_recipe(tmp_path)
    command = ["run", recipe, "--out", str(out), "--seeds", "0", "1", "--json"]
    assert main([*command, *LOCAL]) == 0
    runs = json.loads(capsys.readouterr().out)
    assert [Path(run["run"]).name for run in runs] == ["base-seed0", "base-seed1"]
    for run in runs:
        assert run["splits"] == read_json(Path(run["run"]) / "result.json")["splits"]
    (log,) = out.glob("launched/*/1/log.txt")
    assert "epoch 1/1" in log.read_text()
    assert main(command) == 0
    assert {run["state"] for run in json.loads(capsys.readouterr().out)} == {"skipped"}


@pytest.mark.slow
def test_ray_runs_jobs_and_interrupts_them(tmp_path: Path) -> None:
    """A local ray takes about ten seconds to start."""
    pytest.importorskip("ray")
    recipe = write_oracle_recipe(tmp_path)
    run = ["run", recipe, "--out", str(tmp_path / "runs"), "--run-name"]
    endless = ("--training.epochs", "100000", "--training.max_steps", "null")
    good = task(tmp_path, *run, "good", "--json", title="good")
    bad = task(tmp_path, *run, "bad", "--training.epochs", "0", title="bad")
    long = task(tmp_path, *run, "long", *endless, title="long")
    engine: Engine = Ray({"num_cpus": 0.5})
    handler = signal.getsignal(signal.SIGTERM)
    try:
        handles = engine.start([good, bad, long], tmp_path)
        assert signal.getsignal(signal.SIGTERM) == handler
        assert outcome(good, wait_for(handles[0])).folder == tmp_path / "runs/oracle/good-seed0"
        failed = outcome(bad, wait_for(handles[1]))
        assert (failed.exit_code, "training.epochs" in failed.message) == (2, True)
        while not (tmp_path / "runs/oracle/long-seed0/metrics.jsonl").exists():
            time.sleep(0.2)
        handles[2].cancel()
        assert wait_for(handles[2]).exit_code == 1
    finally:
        engine.close()
    failure = read_json(tmp_path / "runs/oracle/long-seed0/failure.json")
    assert failure["state"] == "interrupted"
