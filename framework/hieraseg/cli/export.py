"""`hieraseg export`: write the model of a run to a file that needs no hieraseg."""

from argparse import Namespace
from typing import Any

from hieraseg.cli.options import (
    add_checkpoint,
    add_command,
    add_json,
    add_no_plugins,
    add_run_folder,
    positive_int,
)
from hieraseg.cli.report import print_result
from hieraseg.errors import RecipeError
from hieraseg.files.paths import expanded
from hieraseg.importing import importing


def add_parser(commands: Any) -> None:
    """Add the parser of `hieraseg export`."""
    parser = add_command(
        commands,
        "export",
        run,
        summary="write the model of a run to a file that needs no hieraseg",
        description="""
            Write the model of a run as ONNX, or as a file of torch.export, with normalization,
            activation and inference rule inside. Its outputs are logits, scores and classes per
            level. It takes images of any size if the model allows it. FILE.json beside it has the
            classes, their colors and how to resize images. The file is compared with the model
            before it is written. See docs/export.md.
        """,
        examples="""
            hieraseg export runs/quickstart/base-seed0 --format onnx
            hieraseg export runs/quickstart/base-seed0 --format torch --out model.pt2
            hieraseg export RUN --format onnx --checkpoint last --height 512 --width 512
            hieraseg export RUN --format onnx --images photos
        """,
    )
    add_run_folder(parser)
    parser.add_argument(
        "--format",
        choices=("onnx", "torch"),
        required=True,
        help="onnx: ONNX, which needs the extra `export`; torch: torch.export, read by "
        "torch.export.load",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=expanded,
        help="file to write (default: export/CHECKPOINT.onnx or .pt2 in the run folder)",
    )
    add_checkpoint(parser)
    for side in ("height", "width"):
        parser.add_argument(
            f"--{side}",
            type=positive_int,
            metavar="PIXELS",
            help=f"{side} of the images, if the file shall take those of one size only",
        )
    parser.add_argument(
        "--images",
        metavar="IMAGE",
        type=expanded,
        nargs="+",
        default=(),
        help="images to compare the file with the model on, or folders of them (default: some of "
        "the run's validation split)",
    )
    add_no_plugins(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Export the model, and print the path of the file."""
    if (arguments.height is None) != (arguments.width is None):
        raise RecipeError("command line: --height and --width: give both of them, or none")
    with importing():
        from hieraseg.export import export

    size = None if arguments.height is None else (arguments.height, arguments.width)
    content = export(
        arguments.run_folder,
        arguments.format,
        arguments.out,
        checkpoint=arguments.checkpoint,
        size=size,
        images=arguments.images,
        run_plugins=arguments.run_plugins,
    )
    print_result(arguments.json, content, content["path"])
    return 0
