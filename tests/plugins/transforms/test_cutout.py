"""Cutout of rectangles, whose pixels are found in the results."""

import pytest
import torch
from torch import Tensor

from hieraseg import Draws, Hierarchy
from hieraseg.data.sampling import generator
from hieraseg_plugins.transforms.cutout import Cutout

TREE = Hierarchy.from_tree(["a", "b"], labels={0: "a", 7: "b"}, void=[9])
FILL = (0.25, 0.5, 0.75)


def cut(transform: Cutout, step: int = 0, images: int = 8) -> Tensor:
    """The filled pixels, in which nothing else has changed."""
    random = torch.Generator().manual_seed(step)
    pixels = torch.rand(images, 3, 37, 53, generator=random) * 0.2
    masks = torch.randint(0, 2, (images, 37, 53), generator=random).mul(7).byte()
    changed, labels = transform(pixels, masks, Draws(generator(1, step), images))
    inside = labels == 9
    assert torch.equal(labels[~inside], masks[~inside])
    fill = torch.tensor(transform.fill)[None, :, None, None].expand_as(pixels)
    assert torch.equal(changed, torch.where(inside[:, None], fill, pixels))
    return inside


def box(inside: Tensor) -> tuple[int, int]:
    """Height and width of the filled pixels, which are one rectangle."""
    rows, columns = inside.any(1), inside.any(0)
    assert torch.equal(inside, rows[:, None] & columns)
    assert (rows.int().diff() == 1).sum() <= 1
    return int(rows.sum()), int(columns.sum())


def test_one_rectangle() -> None:
    sizes = []
    for step in range(20):
        for inside in cut(Cutout(TREE, 1.0, (1, 1), (0.2, 0.5), FILL), step):
            height, width = box(inside)
            assert 0.2 * 37 - 1 <= height <= 0.5 * 37 + 1
            assert 0.2 * 53 - 1 <= width <= 0.5 * 53 + 1
            sizes.append((height / 37, width / 53))
    spread = torch.tensor(sizes).double()
    assert spread.mean(0).tolist() == pytest.approx([0.35, 0.35], abs=0.04)
    assert torch.corrcoef(spread.T)[0, 1].abs() < 0.25


def test_rectangles_reach_every_row_and_column() -> None:
    inside = torch.cat([cut(Cutout(TREE, 1.0, (1, 1), (0.5, 0.5)), step) for step in range(40)])
    assert bool(inside.any(0).any(0).all())
    assert bool(inside.any(0).any(1).all())
    assert bool(cut(Cutout(TREE, 1.0, (1, 1), (1.0, 1.0))).all())


def test_number_of_rectangles() -> None:
    """Of 1 to 4 small ones, all numbers are as frequent, but for those that overlap."""
    small = Cutout(TREE, 1.0, (1, 4), (0.05, 0.05), FILL)
    areas = torch.cat([cut(small, step).sum((1, 2)) for step in range(60)]) / (37 * 53 * 0.05**2)
    numbers = areas.round().clamp(1, 4)
    shares = [(numbers == number).double().mean().item() for number in range(1, 5)]
    assert shares == pytest.approx([0.25] * 4, abs=0.1)


def test_share_of_images() -> None:
    cuts = torch.cat([cut(Cutout(TREE, 0.3), step).flatten(1).any(1) for step in range(50)])
    assert cuts.double().mean().item() == pytest.approx(0.3, abs=0.06)


def test_a_tree_without_void() -> None:
    """A value that is no label, which is ignored in targets."""
    tree = Hierarchy.from_tree(["a", "b"])
    masks = torch.zeros(1, 8, 8).byte()
    images = torch.zeros(1, 3, 8, 8)
    transform = Cutout(tree, 1.0, (1, 1), (0.5, 0.5))
    _, labels = transform(images, masks, Draws(generator(1, 1), 1))
    assert set(labels.unique().tolist()) == {0, tree.void_value}
    targets = tree.encode(labels, check=False)
    assert torch.equal(targets[:, 0] == -100, labels == tree.void_value)
