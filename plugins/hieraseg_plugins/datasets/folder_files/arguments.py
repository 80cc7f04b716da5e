"""Checks that the arguments of a recipe go together."""

import math
import re
from collections.abc import Mapping

from hieraseg.types import ArgumentError
from hieraseg_plugins.datasets.folder_files.lists import SUFFIXES
from hieraseg_plugins.datasets.folder_files.templates import Template

Splits = Mapping[str, float | str]
"""Share, name or list of each split."""

_DIGITS = " (a name of digits needs quotes)"
_TEMPLATES = "write where the images are, as in images/{id}.jpg, or splits that are lists of pairs"
_SPLITS = (
    "say how images are divided, as in {train: 0.8, val: 0.2} or {train: train.txt, val: val.txt}, "
    "or put {split} into images"
)


def is_list(value: float | str) -> bool:
    """Whether the value of a split is the name of a list."""
    return isinstance(value, str) and value.lower().endswith(SUFFIXES)


def check_arguments_together(
    splits: Splits | None, images: Template | None, masks: Template | None, group: str | None
) -> None:
    """Check templates, splits and the expression of groups.

    Raises:
        ArgumentError: they do not go together.
    """
    _check_templates(splits, images, masks)
    has_split = images is not None and "split" in images.names
    if splits is not None:
        problem = _problem(splits, has_split)
        if problem:
            raise ArgumentError("splits", problem)
    elif not has_split:
        raise ArgumentError("splits", f"is missing; {_SPLITS}")
    if group is None:
        return
    if splits is None or any(isinstance(one, str) for one in splits.values()):
        raise ArgumentError("group", "is only for splits that are shares; remove it")
    try:
        re.compile(group)
    except re.error as error:
        raise ArgumentError("group", f"must be a regular expression: {error}") from error


def _check_templates(
    splits: Splits | None, images: Template | None, masks: Template | None
) -> None:
    if images is None and masks is None:
        if splits is None or not all(map(is_list, splits.values())):
            raise ArgumentError("images", f"is missing; {_TEMPLATES}")
    elif images is None or masks is None:
        missing = "images" if images is None else "masks"
        raise ArgumentError(missing, "is missing; set both templates, or none for pair lists")
    elif set(masks.names) - set(images.names):
        raise ArgumentError("masks", f"has parts that images has not, got {masks.text!r}")
    elif masks.text == images.text:
        raise ArgumentError("masks", f"must differ from images, got {masks.text!r}")


def _problem(splits: Splits, has_split: bool) -> str:
    """Why splits cannot be used; empty if they can."""
    bad = [name for name in splits if not name or "/" in name or name.startswith(".")]
    if not splits or bad:
        return f"must have names of splits, got {bad[0] if bad else dict(splits)!r}"
    numbers = [one for one in splits.values() if not isinstance(one, str)]
    if numbers and len(numbers) < len(splits):
        return f"must be all shares or none, got {dict(splits)}{_DIGITS}"
    if numbers and has_split:
        return "must not be shares, since images has {split}; write ** for these folders"
    is_whole = all(one > 0 for one in numbers) and math.isclose(math.fsum(numbers), 1, abs_tol=1e-6)
    if numbers and not is_whole:
        return f"must be positive shares that sum to 1, got {dict(splits)}{_DIGITS}"
    names = [one for one in splits.values() if isinstance(one, str) and not is_list(one)]
    if names and not has_split:
        return (
            f"has {names[0]!r}, which is no list ({', '.join(SUFFIXES)}), and images has no "
            "{split} that it could stand for; add {split}, or name a list"
        )
    return ""
