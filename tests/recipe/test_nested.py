"""Losses inside a loss: checked, printed and built like those that a section names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hieraseg import Hierarchy
from hieraseg.cli import main
from hieraseg.data.stores.store import Store
from hieraseg.errors import RecipeError
from hieraseg.model import build
from hieraseg.recipe import ComponentSpec, Recipe, load
from hieraseg.training.loss import build_loss
from hieraseg.training.setup import count_class_pixels
from tests.support.components import VALID, fakes  # noqa: F401

START, END = VALID.index("loss:"), VALID.index("inference:")
NESTED = """\
loss:
  name: sum_loss
  losses:
    - name: fake_loss
      gamma: 2
    - other_loss
    - {name: sum_loss, losses: [pixel_loss, {name: other_loss,
        delta: 3}]}
  extra: {name: pixel_loss}
"""


def read(folder: Path, loss: str, overrides: list[tuple[str, str]] | None = None) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(loss + VALID[:START] + VALID[END:])
    return load(path, overrides or [])


def test_a_nested_section_is_a_component_with_its_defaults(tmp_path: Path) -> None:
    arguments = read(tmp_path, NESTED)["loss"].arguments
    first, second, third = arguments["losses"]
    assert (first.section, first.name) == ("loss", "fake_loss")
    assert first.arguments["gamma"] == 2.0
    assert isinstance(first.arguments["gamma"], float)
    assert first.arguments["sides"] == (1.0,)
    assert second == ComponentSpec("loss", "other_loss", {"delta": 1})
    assert third.arguments["losses"] == [
        ComponentSpec("loss", "pixel_loss", {"gamma": 1.0}),
        ComponentSpec("loss", "other_loss", {"delta": 3}),
    ]
    assert third.arguments["extra"] is None
    assert arguments["extra"] == ComponentSpec("loss", "pixel_loss", {"gamma": 1.0})


def test_what_is_printed_is_the_same_recipe(tmp_path: Path) -> None:
    recipe = read(tmp_path, NESTED)
    plain = recipe.to_dict()["loss"]
    assert plain["losses"][1] == {"name": "other_loss", "delta": 1}
    assert plain["losses"][0]["sides"] == [1.0]
    assert plain["losses"][2]["losses"][1] == {"name": "other_loss", "delta": 3}
    assert json.loads(json.dumps(plain)) == plain
    for origins in (False, True):
        copy = tmp_path / "copy.yaml"
        copy.write_text(recipe.to_yaml(origins))
        assert yaml.safe_load(copy.read_text())["loss"] == plain
        assert load(copy) == recipe
        assert load(copy).to_yaml() == recipe.to_yaml()
    assert recipe != read(tmp_path, NESTED.replace("delta: 3", "delta: 4"))


def test_each_nested_value_has_its_origin(tmp_path: Path) -> None:
    origin = read(tmp_path, NESTED).origin
    file = tmp_path / "recipe.yaml"
    assert origin["loss.losses"] == f"{file}:3"
    assert origin["loss.losses[0].gamma"] == f"{file}:5"
    assert origin["loss.losses[0].weights"] == "default"
    assert origin["loss.losses[2].losses[1].delta"] == f"{file}:8"
    assert origin["loss.extra.name"] == f"{file}:9"


MISTAKES = [
    ("losses: [fake_los]", "3: loss.losses[0]: unknown loss 'fake_los', did you mean "
     "'fake_loss'?"),
    ("losses: [{name: fake_los}]", "3: loss.losses[0]: unknown loss 'fake_los', did you mean "
     "'fake_loss'?"),
    ("losses:\n  - other_loss\n  - {name: fake_loss,\n     gama: 1}",
     "6: loss.losses[1].gama: loss 'fake_loss' has no such key, did you mean 'gamma'?"),
    ("losses:\n  - name: fake_loss\n    gamma: x",
     "5: loss.losses[0].gamma: expected a float, got 'x'"),
    ("losses:\n  - name: fake_loss\n    gamma: null",
     "5: loss.losses[0].gamma: expected a float, got null"),
    ("losses: [{name: fake_loss, hierarchy: 1}]",
     "3: loss.losses[0].hierarchy: is supplied by the runner; remove it"),
    ("losses:\n  - other_loss\n  - gamma: 1", "5: loss.losses[1]: names no component; choose one "),
    ("losses: [{name: 5}]", "3: loss.losses[0].name: expected a name, got 5"),
    ("losses: [{name: sum_loss}]",
     "3: loss.losses[0].losses: missing; loss 'sum_loss' needs it: the losses."),
    ("losses:\n  - name: sum_loss\n    losses:\n    - {name: other_loss,\n       delta: 1.5}",
     "7: loss.losses[0].losses[0].delta: expected an int, got 1.5"),
    ("losses: [untyped_loss]", "3: loss.losses[0]: loss 'untyped_loss' of "
     "tests.support.components:UntypedLoss: its argument 'delta' has no type: annotate it"),
    (
        "losses: [{name: other_loss, name: x}]",
        "3: loss.losses[0].name: duplicate key (first on line 3); keep one",
    ),
    ("losses: other_loss", "3: loss.losses: expected a list of losses, got 'other_loss'"),
    ("losses: {name: other_loss}", "3: loss.losses: expected a list of losses, got {name: "),
    ("losses: [5]", "3: loss.losses: expected a list of losses, got [5]"),
    ("losses: [null]", "3: loss.losses: expected a list of losses, got [null]"),
    ("losses: [{name: other_loss, 5: 1}]", "3: loss.losses: expected a list of losses, got [{"),
    ("losses: null", "3: loss.losses: expected a list of losses, got null"),
    ("losses: []\n  extra: 5", "4: loss.extra: expected a loss or null, got 5"),
    ("losses: []\n  extra: [other_loss]", "4: loss.extra: expected a loss or null, got [other_"),
    ("losses: []\n  extra:\n    name: other_loss\n    delt: 1",
     "6: loss.extra.delt: loss 'other_loss' has no such key, did you mean 'delta'?"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "expected"), MISTAKES)
def test_a_problem_is_reported_at_its_own_line(tmp_path: Path, lines: str, expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, f"loss:\n  name: sum_loss\n  {lines}\n")
    (found,) = str(caught.value).splitlines()
    assert found.startswith(f"{tmp_path / 'recipe.yaml'}:{expected}")


def test_all_problems_at_once(tmp_path: Path) -> None:
    text = NESTED.replace("gamma", "gama").replace("delta: 3", "delta: x").replace("pixel", "pixl")
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, text)
    file = str(tmp_path / "recipe.yaml")
    assert [line.removeprefix(file).split(": ")[:2] for line in str(caught.value).splitlines()] == [
        [":5", "loss.losses[0].gama"],
        [":7", "loss.losses[2].losses[0]"],
        [":8", "loss.losses[2].losses[1].delta"],
        [":9", "loss.extra"],
    ]


def test_the_command_line_gives_a_whole_list(tmp_path: Path) -> None:
    recipe = read(tmp_path, NESTED, [("loss.losses", "[{name: other_loss, delta: 9}]")])
    assert recipe["loss"].arguments["losses"] == [ComponentSpec("loss", "other_loss", {"delta": 9})]
    assert recipe.origin["loss.losses[0].delta"] == "command line"
    with pytest.raises(RecipeError) as caught:
        read(
            tmp_path, NESTED, [("loss", "{name: sum_loss, losses: [{name: other_loss, delt: 9}]}")]
        )
    assert str(caught.value).startswith("command line: loss.losses[0].delt: loss 'other_loss' has ")


def test_a_problem_in_a_base_names_the_base(tmp_path: Path) -> None:
    read(tmp_path, NESTED)
    base = (tmp_path / "recipe.yaml").rename(tmp_path / "base.yaml")
    base.write_text(base.read_text().replace("gamma", "gama"))
    child = tmp_path / "child.yaml"
    child.write_text("base: base.yaml\n\n\n\n\nloss:\n  extra: null\n")
    with pytest.raises(RecipeError) as caught:
        load(child)
    assert str(caught.value).startswith(f"{base}:5: loss.losses[0].gama: ")


PLAIN = st.recursive(
    st.none() | st.integers() | st.sampled_from(["other_loss", "fake_loss", "sum_loss", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "losses", "delta", "extra"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=25)
@given(losses=PLAIN, extra=PLAIN)
def test_any_value_is_kept_or_is_a_recipe_error(
    losses: object, extra: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    text = json.dumps({"name": "sum_loss", "losses": losses, "extra": extra})
    try:
        recipe = read(folder, f"loss: {text}\n")
    except RecipeError:
        return
    (folder / "printed.yaml").write_text(recipe.to_yaml())
    assert load(folder / "printed.yaml") == recipe


def test_the_types_are_named_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "losses", "sum_loss"]) == 0
    out = capsys.readouterr().out
    assert "    losses (list of losses, required)\n        the losses.\n" in out
    assert "    extra (loss or null, default null)\n        one more.\n" in out


def test_nested_components_are_built_first_with_what_the_runner_supplies(tmp_path: Path) -> None:
    recipe = read(tmp_path, NESTED)
    loss: Any = build.build(recipe["loss"], hierarchy="tree", class_pixels="pixels")
    assert [type(one).__name__ for one in loss.losses] == ["FakeLoss", "OtherLoss", "SumLoss"]
    assert loss.losses[2].losses[0].got == ("tree", "pixels", 1.0)
    assert loss.extra.got == ("tree", "pixels", 1.0)


def test_a_refused_value_names_its_place(tmp_path: Path) -> None:
    inner = "{name: sum_loss, losses: [other_loss, {name: pixel_loss, gamma: -1}]}"
    recipe = read(tmp_path, f"loss: {{name: sum_loss, losses: [{inner}]}}\n")
    with pytest.raises(RecipeError) as caught:
        build.build(recipe["loss"], hierarchy="tree", class_pixels="pixels")
    assert str(caught.value) == (
        f"{tmp_path}/recipe.yaml:1: loss.losses[0].losses[1]: pixel_loss: gamma is -1.0, but must "
        "not be negative"
    )


def test_pixels_are_counted_only_where_a_nested_loss_asks(tmp_path: Path) -> None:
    hierarchy = Hierarchy.from_tree({"x": ["a", "b"], "y": None})
    store = Store(
        ids=["one"],
        shapes=np.array([[2, 4]]),
        label_pixels=np.array([4, 1, 3]),
        fingerprint="fingerprint",
        images=(),
        masks=pytest.fail,
    )

    inner = "{name: sum, losses: [{name: weighted_ce, class_weights: median_frequency}]}"
    recipe = read(tmp_path, f"loss: {{name: sum, losses: [tree_min, {inner}]}}\n")
    loss: Any = build_loss(recipe, hierarchy, lambda: count_class_pixels(store, hierarchy))
    # The median of 4, 1 and 3 pixels over each of them.
    weights = loss.losses[1].losses[0].class_weights_2
    torch.testing.assert_close(weights, torch.tensor([3 / 4, 3 / 1, 3 / 3]))

    recipe = read(tmp_path, "loss: {name: sum, losses: [tree_min]}\n")
    assert list(build_loss(recipe, hierarchy, pytest.fail).children())
