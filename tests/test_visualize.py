"""Figures: colors of classes, and the layout of panels."""

import colorsys
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from PIL import Image

from hieraseg import IGNORE_INDEX, Hierarchy
from hieraseg.visualize import color_classes, draw, palette
from tests.support.trees import Tree, leaf_paths, nested_trees

HIERARCHY = Hierarchy.from_tree(
    {"background": None, "x": {"a": None, "b": ["c", "d"]}, "y": ["e"]}, background="background"
)
HEIGHT, WIDTH = 30, 50
SCALE, MARGIN, LINE = 4, 8, 18  # panels are 200 pixels wide


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


def test_background_and_ignored_pixels_have_their_own_colors() -> None:
    colors = palette(HIERARCHY)
    for level, names in enumerate(HIERARCHY.level_names):
        assert colors[level][names.index("background")] == (64, 64, 64)
        assert len(set(colors[level])) == len(names)
    classes = np.array([[0, 1, IGNORE_INDEX]])
    expected = [[colors[0][0], colors[0][1], (255, 255, 255)]]
    np.testing.assert_array_equal(color_classes(classes, colors[0]), expected)


def panel(figure: Image.Image, column: int, row: int) -> np.ndarray:
    """The pixels of a panel at the size of the image."""
    left = MARGIN + column * (WIDTH * SCALE + MARGIN)
    top = MARGIN + row * (HEIGHT * SCALE + LINE + MARGIN) + LINE
    pixels = np.asarray(figure)[top : top + HEIGHT * SCALE, left : left + WIDTH * SCALE]
    return pixels[::SCALE, ::SCALE].astype(int)


def overlay(image: np.ndarray, colors: np.ndarray) -> np.ndarray:
    return np.round(0.35 * image + 0.65 * colors).astype(int)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def random_classes(seed: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    return HIERARCHY.encode(torch.randint(0, 5, (HEIGHT, WIDTH), generator=generator)).numpy()


def test_target_and_prediction_are_drawn_per_level(image: np.ndarray) -> None:
    predicted, target = random_classes(1), random_classes(2)
    target[:, :5] = IGNORE_INDEX
    figure = draw(image, predicted, HIERARCHY, target)
    np.testing.assert_array_equal(panel(figure, 0, 0), image)
    for level, colors in enumerate(palette(HIERARCHY)):
        for row, classes in enumerate((target, predicted)):
            expected = overlay(image, color_classes(classes[level], colors))
            found = panel(figure, level + 1, row)
            np.testing.assert_allclose(found, expected, atol=1)
    errors = np.where((predicted[-1] == target[-1])[..., None], (40, 160, 90), (230, 40, 40))
    errors = np.where((target[-1] == IGNORE_INDEX)[..., None], 255, errors)
    np.testing.assert_allclose(panel(figure, 0, 1), overlay(image, errors), atol=1)


def test_without_a_target_only_the_prediction_is_drawn(image: np.ndarray) -> None:
    predicted = random_classes(1)
    figure = draw(image, predicted, HIERARCHY)
    np.testing.assert_array_equal(panel(figure, 0, 0), image)
    for level, colors in enumerate(palette(HIERARCHY)):
        expected = overlay(image, color_classes(predicted[level], colors))
        np.testing.assert_allclose(panel(figure, level + 1, 0), expected, atol=1)
    rows = [draw(image, predicted, HIERARCHY, target).height for target in (None, predicted)]
    assert rows[1] - rows[0] == HEIGHT * SCALE + LINE + MARGIN


def test_the_legend_has_the_color_of_each_class(image: np.ndarray) -> None:
    figure = np.asarray(draw(image, random_classes(1), HIERARCHY))
    top = 2 * MARGIN + HEIGHT * SCALE + LINE
    for level, colors in enumerate(palette(HIERARCHY)):
        left = MARGIN + (level + 1) * (WIDTH * SCALE + MARGIN)
        for line, color in enumerate(colors):
            assert tuple(figure[top + line * LINE + 8, left + 6]) == color
