"""Test-time views: windows, scales and flips, of models whose answer is known."""

import json
from collections.abc import Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from hieraseg import Hierarchy, Prediction, registry
from hieraseg.cli import main
from hieraseg.contracts import Activation, asks_for
from hieraseg.errors import RecipeError
from hieraseg.inference.scores import level_scores
from hieraseg.inference.segmenter import Segmenter
from hieraseg.inference.tta import answer_views, slide, window_places
from hieraseg.recipe import load
from hieraseg.settings import Evaluation, Views
from tests.cli.test_jobs import QUICKSTART, read, run

SIDES = st.integers(1, 40)
OVERLAPS = st.sampled_from([0.0, 0.25, 0.5, 0.9])
TREE = Hierarchy.from_tree({"background": None, "x": {"a": None, "y": ["b", "c"]}})


class Pointwise(nn.Module):
    """Logits of each pixel from its colour alone."""

    def __init__(self, num_classes: Sequence[int], seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.levels = nn.ModuleList(nn.Conv2d(3, classes, 1) for classes in num_classes)
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Prediction:
        self.sizes.append(tuple(images.shape[-2:]))
        return Prediction(tuple(10 * level(images) for level in self.levels))


class Brightness(nn.Module):
    """Two classes; the logit of the first is the mean of all that the model sees."""

    def forward(self, images: Tensor) -> Prediction:
        first = images.mean((1, 2, 3), keepdim=True).expand(-1, 1, *images.shape[-2:])
        return Prediction((torch.cat([first, -first], 1),))


def pictures(height: int, width: int, images: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(height * 100 + width)
    return torch.rand(images, 3, height, width, generator=generator)


def segmenter(model: nn.Module, hierarchy: Hierarchy = TREE, **settings: Any) -> Segmenter:
    rule = registry.inference.get("best_path")(hierarchy=hierarchy)
    return Segmenter(model, "softmax", rule, hierarchy, Evaluation(**settings).views)


def scores_of(segmenter: Segmenter, images: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return segmenter.scores(segmenter.predictions(images), images.shape[-2:])


def assert_close(found: Sequence[Tensor], expected: Sequence[Tensor], atol: float = 1e-6) -> None:
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=atol)


def test_without_views_the_image_is_answered_once_as_it_is() -> None:
    model, images = Pointwise(TREE.num_classes), pictures(9, 14)
    plain = Segmenter(model, "softmax", registry.inference.get("independent")(), TREE)
    (prediction,) = plain.predictions(images)
    assert all(map(torch.equal, prediction.logits, model(images).logits))
    expected = level_scores(model(images).logits, "softmax", TREE)
    assert all(map(torch.equal, plain.scores([prediction], (9, 14)), expected))
    assert Evaluation().views == Views() == plain.views


# Windows.


@given(SIDES, SIDES, OVERLAPS)
def test_windows_cover_a_side(side: int, window: int, overlap: float) -> None:
    places = window_places(side, window, overlap)
    assert {place.stop - place.start for place in places} == {min(window, side)}
    assert set().union(*(range(side)[place] for place in places)) == set(range(side))
    starts = [place.start for place in places]
    assert starts == sorted(set(starts))
    assert (starts[0], places[-1].stop) == (0, side)
    for one, following in pairwise(places):
        assert one.stop - following.start >= round(overlap * window) - 1


def test_windows_by_hand() -> None:
    assert window_places(10, 4, 0.5) == [slice(0, 4), slice(2, 6), slice(4, 8), slice(6, 10)]
    assert window_places(9, 4, 0) == [slice(0, 4), slice(4, 8), slice(5, 9)]
    assert window_places(3, 4, 0.5) == [slice(0, 3)]


@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), OVERLAPS)
def test_windows_change_nothing_where_pixels_answer_for_themselves(
    size: tuple[int, int], window: tuple[int, int], overlap: float
) -> None:
    window = (max(window[0], 4), max(window[1], 4))
    model, images = Pointwise(TREE.num_classes), pictures(*size, images=1)
    with torch.no_grad():
        found = slide(model, images, window, overlap).logits
        assert_close(found, model(images).logits, atol=1e-5)
    assert {tuple(map(min, size, window))} == set(model.sizes[:-1])


@pytest.mark.parametrize("window", [(9, 14), (20, 14), (50, 50)])
def test_a_window_as_large_as_the_image_is_the_image(window: tuple[int, int]) -> None:
    model, images = Pointwise(TREE.num_classes), pictures(9, 14)
    found = scores_of(segmenter(model, window=window), images)
    assert model.sizes == [(9, 14)]
    assert all(map(torch.equal, found, scores_of(segmenter(model), images)))


def test_logits_are_averaged_where_windows_overlap() -> None:
    images = pictures(7, 10)
    found = slide(Brightness(), images, (4, 6), 0.5).logits[0]
    for b, y, x in product(range(2), range(7), range(10)):
        # Rows 0, 2, 3 and columns 0, 3, 4 begin a window.
        answers = [
            images[b, :, top : top + 4, left : left + 6].double().mean().item()
            for top, left in product((0, 2, 3), (0, 3, 4))
            if top <= y < top + 4 and left <= x < left + 6
        ]
        assert found[b, 0, y, x].item() == pytest.approx(np.mean(answers), rel=1e-5)
        assert found[b, 1, y, x].item() == pytest.approx(-np.mean(answers), rel=1e-5)


# Scales.


def test_each_scale_is_one_view_at_whole_pixels() -> None:
    model, images = Pointwise(TREE.num_classes), pictures(10, 15)
    views = Views(scales=(0.5, 1.0, 1.75, 0.01))
    predictions = answer_views(model, images, TREE, views)
    assert model.sizes == [(5, 8), (10, 15), (18, 26), (1, 1)]
    assert [tuple(one.logits[0].shape[-2:]) for one in predictions] == model.sizes
    scores = segmenter(model).scores(predictions, (10, 15))
    assert [tuple(level.shape) for level in scores] == [(2, n, 10, 15) for n in TREE.num_classes]


def test_scales_change_nothing_on_an_even_picture() -> None:
    model = Pointwise(TREE.num_classes)
    images = torch.rand(2, 3, 1, 1).expand(-1, -1, 9, 14)
    found = scores_of(segmenter(model, scales=(0.5, 1.0, 1.3)), images)
    assert_close(found, scores_of(segmenter(model), images))


def test_windows_slide_over_the_resized_image() -> None:
    model, images = Pointwise(TREE.num_classes), pictures(10, 10)
    answer_views(model, images, TREE, Views(scales=(2.0,), window=(20, 12), window_overlap=0.25))
    assert model.sizes == [(20, 12)] * 2


# Flips.


class Sides(nn.Module):
    """A tree's left and right leaf, by the position of bright pixels."""

    def forward(self, images: Tensor) -> Prediction:
        across = torch.linspace(-1, 1, images.shape[-1])
        right = 5 * images[:, :1] * across
        whole = torch.zeros_like(right)
        return Prediction((torch.cat([whole, 1 - whole], 1), torch.cat([whole, -right, right], 1)))


PERSON = {"background": None, "person": ["left", "right"]}


def test_a_flip_changes_nothing_where_left_and_right_are_swapped() -> None:
    images = pictures(6, 11)
    paired = Hierarchy.from_tree(PERSON, pairs=[("left", "right")])
    plain = scores_of(segmenter(Sides(), paired), images)
    assert_close(scores_of(segmenter(Sides(), paired, flip=True), images), plain)
    # Without the pair, left and right would cancel out.
    unpaired = scores_of(segmenter(Sides(), Hierarchy.from_tree(PERSON), flip=True), images)
    assert torch.allclose(unpaired[-1][:, 1], unpaired[-1][:, 2], atol=1e-6)
    assert not torch.allclose(unpaired[-1], plain[-1], atol=0.1)


def test_a_flip_swaps_the_leaves_where_they_are_all_that_is_answered() -> None:
    paired = Hierarchy.from_tree(PERSON, pairs=[("left", "right")])
    images = pictures(6, 11)

    class Leaves(Sides):
        def forward(self, images: Tensor) -> Prediction:
            return Prediction(super().forward(images).logits[-1:])

    plain = scores_of(segmenter(Leaves(), paired), images)
    assert_close(scores_of(segmenter(Leaves(), paired, flip=True), images), plain)


def test_a_flip_changes_nothing_where_pixels_answer_for_themselves() -> None:
    model, images = Pointwise(TREE.num_classes), pictures(6, 11)
    found = scores_of(segmenter(model, flip=True), images)
    assert_close(found, scores_of(segmenter(model), images))


def test_scores_of_views_are_averaged_not_logits() -> None:
    def position(images: Tensor) -> Prediction:
        across = torch.arange(images.shape[-1]).float().expand(len(images), 1, *images.shape[-2:])
        return Prediction((torch.cat([across, torch.zeros_like(across)], 1),))

    flat = Hierarchy.from_tree(["a", "b"])
    predictions = answer_views(position, pictures(2, 5), flat, Views(flip=True))
    (scores,) = segmenter(nn.Identity(), flat).scores(predictions, (2, 5))
    for x in range(5):
        chances = [1 / (1 + np.exp(-place)) for place in (x, 4 - x)]
        assert scores[:, 0, :, x].flatten().tolist() == pytest.approx([np.mean(chances)] * 4)


# Together.


@pytest.mark.parametrize("rule", registry.inference.names())
@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("leaves_only", [False, True])
def test_every_rule_and_activation_works_with_every_view(
    rule: str, activation: Activation, leaves_only: bool
) -> None:
    factory = registry.inference.get(rule)
    chosen = factory(hierarchy=TREE) if asks_for(factory, "hierarchy") else factory()
    model = Pointwise(TREE.num_classes[-1:] if leaves_only else TREE.num_classes)
    views = Views(flip=True, scales=(0.7, 1.0, 1.5), window=(7, 8))
    whole = Segmenter(model, activation, chosen, TREE, views)
    images = pictures(9, 14)
    predictions = whole.predictions(images)
    assert len(predictions) == 6
    scores = whole.scores(predictions, (12, 13))
    assert all(((level >= 0) & (level <= 1 + 1e-6)).all() for level in scores)
    classes = whole.rule(scores)
    assert classes.shape == (2, 3, 12, 13)
    if rule != "independent":
        for level in (1, 2):
            assert torch.equal(TREE.parents[level][classes[:, level]], classes[:, level - 1])


# Settings.


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scales": ()}, "scales is []"),
        ({"scales": (1.0, 0.0)}, "scales is [1.0, 0.0]"),
        ({"scales": (float("inf"),)}, "scales is [inf]"),
        ({"scales": (17.0,)}, "scales is [17.0]"),
        ({"scales": (float("nan"),)}, "scales is [nan]"),
        ({"window": (0, 8)}, "window is [0, 8]"),
        ({"window_overlap": 1.0}, "window_overlap is 1.0"),
        ({"window_overlap": -0.1}, "window_overlap is -0.1"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as error:
        Evaluation(**settings)
    assert str(error.value).startswith(words)
    key, value = next(iter(settings.items()))
    text = str(list(value)) if isinstance(value, tuple) else str(value)
    text = text.replace("inf", ".inf").replace("nan", ".nan")
    with pytest.raises(RecipeError, match=f"command line: evaluation.{key}: {key} is"):
        load(QUICKSTART, [(f"evaluation.{key}", text)])


def test_views_in_a_recipe(tmp_path: Path) -> None:
    overrides = [("flip", "true"), ("scales", "[1, 0.5]"), ("window", "[8, 9]")]
    recipe = load(QUICKSTART, [(f"evaluation.{key}", value) for key, value in overrides])
    assert recipe.evaluation.views == Views(True, (1.0, 0.5), (8, 9), 0.5)
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    assert load(tmp_path / "recipe.yaml") == recipe


def test_views_in_words() -> None:
    assert str(Views()) == "scales 1"
    assert str(Views(True, (1.25, 1.0), (8, 9), 0.25)) == (
        "scales 1 1.25, flip, window 8x9 overlap 0.25"
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step that is scored over views."""
    views = ("--evaluation.flip", "true", "--evaluation.scales", "[0.5, 1]")
    return run(tmp_path_factory.mktemp("views"), "--training.max_steps", "1", *views)


def test_a_run_is_scored_and_evaluated_over_the_views_of_its_recipe(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = read(finished / "result.json")["splits"]["val"]
    assert trained["views"] == "scales 0.5 1, flip"
    assert main(["evaluate", str(finished), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["levels"] == trained["levels"]
    words = ["--no-flip", "--scales", "1", "--window", "40", "50", "--json"]
    assert main(["evaluate", str(finished), *words]) == 0
    other = json.loads(capsys.readouterr().out)
    assert other["views"] == "scales 1, window 40x50 overlap 0.5"
    assert other["levels"] != trained["levels"]


def test_predict_answers_the_views_of_the_recipe_or_of_the_options(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Views] = []
    answer = Segmenter.predictions

    def predictions(self: Segmenter, images: Tensor) -> list[Prediction]:
        asked.append(self.views)
        return answer(self, images)

    monkeypatch.setattr(Segmenter, "predictions", predictions)
    Image.new("RGB", (71, 50), "red").save(tmp_path / "photo.png")
    words = ["predict", str(finished), str(tmp_path / "photo.png"), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert main([*words, "--no-flip", "--window", "32", "40"]) == 0
    assert asked == [Views(True, (0.5, 1.0)), Views(False, (0.5, 1.0), (32, 40))]
    assert Image.open(tmp_path / "out/photo_level3.png").size == (71, 50)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--scales", "0"], "evaluation: scales is [0.0]"),
        (["--window", "0", "8"], "evaluation: window is [0, 8]"),
    ],
)
def test_options_out_of_range(
    finished: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(finished), *words]) == 2
    assert sentence in capsys.readouterr().err


def test_an_option_that_takes_the_run_for_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--scales", "0.5", "1", "runs/a"]) == 2
    assert "'runs/a' is no number; RUN and what follows it stand before" in capsys.readouterr().err
    assert main(["evaluate", "runs/a", "--window", "8", "8.5"]) == 2
    assert "'8.5' is no whole number of pixels" in capsys.readouterr().err
