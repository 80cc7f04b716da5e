"""Runs that go on, in places where nothing can be removed."""


def without_repeated(metrics: dict[str, float], step: int, last_step: int) -> dict[str, float]:
    """The numbers that are not there yet.

    What a run that goes on computes again is the same as before. The best scores are those of a run
    that has ended, so they were not there.

    Args:
        metrics: numbers by name.
        step: their step.
        last_step: last step that was logged before the run was stopped.
    """
    if step > last_step:
        return metrics
    return {name: value for name, value in metrics.items() if name.startswith("best/")}
