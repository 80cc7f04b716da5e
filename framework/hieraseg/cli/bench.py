"""`hieraseg bench`: measure how fast a recipe trains."""

from argparse import Namespace
from typing import Any

from hieraseg.cli.options import add_command, add_json, add_plugins, add_recipe, positive_int
from hieraseg.cli.report import print_result
from hieraseg.importing import importing


def add_parser(commands: Any) -> None:
    """Add the parser of `hieraseg bench`."""
    parser = add_command(
        commands,
        "bench",
        run,
        summary="measure how fast a recipe trains, and what limits it",
        description="""
            Measure how fast a recipe trains on this machine, and say what limits it and what to
            change, before a long run. Nothing is written but the cache of decoded images.

            Images per second are medians of three rounds: of reading images and copying them to
            the device (data), of training on one batch again and again (step), and of training
            (both). Time lost to data is 1 - both / step. With training.compile, the first step
            compiles the model or the whole step, which can take minutes, and is not measured.

            Shares are those of a step whose operations are launched one by one, neither compiled
            nor captured; on CUDA, of the time that the GPU computes. `counts` are the scores of
            the training images, and `averaging` is the moving average of the weights
            (training.ema).

            FLOPs are those of convolutions and matrix products as torch counts them, and compared
            with a large matrix product in the recipe's precision, which is measured, too. How many
            images per step the memory of a GPU allows is estimated from steps with all and with
            half of them: memory grows linearly. Host waits are operations for which the host waits
            for a result of the GPU; on a CPU, those for which it would have to, without the
            optimizer.
        """,
        examples="""
            hieraseg bench quickstart
            hieraseg bench recipes/quickstart.yaml --training.batch_size 32 --training.compile model
            hieraseg bench recipes/quickstart.yaml --steps 20 --json
        """,
        takes_overrides=True,
    )
    add_recipe(parser)
    parser.add_argument(
        "--steps",
        metavar="N",
        type=positive_int,
        help="training steps of each measurement (default: 100 on CUDA, 5 on a CPU)",
    )
    add_plugins(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Measure a recipe, and print what was found."""
    with importing():
        from hieraseg.bench import bench
    from hieraseg.cli.bench_report import as_json, as_text
    from hieraseg.recipe import load

    recipe = load(arguments.recipe, arguments.overrides, arguments.plugins, require_paths=True)
    report = bench(recipe, arguments.steps)
    print_result(
        arguments.json,
        {"recipe": arguments.recipe, **as_json(report, recipe)},
        as_text(report, recipe),
    )
    return 0
