"""`hieraseg run`: train recipes."""

from argparse import SUPPRESS, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hieraseg.cli.failures import Failure, failure_of, print_failure
from hieraseg.cli.options import (
    add_command,
    add_json,
    add_out,
    add_plugins,
    add_recipe,
    non_negative_int,
)
from hieraseg.cli.report import format_scores, print_result
from hieraseg.sweeps.names import run_name
from hieraseg.cli.streams import write_result
from hieraseg.console import log
from hieraseg.errors import DivergedError, RecipeError, UnwrittenScoresError
from hieraseg.importing import importing
from hieraseg.launch import Finished

if TYPE_CHECKING:
    from hieraseg.recipe import Recipe


def add_parser(commands: Any) -> None:
    """Add the parser of `hieraseg run`."""
    parser = add_command(
        commands,
        "run",
        run,
        summary="train a recipe, once per seed",
        description="""
            Train a recipe, once per seed, and score the model on the validation split. Each run
            writes a folder with the resolved recipe, provenance, scores, checkpoints and
            TensorBoard curves. Existing run folders are never overwritten.
        """,
        examples="""
            hieraseg run recipes/quickstart.yaml
            hieraseg run recipes/quickstart.yaml --seeds 0 1 2
            hieraseg run --seeds 0 1 2 recipes/quickstart.yaml --json
            hieraseg run recipes/quickstart.yaml --training.epochs 3 --optimizer.lr 1e-3
            hieraseg run quickstart --plugin my_loss.py --loss my_loss
        """,
        takes_overrides=True,
    )
    add_recipe(parser)
    parser.add_argument(
        "--seeds",
        metavar="SEED",
        type=non_negative_int,
        nargs="+",
        help="train once per seed (default: training.seed of the recipe)",
    )
    add_out(parser, "run folders", default="runs")
    parser.add_argument("--run-name", help=SUPPRESS)  # of launchers, whose recipes are resolved
    add_plugins(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Train once per seed, and print the scores and the folder of each run.

    A seed that fails does not keep the others from being run.
    """
    from hieraseg.recipe import load

    recipe = load(arguments.recipe, arguments.overrides, arguments.plugins, require_paths=True)
    recipes = _with_seeds(recipe, arguments)
    name = arguments.run_name or run_name(arguments.overrides, recipe.to_dict())
    finished: list[dict[str, Any]] = []
    failures: list[Failure] = []
    try:
        while recipes:
            result, failure = _train(recipes.pop(0), arguments, name)
            finished += [] if result is None else [result]
            failures += [] if failure is None else [failure]
            if failure is not None and not _can_go_on(recipe, failure):
                break
    except Finished:  # the processes that this one started have run all seeds
        recipes = []
        raise
    finally:
        if recipes:
            log(f"hieraseg: not run: seed {', '.join(str(one.training.seed) for one in recipes)}")
        if finished:
            folders = "\n".join(one["run"] for one in finished if one["run"])
            print_result(arguments.json, finished, folders)
            _log_figures(finished)
    return failures[0].exit_code if failures else 0


def _log_figures(finished: Sequence[Mapping[str, Any]]) -> None:
    """Say where there is something to look at."""
    folders = [Path(one["run"], "figures") for one in finished if one["run"]]
    for folder in filter(Path.is_dir, folders):  # a run that cannot draw is finished nevertheless
        log(f"curves and figures are in {folder}")


def _can_go_on(recipe: "Recipe", failure: Failure) -> bool:
    # Several processes do not outlive a failure of one of them, but they diverge together.
    is_single = recipe.training.devices * recipe.training.num_nodes == 1
    return is_single or failure.exit_code == DivergedError.exit_code


def _with_seeds(recipe: "Recipe", arguments: Namespace) -> list["Recipe"]:
    """The recipe once per seed.

    Raises:
        RecipeError: a seed is out of range or duplicate, or conflicts with `training.seed`.
    """
    seeds: list[int] | None = arguments.seeds
    if seeds is None:
        return [recipe]
    repeated = [seed for index, seed in enumerate(seeds) if seed in seeds[:index]]
    if repeated:
        raise RecipeError(
            f"command line: --seeds: duplicate {repeated[0]}, whose run would be the same; "
            "give each seed once"
        )
    if any(key == "training.seed" for key, _ in arguments.overrides):
        raise RecipeError("command line: --seeds: conflicts with --training.seed; give one of them")
    return [recipe.with_seed(seed) for seed in seeds]


def _train(
    recipe: "Recipe", arguments: Namespace, name: str
) -> tuple[dict[str, Any] | None, Failure | None]:
    """Train with one seed.

    Returns:
        The result of the run, in the main process, and why it failed, if it did.
    """
    with importing():
        from hieraseg.train import train

    result: dict[str, Any] | None = None
    failure, title = None, "val"
    try:
        folder = train(recipe, arguments.out, name)
        if folder is not None:
            result, title = {"run": str(folder.path), **folder.read_result()}, f"{folder.path}, val"
    except Finished:
        raise
    except KeyboardInterrupt as error:
        before = "interrupted while the run was set up, before it had a folder"
        raise KeyboardInterrupt(str(error) or before) from error
    except BaseException as error:
        failure = failure_of(error)
        if failure is None:
            raise
        if arguments.seeds is not None:
            text = f"seed {recipe.training.seed}: {failure.message} (exit code {failure.exit_code})"
            failure = failure._replace(message=text)
        print_failure(failure)
        if isinstance(error, UnwrittenScoresError):
            result = {"run": None, "splits": {"val": error.scores}, "cost": {}}
    if result is not None and not arguments.json:
        write_result(format_scores(result["splits"]["val"], title))
    return result, failure
