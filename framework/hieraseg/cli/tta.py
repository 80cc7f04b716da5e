"""Options for windows and test-time augmentation, shared by `evaluate` and `predict`."""

from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction, Namespace
from typing import Any

from hieraseg.cli.options import positive_int


def add_tta(parser: ArgumentParser) -> None:
    """Add the options `--flip`, `--scales` and `--window`."""
    group = parser.add_argument_group(
        "windows and test-time augmentation",
        "overrides the `evaluation` section of the run's recipe",
    )
    group.add_argument(
        "--flip",
        action=BooleanOptionalAction,
        help="average predictions over the image and its mirror image",
    )
    group.add_argument(
        "--scales",
        metavar="FACTOR",
        type=_scale,
        nargs="+",
        help="average predictions over the image resized by each factor; 1 is the size that the "
        "run's recipe gives to images, or their own with a window. Above 1, `predict` enlarges "
        "the image itself, and `evaluate` the image at scale 1",
    )
    group.add_argument(
        "--window",
        metavar=("HEIGHT", "WIDTH"),
        type=positive_int,
        nargs=2,
        help="slide a window of this size in pixels over the image at its own resolution, and "
        "blend the predictions where windows overlap. Memory does not grow with the height of "
        "the image",
    )


def tta_settings(arguments: Namespace) -> dict[str, Any]:
    """The settings of `Evaluation` that the options override."""
    settings: dict[str, Any] = {}
    if arguments.flip is not None:
        settings["flip"] = arguments.flip
    for option in ("scales", "window"):
        if getattr(arguments, option) is not None:
            settings[option] = tuple(getattr(arguments, option))
    return settings


def _scale(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ArgumentTypeError(f"expected a number, got {value!r}") from None
