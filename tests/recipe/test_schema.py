"""The JSON Schema of recipes says what the checker says, as far as types tell."""

import copy
import json
import math
import random
import re
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import catalogue
import pytest
import yaml
from jsonschema import Draft7Validator

from hieraseg import registry
from hieraseg.cli import main
from hieraseg.errors import RecipeError
from hieraseg.recipe import load
from hieraseg.recipe.checking import sections
from hieraseg.recipe.reading import Entry, read_file
from hieraseg.recipe.schema import as_text, recipe_schema
from hieraseg.recipe.shipped import shipped_recipes
from hieraseg.registry import Registry, by_name, by_section
from tests.support.components import register_all

ROOT = Path(__file__).parents[2]
SECTIONS = sections()
FILE = ROOT / "recipes" / "recipe.schema.json"
RECIPES = sorted(shipped_recipes().values())

RECIPE: dict[str, Any] = {
    "hierarchy": "pascal_part",
    "data": {"name": "mannequins", "image_size": [64, 64]},
    "input": {"size": [64, 64]},
    "backbone": {"name": "efficientnet_lite", "variant": 0},
    "decoder": "skip",
    "loss": {"name": "sum", "losses": ["lovasz", {"name": "focal", "alpha": None}]},
    "inference": "best_path",
    "optimizer": {"name": "sgd", "lr": 0.01, "nesterov": True},
    "schedule": {"name": "cosine", "warmup": 0},
    "augmentation": {"crop_scale": [0.5, 1], "transforms": ["blur", {"name": "photometric"}]},
    "training": {"epochs": 2, "precision": "bf16-mixed", "max_steps": None},
    "evaluation": {"scales": [0.5, 1], "window": [32, 32]},
}


@pytest.fixture(scope="module")
def shipped() -> Draft7Validator:
    """Of the installed components."""
    schema, broken = recipe_schema()
    assert broken == []
    return Draft7Validator(schema)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Draft7Validator]:
    """Of the installed components and the fake ones, when it is called."""
    monkeypatch.setattr(catalogue, "REGISTRY", dict(catalogue.REGISTRY))
    register_all()
    return lambda: Draft7Validator(recipe_schema()[0])


def as_data(path: Path) -> Any:
    """A recipe file as an editor reads it."""
    layer, problems = read_file(path)
    assert problems == []
    return {key: _plain(entry) for key, entry in layer.items()}


def _plain(value: Any) -> Any:
    value = value.value if isinstance(value, Entry) else value
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, dict) else value


def complaints(path: Path, recipe: Any) -> list[str]:
    """What the checker has against a recipe, each as `key: what is wrong`."""
    path.write_text(json.dumps(recipe))
    try:
        load(path)
    except RecipeError as error:
        return [line.removeprefix(f"{path}:1: ") for line in str(error).splitlines()]
    return []


def changed(section: str, value: Any) -> dict[str, Any]:
    return {**RECIPE, section: value}


def test_the_schema_is_one(shipped: Draft7Validator) -> None:
    Draft7Validator.check_schema(shipped.schema)
    assert set(shipped.schema["properties"]) == {"base", "plugins", "sweep", *SECTIONS}


def test_the_copy_in_the_repository_is_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    """It describes what ships."""
    origins = [one for each in by_name().values() for one in each.origins().values()]
    foreign = [one for one in origins if not one.startswith("hieraseg (hieraseg_plugins.")]
    if foreign:
        pytest.skip(f"components that do not ship are installed: {', '.join(foreign)}")
    assert main(["schema"]) == 0
    fresh = capsys.readouterr().out == FILE.read_text()
    assert fresh, "mend it by: hieraseg schema > recipes/recipe.schema.json"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_and_what_show_prints(
    path: Path, shipped: Draft7Validator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped.validate(as_data(path))
    assert main(["show", str(path)]) == 0
    (tmp_path / "shown.yaml").write_text(capsys.readouterr().out)
    shown = as_data(tmp_path / "shown.yaml")
    assert set(shown) == set(SECTIONS) - {"model"}
    shipped.validate(shown)
    assert main(["show", str(path), "--json"]) == 0
    shipped.validate(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("sections", [("backbone",), ("decoder",), ("backbone", "decoder")])
@pytest.mark.parametrize("base", [{}, {"base": "base.yaml"}])
def test_a_model_replaces_backbone_and_decoder(
    base: dict[str, str], sections: tuple[str, ...], shipped: Draft7Validator, tmp_path: Path
) -> None:
    (tmp_path / "base.yaml").write_text(json.dumps(RECIPE))
    whole = {**base, **RECIPE, "model": {"name": "coarse_to_fine", "backbone": "resnet50"}}
    both = {**whole}
    for section in {"backbone", "decoder"} - {*sections}:
        del both[section]
    found = complaints(tmp_path / "recipe.yaml", both)
    assert found == [
        f"{one}: the recipe has model, which replaces it; remove one of them" for one in sections
    ]
    assert not shipped.is_valid(both)
    alone = {key: one for key, one in whole.items() if key not in ("backbone", "decoder")}
    assert complaints(tmp_path / "recipe.yaml", alone) == []
    shipped.validate(alone)
    for change in ({"width": 0}, {"backbone": "resnet5"}, {"num_classes": [2]}):
        wrong = {**alone, "model": {**whole["model"], **change}}
        assert len(complaints(tmp_path / "recipe.yaml", wrong)) == 1
        assert not shipped.is_valid(wrong)


def test_examples_in_documents(shipped: Draft7Validator, tmp_path: Path) -> None:
    """Those of recipes; one that is a part only is taken as one over a base."""
    found = 0
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for block in re.findall(r"```yaml\n(.*?)```", document.read_text(), re.DOTALL):
            if set(yaml.safe_load(block) or ()) & set(SECTIONS):
                (tmp_path / "block.yaml").write_text(block)
                shipped.validate({"base": "base.yaml", **as_data(tmp_path / "block.yaml")})
                found += 1
    assert found >= 3


def test_the_recipe_that_is_spoilt_below_is_right(shipped: Draft7Validator, tmp_path: Path) -> None:
    shipped.validate(RECIPE)
    assert complaints(tmp_path / "recipe.yaml", RECIPE) == []


GONE = object()
WRONG = [
    ("unknown section", "los", "lovasz", "los: unknown section"),
    ("unknown component", "loss", "lovas", "loss: unknown loss"),
    ("unknown component by name", "loss", {"name": "lovas"}, "loss: unknown loss"),
    ("component of another kind", "loss", "skip", "loss: unknown loss"),
    ("unknown key", "decoder", {"name": "skip", "widht": 8}, "decoder.widht: decoder 'skip' has"),
    ("key of another", "loss", {"name": "lovasz", "gamma": 1}, "loss.gamma: loss 'lovasz' has no"),
    ("unknown key of the core", "training", {"epoch": 1}, "training.epoch: training has no such"),
    ("supplied", "loss", {"name": "lovasz", "hierarchy": 1}, "loss.hierarchy: is supplied by"),
    ("text for an int", "training", {"epochs": "2"}, "training.epochs: expected a po"),
    ("fraction for an int", "training", {"epochs": 2.5}, "training.epochs: expected a po"),
    ("bool for a float", "optimizer", {"name": "sgd", "lr": True}, "optimizer.lr: expected a "),
    ("int for a bool", "evaluation", {"flip": 1}, "evaluation.flip: expected a bool"),
    ("int for a text", "backbone", {"name": "resnet50", "weights": 5}, "backbone.weights: expec"),
    ("wrong choice", "training", {"precision": "bf16"}, "training.precision: expected one of"),
    ("wrong number", "backbone", {"name": "efficientnet_lite", "variant": 3}, "backbone.variant: "),
    ("null", "optimizer", {"name": "sgd", "lr": None}, "optimizer.lr: expected a positi"),
    ("null for a section", "loss", None, "loss: expected a name or a mapping with a name, got"),
    ("null for the core", "training", None, "training: expected a mapping, got null"),
    ("missing key", "hierarchy", {"name": "file"}, "hierarchy.path: missing"),
    ("missing key of a name", "hierarchy", "file", "hierarchy.path: missing"),
    ("missing section", "loss", GONE, "loss: missing"),
    ("no name", "loss", {"level_weights": [1]}, "loss: names no component"),
    ("list for a section", "loss", ["lovasz"], "loss: expected a name or a mapping with a name"),
    ("number for a section", "loss", 5, "loss: expected a name or a mapping with a name, got 5"),
    ("number for a name", "loss", {"name": 5}, "loss.name: expected a name, got 5"),
    ("text for the core", "logging", "all", "logging: expected a mapping, got 'all'"),
    ("list for a number", "training", {"epochs": [2]}, "training.epochs: expected a po"),
    ("number for a list", "evaluation", {"scales": 1}, "evaluation.scales: expected a n"),
    ("too short", "input", {"size": [64]}, "input.size: expected a list ["),
    ("too long", "evaluation", {"window": [1, 2, 3]}, "evaluation.window: expected a list"),
    ("wrong item", "evaluation", {"scales": [1, None]}, "evaluation.scales: expected a no"),
    ("nested name", "loss", {"name": "sum", "losses": ["lovas"]}, "loss.losses[0]: unknown los"),
    ("nested key", "loss", {"name": "sum", "losses": [{"name": "tree_min", "gama": 1}]},
     "loss.losses[0].gama: loss 'tree_min' has no such key"),
    ("nested type", "loss", {"name": "sum", "losses": [{"name": "tree_min", "gamma": "x"}]},
     "loss.losses[0].gamma: expected a non-negative float"),
    ("transform's name", "augmentation", {"transforms": ["blur", "blr"]},
     "augmentation.transforms[1]: unknown transform 'blr', did you mean 'blur'?"),
    ("transform's key", "augmentation", {"transforms": [{"name": "blur", "sgma": [1, 2]}]},
     "augmentation.transforms[0].sgma: transform 'blur' has no such key, did you mean 'sigma'?"),
    ("transform's type", "augmentation", {"transforms": [{"name": "cutout", "number": [0, 2]}]},
     "augmentation.transforms[0].number: must be positive, got 0"),
    ("one transform", "augmentation", {"transforms": "blur"},
     "augmentation.transforms: expected a list of transforms"),
    ("nested twice", "loss", {"name": "sum", "losses": [{"name": "sum", "losses": [{}]}]},
     "loss.losses[0].losses[0]: names no component"),
    ("nested missing", "loss", {"name": "sum", "losses": ["sum"]}, "loss.losses[0].losses: miss"),
    ("nested null", "loss", {"name": "sum", "losses": [None]}, "loss.losses: expected a non-"),
    ("plugins", "plugins", "my_loss.py", "plugins: expected a list of plugin files"),
    ("plugin", "plugins", [5], "plugins: expected a list of plugin files"),
    ("base", "base", 5, "base: expected the path of a recipe"),
    ("empty base", "base", "", "base: expected the path of a recipe"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("section", "value", "expected"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_a_problem_is_refused_by_both(
    section: str, value: Any, expected: str, shipped: Draft7Validator, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    recipe = changed(section, value)
    if value is GONE:
        del recipe[section]
    assert not shipped.is_valid(recipe)
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    assert main(["validate", str(path)]) == 2
    assert f"{path}:1: {expected}" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"plugins": []}, None),
        ({"optimizer": {"lr": 1}}, None),
        ({"loss": {"name": "sum", "weights": [1, 2]}}, None),
        ({"loss": {"losses": ["lovasz"]}, "training": {}}, None),
        ({"loss": {"losse": ["lovasz"]}}, "loss.losse: loss 'sum' has no such key"),
        ({"optimizer": {"lr": "x"}}, "optimizer.lr: expected a positive float"),
        ({"loss": {"losses": ["sum"]}}, "loss.losses[0].losses: missing"),
        ({"loss": {"name": "lovas"}}, "loss: unknown loss"),
        ({"loss": None}, "loss: expected a name or a mapping with a name"),
        ({"los": "lovasz"}, "los: unknown section"),
    ],
)
def test_over_a_base(
    change: Any, expected: str | None, shipped: Draft7Validator, tmp_path: Path
) -> None:
    (tmp_path / "base.yaml").write_text(json.dumps(RECIPE))
    recipe = {"base": "base.yaml", **change}
    found = complaints(tmp_path / "recipe.yaml", recipe)
    assert [one[: len(expected or "")] for one in found] == ([expected] if expected else [])
    assert shipped.is_valid(recipe) == (expected is None)
    assert not change or not shipped.is_valid(change), "it is no recipe without its base"


TYPES = [
    ("loss", {"gamma": 2}, True),
    ("loss", {"gamma": 2.5}, True),
    ("loss", {"gamma": "2"}, False),
    ("loss", {"weights": None}, True),
    ("loss", {"weights": [1, 2.5]}, True),
    ("loss", {"weights": [None]}, False),
    ("loss", {"reduction": "sum"}, True),
    ("loss", {"reduction": "men"}, False),
    ("loss", {"sides": []}, True),
    ("loss", {"sides": [1, 2, 3]}, True),
    ("loss", {"sides": [True]}, False),
    ("loss", {"by_class": {"a": 1}}, True),
    ("loss", {"by_class": {"a": "x"}}, False),
    ("loss", {"by_class": [1]}, False),
    ("loss", {"either": 1}, True),
    ("loss", {"either": "one"}, True),
    ("loss", {"either": 1.5}, False),
    ("loss", {"label": None}, True),
    ("loss", {"label": 5}, False),
    ("loss", {"focal": False}, True),
    ("loss", {"focal": "false"}, False),
    ("loss", {"mode": "FOCAL"}, True),
    ("loss", {"mode": 2}, False),
    ("loss", {"mode": "focal"}, False),
    ("decoder", {"width": 1}, True),
    ("decoder", {"width": 0}, False),
    ("decoder", {"width": 1.5}, False),
    ("backbone", {"file": "weights.pth"}, True),
    ("backbone", {"file": 5}, False),
    ("data", {"root": "here", "size": [1, 2]}, True),
    ("data", {"root": "here", "size": [1, "2"]}, False),
    ("data", {"size": [1, 2]}, False),
    ("optimizer", {"lr": 1, "betas": [0.9, 1]}, True),
    ("optimizer", {"lr": 1, "betas": [0.9]}, False),
]


@pytest.mark.parametrize(("section", "keys", "right"), TYPES)
def test_types(
    section: str, keys: Any, right: bool, fake: Callable[[], Draft7Validator], tmp_path: Path
) -> None:
    recipe = changed(section, {"name": f"fake_{section}", **keys})
    assert fake().is_valid(recipe) == right
    assert (complaints(tmp_path / "recipe.yaml", recipe) == []) == right


def test_a_nested_component_that_may_be_null(fake: Callable[[], Draft7Validator]) -> None:
    for extra, right in ((None, True), ("other_loss", True), ("sum_loss", False), (5, False)):
        recipe = changed("loss", {"name": "sum_loss", "losses": [], "extra": extra})
        assert fake().is_valid(recipe) == right


VARIABLES = [
    ("loss", "${X}", "lovasz"),
    ("loss", {"name": "${X:-lovasz}", "level_weights": [1, 1, 1]}, None),
    ("loss", {"name": "sum", "losses": ["${X}"]}, "lovasz"),
    ("loss", {"name": "focal", "alpha": "${X:-null}"}, None),
    ("loss", {"name": "lovasz", "level_weights": "${X:-null}"}, None),
    ("training", {"epochs": "${X}"}, "3"),
    ("training", {"precision": "${X}-mixed"}, "bf16"),
    ("optimizer", {"name": "sgd", "lr": "1e-${X:-3}", "nesterov": "${X:-true}"}, None),
    ("input", {"size": ["${X}", 64]}, "64"),
    ("backbone", {"name": "efficientnet_lite", "variant": "${X}"}, "1"),
]


@pytest.mark.parametrize(("section", "value", "variable"), VARIABLES)
def test_a_variable_may_stand_for_any_scalar(
    section: str, value: Any, variable: str | None, shipped: Draft7Validator, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if variable is not None:
        monkeypatch.setenv("X", variable)
    recipe = changed(section, value)
    shipped.validate(recipe)
    assert complaints(tmp_path / "recipe.yaml", recipe) == []


@pytest.mark.parametrize("text", ["$X", "${X", "${}", "${1X}", "${X:3}", "${X-3}", "{X}"])
def test_what_looks_like_a_variable(text: str, shipped: Draft7Validator, tmp_path: Path) -> None:
    recipe = changed("training", {"epochs": text})
    assert not shipped.is_valid(recipe)
    assert complaints(tmp_path / "recipe.yaml", recipe)


def test_a_variable_as_a_name_lets_no_unknown_key_pass(shipped: Draft7Validator) -> None:
    assert not shipped.is_valid(changed("loss", {"name": "${X}", "gama": 1}))


def test_editors_are_told_what_each_thing_is(fake: Callable[[], Draft7Validator]) -> None:
    definitions = fake().schema["definitions"]
    assert {"const": "fake_loss", "description": "A loss with arguments of every type."} in (
        definitions["loss.name"]["anyOf"]
    )
    loss = definitions["loss:fake_loss"]
    assert loss["description"] == "A loss with arguments of every type."
    assert loss["properties"]["gamma"]["description"] == "the exponent."
    assert loss["properties"]["gamma"]["default"] == 2
    assert loss["properties"]["sides"]["default"] == [1.0]
    assert "hierarchy" not in loss["properties"]
    assert "default" not in definitions["data:fake_data"]["properties"]["root"]
    assert definitions["loss:other_loss"]["description"] == "", "not that of the base class"


def test_a_default_of_this_machine_or_beyond_json_is_left_out(
    fake: Callable[[], Draft7Validator],
) -> None:
    def local_rule(file: Path = Path("/home/me/x"), most: float = math.inf, some: int = 1) -> None:
        """A rule."""

    registry.inference.register("local")(local_rule)
    schema = fake().schema
    keys = schema["definitions"]["inference:local"]["properties"]
    assert [key for key, one in keys.items() if "default" in one] == ["some"]
    assert json.loads(as_text(schema)) == schema


def test_any_name_can_be_referred_to(fake: Callable[[], Draft7Validator]) -> None:
    for name in ("a/b", "a~b", "a%20b", "é", "a:b#c", "name", "complete"):
        registry.inference.register(name)(lambda: None)
    validator = fake()
    for name in ("a/b", "a~b", "a%20b", "é", "a:b#c", "name", "complete"):
        assert validator.is_valid(changed("inference", {"name": name}))
        assert not validator.is_valid(changed("inference", {"name": name, "x": 1}))


def test_it_is_the_same_whatever_the_order_of_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = []
    for order in (1, -1):
        with monkeypatch.context() as patch:
            patch.setattr(catalogue, "REGISTRY", {})
            register_all()
            patch.setattr(catalogue, "REGISTRY", dict(list(catalogue.REGISTRY.items())[::order]))
            texts.append(as_text(recipe_schema()[0]))
    assert texts[0] == texts[1]
    assert "fake_loss" in texts[0]


def test_broken_components_are_left_out_and_named(
    fake: Callable[[], Draft7Validator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "shaky_plugin.py").write_text("raise RuntimeError('no luck')\n")
    info = tmp_path / "shaky-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shaky\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hieraseg_losses]\nshaky = shaky_plugin:Shaky\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(catalogue, "AVAILABLE_ENTRY_POINTS", entry_points())
    assert main(["schema"]) == 0
    out, err = capsys.readouterr()
    names = [one.get("const") for one in json.loads(out)["definitions"]["loss.name"]["anyOf"]]
    assert "fake_loss" in names
    for name, reason in (("shaky", "cannot be imported: RuntimeError: no luck"),
                         ("untyped_loss", "its argument 'delta' has no type"),
                         ("code_loss", "a type that YAML cannot give"),
                         ("mapped_loss", "a type that YAML cannot give"),
                         ("open_loss", "name each argument"),
                         ("misdefaulted_loss", "but its default is 1.5")):  # fmt: skip
        assert name not in names
        (line,) = [one for one in err.splitlines() if f"loss {name!r} of " in one]
        assert line.startswith("hieraseg: left out: ")
        assert reason in line
    assert len(err.splitlines()) == 6


def test_kinds_without_components_make_a_valid_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registry, "names", lambda self: [])
    schema, _ = recipe_schema()
    Draft7Validator.check_schema(schema)
    assert '"enum": []' not in as_text(schema), "which editors refuse"
    assert not Draft7Validator(schema).is_valid(RECIPE)


# What the checker refuses and the schema cannot: relations between arguments or items ...
RANGES = (
    "must be ascending|must be a multiple|must have|expected .*int.*, got .*[0-9]\\.0"
    "|with input.resize: stretch|needs input.resize: stretch|is a stage of the backbone, but"
)
# ... and what a base or the rows of a sweep may say.
ELSEWHERE = "has no such key|has no keys|names no component|missing; "
SCALARS = (None, True, 0, 1, -1, 2.5, 1.0, 64, "", "x", "2", "null", "auto", "file", "sum")
SHAPES = (
    *([], {}, [1], [64, 64], [0.5, 1], [None], ["lovasz"], [[1, 2], [1]], [{"name": "focal"}]),
    *({"name": "lovasz"}, {"gamma": 1}, {"name": "sum"}, {"name": 5}, {"x": 1}),
)


def mutants(how_many: int) -> Iterator[dict[str, Any]]:
    """Right recipes, each with a few random changes; half of them over the same base."""
    draw = random.Random(0)
    resolved = [load(path).to_dict() for path in RECIPES]
    whole = {"name": "coarse_to_fine", "backbone": {"name": "resnet50", "weights": None}}
    right = [{}, *(as_data(path) for path in RECIPES), *resolved]
    keys = {
        section: sorted(
            {key for one in [*resolved, {"model": whole}] for key in one.get(section, ())}
        )
        for section in SECTIONS
        if section != "trackers"  # a list
    }
    for index in range(how_many):
        recipe = copy.deepcopy({**RECIPE, **draw.choice(right)})
        recipe.pop("base", None)
        if draw.random() < 0.3:
            del recipe["backbone"], recipe["decoder"]
            recipe["model"] = copy.deepcopy(whole)
        touched = [mutate(recipe, keys, draw) for _ in range(draw.choice((0, 1, 1, 2, 3)))]
        if index % 2:
            kept = {*touched, *draw.sample(SECTIONS, 2)} & recipe.keys()
            recipe = {"base": "base.yaml", **{key: recipe[key] for key in sorted(kept)}}
        yield recipe


def mutate(recipe: dict[str, Any], keys: dict[str, list[str]], draw: random.Random) -> str:
    """Drop, add or replace a section or a key; the section."""
    section = draw.choice([*SECTIONS, *SECTIONS, "los"])
    where, names = recipe, [section]
    if isinstance(recipe.get(section), dict) and draw.random() < 0.8:
        where, names = recipe[section], [*keys[section], *keys[section], "gamma", "name"]
    name = draw.choice(names)
    if name in where and draw.random() < 0.2:
        del where[name]
    elif name in ("name", section) and section in by_section() and draw.random() < 0.7:
        where[name] = draw.choice(by_section()[section].names())
    else:
        where[name] = copy.deepcopy(draw.choice(draw.choice((SCALARS, SCALARS, SHAPES))))
    return section


@pytest.mark.parametrize("number", [150, pytest.param(600, marks=pytest.mark.slow)])
def test_the_schema_takes_what_the_checker_takes_and_little_else(
    number: int, shipped: Draft7Validator, tmp_path: Path
) -> None:
    (tmp_path / "base.yaml").write_text(json.dumps(RECIPE))
    seen = {"both": 0, "neither": 0, "schema alone": 0}
    for recipe in mutants(number):
        found = complaints(tmp_path / "recipe.yaml", recipe)
        takes = shipped.is_valid(recipe)
        if not found:
            assert takes, f"{recipe}: {[one.message for one in shipped.iter_errors(recipe)]}"
            seen["both"] += 1
        elif takes:
            has_more = "base" in recipe or "sweep" in recipe
            looser = f"{RANGES}|{ELSEWHERE}" if has_more else RANGES
            assert all(re.search(looser, one) for one in found), f"{recipe}: {found}"
            seen["schema alone"] += 1
        else:
            seen["neither"] += 1
    assert min(seen["both"], seen["neither"]) > number * 80 // 300, seen
    assert 0 < seen["schema alone"] < number // 10, seen


SWEEP = {
    "seeds": [0, 1],
    "grid": {"loss.gamma": [0, 2], "loss": ["tree_min", {"name": "focal"}]},
    "rows": {"a": {"loss": {"gamma": 0}, "training": {"epochs": 1}}, "b": None},
}


def test_a_sweep(shipped: Draft7Validator) -> None:
    """Its rows may lack what the recipe has, and the recipe may lack what its rows have."""
    shipped.validate({**RECIPE, "sweep": SWEEP})
    shipped.validate({"sweep": SWEEP})


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": [1]},
        {"seeds": []},
        {"seeds": [-1]},
        {"seeds": [1, 1]},
        {"grid": {"loss.gamma": 1}},
        {"grid": {"loss.gamma": []}},
        {"rows": {}},
        {"rows": {"a": 1}},
        {"rows": {"a": {"base": "x"}}},
        {"rows": {"a": {"loss": {"name": "tree_min", "gama": 1}}}},
        {"rows": {"a": {"training": {"epoch": 1}}}},
    ],
)
def test_problems_of_a_sweep(shipped: Draft7Validator, wrong: dict[str, Any]) -> None:
    assert not shipped.is_valid({**RECIPE, "sweep": wrong})
