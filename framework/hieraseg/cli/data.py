"""`hieraseg data`: read the data of a recipe, and report what is in it and what is wrong."""

from argparse import Namespace
from typing import Any

from hieraseg.cli.options import (
    RECIPE_HELP,
    add_command,
    add_json,
    add_plugins,
    non_negative_int,
    positive_int,
)
from hieraseg.cli.removing import add_dry_run, remove_and_print
from hieraseg.cli.report import print_result
from hieraseg.errors import DataError, RecipeError
from hieraseg.files.paths import expanded


def add_parser(commands: Any) -> None:
    """Add the parser of `hieraseg data`."""
    parser = add_command(
        commands,
        "data",
        run,
        summary="check the images and masks of a recipe",
        description="""
            Read all images and masks of a recipe's data set. Print images, sizes and void pixels
            per split, pixels and images of each class, all files that cannot be used, labels that
            the hierarchy does not have, and images that are in two splits: the same pixels, or
            images that look alike, such as copies and neighboring frames of a video.

            With --sheet, also draw training images as the model sees them in the first step,
            resized and augmented, beside their masks on each level.

            With --clean instead of a recipe, remove decoded images from the cache that were not
            used for 30 (or DAYS) days or belong to other versions of hieraseg, and what killed
            processes left there. They are decoded again when a run needs them.

            Exit code 0 if the data can be used, even with warnings, 2 if the recipe has a problem,
            3 if training or evaluation would fail.
        """,
        examples="""
            hieraseg data quickstart
            hieraseg data quickstart --split val --json
            hieraseg data quickstart --sheet training_images.png --images 16
            hieraseg data --clean --dry-run
            hieraseg data --clean 7
        """,
        takes_overrides=True,
    )
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", help=RECIPE_HELP)
    parser.add_argument("--split", help="read this split only (default: all)")
    parser.add_argument(
        "--sheet", metavar="FILE", type=expanded, help="picture to draw training images to"
    )
    parser.add_argument(
        "--images",
        metavar="N",
        type=positive_int,
        default=8,
        help="number of images to draw (default: 8)",
    )
    parser.add_argument(
        "--clean",
        metavar="DAYS",
        nargs="?",
        type=non_negative_int,
        const=30,
        help="remove decoded images that were not used for this number of days (default: 30)",
    )
    add_dry_run(parser)
    add_plugins(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print the report of a recipe's data, or clean the cache."""
    if arguments.clean is not None:
        return _clean(arguments)
    if arguments.recipe is None:
        raise RecipeError("hieraseg data: name a RECIPE, or use --clean to remove old stores")
    if arguments.dry_run:
        raise RecipeError("--dry-run: belongs to --clean; remove it")
    if arguments.sheet is not None and arguments.sheet.suffix.lower() != ".png":
        raise RecipeError(f"--sheet {arguments.sheet}: must end with .png; rename it")
    from hieraseg.cli.data_report import as_json, as_text
    from hieraseg.inspect_data import inspect_data
    from hieraseg.recipe import load

    recipe = load(arguments.recipe, arguments.overrides, arguments.plugins)
    report = inspect_data(recipe, arguments.split)
    result = {"recipe": arguments.recipe, **as_json(report)}
    print_result(arguments.json, result, as_text(report))
    if arguments.sheet is not None:
        _draw(recipe, arguments)
    return DataError.exit_code if report.problems else 0


def _draw(recipe: Any, arguments: Namespace) -> None:
    """Draw training images."""
    from hieraseg.console import log
    from hieraseg.preview import preview
    from hieraseg.runs.figures import save_png

    save_png(arguments.sheet, preview(recipe, arguments.images))
    log(f"training images are in {arguments.sheet}")


def _clean(arguments: Namespace) -> int:
    """Remove stores and leftovers from the cache."""
    from hieraseg.data.stores.cache import find_removable

    if arguments.recipe is not None:
        raise RecipeError(f"--clean: concerns all recipes; remove {arguments.recipe}")
    remove_and_print(find_removable(arguments.clean), arguments)
    return 0
