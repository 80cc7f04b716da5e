"""`hieraseg run`: train by a recipe."""

import json
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

from hieraseg.cli.overrides import Overrides
from hieraseg.cli.parsing import add_command, add_json, add_plugins
from hieraseg.cli.report import print_scores


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `hieraseg`."""
    parser = add_command(
        commands,
        "run",
        run,
        summary="train by a recipe, once per seed",
        description="""
            Train and score what a recipe describes, once per seed. Each run leaves a folder with
            its resolved recipe, provenance, scores per level, checkpoints and TensorBoard curves.
        """,
        examples="""
            hieraseg run recipes/quickstart.yaml
            hieraseg run recipes/quickstart.yaml --seeds 0 1 2
            hieraseg run recipes/quickstart.yaml --training.epochs 3 --optimizer.lr 1e-3
            hieraseg run quickstart --plugin my_loss.py --loss my_loss
        """,
        takes_overrides=True,
    )
    parser.add_argument(
        "recipe", metavar="RECIPE", type=Path, help="a recipe file, or the name of a shipped one"
    )
    parser.add_argument(
        "--seeds",
        metavar="SEED",
        type=int,
        nargs="+",
        help="run once for each seed (default: the recipe's training.seed)",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("runs"),
        help="folder of the run folders (default: runs)",
    )
    add_plugins(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Train once per seed; print each run's scores and folder."""
    from hieraseg.recipe import load

    recipe = load(arguments.recipe, arguments.overrides, arguments.plugins, require_paths=True)
    seeds = arguments.seeds or [recipe.training.seed]
    recipes = [recipe.with_seed(seed) for seed in seeds]
    from hieraseg.train import train

    finished = []
    for recipe in recipes:
        folder = train(recipe, arguments.out, run_name(arguments.overrides))
        if folder is None:  # another process of the same run answers
            continue
        result = folder.read_result()
        finished.append({"run": str(folder.path), **result})
        if not arguments.json:
            print_scores(result["splits"]["val"], f"{folder.path}, val")
    if not finished:
        return 0
    if arguments.json:
        print(json.dumps(finished, indent=2))
    else:
        print(*(run["run"] for run in finished), sep="\n")
    return 0


def run_name(overrides: Overrides) -> str:
    """A run's name: what the command line changed, or `base`."""
    changes = [f"{key.split('.')[-1]}={text}" for key, text in overrides if key not in _SAY_NOTHING]
    name = re.sub(r"[^\w.=,-]+", "_", ",".join(changes))[:80].strip("_")
    return name or "base"


# Where and what a run reads and writes does not tell it from another.
_SAY_NOTHING = ("data.root", "training.seed", "training.device")
