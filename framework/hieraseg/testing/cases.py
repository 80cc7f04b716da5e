"""Class trees, and random logits and targets, to check components with."""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from hieraseg.hierarchy import IGNORE_INDEX, Hierarchy

Size = tuple[int, int, int]
"""Batch size, height and width."""

MAIN_TREE = Hierarchy.from_tree(
    {"background": None, "x": {"a": None, "b": None}, "y": {"c": {"d": None, "e": None}}}
)
"""Three levels of 3, 4 and 5 classes: several roots, uneven depth, an only child."""


def _deep(levels: int) -> Hierarchy:
    """A tree whose level l has l + 1 classes."""
    tree: dict[str, object] = {f"end{levels}": None, f"branch{levels}": None}
    for level in range(levels - 1, 0, -1):
        tree = {f"end{level}": None, f"branch{level}": tree}
    return Hierarchy.from_tree(tree)


TREES: Mapping[str, Hierarchy] = MappingProxyType(
    {
        "one class": Hierarchy.from_tree(["a"]),
        "one level": Hierarchy.from_tree(["a", "b"]),
        "an only child": Hierarchy.from_tree({"r": ["a"]}),
        "one root": Hierarchy.from_tree({"r": {"s": ["a", "b"]}}),
        "void and background": Hierarchy.from_tree(
            {"nothing": None, "body": ["arm", "leg"]},
            labels={1: "arm", 2: "leg", 5: "body", 9: "nothing"},
            void=[255],
            background="nothing",
        ),
        "six levels": _deep(6),
        "forty leaves": Hierarchy.from_tree(
            {"rest": None, "many": [f"leaf{index}" for index in range(39)]}
        ),
    }
)
"""Trees of other shapes than the main tree."""


def random_logits(
    hierarchy: Hierarchy, size: Size, generator: torch.Generator, spread: float = 3.0
) -> list[Tensor]:
    """Logits `[B, C_l, H, W]` per level that require gradients.

    Args:
        hierarchy: the class tree.
        size: batch size, height and width.
        generator: source of randomness.
        spread: standard deviation.
    """
    batch, height, width = size
    return [
        (spread * torch.randn(batch, classes, height, width, generator=generator)).requires_grad_()
        for classes in hierarchy.num_classes
    ]


def random_targets(hierarchy: Hierarchy, size: Size, generator: torch.Generator) -> Tensor:
    """Targets `[B, L, H, W]` of random leaves, known on all levels."""
    leaves = torch.randint(len(hierarchy.paths), size, generator=generator)
    return hierarchy.paths[leaves].movedim(-1, 1)


def forget_anywhere(targets: Tensor, generator: torch.Generator, share: float = 0.3) -> Tensor:
    """Ignore a share of the targets on each level independently, even above known levels."""
    gone = torch.rand(targets.shape, generator=generator) < share
    return targets.masked_fill(gone, IGNORE_INDEX)


def forget_below(targets: Tensor, generator: torch.Generator) -> Tensor:
    """Ignore targets below a random level of each pixel, as labels of inner classes do, or all."""
    levels = targets.shape[1]
    known = torch.randint(levels + 1, targets[:, :1].shape, generator=generator)
    return targets.masked_fill(torch.arange(levels)[:, None, None] >= known, IGNORE_INDEX)


def reordered(hierarchy: Hierarchy, order: Tensor) -> Hierarchy:
    """The same tree with its leaves in another order: leaf `order[i]` becomes leaf `i`."""
    leaves = hierarchy.level_names[-1]
    return Hierarchy.from_tree(
        hierarchy.tree,
        labels=[leaves[index] for index in order.tolist()],
        background=hierarchy.background,
    )
