"""`hieraseg evaluate`: score the model of a run on a split."""

from argparse import Namespace
from typing import Any

from hieraseg.cli.options import (
    add_checkpoint,
    add_command,
    add_device,
    add_json,
    add_no_plugins,
    add_run_folder,
    add_split,
    non_negative_int,
)
from hieraseg.cli.report import format_scores, print_result
from hieraseg.cli.tta import add_tta, tta_settings
from hieraseg.errors import UnwrittenScoresError
from hieraseg.files.paths import expanded
from hieraseg.importing import importing


def add_parser(commands: Any) -> None:
    """Add the parser of `hieraseg evaluate`."""
    parser = add_command(
        commands,
        "evaluate",
        run,
        summary="score the model of a run on a split",
        description="""
            Score the model of a run on a split of its data set, per level and class. The scores
            are added to result.json in the run folder. Those of another protocol than the
            recipe's stand beside the run's own, as in val@flip or val@last.
        """,
        examples="""
            hieraseg evaluate runs/quickstart/base-seed0
            hieraseg evaluate runs/quickstart/base-seed0 --split holdout --checkpoint last
            hieraseg evaluate runs/quickstart/base-seed0 --visualize --num_viz 8 --viz_dir figures
            hieraseg evaluate runs/quickstart/base-seed0 --flip --scales 0.75 1 1.25
            hieraseg evaluate runs/quickstart/base-seed0 --window 512 512
            hieraseg evaluate runs/tree_min/base-seed0 --data.root /data/pascal_part
        """,
    )
    add_run_folder(parser)
    add_split(parser, "to score")
    add_checkpoint(parser)
    parser.add_argument(
        "--data.root",
        metavar="DIR",
        dest="data_root",
        type=expanded,
        help="where the data set is now (default: where it was when the run was trained)",
    )
    parser.add_argument(
        "--visualize", action="store_true", help="draw predictions beside the ground truth"
    )
    parser.add_argument(
        "--num_viz",
        metavar="N",
        type=non_negative_int,
        default=10,
        help="number of images to draw (default: 10)",
    )
    parser.add_argument(
        "--viz_dir",
        metavar="DIR",
        type=expanded,
        help="output folder for drawn images (default: figures/SPLIT in the run folder, "
        "or figures/SPLIT@PROTOCOL for another protocol than the run's own)",
    )
    add_tta(parser)
    add_device(parser)
    add_no_plugins(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Score a split, print the scores, and draw images if requested."""
    with importing():
        from hieraseg.evaluate import evaluate

    figures = (arguments.viz_dir, arguments.num_viz) if arguments.visualize else None
    title = f"{arguments.run_folder}, {arguments.split}"
    try:
        scores = evaluate(
            arguments.run_folder,
            arguments.split,
            checkpoint=arguments.checkpoint,
            device=arguments.device,
            figures=figures,
            tta=tta_settings(arguments),
            run_plugins=arguments.run_plugins,
            data_root=arguments.data_root,
        )
    except UnwrittenScoresError as error:
        print_result(arguments.json, error.scores, format_scores(error.scores, title))
        raise
    print_result(arguments.json, scores, format_scores(scores, title))
    return 0
