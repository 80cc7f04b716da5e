"""Figures: the layout of panels, legends, and their size."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hieraseg import IGNORE_INDEX, Hierarchy
from hieraseg.visualize import color_classes, draw, draw_samples, palette, undrawable_names

Color = tuple[int, int, int]

HIERARCHY = Hierarchy.from_tree(
    {"background": None, "x": {"a": None, "b": ["c", "d"]}, "y": ["e"]}, background="background"
)
HEIGHT, WIDTH = 30, 50
SCALE, MARGIN, LINE = 4, 8, 18  # panels are 200 pixels wide


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
    errors = np.where((predicted[-1] == target[-1])[..., None], (0, 114, 178), (213, 94, 0))
    errors = np.where((target[-1] == IGNORE_INDEX)[..., None], 255, errors)
    np.testing.assert_allclose(panel(figure, 0, 1), overlay(image, errors), atol=1)


@pytest.mark.parametrize("is_ignored", [False, True])
def test_the_legend_says_what_is_wrong_and_ignored(image: np.ndarray, is_ignored: bool) -> None:
    """In the first column, below its panels; all of it is in the picture."""
    classes = np.zeros((3, HEIGHT, WIDTH), np.int64)
    target = classes.copy()
    if is_ignored:
        target[:, :2] = IGNORE_INDEX
    top = MARGIN + 2 * (HEIGHT * SCALE + LINE + MARGIN)
    legend = np.asarray(draw(image, classes, HIERARCHY, target))[top:]
    first = legend[:, MARGIN : MARGIN + 12].reshape(-1, 3).tolist()
    assert [0, 114, 178] in first
    assert [213, 94, 0] in first
    for column in range(4):
        left = MARGIN + column * (WIDTH * SCALE + MARGIN)
        outlines = (legend[:, left] == 128).all(-1).sum()
        assert outlines == (13 if is_ignored else 0), "the gray outline of white"


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
    figure = draw(image, random_classes(1), HIERARCHY)
    for level, colors in enumerate(palette(HIERARCHY)):
        assert legend(figure, level) == colors


def legend(figure: Image.Image, level: int) -> list[Color]:
    """The colors of a level's legend, of a figure with one row of panels."""
    left = MARGIN + (level + 1) * (WIDTH * SCALE + MARGIN)
    lines = np.asarray(figure)[2 * MARGIN + HEIGHT * SCALE + LINE + 8 :: LINE, left + 6]
    colors = [tuple(color.tolist()) for color in lines]
    return [color for color in colors if color != (255, 255, 255)]


def test_the_legend_has_the_classes_of_the_figure_in_the_order_of_the_tree(
    image: np.ndarray,
) -> None:
    """Leaves are numbered by label, so that siblings need not be neighbors."""
    tree = {"x": ["a", "b"], "y": ["c", "d"]}
    hierarchy = Hierarchy.from_tree(tree, labels=["d", "a", "c", "b"])
    assert hierarchy.level_names[1] == ["d", "a", "c", "b"]
    classes = hierarchy.encode(torch.tensor([[1] * 49 + [0]] * 29 + [[3] * 50])).numpy()
    figure = draw(image, classes, hierarchy)
    level1, level2 = palette(hierarchy)
    assert legend(figure, 0) == level1
    assert legend(figure, 1) == [level2[1], level2[3], level2[0]]


@pytest.mark.parametrize(("classes", "lines"), [(64, 64), (65, 63), (300, 63)])
def test_the_legend_is_bounded(classes: int, lines: int) -> None:
    hierarchy = Hierarchy.from_tree([f"class {index}" for index in range(classes)])
    present = np.arange(HEIGHT * WIDTH).reshape(1, HEIGHT, WIDTH) % classes
    figure = draw(np.zeros((HEIGHT, WIDTH, 3), np.uint8), present, hierarchy)
    assert legend(figure, 0) == palette(hierarchy)[0][:lines]
    assert figure.height == HEIGHT * SCALE + 65 * LINE + 3 * MARGIN


@pytest.mark.parametrize("shape", [(1, 4000), (4000, 1), (3000, 4000), (1, 1), (5, 2)])
def test_figures_have_a_bounded_size(shape: tuple[int, int]) -> None:
    classes = np.zeros((HIERARCHY.num_levels, *shape), np.uint8)
    figure = draw(np.zeros((*shape, 3), np.uint8), classes, HIERARCHY, classes.astype(np.int64))
    assert figure.width <= 4 * (800 + MARGIN) + MARGIN
    assert figure.height <= 2 * (800 + LINE + MARGIN) + 2 * LINE + 2 * MARGIN


def test_a_deep_tree_has_a_figure_of_bounded_width() -> None:
    tree: list[str] | dict[str, Any] = ["leaf"]
    for level in range(100):
        tree = {f"class {level}": tree}
    hierarchy = Hierarchy.from_tree(tree)
    classes = np.zeros((hierarchy.num_levels, 600, 800), np.uint8)
    figure = draw(np.zeros((600, 800, 3), np.uint8), classes, hierarchy)
    assert 100 < figure.width <= 8192


def test_columns_are_as_wide_as_names(image: np.ndarray) -> None:
    """Up to a limit, after which names are cut."""

    def width(name: str) -> int:
        classes = np.zeros((1, HEIGHT, WIDTH), np.int64)
        return draw(image, classes, Hierarchy.from_tree([name])).width

    assert width("arm") < width("construction--flat--pedestrian-area")
    assert width("x" * 80) == width("x" * 100_000)


def test_a_name_that_no_font_has_is_an_index(image: np.ndarray) -> None:
    hierarchy = Hierarchy.from_tree(["arm", "\U0010ffff"])
    numbered = Hierarchy.from_tree(["arm", "class 1"])
    classes = np.ones((1, HEIGHT, WIDTH), np.int64)
    assert undrawable_names(hierarchy) == ["\U0010ffff"]
    assert undrawable_names(numbered) == []
    figures = [np.asarray(draw(image, classes, one)) for one in (hierarchy, numbered)]
    np.testing.assert_array_equal(*figures)


def test_a_reduced_panel_shows_the_image_and_its_classes() -> None:
    """Halves of a large image have the same colors as those of a small one."""
    hierarchy = Hierarchy.from_tree(["left", "right"])
    image = np.full((1000, 2000, 3), 100, np.uint8)
    classes = np.zeros((1, 1000, 2000), np.uint8)
    classes[..., 1000:] = 1
    figure = np.asarray(draw(image, classes, hierarchy))
    top, left = MARGIN + LINE, 2 * MARGIN + 800
    half = np.full((400, 400, 3), 100)
    left_color, right_color = (np.full((400, 400, 3), color) for color in palette(hierarchy)[0])
    expected = np.concatenate([overlay(half, left_color), overlay(half, right_color)], axis=1)
    np.testing.assert_allclose(figure[top : top + 400, left : left + 800], expected, atol=1)
    np.testing.assert_array_equal(figure[top : top + 400, MARGIN : MARGIN + 800], 100)


def test_samples_are_drawn_in_rows_per_level() -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, HEIGHT, WIDTH, 3), np.uint8)
    targets = np.stack([random_classes(seed) for seed in range(3)])
    targets[1, 2, :9] = IGNORE_INDEX
    figure = draw_samples(images, targets, ["a/1", "b/2", "\u4e09"], HIERARCHY)
    for row, image in enumerate(images):
        np.testing.assert_array_equal(panel(figure, 0, row), image)
        for level, colors in enumerate(palette(HIERARCHY)):
            expected = overlay(image, color_classes(targets[row, level], colors))
            np.testing.assert_allclose(panel(figure, level + 1, row), expected, atol=1)


def test_the_legend_of_samples_says_what_is_ignored() -> None:
    images = np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)
    targets = np.zeros((1, 3, HEIGHT, WIDTH), np.int64)
    plain = draw_samples(images, targets, ["a"], HIERARCHY)
    targets[0, 2] = IGNORE_INDEX
    ignored = draw_samples(images, targets, ["a"], HIERARCHY)
    assert plain.size == ignored.size
    changed = np.argwhere((np.asarray(plain) != np.asarray(ignored)).any(-1))
    assert changed[:, 1].min() >= MARGIN + 3 * (WIDTH * SCALE + MARGIN), "level 3 only"
    assert changed[:, 0].max() > MARGIN + LINE + HEIGHT * SCALE, "its legend, too"


def test_large_samples_are_reduced_and_the_sheet_is_bounded() -> None:
    images, targets = np.zeros((2, 900, 1800, 3), np.uint8), np.zeros((2, 3, 900, 1800), np.int64)
    figure = draw_samples(images, targets, ["a", "b"], HIERARCHY)
    assert figure.width == MARGIN + 4 * (400 + MARGIN)
    assert figure.height < 2 * 300
