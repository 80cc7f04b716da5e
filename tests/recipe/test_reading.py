"""Reading and merging recipes: values, their layers and their places."""

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hieraseg.errors import RecipeError
from hieraseg.recipe import Recipe, load
from tests.support.components import VALID, fakes  # noqa: F401

Overrides = list[tuple[str, str]]


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(VALID)
    return path


def loss_of(path: Path, overrides: Overrides) -> dict:
    return load(path, overrides)["loss"].arguments


def test_component_names_arguments_and_defaults(recipe_file: Path) -> None:
    recipe = load(recipe_file)
    assert recipe.path == recipe_file
    assert recipe["hierarchy"].name == "fake_tree"
    assert recipe["data"].arguments == {"root": "some/folder", "size": (8, 8)}
    assert recipe["backbone"].arguments == {"weights": None, "file": Path("w.pth").absolute()}
    assert recipe["optimizer"].arguments == {"lr": 3e-4, "betas": (0.9, 0.999)}
    assert recipe["loss"].arguments["gamma"] == 0.3
    assert recipe.training.epochs == 2
    assert recipe.training.batch_size == 16
    assert recipe.augmentation.crop_scale == (0.8, 1.0)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("3E4", 3e4),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1e+3", -1e3),
        ("7", 7.0),
        ("1_000", 1000.0),
        (".inf", math.inf),
    ],
)
def test_number_formats(recipe_file: Path, text: str, value: float) -> None:
    gamma = loss_of(recipe_file, [("loss.gamma", text)])["gamma"]
    assert gamma == value
    assert isinstance(gamma, float)


@pytest.mark.parametrize("text", ["010", "1:30", "2020-01-01", "0x10", "1e", "=", "'5'", "null_"])
def test_other_scalars_are_strings(recipe_file: Path, text: str) -> None:
    assert loss_of(recipe_file, [("loss.label", text)])["label"] == text.strip("'")


@pytest.mark.parametrize("text", ["'5'", "'null'", "'[1]'", "'true'", "'3e-4'"])
def test_quoted_scalars_stay_strings(recipe_file: Path, text: str) -> None:
    arguments = loss_of(recipe_file, [("loss.either", text), ("loss.label", text)])
    assert arguments["either"] == arguments["label"] == text.strip("'")


def test_round_trip_from_another_folder(recipe_file: Path, tmp_path: Path) -> None:
    child = tmp_path / "child.yaml"
    child.write_text(
        "base: recipe.yaml\n"
        "loss: {weights: [1, 2.5], sides: [.5, .inf], by_class: {a: 1}, either: '7', "
        "mode: FOCAL, label: 'no'}\n"
    )
    recipe = load(child, [("logging.images", "0"), ("backbone.weights", "'a: b # c'")])
    copy = tmp_path / "elsewhere" / "copy.yaml"
    copy.parent.mkdir()
    copy.write_text(recipe.to_yaml())
    again = load(copy)
    assert again == recipe
    assert again.path != recipe.path
    assert again.to_yaml() == recipe.to_yaml()
    assert yaml.safe_load(recipe.to_yaml())["loss"]["either"] == "7"


@settings(max_examples=30)
@given(label=st.text(), keys=st.dictionaries(st.text(), st.floats(allow_nan=False), max_size=3))
def test_any_string_survives_printing(
    label: str, keys: dict[str, float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "printed.yaml"
    path.write_text(VALID)
    recipe = load(path)
    recipe["loss"].arguments.update(label=label, by_class=keys)
    path.write_text(recipe.to_yaml(), encoding="utf-8", newline="")
    assert load(path) == recipe


def test_origins(recipe_file: Path, tmp_path: Path) -> None:
    child = tmp_path / "child.yaml"
    child.write_text("base: recipe.yaml\n\nloss:\n  focal: true\ntraining:\n  epochs: 3\n")
    recipe = load(child, [("optimizer.lr", "1e-3"), ("schedule", "fake_schedule")])
    expected = {
        "hierarchy.name": f"{recipe_file}:1",
        "loss.name": f"{recipe_file}:6",
        "loss.gamma": f"{recipe_file}:7",
        "loss.focal": f"{child}:4",
        "loss.label": "default",
        "training.epochs": f"{child}:6",
        "training.seed": f"{recipe_file}:11",
        "optimizer.lr": "command line",
        "optimizer.name": f"{recipe_file}:9",
        "schedule.name": "command line",
        "evaluation.resolution": "default",
    }
    assert {key: recipe.origin[key] for key in expected} == expected
    values = recipe.to_dict()
    trackers = {
        f"trackers[{n}].{key}" for n, one in enumerate(values.pop("trackers")) for key in one
    }
    others = {f"{section}.{key}" for section in values for key in values[section]}
    assert set(recipe.origin) == trackers | others
    annotated = recipe.to_yaml(origins=True)
    assert f"  focal: true  # {child}:4\n" in annotated
    assert yaml.safe_load(annotated) == yaml.safe_load(recipe.to_yaml())


def test_with_seed(recipe_file: Path) -> None:
    recipe = load(recipe_file)
    other = recipe.with_seed(3)
    assert (recipe.training.seed, other.training.seed) == (7, 3)
    assert other.origin["training.seed"] == "command line"
    with pytest.raises(RecipeError, match=r"training\.seed: must be in .*, got -1"):
        recipe.with_seed(-1)


def composed(tmp_path: Path, above: str, overrides: Overrides | None = None) -> Recipe:
    (tmp_path / "base.yaml").write_text(
        VALID.replace("gamma: 3e-1", "gamma: 3e-1\n  weights: [1, 2, 3]\n  by_class: {a: 1, b: 2}")
    )
    path = tmp_path / "child.yaml"
    path.write_text("base: base.yaml\n" + above)
    return load(path, overrides or [])


def test_same_component_merges_keys_and_replaces_lists_and_mappings(tmp_path: Path) -> None:
    for above in ("loss: {weights: [9], by_class: {c: 3}}", "loss:\n  name: fake_loss\n"
                  "  weights: [9]\n  by_class: {c: 3}"):  # fmt: skip
        arguments = composed(tmp_path, above)["loss"].arguments
        assert arguments["gamma"] == 0.3
        assert arguments["weights"] == [9.0]
        assert arguments["by_class"] == {"c": 3.0}


def test_short_form_of_the_same_component_keeps_its_keys(tmp_path: Path) -> None:
    assert composed(tmp_path, "loss: fake_loss")["loss"].arguments["gamma"] == 0.3


def test_another_component_replaces_the_section(tmp_path: Path) -> None:
    assert composed(tmp_path, "loss: other_loss")["loss"].arguments == {"delta": 1}
    loss = composed(tmp_path, "loss: {name: other_loss, delta: 5}")["loss"]
    assert loss.arguments == {"delta": 5}


def test_core_sections_merge(tmp_path: Path) -> None:
    training = composed(tmp_path, "training: {epochs: 9}").training
    assert (training.epochs, training.seed) == (9, 7)


def test_overrides_take_precedence_in_any_order(tmp_path: Path) -> None:
    overrides = [("loss.delta", "4"), ("loss", "other_loss"), ("training.epochs", "8")]
    recipe = composed(tmp_path, "training: {epochs: 9}", overrides)
    assert recipe["loss"].arguments == {"delta": 4}
    assert (recipe.training.epochs, recipe.training.seed) == (8, 7)
    mapping = composed(tmp_path, "", [("loss", "{name: other_loss, delta: 6}")])
    assert mapping["loss"].arguments == {"delta": 6}


def test_the_last_of_equal_overrides_wins(tmp_path: Path) -> None:
    overrides = [("training.epochs", "3"), ("training.epochs", "4")]
    assert composed(tmp_path, "", overrides).training.epochs == 4


def test_base_paths_are_relative_to_their_file(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "root.yaml").write_text(VALID)
    (tmp_path / "middle.yaml").write_text("base: root.yaml\ntraining: {epochs: 3}")
    top = tmp_path / "deep" / "top.yaml"
    top.write_text("base: ../middle.yaml\ntraining: {batch_size: 4}")
    training = load(top).training
    assert (training.epochs, training.batch_size, training.seed) == (3, 4, 7)
    assert load(top).origin["training.epochs"] == f"{tmp_path / 'middle.yaml'}:2"


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + VALID.replace("\n", "\r\n").encode())
    assert load(path).training.seed == 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ":1: the recipe is empty"),
        ("# only a comment\n", ":1: the recipe is empty"),
        ("- a\n- b\n", ":1: a recipe is a mapping of sections, got a list"),
        ("\nhello\n", ":2: a recipe is a mapping of sections, got 'hello'"),
        ("loss:\n  a: [1\n", ":3: not valid YAML: "),
        ("loss: a: b\n", ":1: not valid YAML: mapping values are not allowed here"),
        ("a: &x 1\nb: *x\n", ":2: not valid YAML: aliases (*name) are not supported"),
        ("a: &x [*x]\n", ":1: not valid YAML: aliases (*name) are not supported"),
        ("a: " + 5000 * "[" + "\n", ":1: not valid YAML: nested too deeply"),
        ("a: 1\n---\nb: 2\n", ":2: not valid YAML: but found another document"),
        ('a: 1\nb: "\x01"\n', ":2: not valid YAML: special characters are not allowed"),
        ('a: "\\UFFFFFFFF"\n', ":1: not valid YAML: "),
        ("base: nowhere.yaml\n", ":1: base: no such recipe file"),
        ("\nbase: recipe.yaml\n", ":2: base: circular reference: "),
        ("base: [a]\n", ":1: base: expected the path of a recipe"),
        ("base:\n", ":1: base: expected the path of a recipe"),
        ('base: "\\0"\n', ":1: base: no such recipe file"),
    ],
)
def test_unreadable_recipes_raise_one_line(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}{expected}")
    assert len(str(caught.value).splitlines()) == 1


def test_circular_bases(tmp_path: Path) -> None:
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text("base: other.yaml")
    other.write_text("\nbase: one.yaml")
    with pytest.raises(RecipeError) as caught:
        load(one)
    assert str(caught.value) == f"{other}:2: base: circular reference: {one} -> {other} -> {one}"


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such recipe file"):
        load(tmp_path / "nowhere.yaml")
    with pytest.raises(RecipeError, match=f"is a folder; .*`hieraseg resume {tmp_path}`"):
        load(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"loss: \xff\xfe")
    with pytest.raises(RecipeError, match=r"latin\.yaml:1: is not a UTF-8 text file"):
        load(str(latin))


def test_problems_in_a_base_name_the_base(tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text(VALID + "logging: {imges: 3}\n")
    child = tmp_path / "child.yaml"
    child.write_text("base: base.yaml\n")
    with pytest.raises(RecipeError) as caught:
        load(child)
    assert str(caught.value).startswith(f"{base}:12: logging.imges: ")
