"""Options for test-time augmentation, shared by `evaluate` and `predict`."""

from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction, Namespace
from typing import Any


def add_tta(parser: ArgumentParser) -> None:
    """Add the options `--flip`, `--scales` and `--window`."""
    group = parser.add_argument_group(
        "test-time augmentation", "overrides the `evaluation` section of the run's recipe"
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
        help="average predictions over the image resized by each factor; 1 is the run's input "
        "size. Above 1, `predict` enlarges the image itself, `evaluate` its stored copy of the "
        "input size",
    )
    group.add_argument(
        "--window",
        metavar=("HEIGHT", "WIDTH"),
        type=_pixels,
        nargs=2,
        help="slide a window of this size in pixels over the resized image. It has an effect if "
        "the run's input size times a scale is larger",
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


def _pixels(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ArgumentTypeError(f"expected an integer, got {value!r}") from None
