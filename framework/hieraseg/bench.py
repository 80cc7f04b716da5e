"""Job: measure how fast a recipe trains, and say what limits it."""

from dataclasses import dataclass, replace
from functools import partial, reduce

import torch

from hieraseg.console import log, progress, warn
from hieraseg.data.batches.batch import map_tensors
from hieraseg.errors import RecipeError
from hieraseg.files.paths import keep_working_directory
from hieraseg.recipe import Recipe
from hieraseg.training.cost import (
    count_flops,
    count_host_waits,
    images_that_fit,
    like_on_gpu,
    peak_flops,
    peak_memory,
    peak_of,
)
from hieraseg.training.determinism import deterministic_algorithms
from hieraseg.training.finite import read_report, what_is_wrong
from hieraseg.training.graph import CapturedStep, TakeStep, open_step
from hieraseg.training.limits import advice
from hieraseg.training.memory import explaining_memory
from hieraseg.training.setup import Parts, set_up
from hieraseg.training.state import State
from hieraseg.training.step import train_step
from hieraseg.training.throughput import Throughput, ThroughputMeter, median
from hieraseg.training.timing import device_seconds, part_seconds

_ROUNDS = 3
_STEPS = {"cpu": 5, "cuda": 100}  # of a measurement
_SPLIT = 20  # steps at most whose parts are timed
_WARM_UP = {"cpu": 1, "cuda": 15}  # steps, until the step is captured


@dataclass(frozen=True)
class StepCost:
    """What one training step costs, whose operations are launched one by one.

    Attributes:
        seconds: those of each part; on CUDA, those that the GPU computes.
        flops: floating point operations.
        host_waits: how often the host waits for the device.
        peak_flops: floating point operations per second that the device reaches.
    """

    seconds: dict[str, float]
    flops: int
    host_waits: int
    peak_flops: float

    @property
    def shares(self) -> dict[str, float]:
        """Share of each part in the step."""
        total = sum(self.seconds.values())
        return {part: value / total for part, value in self.seconds.items()}


@dataclass(frozen=True)
class BenchReport:
    """How fast a recipe trains.

    Attributes:
        device: name of the device.
        steps: steps of each measurement.
        batch_size: images per step.
        throughput: images per second.
        cost: what a step costs.
        used: share of the device's floating point operations per second that a step uses.
        idle: share of a step in which a GPU waits for operations to be launched; None on a CPU.
        peak_memory: bytes, None if the system does not say.
        fit: about how many images per step the memory of the GPU allows; None on a CPU, or if so
            few images per step do not tell.
        compiled: what of the step is compiled: `off`, `model` or `step`.
        not_captured: why the step is no CUDA graph; None if it is one.
        advice: what limits the recipe, and what to change.
    """

    device: str
    steps: int
    batch_size: int
    throughput: Throughput
    cost: StepCost
    used: float
    idle: float | None
    peak_memory: int | None
    fit: int | None
    compiled: str
    not_captured: str | None
    advice: str


@keep_working_directory()
def bench(recipe: Recipe, steps: int | None = None) -> BenchReport:
    """Measure the training steps of a recipe, without a run folder.

    Args:
        recipe: the resolved recipe.
        steps: training steps of each measurement; a number that suits the device if None.

    Raises:
        RecipeError: the recipe cannot be run, or needs several processes.
        DataError: the data cannot be used.
    """
    _check_processes(recipe)
    with explaining_memory(recipe), deterministic_algorithms(recipe.training.deterministic):
        return _bench(recipe, steps)


def _bench(recipe: Recipe, steps: int | None) -> BenchReport:
    parts, state = set_up(_endless(recipe, steps))
    parts.forward.train()
    device = parts.fabric.device
    on_gpu = device.type == "cuda"
    step = open_step(parts, state)
    meter = ThroughputMeter(parts, step, steps or _STEPS[device.type])
    throughput = _throughput(meter, _WARM_UP[device.type])
    memory, not_captured = peak_memory(device), _not_captured(parts, step)
    terms = list(state.totals.terms)
    bad, _ = read_report(terms, state.finite.report(terms))
    if bad is not None:
        warn(
            f"training diverged in step {bad.step}, where a run would stop: {what_is_wrong(bad)} "
            "not finite; lower optimizer.lr"
        )
    cost = _step_cost(parts, state, step, meter)
    duration = meter.batch_size / throughput.step
    idle, fit = None, None
    if on_gpu:
        fit = estimate_fit(parts, state, meter, memory or 0)
        computing = device_seconds(partial(train_step, parts, state, meter.batch), _SPLIT, device)
        idle = max(0.0, 1 - computing / duration)
    return BenchReport(
        device=torch.cuda.get_device_name(device) if on_gpu else _cpu_name(),
        steps=meter.steps,
        batch_size=meter.batch_size,
        throughput=throughput,
        cost=cost,
        used=cost.flops / duration / cost.peak_flops,
        idle=idle,
        peak_memory=memory,
        fit=fit,
        compiled=parts.compiled,
        not_captured=not_captured,
        advice=advice(recipe, throughput, cost.shares, idle, not_captured),
    )


def estimate_fit(parts: Parts, state: State, meter: ThroughputMeter, needed: int) -> int | None:
    """About how many images per step the memory of a GPU allows.

    Args:
        parts: the parts of the run.
        state: its state.
        meter: has a batch that fits.
        needed: bytes that were reserved for it.

    Returns:
        The number, with as many parts of a batch as now; None if it cannot be said.
    """
    device = parts.fabric.device
    pieces = min(parts.recipe.training.accumulate, meter.batch_size)

    def peak(images: int) -> int:
        batch = map_tensors(lambda one: one[: images * pieces], meter.batch)
        return peak_of(partial(train_step, parts, state, batch), device)

    with torch.compiler.set_stance("force_eager"):  # another size would be compiled anew
        try:
            fit = images_that_fit(peak, meter.batch_size // pieces, needed, device)
        except RecipeError:  # some models cannot train on a single image
            return None
    return None if fit is None else fit * pieces


def _check_processes(recipe: Recipe) -> None:
    settings = recipe.training
    processes = settings.devices * settings.num_nodes
    if processes > 1:
        raise RecipeError(
            f"training.devices: hieraseg bench measures one process, but the recipe has "
            f"{processes}; set --training.devices 1 --training.num_nodes 1 --training.batch_size "
            f"{settings.batch_size // processes}, the share of one"
        )


def _endless(recipe: Recipe, steps: int | None) -> Recipe:
    """The recipe with so many epochs that its schedule does not end while it is measured."""
    settings = recipe.training
    epochs = max(settings.epochs, 20 * (steps or max(_STEPS.values())))
    return replace(recipe, training=replace(settings, epochs=epochs, max_steps=None))


def _throughput(meter: ThroughputMeter, warm_up: int) -> Throughput:
    """Medians of some rounds, after another one that fills the caches."""
    for _ in range(warm_up):
        meter.take_step(meter.batch)
    log(f"measuring {meter.steps} steps of {meter.batch_size} images, {_ROUNDS} times")
    rounds = [meter.round() for _ in progress(range(_ROUNDS + 1), "measuring", _ROUNDS + 1)]
    return median(rounds[1:])


def _step_cost(parts: Parts, state: State, step: TakeStep, meter: ThroughputMeter) -> StepCost:
    log("measuring the parts of a step, and what the device reaches")
    device, batch = parts.fabric.device, meter.batch
    from_python = partial(train_step, parts, state, batch)

    def gradients() -> None:  # without the optimizer, which works otherwise on CUDA
        terms = parts.forward(map_tensors(like_on_gpu, batch), torch.zeros(())).terms
        parts.fabric.backward(reduce(torch.add, terms.values()))

    watched = partial(step, batch) if device.type == "cuda" else gradients
    with torch.compiler.set_stance("force_eager"):  # compiled code can be neither split nor counted
        return StepCost(
            host_waits=count_host_waits(watched, device),
            flops=count_flops(from_python),
            seconds=part_seconds(parts, state, from_python, min(meter.steps, _SPLIT)),
            peak_flops=peak_flops(device, parts.recipe.training.precision),
        )


def _not_captured(parts: Parts, step: TakeStep) -> str | None:
    """Why the step is no CUDA graph; None if it is one."""
    if isinstance(step, CapturedStep):
        return step.problem
    if parts.fabric.device.type != "cuda":
        return "the device is a CPU"
    return next(iter(parts.capture_problems), "training.capture is off")


def _cpu_name() -> str:
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"
