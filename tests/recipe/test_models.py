"""Recipes with a model instead of a backbone and a decoder."""

import re
from pathlib import Path

import pytest
import torch

from hieraseg import Hierarchy
from hieraseg.cli import main
from hieraseg.errors import RecipeError
from hieraseg.model import build
from hieraseg.recipe import Recipe, load
from hieraseg.recipe.build import build as build_component

PLUGIN = """
from pathlib import Path
from torch import nn
from hieraseg import registry
from hieraseg.contracts import Backbone

class _Part(nn.Module):
    "Keeps what it gets."

    channels, strides, stride = [4], [2], 2
    mean, std = (0.25, 0.5, 0.75), (0.5, 0.5, 0.5)

@registry.backbones.register("loud")
class Loud(_Part):
    "Has weights."

    def __init__(self, weights: Path | None = None, depth: int = 1) -> None:
        super().__init__()
        self.weights = weights

@registry.models.register("nested")
class Nested(_Part):
    "Has a backbone, perhaps others, and weights."

    def __init__(self, backbone: Backbone, num_classes: list[int], width: int = 4,
                 others: list[Backbone] = [], weights: Path | None = None) -> None:
        super().__init__()
        self.backbone, self.others, self.weights = backbone, others, weights
        self.num_classes = num_classes

@registry.models.register("plain")
class Plain(_Part):
    "Has no arguments."
"""
NESTED = """\
model:
  name: nested
  backbone: {name: loud, weights: weights.pth}
  others: [loud, {name: loud, weights: weights.pth}]
  weights: weights.pth
"""
SPLIT = "backbone: {name: loud, depth: 3}\ndecoder: {name: linear}\n"
OTHERS = """\
plugins: [plugin.py]
hierarchy: pascal_part
data: mannequins
loss: bce
inference: independent
optimizer: sgd
schedule: poly
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    (tmp_path / "weights.pth").touch()
    (tmp_path / "whole.yaml").write_text(OTHERS + NESTED)
    (tmp_path / "split.yaml").write_text(OTHERS + SPLIT)


def read(folder: Path, text: str, *overrides: tuple[str, str]) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return load(path, overrides)


def names(recipe: Recipe) -> dict[str, str]:
    """The components of a recipe that are or replace a model."""
    found = {one: recipe.components.get(one) for one in ("backbone", "decoder", "model")}
    return {section: one.name for section, one in found.items() if one}


WHOLE, BOTH = {"model": "nested"}, {"backbone": "loud", "decoder": "linear"}


@pytest.mark.parametrize(
    ("text", "overrides", "expected"),
    [
        ("base: whole.yaml", [], WHOLE),
        ("base: split.yaml", [], BOTH),
        ("base: split.yaml\nmodel: plain", [], {"model": "plain"}),
        ("base: split.yaml", [("model", "plain")], {"model": "plain"}),
        ("base: split.yaml\nmodel: plain", [("backbone", "loud"), ("decoder", "linear")], BOTH),
        (f"base: whole.yaml\n{SPLIT}", [], BOTH),
        (f"base: whole.yaml\n{SPLIT}", [("model", "plain")], {"model": "plain"}),
        ("base: whole.yaml\nmodel: {width: 8}", [("model.width", "9")], WHOLE),
    ],
)
def test_the_last_layer_that_names_one_decides(
    tmp_path: Path, text: str, overrides: list[tuple[str, str]], expected: dict[str, str]
) -> None:
    recipe = read(tmp_path, text, *overrides)
    assert names(recipe) == expected
    (tmp_path / "copy.yaml").write_text(recipe.to_yaml())
    assert load(tmp_path / "copy.yaml") == recipe


def test_an_argument_of_the_command_line_stays_with_the_model(tmp_path: Path) -> None:
    recipe = read(tmp_path, "base: whole.yaml\nmodel: {width: 8}", ("model.width", "9"))
    assert recipe["model"].arguments["width"] == 9
    assert recipe["model"].arguments["backbone"].name == "loud"
    assert recipe.origin["model.width"] == "command line"
    assert recipe.origin["model.backbone.weights"] == f"{tmp_path}/whole.yaml:10"


@pytest.mark.parametrize(
    ("text", "overrides", "expected"),
    [
        (f"base: split.yaml\nmodel: plain\n{SPLIT}", [],
         ["recipe.yaml:3: backbone: the recipe has model, which replaces it; remove one of them",
          "recipe.yaml:4: decoder: the recipe has model, which replaces it; remove one of them"]),
        ("base: whole.yaml", [("decoder.width", "8")],
         ["command line: decoder: the recipe has model, which replaces it; remove one of them"]),
        ("base: split.yaml", [("decoder.width", "8"), ("model", "plain")],
         ["command line: decoder: the recipe has model, which replaces it; remove one of them"]),
        ("base: whole.yaml\ndecoder: linear", [],
         ["recipe.yaml:1: backbone: missing; choose one of "]),
        ("base: whole.yaml\nbackbone: loud", [],
         ["recipe.yaml:1: decoder: missing; choose one of "]),
        ("base: split.yaml\nmodel: nested", [],
         ["recipe.yaml:2: model.backbone: missing; model 'nested' needs it"]),
        ("base: split.yaml", [("model.width", "8")],
         ["command line: model: names no component; choose one of "]),
        ("base: split.yaml\nmodel: null", [],
         ["recipe.yaml:2: model: expected a name or a mapping"]),
        ("base: whole.yaml\nmodel: {num_classes: [2]}", [],
         ["recipe.yaml:2: model.num_classes: is supplied by the runner; remove it"]),
        ("base: whole.yaml\nmodel:\n  backbone:\n    name: loud\n    dept: 2", [],
         ["recipe.yaml:5: model.backbone.dept: backbone 'loud' has no such key, did you mean"]),
        ("base: whole.yaml\nmodel:\n  others:\n    - loud\n    - lout", [],
         ["recipe.yaml:5: model.others[1]: unknown backbone 'lout', did you mean 'loud'?"]),
        ("base: whole.yaml", [("model.backbone.depth", "x")],
         ["command line: model.backbone.depth: model 'nested' has no such key"]),
        ("base: whole.yaml", [("auxiliary.stage", "1")],
         ["command line: auxiliary.stage: is a stage of the backbone, but the recipe has a model; "
          "remove it"]),
    ],
)  # fmt: skip
def test_problems(
    tmp_path: Path, text: str, overrides: list[tuple[str, str]], expected: list[str]
) -> None:
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, text, *overrides)
    found = str(caught.value).replace(f"{tmp_path}/", "").splitlines()
    assert len(found) == len(expected), found
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


def test_a_recipe_without_either_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, OTHERS)
    keys = re.findall(r"yaml:1: (\w+): missing; choose one of", str(caught.value))
    assert keys == ["backbone", "decoder"]


def test_it_is_built_with_its_backbone_and_without_weights_on_request(tmp_path: Path) -> None:
    recipe = read(tmp_path, "base: whole.yaml")
    hierarchy = build_component(recipe["hierarchy"])
    assert isinstance(hierarchy, Hierarchy)
    file = tmp_path / "weights.pth"
    for pretrained, weights in ((True, file), (False, None)):
        assert build.build_backbone(recipe, pretrained) is None
        model = build.build_model(recipe, None, hierarchy, [2, 3], pretrained=pretrained)
        network = model.network  # type: ignore[union-attr]
        assert network.num_classes == [2, 3]
        assert [network.weights, network.backbone.weights] == [weights, weights]
        assert [one.weights for one in network.others] == [None, weights]
        assert model.stride == 2
        torch.testing.assert_close(model.mean.flatten(), torch.tensor([0.25, 0.5, 0.75]))


def test_a_loss_that_trains_an_embedding_needs_one(tmp_path: Path) -> None:
    recipe = read(tmp_path, "base: whole.yaml\nloss: hssn")
    hierarchy = build_component(recipe["hierarchy"])
    with pytest.raises(RecipeError) as caught:
        build.build_model(recipe, None, hierarchy, [2, 3], embedding_channels=8)
    assert str(caught.value).startswith(
        "model: nested has no embedding, which the loss hssn trains"
    )


def test_show_and_validate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "whole.yaml")
    assert main(["validate", path]) == 0
    assert main(["show", path]) == 0
    shown = capsys.readouterr().out
    assert "\nmodel:\n  name: nested\n  backbone: {name: loud, weights: " in shown
    assert "\nbackbone:" not in shown
    assert "\ndecoder:" not in shown
