"""`hieraseg evaluate`: score the model of a run."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from hieraseg.cli.parsing import add_checkpoint, add_command, add_device, add_json, count
from hieraseg.cli.report import print_scores
from hieraseg.cli.views import add_views, given_views


def add_parser(commands: Any) -> None:
    """Add the command to the parser of `hieraseg`."""
    parser = add_command(
        commands,
        "evaluate",
        run,
        summary="score the model of a run on a split",
        description="""
            Score the model of a run on a split of its data set, level by level. The scores are
            added to the run folder.
        """,
        examples="""
            hieraseg evaluate runs/quickstart/base-seed0
            hieraseg evaluate runs/quickstart/base-seed0 --split holdout --checkpoint last
            hieraseg evaluate runs/quickstart/base-seed0 --visualize --num_viz 8 --viz_dir figures
            hieraseg evaluate runs/quickstart/base-seed0 --flip --scales 0.75 1 1.25
        """,
    )
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="a run folder")
    parser.add_argument("--split", default="val", help="a split of the data set (default: val)")
    add_checkpoint(parser)
    parser.add_argument("--visualize", action="store_true", help="draw predictions beside truth")
    parser.add_argument(
        "--num_viz", metavar="N", type=count, default=10, help="how many images (default: 10)"
    )
    parser.add_argument(
        "--viz_dir",
        metavar="DIR",
        type=Path,
        help="folder of the drawings (default: figures/SPLIT in the run folder)",
    )
    add_views(parser)
    add_device(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Score a split, and draw some of its images."""
    from hieraseg.evaluate import evaluate
    from hieraseg.runs.folder import RunFolder

    figures = arguments.viz_dir or RunFolder(arguments.run_folder).figures / arguments.split
    scores = evaluate(
        arguments.run_folder,
        arguments.split,
        arguments.checkpoint,
        arguments.device,
        (figures, arguments.num_viz) if arguments.visualize else None,
        given_views(arguments),
    )
    if arguments.json:
        print(json.dumps(scores, indent=2))
    else:
        print_scores(scores, f"{arguments.run_folder}, {arguments.split}")
        if arguments.visualize:
            print(f"pictures in {figures}")
    return 0
