"""Batches to augment, and augmentations with single transforms."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hieraseg import Hierarchy
from hieraseg.data.augmentation import Augmentation
from hieraseg.data.sampling import generator

OFF: dict[str, Any] = {"crop": 0, "flip": 0, "affine": 0, "photometric": 0, "blur": 0}
CODES = 7
"""Number of labels in `random_batch`."""


def only(**changes: Any) -> Augmentation:
    """An augmentation with these transforms only."""
    return Augmentation(**{**OFF, **changes})


def random_batch(images: int = 6, height: int = 24, width: int = 32) -> tuple[Tensor, Tensor]:
    """Smooth images and masks of blobs, channels last as in a store."""
    draw = generator(11, 0)
    pixels = torch.rand(images, 3, height // 4, width // 4, generator=draw)
    pixels = torch.nn.functional.interpolate(pixels, (height, width), mode="bilinear")
    masks = torch.randint(0, CODES, (images, height // 4, width // 4), generator=draw)
    masks = masks.repeat_interleave(4, 1).repeat_interleave(4, 2)
    pixels = (pixels * 255).byte().contiguous(memory_format=torch.channels_last)
    return pixels, masks.byte()


def fix_random_numbers(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """Make every random number this fraction of its range."""

    def rand(*size: int, generator: torch.Generator) -> Tensor:
        return torch.full(size, share)

    monkeypatch.setattr(torch, "rand", rand)


LEFT_RIGHT = Hierarchy.from_tree(
    {"0": None, "body": {"left": ["1", "2"], "right": ["3", "4"], "5": None}},
    labels={int(leaf): leaf for leaf in "012345"},
    pairs=[("left", "right"), ("1", "4"), ("2", "3")],
)
