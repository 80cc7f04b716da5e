"""Colors of classes: distinct, deterministic, and ordered as the tree."""

import colorsys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from sklearn.metrics import pairwise_distances

from hieraseg import IGNORE_INDEX, Hierarchy
from hieraseg.visualize import color_classes, palette
from hieraseg.visualize.colors import cielab, tree_order
from tests.support.trees import Tree, leaf_paths, nested_trees

BACKGROUND, VOID = (64, 64, 64), (255, 255, 255)
GROUPED = {f"group {i}": [f"class {i}.{j}" for j in range(10)] for i in range(6)}
UNEVEN = {
    "large": [f"class {i}" for i in range(55)],
    "small": [f"class {i}" for i in range(55, 60)],
}


def smallest_distance(colors: list[tuple[int, int, int]]) -> float:
    """The distance in CIELAB of the two colors that are most alike."""
    distances = pairwise_distances(cielab(np.array(colors)))
    return float(distances[~np.eye(len(colors), dtype=bool)].min())


@pytest.mark.parametrize("tree", [[f"class {i}" for i in range(60)], GROUPED, UNEVEN])
def test_sixty_classes_can_be_told_apart(tree: Tree) -> None:
    leaves = palette(Hierarchy.from_tree(tree))[-1]
    assert len(leaves) == 60
    assert smallest_distance([*leaves, BACKGROUND, VOID]) > 19
    assert palette(Hierarchy.from_tree(tree))[-1] == leaves


@given(nested_trees())
def test_children_divide_the_hues_of_their_parent(tree: Tree) -> None:
    hierarchy = Hierarchy.from_tree(tree)
    colors = palette(hierarchy)
    assert [len(level) for level in colors] == hierarchy.num_classes
    hues = [
        [colorsys.rgb_to_hsv(*(part / 255 for part in color))[0] for color in level]
        for level in colors
    ]
    # In the order of the tree, the hues of a level never decrease.
    for level, names in enumerate(hierarchy.level_names):
        order = dict.fromkeys(path[level] for path in leaf_paths(tree))
        ascending = [hues[level][names.index(name)] for name in order]
        assert all(low < high + 0.01 for low, high in pairwise(ascending))
        assert [names[index] for index in tree_order(hierarchy)[level]] == list(order)


def test_background_and_ignored_pixels_have_their_own_colors() -> None:
    tree = {"background": None, "x": {"a": None, "b": ["c", "d"]}, "y": ["e"]}
    hierarchy = Hierarchy.from_tree(tree, background="background")
    colors = palette(hierarchy)
    for level, names in enumerate(hierarchy.level_names):
        assert colors[level][names.index("background")] == BACKGROUND
        assert len({*colors[level], VOID}) == len(names) + 1
    classes = np.array([[0, 1, IGNORE_INDEX]])
    expected = [[colors[0][0], colors[0][1], VOID]]
    np.testing.assert_array_equal(color_classes(classes, colors[0]), expected)


def test_a_tree_of_background_alone_has_colors() -> None:
    assert palette(Hierarchy.from_tree(["only"], background="only")) == [[BACKGROUND]]


def test_cielab_of_known_colors() -> None:
    """Values of Bruce Lindbloom's calculator, http://www.brucelindbloom.com (sRGB, D65)."""
    colors = np.array([(255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)])
    expected = [
        (100, 0, 0),
        (0, 0, 0),
        (53.24, 80.09, 67.20),
        (87.73, -86.18, 83.18),
        (32.30, 79.19, -107.86),
    ]
    np.testing.assert_allclose(cielab(colors), expected, atol=0.1)
