"""Interleaved timing, for machines that other jobs load at the same time."""

import statistics
import time
from collections.abc import Callable


def median_seconds(
    jobs: dict[str, Callable[[], object]], rounds: int, cpu: bool = False
) -> dict[str, float]:
    """The median time of each job, run in turns (A B A B ...) so that load hits all alike.

    Args:
        jobs: what to time; each runs once before the first round that counts.
        rounds: how often each is timed.
        cpu: CPU time of the process instead of the time on the wall.
    """
    clock = time.process_time if cpu else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            started = clock()
            job()
            if number > 0:
                times[name].append(clock() - started)
    return {name: statistics.median(values) for name, values in times.items()}
