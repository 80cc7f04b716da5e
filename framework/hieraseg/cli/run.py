"""`hieraseg run`: train recipes."""

import json
import re
from argparse import Namespace
from typing import Any

from hieraseg.cli.options import add_command, add_json, add_out, add_plugins, add_recipe
from hieraseg.cli.overrides import Overrides
from hieraseg.cli.report import format_scores

# Overrides that are not part of a run's name: they do not change what is trained.
_UNNAMED = ("data.root", "training.seed", "training.device")


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
            hieraseg run recipes/quickstart.yaml --training.epochs 3 --optimizer.lr 1e-3
            hieraseg run quickstart --plugin my_loss.py --loss my_loss
        """,
        takes_overrides=True,
    )
    add_recipe(parser)
    parser.add_argument(
        "--seeds",
        metavar="SEED",
        type=int,
        nargs="+",
        help="train once per seed (default: training.seed of the recipe)",
    )
    add_out(parser, "run folders", default="runs")
    add_plugins(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Train once per seed, and print the scores and the folder of each run."""
    from hieraseg.recipe import load

    recipe = load(arguments.recipe, arguments.overrides, arguments.plugins, require_paths=True)
    seeds = arguments.seeds or [recipe.training.seed]
    recipes = [recipe.with_seed(seed) for seed in seeds]
    from hieraseg.train import train

    finished = []
    for recipe in recipes:
        folder = train(recipe, arguments.out, run_name(arguments.overrides))
        if folder is None:  # the main process of the run prints its result
            continue
        result = folder.read_result()
        finished.append({"run": str(folder.path), **result})
        if not arguments.json:
            print(format_scores(result["splits"]["val"], f"{folder.path}, val"))
    if not finished:
        return 0
    if arguments.json:
        print(json.dumps(finished, indent=2))
    else:
        print(*(run["run"] for run in finished), sep="\n")
    return 0


def run_name(overrides: Overrides) -> str:
    """Name of a run: its overrides, as in `epochs=3,lr=1e-3`, or `base` if there are none."""
    named = [f"{key.split('.')[-1]}={value}" for key, value in overrides if key not in _UNNAMED]
    name = re.sub(r"[^\w.=,-]+", "_", ",".join(named))[:80].strip("_")
    return name or "base"
