"""`hieraseg predict`: segment images with the model of a run."""

from argparse import Namespace
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
            Segment images with the model of a run. For each image, write a picture of the
            predicted classes with a legend, and one class map per level as PNG. classes.json maps
            class indices to names. Folders are searched with their sub-folders, which the output
            has, too. Images that cannot be predicted are named at the end (exit code 3).
        """,
        examples="""
            hieraseg predict runs/quickstart/base-seed0 photo.jpg --out predictions
            hieraseg predict runs/quickstart/base-seed0 photos --out predictions
            hieraseg predict RUN photo.jpg --out predictions --window 512 512
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
    add_checkpoint(parser)
    add_tta(parser)
    add_device(parser)
    add_no_plugins(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Segment the images, and print the paths of the pictures."""
    with importing():
        from hieraseg.predict import predict

    written: list[str] = []
    try:
        predict(
            arguments.run_folder,
            arguments.images,
            arguments.out,
            checkpoint=arguments.checkpoint,
            device=arguments.device,
            tta=tta_settings(arguments),
            run_plugins=arguments.run_plugins,
            on_written=lambda figure: written.append(str(figure)),
        )
    finally:  # what is written is listed even if others fail
        if written:
            print_result(arguments.json, written, "\n".join(written))
    return 0
