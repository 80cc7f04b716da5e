"""The report of `hieraseg bench` as JSON and as text."""

from typing import TYPE_CHECKING, Any

from hieraseg.cli.layout import align_columns, format_table

if TYPE_CHECKING:
    from hieraseg.bench import BenchReport
    from hieraseg.recipe import Recipe


def as_json(report: "BenchReport", recipe: "Recipe") -> dict[str, Any]:
    """The report as JSON values.

    * `device`, `precision`, `size` (height and width), `batch_size`, `steps` of a measurement
    * `images_per_second`: of `data`, `step` and `both`; `waiting_for_data`: share of the training
      time that is lost to the data, which is 1 - both / step
    * `parts`: share of a step of `augmentation`, `forward`, `loss`, `counts`, `backward`,
      `optimizer` and `averaging` (0 without `training.ema`); `gpu_idle`: share of a step in which
      the GPU waits for operations to be launched, null on a CPU
    * `peak_memory_bytes`: of the GPU, else of the process; null if the system does not say
    * `batch_size_that_fits`: about how many images per step the memory of the GPU allows; null on a
      CPU, or where so few images do not tell
    * `flops_per_step`; `peak_flops`: those per second that the device reaches; `share_of_peak`
    * `host_waits`: how often the host waits for a result in a step
    * `captured`, `not_captured` (why, or null), and `compiled`: `off`, `model` or `step`
    * `advice`: what limits the recipe, and what to change
    """
    training = recipe.training
    return {
        "device": report.device,
        "precision": training.precision,
        "size": list(recipe.input.size),
        "batch_size": report.batch_size,
        "steps": report.steps,
        "images_per_second": {
            "data": report.throughput.data,
            "step": report.throughput.step,
            "both": report.throughput.both,
        },
        "waiting_for_data": report.throughput.waiting,
        "parts": report.cost.shares,
        "gpu_idle": report.idle,
        "peak_memory_bytes": report.peak_memory,
        "batch_size_that_fits": report.fit,
        "flops_per_step": report.cost.flops,
        "peak_flops": report.cost.peak_flops,
        "share_of_peak": report.used,
        "host_waits": report.cost.host_waits,
        "captured": report.not_captured is None,
        "not_captured": report.not_captured,
        "compiled": report.compiled,
        "advice": report.advice,
    }


def as_text(report: "BenchReport", recipe: "Recipe") -> str:
    """The report for people to read."""
    height, width = recipe.input.size
    title = (
        f"{report.device}, {recipe.training.precision}, {report.batch_size} images of "
        f"{height}x{width} per step"
    )
    rates = report.throughput
    speed = [[name, f"{getattr(rates, name):,.1f}"] for name in ("data", "step", "both")]
    shares = [[part, f"{share:.1%}"] for part, share in report.cost.shares.items() if share]
    return "\n\n".join(
        [
            format_table(["", "images/s"], speed, title),
            format_table(["part", "share of a step"], shares),
            align_columns(_facts(report)),
            report.advice,
        ]
    )


def _facts(report: "BenchReport") -> list[list[str]]:
    memory = report.peak_memory
    fit = "" if report.fit is None else f"; about {report.fit} images per step fit"
    peak = f"{report.used:.1%} of {report.cost.peak_flops / 1e12:.3g} TFLOPs per second"
    return [
        ["time lost to data", f"{report.throughput.waiting:.1%}"],
        *([] if report.idle is None else [["GPU idle", f"{report.idle:.1%}"]]),
        *([] if memory is None else [["peak memory", f"{memory / 2**30:.1f} GiB{fit}"]]),
        ["computed", f"{report.cost.flops / 1e9:,.4g} GFLOPs per step, {peak}"],
        ["host waits", f"{report.cost.host_waits} per step"],
        ["captured", "yes" if report.not_captured is None else f"no: {report.not_captured}"],
        ["compiled", "no" if report.compiled == "off" else f"the {report.compiled}"],
    ]
