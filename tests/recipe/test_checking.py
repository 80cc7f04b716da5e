"""Every kind of problem is reported, at its place, together with all others."""

import json
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonargparse.typing import PositiveInt as JsonargparsePositiveInt

from hieraseg.errors import RecipeError
from hieraseg.recipe import load
from hieraseg.recipe.arguments import arguments_of
from hieraseg.recipe.values import type_name
from hieraseg.types import Pattern
from tests.support.components import VALID, fakes  # noqa: F401


def problems(path: Path, text: str, overrides: list[tuple[str, str]] | None = None) -> list[str]:
    """The lines of the error, without the file's name."""
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        load(path, overrides or [])
    return [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recipe.yaml"


IN_LOSS = [
    ("gamma: x", "7: loss.gamma: expected a float, got 'x'"),
    ("gamma: '*'", "7: loss.gamma: expected a float, got '*'"),
    ("gamma: true", "7: loss.gamma: expected a float, got true"),
    ("gamma: null", "7: loss.gamma: expected a float, got null"),
    ("gamma:", "7: loss.gamma: expected a float, got null"),
    ("gamma: [1]", "7: loss.gamma: expected a float, got [1]"),
    (
        'gamma: "0.1"',
        "7: loss.gamma: expected a float, got '0.1', which is a string: remove the quotes",
    ),
    ("weights: [1, null]", "7: loss.weights: expected a list of float or null, got [1, null]"),
    ("weights: [1, '2']", "7: loss.weights: expected a list of float or null, got [1, '2']"),
    ("weights: 1", "7: loss.weights: expected a list of float or null, got 1"),
    (
        "reduction: men",
        "7: loss.reduction: expected one of 'mean', 'sum', got 'men', did you mean 'mean'?",
    ),
    ("reduction: null", "7: loss.reduction: expected one of 'mean', 'sum', got null"),
    ("sides: 1.5", "7: loss.sides: expected a list of float, got 1.5"),
    ("by_class: {a: x}", "7: loss.by_class: expected a mapping of str to float, got {a: x}"),
    ("by_class: {1: 2}", "7: loss.by_class: expected a mapping of str to float, got {1: 2}"),
    ("by_class: {a: 1, a: 2}", "7: loss.by_class.a: duplicate key (first on line 7); keep one"),
    ("either: 1.5", "7: loss.either: expected an int or str, got 1.5"),
    ("either: true", "7: loss.either: expected an int or str, got true"),
    ("label: 5", "7: loss.label: expected a str or null, got 5"),
    ("focal: 1", "7: loss.focal: expected a bool, got 1"),
    (
        "focal: 'true'",
        "7: loss.focal: expected a bool, got 'true', which is a string: remove the quotes",
    ),
    ("gamma: 'true'", "7: loss.gamma: expected a float, got 'true'"),
    (
        "mode: FOCL",
        "7: loss.mode: expected one of 'PLAIN', 'FOCAL', got 'FOCL', did you mean 'FOCAL'?",
    ),
    ("mode: [1]", "7: loss.mode: expected one of 'PLAIN', 'FOCAL', got [1]"),
    ("gama: 1", "7: loss.gama: loss 'fake_loss' has no such key, did you mean 'gamma'?"),
    (
        "zzz: 1",
        "7: loss.zzz: loss 'fake_loss' has no such key, known: gamma, weights, reduction, sides, "
        "by_class, either, label, focal, mode",
    ),
    ("hierarchy: 1", "7: loss.hierarchy: is supplied by the runner; remove it"),
    ("class_pixels: 1", "7: loss.class_pixels: is supplied by the runner; remove it"),
    ("name: other_loss", "7: loss.name: duplicate key (first on line 6); keep one"),
    ("5: 1", "7: loss: a key must be a string, got '5'"),
    ("[1]: 1", "7: loss: a key must be a string, got a list or mapping"),
    ("<<: {a: 1}", "7: loss: merge keys (<<) are not supported; write the value out"),
    (
        "label: !!python/name:os.system x",
        "7: loss.label: the tag 'tag:yaml.org,2002:python/name:os.system' is not supported; "
        "write the value out",
    ),
    ("gamma: !!float x", "7: loss.gamma: cannot be read as float: could not convert string to "
     "float: 'x'"),
    (f"gamma: 1{400 * '0'}", "7: loss.gamma: int too large to convert to float"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "expected"), IN_LOSS)
def test_problems_in_a_component(path: Path, line: str, expected: str) -> None:
    assert problems(path, VALID.replace("gamma: 3e-1", line)) == [expected]


OF_SECTIONS = [
    ("loss: fake_los", "1: loss: unknown loss 'fake_los', did you mean 'fake_loss'?"),
    ("loss: {name: fake_los}", "1: loss: unknown loss 'fake_los', did you mean 'fake_loss'?"),
    ("loss: null", "1: loss: expected a name or a mapping with a name, got null"),
    ("loss:", "1: loss: expected a name or a mapping with a name, got null"),
    ("loss: [fake_loss]", "1: loss: expected a name or a mapping with a name, got a list"),
    ("loss: 5", "1: loss: expected a name or a mapping with a name, got 5"),
    ("loss: {name: 5}", "1: loss.name: expected a name, got 5"),
    ("loss: {name: null}", "1: loss.name: expected a name, got null"),
    ("loss: fake_loss\nlos: x", "2: los: unknown section, did you mean 'loss'?"),
    (
        "loss: fake_loss\ntraining.epochs: 3",
        "2: training.epochs: unknown section, write training: {epochs: ...}",
    ),
    (
        "loss: fake_loss\nvalidation: {patience: none}",
        "2: validation.patience: expected a positive int or null, got 'none': write null",
    ),
    (
        "loss: fake_loss\nauxiliary: {stage: false}",
        "2: auxiliary.stage: expected a positive int or null, got false: write null",
    ),
    (
        "loss: fake_loss\ncheckpoints: {every: never}",
        "2: checkpoints.every: must be an interval "
        "such as 500 steps, 2 epochs or 10 minutes, got 'never': write null",
    ),
    ("loss: fake_loss\nloss: fake_loss", "2: loss: duplicate key (first on line 1); keep one"),
    ("loss: fake_loss\n5: x", "2: recipe: a key must be a string, got '5'"),
    ("loss: fake_loss\n'': x", "2: '': unknown section, known: "),
    ("loss: fake_loss\nlogging:", "2: logging: expected a mapping, got null"),
    ("loss: fake_loss\nlogging: [1]", "2: logging: expected a mapping, got a list"),
    ("loss: fake_loss\nlogging: x", "2: logging: expected a mapping, got 'x'"),
    (
        "loss: fake_loss\nlogging: {images: -1}",
        "2: logging.images: must be non-negative, got -1",
    ),
    (
        "loss: fake_loss\nlogging: {images: 1.5}",
        "2: logging.images: expected a non-negative int, got 1.5",
    ),
    (
        "loss: fake_loss\nlogging: {imags: 1}",
        "2: logging.imags: logging has no such key, did you mean 'images'?",
    ),
    (
        "loss: fake_loss\nevaluation: {resolution: nativ}",
        "2: evaluation.resolution: expected one of 'native', 'input', got 'nativ', "
        "did you mean 'native'?",
    ),
    ("loss: fake_loss\naugmentation: {crop: 2}", "2: augmentation.crop: must be in [0, 1], got 2"),
    ("loss: !!set {name: x}", "1: loss: the tag 'tag:yaml.org,2002:set' is not supported"),
    ("loss: {}", "1: loss: names no component; choose one of "),
    ("", "1: loss: missing; choose one of "),
    ("loss: untyped_loss", "its argument 'delta' has no type: annotate it"),
    ("loss: code_loss", "its argument 'function' has a type that YAML cannot give: "),
    ("loss: mapped_loss", "its argument 'losses' has a type that YAML cannot give: "),
    ("loss: open_loss", "its signature has **settings: int: name each argument"),
    (
        "loss: misdefaulted_loss",
        "its argument 'delta' is typed as int, but its default is 1.5",
    ),
]


@pytest.mark.parametrize(("text", "expected"), OF_SECTIONS)
def test_problems_of_sections(path: Path, text: str, expected: str) -> None:
    start, end = VALID.index("loss:"), VALID.index("inference:")
    (found,) = problems(path, text + "\n" + VALID[:start] + VALID[end:])
    assert expected in found


def test_a_fault_of_a_plugin_names_it(path: Path) -> None:
    (found,) = problems(path, VALID, [("loss", "untyped_loss")])
    component = "tests.support.components:UntypedLoss"
    assert found.startswith(f"command line: loss: loss 'untyped_loss' of {component}: ")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (("loss.gamma", "x"), "loss.gamma: expected a float, got 'x'"),
        (("loss.gamma", ""), "loss.gamma: expected a float, got null"),
        (("loss.gamma", "[1"), "loss.gamma: '[1' is not valid YAML: "),
        (("loss.gama", "1"), "loss.gama: loss 'fake_loss' has no such key, did you mean 'gamma'?"),
        (("loss.gamma.x", "1"), "loss.gamma.x: loss 'fake_loss' has no such key"),
        (("loss.", "1"), "loss.: loss 'fake_loss' has no such key"),
        (("los.gamma", "1"), "los: unknown section, did you mean 'loss'?"),
        (("loss", "fake_los"), "loss: unknown loss 'fake_los', did you mean 'fake_loss'?"),
        (("loss", "[1]"), "loss: expected a name or a mapping with a name, got a list"),
        (("base", "x.yaml"), "base: can only be given in a recipe file"),
        (("training.epochs", "0"), "training.epochs: must be positive, got 0"),
        (("decoder.width", "0"), "decoder.width: must be positive, got 0"),
        (("training.seed", "9" * 5000), "training.seed: cannot be read as int: "),
        (("data.size", "[1, 2, 3]"), "data.size: expected a list [int, int], got [1, 2, 3]"),
        (("backbone.file", "5"), "backbone.file: expected a path, got 5"),
        (("loss.label", '"\\ud800"'), None),
    ],
)
def test_overrides(path: Path, override: tuple[str, str], expected: str | None) -> None:
    if expected is None:
        path.write_text(VALID)
        load(path, [override]).to_yaml().encode()
    else:
        (found,) = problems(path, VALID, [override])
        assert found.startswith(f"command line: {expected}")


def test_restricted_types_of_jsonargparse_are_checked_too() -> None:
    def component(width: JsonargparsePositiveInt = 4) -> None: ...

    argument = arguments_of(component)["width"]
    assert argument.read(3) == 3
    with pytest.raises(ValueError, match="Not of type PositiveInt"):
        argument.read(0)


def test_missing_argument_is_reported_at_its_section(path: Path) -> None:
    (found,) = problems(path, VALID.replace(", root: some/folder", ""))
    assert found == "2: data.root: missing; data 'fake_data' needs it: the folder."


def test_all_sections_of_components_are_required(path: Path) -> None:
    found = problems(path, "training: {epochs: 1}")
    assert sorted(line.split(": ")[1] for line in found) == sorted(
        ("hierarchy", "data", "backbone", "decoder", "loss", "inference", "optimizer", "schedule")
    )


def test_a_problem_between_settings_is_reported_at_one_of_them(path: Path) -> None:
    (found,) = problems(path, VALID, [("training.devices", "3")])
    assert found == "11: training.batch_size: must be a multiple of the 3 processes, got 16"
    text = VALID.replace("seed: 7", "batch_size: 9,\n  devices: 2")
    (found,) = problems(path, text)
    assert found == "11: training.batch_size: must be a multiple of the 2 processes, got 9"


def test_all_problems_at_once_in_the_order_of_the_file(path: Path) -> None:
    text = (
        VALID.replace("fake_backbone", "fake_backbon")
        .replace("3e-1", "x\n  gama: 1")
        .replace("epochs: 2, seed: 7", "epochs: 0, seed: -1, device: gpu")
        .replace("inference", "inferenc")
    )
    found = [line.split(": ")[:2] for line in problems(path, text, [("data.size", "3")])]
    assert found == [
        ["1", "inference"],
        ["3", "backbone"],
        ["7", "loss.gamma"],
        ["8", "loss.gama"],
        ["9", "inferenc"],
        ["12", "training.epochs"],
        ["12", "training.device"],
        ["12", "training.seed"],
        ["command line", "data.size"],
    ]


def test_a_plugin_that_cannot_be_imported(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shaky_plugin.py").write_text("raise RuntimeError('no luck\\ntoday')\n")
    info = tmp_path / "shaky-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shaky\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hieraseg_losses]\nshaky = shaky_plugin:Shaky\n")
    monkeypatch.syspath_prepend(tmp_path)
    path.write_text(VALID)
    load(path)
    found = problems(path, VALID, [("loss", "shaky"), ("training.epochs", "x")])
    assert found == [
        "command line: loss: loss 'shaky' of shaky (shaky_plugin:Shaky) cannot be imported: "
        "RuntimeError: no luck today",
        "command line: training.epochs: expected a positive int, got 'x'",
    ]


FRAGMENTS = st.sampled_from(
    [
        *"[]{}:,#&*!|>'\"%@`?-~\n\t \u2028\x00",
        *("null", "true", "0x", "1e9", "'1'", ".nan", "\\ud800", "name", "loss"),
        *("- ", "? ", "<<: ", "!!int ", "base: recipe.yaml", "---\n"),
    ]
)


@settings(max_examples=100)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(VALID)), st.integers(0, 6), FRAGMENTS | st.text(max_size=3)),
        min_size=1,
        max_size=4,
    )
)
def test_any_text_loads_or_is_a_recipe_error(
    edits: list[tuple[int, int, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = VALID
    for position, removed, inserted in edits:
        text = text[:position] + inserted + text[position + removed :]
    path = tmp_path_factory.getbasetemp() / "recipe.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    try:
        recipe = load(path)
    except RecipeError:
        return
    recipe.to_yaml(origins=True)


KEYS = st.sampled_from(
    [
        *("loss", "loss.name", "loss.gamma", "loss.weights", "loss.by_class", "loss.either"),
        *("training", "training.epochs", "training.precision", "logging", "data.size"),
        "augmentation.crop_scale",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "a", "epochs"]), inner, max_size=2)
    ),
    max_leaves=5,
)


def test_a_string_that_a_pattern_describes() -> None:
    moment = Annotated[str, Pattern(r"\d+ steps", "an interval such as 500 steps")]
    assert type_name(moment | None) == "interval such as 500 steps or null"


@settings(max_examples=60)
@given(key=KEYS, value=VALUES)
def test_any_value_is_kept_or_is_a_recipe_error(
    key: str, value: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "recipe.yaml"
    path.write_text(VALID)
    try:
        recipe = load(path, [(key, json.dumps(value))])
    except RecipeError:
        return
    path.write_text(recipe.to_yaml())
    assert load(path).to_yaml() == recipe.to_yaml()
