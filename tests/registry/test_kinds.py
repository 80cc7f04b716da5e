"""The table of kinds: one more entry is all that a new kind needs."""

import json
from collections.abc import Iterator
from pathlib import Path

import catalogue
import pytest
import yaml
from jsonschema import Draft7Validator

from hieraseg import registry
from hieraseg.cli import main
from hieraseg.registry import Kind, add_kind, find_kind, kinds
from hieraseg.types import PositiveInt, check_arguments
from tests.support.postprocessing import PostprocessorContract, postprocessors


@check_arguments
class Smooth:
    """Majority vote in a window.

    Args:
        hierarchy: the class tree.
        radius: radius of the window in pixels.
    """

    def __init__(self, hierarchy: object = None, radius: PositiveInt = 1) -> None:
        self.radius = radius

    def __call__(self, classes: object) -> object:
        return classes


@pytest.fixture
def new_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kind]:
    """A kind that is known during a test, with one component."""
    monkeypatch.setattr(kinds, "_KINDS", dict(kinds._KINDS))
    monkeypatch.setattr(catalogue, "REGISTRY", dict(catalogue.REGISTRY))
    monkeypatch.chdir(tmp_path)
    kind = postprocessors(tmp_path)
    add_kind(kind)
    registry.postprocessors.register("smooth")(Smooth)
    yield kind
    registry.registry_of.cache_clear()


def recipe(folder: Path, section: str) -> str:
    """The path of a recipe that extends the quickstart."""
    path = folder / "recipe.yaml"
    path.write_text(f"base: quickstart\n{section}\n")
    return str(path)


def test_a_new_kind_is_listed(new_kind: Kind, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["postprocessors"]) == ["smooth"]
    assert main(["list", "postprocessing", "smooth"]) == 0
    out = capsys.readouterr().out
    assert "Majority vote in a window." in out
    assert "radius (positive int, default 1)" in out
    assert "hierarchy (" not in out, "the runner supplies it"


def test_a_new_kind_is_validated(
    new_kind: Kind, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", "quickstart"]) == 0, "its section is optional"
    right = recipe(tmp_path, "postprocessing: [smooth, {name: smooth, radius: 2}]")
    assert main(["validate", right]) == 0
    capsys.readouterr()
    for section, problem in (
        ("[{name: smooth, radius: 0}]", "postprocessing[0].radius: must be positive, got 0"),
        ("[smooth, smoth]", "postprocessing[1]: unknown postprocessing 'smoth', did you mean 'sm"),
        ("[{name: smooth, hierarchy: 1}]", "postprocessing[0].hierarchy: is supplied by the run"),
        ("[5]", "postprocessing[0]: expected a name or a mapping with a name, got 5"),
        ("{name: smooth}", "postprocessing: expected a list of postprocessors, got a mapping"),
        ("smooth", "postprocessing: expected a list of postprocessors, got "),
    ):
        wrong = recipe(tmp_path, f"postprocessing: {section}")
        assert main(["validate", wrong]) == 2
        assert f"{wrong}:2: {problem}" in capsys.readouterr().out


def test_a_new_kind_is_shown(
    new_kind: Kind, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(tmp_path, "postprocessing: [{name: smooth, radius: 2}, smooth]")
    assert main(["show", path]) == 0
    shown = capsys.readouterr().out
    expected = [{"name": "smooth", "radius": 2}, {"name": "smooth", "radius": 1}]
    assert yaml.safe_load(shown)["postprocessing"] == expected
    (tmp_path / "shown.yaml").write_text(shown)
    assert main(["show", str(tmp_path / "shown.yaml")]) == 0
    assert capsys.readouterr().out == shown
    assert main(["show", path, "--origin"]) == 0
    assert f"  - {{name: smooth, radius: 2}}  # {path}:2" in capsys.readouterr().out
    assert main(["show", "quickstart"]) == 0
    assert "postprocessing: []" in capsys.readouterr().out


def test_a_new_kind_is_in_the_schema(new_kind: Kind, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    schema = Draft7Validator(json.loads(capsys.readouterr().out))
    assert schema.is_valid({"base": "quickstart", "postprocessing": ["smooth"]})
    assert schema.is_valid({"base": "quickstart", "postprocessing": [{"name": "smooth"}]})
    for wrong in (["smoth"], [{"name": "smooth", "radius": 0}], [{"radius": 1}], "smooth"):
        assert not schema.is_valid({"base": "quickstart", "postprocessing": wrong})


def test_a_new_kind_is_scaffolded_and_checked(
    new_kind: Kind, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "postprocessing", "my_smooth"]) == 0
    capsys.readouterr()
    test = (tmp_path / "test_my_smooth.py").read_text()
    assert f"from {PostprocessorContract.__module__} import PostprocessorContract" in test
    words = ["check", "postprocessing", "my_smooth", "--plugin", "my_smooth.py", "--json"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert "It can be called." in [one["sentence"] for one in report["properties"]]
    assert report["ok"]


def test_names_of_kinds_are_unique(new_kind: Kind) -> None:
    with pytest.raises(ValueError, match="'postprocessors'"):
        add_kind(new_kind)
    assert find_kind("postprocessing") is find_kind("postprocessors") is new_kind
