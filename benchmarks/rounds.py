"""Interleaved timing, for machines with a changing load."""

import statistics
import time
from collections.abc import Callable


def median_seconds(
    jobs: dict[str, Callable[[], object]], rounds: int, cpu: bool = False
) -> dict[str, float]:
    """Median seconds of each job. Jobs run in turns (A B A B ...), so load affects all alike.

    Args:
        jobs: functions to time, by name. Each is called once more for warm-up.
        rounds: number of timings per job.
        cpu: measure the CPU time of the process, not wall time.
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
