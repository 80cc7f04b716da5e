"""ClassMix, on images whose pixels say which image and place they come from."""

import math

import pytest
import torch
from torch import Tensor

from hieraseg import Draws, Hierarchy
from hieraseg.data.sampling import generator
from hieraseg_plugins.transforms.classmix import ClassMix

LABELS = {0: "sky", 3: "arm", 4: "leg", 9: "body", 200: "head"}
TREE = Hierarchy.from_tree(
    {"sky": None, "body": ["arm", "leg", "head"]}, labels=LABELS, void=[255, 7]
)
WIDE = Hierarchy.from_tree(
    {"sky": None, "body": ["arm", "leg"]}, labels={0: "sky", 300: "arm", 65_534: "leg"}, void=[500]
)
SIDE = 12


def batch(tree: Hierarchy, images: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images with their row in red, and masks with some of the labels and with void."""
    random = torch.Generator().manual_seed(seed)
    pixels = torch.rand(images, 3, SIDE, SIDE, generator=random)
    pixels[:, 0] = torch.arange(images)[:, None, None] / images
    values = torch.tensor([*tree.labels, *tree.void])
    masks = torch.empty(images, SIDE, SIDE, dtype=torch.int32)
    for row in range(images):
        some = values[torch.randperm(len(values), generator=random)[: 1 + row % len(values)]]
        masks[row] = some[torch.randint(len(some), (SIDE, SIDE), generator=random)]
    return pixels, masks if values.max() > 255 else masks.byte()


def mixed(
    transform: ClassMix, pixels: Tensor, masks: Tensor, seed: int
) -> list[tuple[int, set[int]]]:
    """By image, the row of the image that was pasted, and the pasted labels; checks pixels."""
    changed, labels = transform(pixels, masks, Draws(generator(2, seed), len(pixels)))
    source = (changed[:, 0] * len(pixels)).round().long()
    found = []
    for row in range(len(pixels)):
        others = set(source[row].unique().tolist()) - {row}
        assert len(others) <= 1
        other = others.pop() if others else row
        pasted = source[row] != row
        for after, before in ((changed[row].movedim(0, -1), pixels.movedim(1, -1)),
                              (labels[row], masks)):  # fmt: skip
            assert torch.equal(after[pasted], before[other][pasted])
            assert torch.equal(after[~pasted], before[row][~pasted])
        classes = set(masks[other][pasted].tolist())
        for value in classes:  # whole classes
            assert bool(pasted[masks[other] == value].all())
        found.append((other, classes))
    return found


@pytest.mark.parametrize("tree", [TREE, WIDE], ids=["uint8", "int32"])
def test_half_of_the_classes_of_another_image(tree: Hierarchy) -> None:
    partners, drawn = set(), set()
    for seed in range(30):
        pixels, masks = batch(tree, 6, seed)
        for row, (other, classes) in enumerate(mixed(ClassMix(tree, 1.0), pixels, masks, seed)):
            assert not classes & set(tree.void)
            if other == row:  # nothing to paste; the other image is all void
                continue
            known = set(masks[other].unique().tolist()) - set(tree.void)
            assert classes <= known
            assert len(classes) == math.ceil(len(known) / 2)
            partners.add((row, other))
            drawn |= classes
    assert len(partners) == 6 * 5
    assert drawn == set(tree.labels)


def test_two_images_get_each_other() -> None:
    pixels, _ = batch(TREE, 2, 0)
    masks = torch.full((2, SIDE, SIDE), 3).byte()
    assert mixed(ClassMix(TREE, 1.0), pixels, masks, 0) == [(1, {3}), (0, {3})]


def test_one_image_stays() -> None:
    pixels, masks = batch(TREE, 1, 0)
    changed, labels = ClassMix(TREE, 1.0)(pixels, masks, Draws(generator(0, 0), 1))
    assert torch.equal(changed, pixels)
    assert torch.equal(labels, masks)


def test_share_of_images() -> None:
    pixels, _ = batch(TREE, 8, 0)
    masks = torch.full((8, SIDE, SIDE), 3).byte()
    rows = [
        other != row
        for seed in range(50)
        for row, (other, _) in enumerate(mixed(ClassMix(TREE, 0.3), pixels, masks, seed))
    ]
    assert sum(rows) / len(rows) == pytest.approx(0.3, abs=0.07)
