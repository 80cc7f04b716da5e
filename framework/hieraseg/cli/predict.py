"""`hieraseg predict`: segment images with the model of a run."""

from argparse import ArgumentParser, Namespace
from typing import Any

from hieraseg.cli.options import (
    add_checkpoint,
    add_command,
    add_device,
    add_json,
    add_no_plugins,
    add_out,
    add_run_folder,
)
from hieraseg.cli.report import print_result
from hieraseg.cli.tta import add_tta, tta_settings
from hieraseg.files.paths import expanded
from hieraseg.importing import importing


def add_parser(commands: Any) -> None:
    """Add the parser of `hieraseg predict`."""
    parser = add_command(
        commands,
        "predict",
        run,
        summary="segment images with the model of a run",
        description="""
            Segment images with the model of a run. For each image, write one class map per level
            as a PNG with a palette, and a picture of the classes of all levels with a legend.
            classes.json has the names, colors and parents of class indices, predictions.json the
            files of each image. Folders are searched with their sub-folders, which the output has,
            too. Images that cannot be predicted are named at the end (exit code 3).
        """,
        examples="""
            hieraseg predict runs/quickstart/base-seed0 photo.jpg --out predictions
            hieraseg predict runs/quickstart/base-seed0 photos --out predictions
            hieraseg predict RUN photo.jpg --out predictions --window 512 512
            hieraseg predict RUN photos --out predictions --overlays --scores --no-figures
        """,
    )
    add_run_folder(parser)
    parser.add_argument(
        "images",
        metavar="IMAGES",
        type=expanded,
        nargs="+",
        help="image files, or folders of images",
    )
    add_out(parser, "pictures and class maps")
    _add_outputs(parser)
    add_checkpoint(parser)
    add_tta(parser)
    add_device(parser)
    add_no_plugins(parser)
    add_json(parser)


def _add_outputs(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("outputs of each image, beside its class maps")
    group.add_argument(
        "--overlays",
        action="store_true",
        help="write <stem>_overlay<level>.png: the image under the colors of its classes, at its "
        "own size",
    )
    group.add_argument(
        "--scores",
        action="store_true",
        help="write <stem>_scores.npz: the scores of all classes, a float16 array (classes, "
        "height, width) per level, called level1 and so on",
    )
    group.add_argument(
        "--no-figures",
        dest="figures",
        action="store_false",
        help="do not write <stem>.png, the picture with a legend",
    )


def run(arguments: Namespace) -> int:
    """Segment the images, and print the path of the picture of each, or of its last class map."""
    with importing():
        from hieraseg.predict import predict
        from hieraseg.runs.outputs import ImageOutputs, Outputs

    written: list[ImageOutputs] = []
    try:
        predict(
            arguments.run_folder,
            arguments.images,
            arguments.out,
            checkpoint=arguments.checkpoint,
            device=arguments.device,
            tta=tta_settings(arguments),
            run_plugins=arguments.run_plugins,
            outputs=Outputs(arguments.figures, arguments.overlays, arguments.scores),
            on_written=written.append,
        )
    finally:  # what is written is listed even if others fail
        if written:
            found = [one.to_json() for one in written]
            lines = [str(one.figure or one.classes[-1]) for one in written]
            print_result(arguments.json, found, "\n".join(lines))
    return 0
