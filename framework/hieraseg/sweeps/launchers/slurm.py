"""Slurm, through submitit."""

import shutil
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hieraseg.errors import RecipeError
from hieraseg.sweeps.launchers.tasks import Doing, Done, Task
from hieraseg.sweeps.launchers.waiting import Handle

if TYPE_CHECKING:  # an optional package
    import submitit


class Slurm:
    """Slurm, or processes of this machine that submitit starts.

    Args:
        settings: parameters of submitit's `SlurmExecutor`, of which `time` is required; and
            `cluster`, which is `slurm` or `local`.

    Raises:
        RecipeError: a value is missing or wrong, or there is no Slurm here.
    """

    name = "slurm"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        parameters = dict(settings)
        self.cluster = parameters.pop("cluster", "slurm")
        if self.cluster not in ("slurm", "local"):
            raise RecipeError(f"--slurm cluster: must be slurm or local, got {self.cluster!r}")
        self.outlives = self.cluster == "slurm"  # Ctrl-C reaches processes of this terminal
        minutes = parameters.pop("time", None)
        if not isinstance(minutes, int) or minutes < 1:
            raise RecipeError(
                "--slurm time: must be the minutes after which Slurm ends a job, a positive "
                "integer; add it, as in --slurm time=120"
            )
        if self.cluster == "slurm" and shutil.which("sbatch") is None:
            raise RecipeError(
                "--launcher slurm: there is no sbatch here; run this on a login node of the "
                "cluster, or add --slurm cluster=local to try it with processes of this machine"
            )
        self.parameters = {f"slurm_{key}": value for key, value in parameters.items()}
        self.minutes = minutes

    def start(self, tasks: Sequence[Task], folder: Path) -> list[Handle]:
        """Submit tasks: one job array for all that need the same number of GPUs."""
        import submitit

        executor = submitit.AutoExecutor(folder / "submitit", cluster=self.cluster)
        by_devices = sorted(tasks, key=lambda task: task.devices)
        jobs: dict[Task, submitit.Job[Done]] = {}
        try:
            for devices, group in groupby(by_devices, key=lambda task: task.devices):
                gpus = {"gpus_per_node": devices} if devices else {}
                executor.update_parameters(
                    name="hieraseg", timeout_min=self.minutes, **gpus, **self.parameters
                )
                with executor.batch():
                    submitted = [(task, executor.submit(_Repeatable(), task)) for task in group]
                jobs |= dict(submitted)
        except BaseException as error:
            for job in jobs.values():
                job.cancel(check=False)
            if not isinstance(error, Exception):
                raise
            words = " ".join(str(error).split())  # of sbatch, as on an unknown partition
            raise RecipeError(f"--launcher slurm: the jobs are refused ({words})") from error
        return [_Submitted(task, jobs[task], self.cluster) for task in tasks]

    def close(self) -> None:
        """Nothing: Slurm goes on."""


class _Repeatable(Doing):
    """Does a task, whose job Slurm begins again after its time is over or it has made room.

    submitit calls `checkpoint` before that, and then for what has to be done by the next job.
    """

    def checkpoint(self, task: Task) -> "submitit.helpers.DelayedSubmission":
        """Let the run save its state; the next job goes on from there."""
        import submitit

        self.stop()
        return submitit.helpers.DelayedSubmission(_Repeatable(), task)


class _Submitted:
    """A job of submitit."""

    def __init__(self, task: Task, job: "submitit.Job[Done]", cluster: str) -> None:
        self.task, self.job, self.cluster = task, job, cluster

    def poll(self) -> Done | None:
        if not self.job.done():
            return None
        error = self.job.exception()
        if error is None:
            return self.job.result()
        state = self.job.state.lower()
        problem = f"job {self.job.job_id} of {self.cluster} ended without a result (state {state})"
        return Done(1, problem=problem)

    def cancel(self) -> None:
        self.job.cancel(check=False)
