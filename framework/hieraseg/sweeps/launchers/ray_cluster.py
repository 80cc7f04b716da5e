"""Ray: a cluster, or as many jobs at a time as this machine has cores or GPUs for."""

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hieraseg import signals
from hieraseg.errors import RecipeError
from hieraseg.sweeps.launchers.tasks import Done, Task, do
from hieraseg.sweeps.launchers.waiting import Handle

if TYPE_CHECKING:  # an optional package
    import ray

_GRACE = 60  # seconds that interrupted jobs have to write their checkpoints
_PATIENCE = 10  # seconds that a cluster has to answer


class Ray:
    """Ray.

    Args:
        settings: `address` of the cluster, without which ray is started on this machine; and what
            one job needs, as `ray.remote` has it.
    """

    name, outlives = "ray", False

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.needs = dict(settings)
        self.address = str(self.needs.pop("address", "local"))
        self._references: list[ray.ObjectRef[Done]] = []

    def start(self, tasks: Sequence[Task], folder: Path) -> list[Handle]:
        """Give tasks to ray, without trying one again that has failed."""
        import ray

        self._connect()
        has_gpus = ray.cluster_resources().get("GPU", 0) > 0
        for task in tasks:
            gpus = task.devices if has_gpus else 0
            needs = {"num_cpus": 1, "num_gpus": gpus, **self.needs}
            try:
                remote = ray.remote(do).options(**needs, max_retries=0, name=task.title)
            except (TypeError, ValueError) as error:
                raise RecipeError(f"--ray: {' '.join(str(error).split())}; fix it") from error
            self._references.append(remote.remote(task))
        return [_Taken(*one) for one in zip(tasks, self._references, strict=True)]

    def _connect(self) -> None:
        import ray

        options: dict[str, Any] = {}
        if self.address == "local":
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would be sent to the network
            options = {"include_dashboard": False}
        try:
            _check_address(self.address)
            with signals.kept():  # ray ends a process that gets SIGTERM at once
                ray.init(self.address, logging_level=logging.ERROR, **options)
        except (OSError, RuntimeError, ValueError) as error:
            words = " ".join(str(error).split())
            raise RecipeError(
                f"--ray address: no cluster can be used at {self.address} ({words}); start one "
                "with `ray start --head`, or leave the address out for this machine"
            ) from error

    def close(self) -> None:
        """Leave the cluster, after interrupted jobs have ended."""
        import ray

        if self._references:
            with suppress(KeyboardInterrupt):  # another one ends them at once
                ray.wait(self._references, num_returns=len(self._references), timeout=_GRACE)
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise an OSError if nothing listens at `host:port`, for which ray would wait very long."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


class _Taken:
    """A task of ray."""

    def __init__(self, task: Task, reference: "ray.ObjectRef[Done]") -> None:
        self.task, self.reference = task, reference

    def poll(self) -> Done | None:
        import ray

        ready, _ = ray.wait([self.reference], timeout=0)
        if not ready:
            return None
        try:
            return ray.get(self.reference)
        except ray.exceptions.RayError as error:
            return Done(1, problem=f"ray has no result of the job ({type(error).__name__})")

    def cancel(self) -> None:
        import ray

        ray.cancel(self.reference)
