"""Interleaved timing, for machines with a changing load."""

import statistics
import time
from collections.abc import Callable
from functools import partial


def medians(jobs: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median of what each job returns. Jobs run in turns (A B A B ...), so load affects all alike.

    Args:
        jobs: measurements, by name. Each is made once more for warm-up.
        rounds: number of measurements per job.
    """
    values: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            value = job()
            if number > 0:
                values[name].append(value)
    return {name: statistics.median(one) for name, one in values.items()}


def median_seconds(
    jobs: dict[str, Callable[[], object]], rounds: int, cpu: bool = False
) -> dict[str, float]:
    """Median seconds of each job, in turns (see `medians`).

    Args:
        jobs: functions to time, by name. Each is called once more for warm-up.
        rounds: number of timings per job.
        cpu: measure the CPU time of the process, not wall time.
    """
    clock = time.process_time if cpu else time.perf_counter
    return medians({name: partial(_seconds, job, clock) for name, job in jobs.items()}, rounds)


def _seconds(job: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    job()
    return clock() - started
