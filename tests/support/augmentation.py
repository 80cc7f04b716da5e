"""Batches to augment, and single changes of them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hieraseg import Hierarchy
from hieraseg.contracts import Transform
from hieraseg.data.batches.stretching import Stretching
from hieraseg.data.sampling import generator
from hieraseg.draws import Draws
from hieraseg.settings import Augmentation

OFF: dict[str, Any] = {"crop": 0, "flip": 0, "affine": 0}
CODES = 7
"""Number of labels in `random_batch`."""
PLAIN = Hierarchy.from_tree(
    {"0": None, "body": list("123456")}, labels={int(leaf): leaf for leaf in "0123456"}
)
LEFT_RIGHT = Hierarchy.from_tree(
    {"0": None, "body": {"left": ["1", "2"], "right": ["3", "4"], "5": None}},
    labels={int(leaf): leaf for leaf in "012345"},
    pairs=[("left", "right"), ("1", "4"), ("2", "3")],
)


def stretched(
    images: Tensor,
    masks: Tensor,
    random: torch.Generator,
    hierarchy: Hierarchy = PLAIN,
    **changes: Any,
) -> tuple[Tensor, Tensor]:
    """Images and masks after these geometric changes only."""
    geometry = Stretching(Augmentation(**{**OFF, **changes}), hierarchy)
    return geometry(images, masks, Draws(random, len(images)))


def changed_by(transform: Transform, images: Tensor, random: torch.Generator) -> Tensor:
    """Images of uint8 after a transform that leaves masks as they are."""
    masks = torch.zeros(len(images), *images.shape[2:]).byte()
    changed, labels = transform(images / 255, masks, Draws(random, len(images)))
    assert torch.equal(labels, masks)
    return changed


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
