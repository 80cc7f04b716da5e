"""Environment variables in recipes, and recipes by name."""

from pathlib import Path
from typing import Any

import pytest

from hieraseg.cli import main
from hieraseg.errors import RecipeError
from hieraseg.recipe import load
from tests.support.components import VALID, fakes  # noqa: F401

Patch = pytest.MonkeyPatch


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recipe.yaml"


def loss_of(path: Path, keys: str) -> dict[str, Any]:
    """Arguments of a loss whose section has these keys, one per line."""
    path.write_text(VALID.replace("  gamma: 3e-1\n", "".join(f"  {k}\n" for k in keys.split("\n"))))
    return load(path)["loss"].arguments


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gamma: ${LR}", 3e-4),
        ('gamma: "${LR}"', 3e-4),  # a flow mapping needs the quotes
        ("label: '${LR}'", "3e-4"),
        ("label: ${WORD}/${LR}", "word/3e-4"),
        ("label: ${NOT_SET:-null}", None),
        ("label: '${NOT_SET:-null}'", "null"),
        ("label: ${EMPTY:-default}", "default"),
        ("label: x${EMPTY}", "x"),
        ("focal: ${YES}", True),
        ("reduction: ${NOT_SET:-sum}", "sum"),
        ("weights: ['${LR}', 2, \"${NOT_SET:-1}\"]", [3e-4, 2.0, 1.0]),
        ("by_class: {a: '${LR}'}", {"a": 3e-4}),
        ("label: $LR and $$", "$LR and $$"),  # nothing else is interpolated
        ("label: '{LR} %LR% ~'", "{LR} %LR% ~"),
    ],
)
def test_variables(path: Path, key: str, value: object, monkeypatch: Patch) -> None:
    for name, text in {"LR": "3e-4", "WORD": "word", "EMPTY": "", "YES": "true"}.items():
        monkeypatch.setenv(name, text)
    found = loss_of(path, key)[key.partition(":")[0]]
    assert found == value
    assert type(found) is type(value)
    # The printed recipe has the same values without variables.
    printed = load(path).to_yaml()
    assert "${" not in printed
    monkeypatch.undo()
    path.write_text(printed)
    assert load(path).to_yaml() == printed


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("gamma: ${NOT_SET}", "7: loss.gamma: the environment variable NOT_SET is not set; set it"),
        ("focal: true\n  label: ${9X}", "8: loss.label: expected ${NAME} or ${NAME:-default}"),
        ("gamma: ${WORD}", "7: loss.gamma: expected a float, got 'word'"),
        ("label: ${LR}", "7: loss.label: expected a str or null, got 0.0003"),
        ("label: ${NESTED}", "7: loss.label: the environment variable NESTED is '${LR}'"),
        ("weights: [${LR}]", 'inside {} or [] a variable needs quotes: "${NAME}"'),
    ],
)
def test_invalid_variables(path: Path, keys: str, expected: str, monkeypatch: Patch) -> None:
    for name, text in {"LR": "3e-4", "WORD": "word", "NESTED": "${LR}"}.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(RecipeError) as caught:
        loss_of(path, keys.replace("\n  ", "\n"))
    assert expected in str(caught.value)


def test_variables_in_bases_names_and_overrides(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("BASE", "base")
    monkeypatch.setenv("LOSS", "other_loss")
    (tmp_path / "base.yaml").write_text(VALID)
    path = tmp_path / "recipe.yaml"
    path.write_text("base: ${BASE}.yaml\nloss: {name: '${LOSS}', delta: \"${DELTA:-3}\"}\n")
    assert load(path, [("training.seed", "${SEED:-5}")]).training.seed == 5
    assert load(path)["loss"].arguments == {"delta": 3}


def test_shipped_recipes_are_found_by_name(
    tmp_path: Path, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    root = Path(__file__).parents[2] / "recipes"
    assert main(["list", "recipes"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    paths = [path for path in root.rglob("*.yaml") if not path.name.startswith("_")]
    names = sorted(str(path.relative_to(root).with_suffix("")) for path in paths)
    assert sorted(listed) == names
    for name in names:
        assert load(name) == load(root / f"{name}.yaml")
    own = tmp_path / "own.yaml"
    own.write_text("base: quickstart\ntraining: {epochs: 3}\n")
    assert load(own) == load("quickstart", [("training.epochs", "3")])
    # A file with this name takes precedence.
    (tmp_path / "quickstart").write_text(VALID)
    assert load("quickstart")["loss"].name == "fake_loss"


def test_unknown_recipe(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        RecipeError,
        match=r"quickstrt: no such recipe file, and no shipped .*did you mean 'quickstart'",
    ):
        load("quickstrt")
