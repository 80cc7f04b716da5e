"""Which feature maps of a timm model make a pyramid, and which images it takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import timm
import torch
from torch import Tensor

from hieraseg.types import ArgumentError

# Options by which models take images of any size: transformers with windows, and with positions.
_ANY_SIZE: tuple[dict[str, Any], ...] = ({"strict_img_size": False}, {"dynamic_img_size": True}, {})
_FINEST = 4


@dataclass(frozen=True)
class Features:
    """The feature maps that are taken from a model.

    Attributes:
        options: arguments of `timm.create_model`.
        channels: channels of each feature map.
        strides: input pixels per pixel of each.
        multiple: both sides of an image have to be multiples of it.
        plain: whether the model is a plain vision transformer, or another one whose feature maps
            all have the same stride.
    """

    options: dict[str, Any]
    channels: list[int]
    strides: list[int]
    multiple: int
    plain: bool


@lru_cache(maxsize=16)  # takes a second
def choose_features(
    model: str, indices: tuple[int, ...] | None, drop_path: float | None = None
) -> Features:
    """Choose feature maps, and find out what the model needs for them.

    Args:
        model: its name.
        indices: those to take; None for the last of each stride from 4 on, or the last one of a
            plain vision transformer.
        drop_path: probability that a residual branch is dropped; None for the model's own.

    Raises:
        ArgumentError: the model has no such feature maps, or takes images of one size only.
    """
    options: dict[str, Any] = {} if drop_path is None else {"drop_path_rate": drop_path}
    network, options = _in_outline(model, options)
    maps = network.feature_info.info
    strides = [int(one["reduction"]) for one in maps]
    plain = len(strides) > 1 and len(set(strides)) == 1
    if indices is None:
        indices = _default(strides, plain)
    chosen = _checked(model, indices, strides, plain)
    network, options = _in_outline(model, {**options, "out_indices": chosen})
    found = [strides[index] for index in chosen]
    return Features(
        options=options,
        channels=[int(maps[index]["num_chs"]) for index in chosen],
        strides=found,
        multiple=_multiple(model, network, found),
        plain=plain,
    )


def _in_outline(model: str, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The feature extractor without memory for its weights, and the options that it takes."""
    for any_size in _ANY_SIZE:
        taken = {"features_only": True, **any_size, **options}
        try:
            with torch.device("meta"):
                return timm.create_model(model, **taken), taken
        except Exception as error:  # models without feature maps raise almost anything
            reason = str(error).partition("\n")[0] or type(error).__name__
            if "drop_path_rate" in reason:
                problem = f"must be null for {model}, which drops no paths"
                raise ArgumentError("drop_path", problem) from error
            if not any(option in reason for option in any_size):
                break
    problem = f"{model} gives no feature maps in timm ({reason}); name another one"
    raise ArgumentError("model", problem)


def _default(strides: list[int], plain: bool) -> tuple[int, ...]:
    if plain:
        return (len(strides) - 1,)
    last = {stride: index for index, stride in enumerate(strides)}
    finest = min(_FINEST, max(strides))
    return tuple(index for stride, index in sorted(last.items()) if stride >= finest)


def _checked(model: str, indices: tuple[int, ...], strides: list[int], plain: bool) -> list[int]:
    """The indices, counted from 0."""
    count = len(strides)
    if not indices or not all(-count <= index < count for index in indices):
        raise ArgumentError(
            "out_indices", f"must be among 0 to {count - 1} for {model}, got {list(indices)}"
        )
    chosen = [index % count for index in indices]
    if chosen != sorted(set(chosen)):
        raise ArgumentError("out_indices", f"must be ascending, got {list(indices)}")
    if plain and len(chosen) not in (1, 4):
        raise ArgumentError(
            "out_indices",
            f"must be one or four for {model}, whose feature maps all have stride {strides[0]}, "
            f"got {list(indices)}",
        )
    found = [strides[index] for index in chosen]
    if not plain and (found != sorted(set(found)) or found[0] < 2):
        raise ArgumentError(
            "out_indices",
            f"must be feature maps of {model} with ascending strides from 2 on, got strides "
            f"{found}; all of its strides are {strides}",
        )
    return chosen


def _multiple(model: str, network: Any, strides: list[int]) -> int:
    """The number whose multiples the model takes as sides, and divides by its strides."""
    coarsest, own = max(strides), int(network.pretrained_cfg["input_size"][-1])
    problem = ""
    for multiple in (1, coarsest, 2 * coarsest, own):
        # Odd where they can be, and never both of them the size that the model is made for.
        height = _rounded_up(2 * coarsest + 1, multiple)
        width = _rounded_up(max(3 * coarsest, height) + 1, multiple)
        try:
            with torch.no_grad():
                image = torch.empty(1, 3, height, width, device="meta")
                maps = in_nchw(network, network.eval()(image))
        except Exception as error:  # whatever a model does to an image of another size
            problem = str(error).partition("\n")[0] or type(error).__name__
            continue
        found = [tuple(one.shape[-2:]) for one in maps]
        if found == [(math.ceil(height / one), math.ceil(width / one)) for one in strides]:
            return multiple
        problem = f"one of {height}x{width} gives feature maps of {found} at strides {strides}"
    raise ArgumentError(
        "model", f"{model} does not take images of any size ({problem}); name another one"
    )


def in_nchw(network: Any, maps: Sequence[Tensor]) -> list[Tensor]:
    """The feature maps of a network with the channels before height and width."""
    if getattr(network, "output_fmt", "NCHW") != "NHWC":
        return list(maps)
    return [one.permute(0, 3, 1, 2) for one in maps]


def _rounded_up(number: int, multiple: int) -> int:
    return math.ceil(number / multiple) * multiple
